"""Films of grey pictures, written as a depth camera's recorder does."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np


def write_gray(path: Path, pictures: Sequence[np.ndarray], fps: int) -> Path:
    """FFV1, without loss: (H, W) of uint8 or uint16."""
    kind = "gray16le" if pictures[0].dtype == np.uint16 else "gray"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=fps)
        stream.height, stream.width = pictures[0].shape
        stream.pix_fmt = kind
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format=kind)))
        file.mux(stream.encode())
    return path
