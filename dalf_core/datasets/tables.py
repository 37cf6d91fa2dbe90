"""Plain tables: one Parquet file of frames, and an NPZ of the mesh for each episode."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .episode import STATUSES, Episode
from .features import frame_features


def write_tables(folder: Path, episodes: Sequence[Episode], *, keypoints: int) -> None:
    """Fill an empty folder: frames.parquet, a row a frame, and meshes/NAME.npz.

    Columns: episode, frame, stamp_ns, status, and the features of features.py. An NPZ holds stamp_ns (T,), status (T,), residual_m (T,),
    vertices (T, V, 3) float32 metres (NaN without a surface), visible (T, V), reference (V, 3), triangles (F, 3), colors (V, 3) RGB,
    keypoint_index (N,), and of each named point point_NAME (T, 3) and point_NAME_visible (T,).
    """
    import pyarrow as pa
    from pyarrow import parquet

    from .episode import surface_keypoints

    names = sorted({name for episode in episodes for name in episode.points})
    (folder / "meshes").mkdir()
    writer = None
    try:
        for episode in episodes:
            features = frame_features(episode, keypoints, names)
            columns = {"episode": pa.array([episode.name] * len(episode)), "frame": pa.array(np.arange(len(episode))),
                       "stamp_ns": pa.array(episode.stamp_ns), "status": pa.array([STATUSES[code] for code in episode.status])}
            for name, values in features.items():
                columns[name] = pa.array(values[:, 0]) if values.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(
                    pa.array(values.reshape(-1)), values.shape[1])
            table = pa.table(columns)
            writer = writer or parquet.ParquetWriter(folder / "frames.parquet", table.schema)
            writer.write_table(table)
            arrays = {"stamp_ns": episode.stamp_ns, "status": episode.status, "residual_m": episode.residual_m,
                      "vertices": episode.vertices, "visible": episode.visible, "reference": episode.reference,
                      "triangles": episode.triangles, "keypoint_index": surface_keypoints(episode.reference, keypoints)}
            if episode.colors is not None:
                arrays["colors"] = episode.colors
            for name, track in episode.points.items():
                arrays |= {f"point_{name.replace('/', '.')}": track.position, f"point_{name.replace('/', '.')}_visible": track.visible}
            np.savez_compressed(folder / "meshes" / f"{episode.name}.npz", **arrays)     # type: ignore[arg-type]  # of its stubs
    finally:
        if writer is not None:
            writer.close()
