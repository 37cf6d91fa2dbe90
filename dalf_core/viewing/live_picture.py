"""What a page shows of a camera's image."""
from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ..drawing.draw import as_bgr
from ..drawing.draw_motion import draw_flow

JPEG_QUALITY = 80


def reduced(image: np.ndarray, width: int) -> np.ndarray:
    """No wider than that, in pixels."""
    if image.shape[1] <= width:
        return image
    return cv2.resize(image, (width, round(image.shape[0] * width / image.shape[1])), interpolation=cv2.INTER_AREA)


def live_picture(image: np.ndarray, matches: Any) -> bytes:
    """A JPEG of the image with its verified matches. matches: tracking's FrameMatches; None: there are none."""
    if matches is None:
        picture = as_bgr(image)
    else:
        use = matches.matches.inlier
        scale = np.array(matches.image_size, float) / matches.reference_image_size
        picture = draw_flow(image, matches.reference_xy[use] * scale, matches.query_xy[use])
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
