"""What RViz shows: point cloud, decimated mesh marker, landmark lines, as message fields (see message_factory)."""
from __future__ import annotations

import numpy as np

from dalf_core.drawing import palette

LINE_LIST, TRIANGLE_LIST = 5, 11        # visualization_msgs/Marker types
FLOAT32 = 7                             # sensor_msgs/PointField datatype
PLAIN_RGB = palette.rgb(palette.PLAIN)  # of a surface without colours


def point_cloud(vertices: np.ndarray, colors: np.ndarray | None, message_header: dict) -> dict:
    """PointCloud2 x, y, z (metres) and packed rgb. vertices (V, 3); colors (V, 3) uint8 RGB or None."""
    count = len(vertices)
    rgb = np.asarray(colors if colors is not None else np.tile(np.uint8(PLAIN_RGB), (count, 1)), np.uint32)
    table = np.empty((count, 4), "<f4")
    table[:, :3] = vertices
    table[:, 3] = (rgb[:, 0] << 16 | rgb[:, 1] << 8 | rgb[:, 2]).astype("<u4").view("<f4")
    names = ("x", "y", "z", "rgb")
    return {
        "header": message_header,
        "height": 1,
        "width": count,
        "fields": [{"name": name, "offset": 4 * i, "datatype": FLOAT32, "count": 1} for i, name in enumerate(names)],
        "is_bigendian": False,
        "point_step": 16,
        "row_step": 16 * count,
        "data": table.reshape(-1).view(np.uint8),
        "is_dense": bool(np.isfinite(table[:, :3]).all()),
    }


def decimate(vertices: np.ndarray, triangles: np.ndarray, max_triangles: int) -> np.ndarray:
    """Fewer triangles over some of the same vertices, by quadric edge collapse (Garland and Heckbert 1997), which keeps borders.

    Returns (F', 3) int32 indices into vertices, F' at most max_triangles. Do it once per reference: the choice holds however the surface
    deforms.
    """
    if len(triangles) <= max_triangles:
        return triangles
    import fast_simplification

    points, _, collapses = fast_simplification.simplify(vertices, triangles, target_count=max_triangles, return_collapses=True)
    points, reduced, group = fast_simplification.replay_simplification(vertices, triangles, collapses)
    # of the vertices that were merged into one, the nearest to where the collapse put it stands for them
    distance = np.linalg.norm(vertices - points[group], axis=1)
    order = np.lexsort((distance, group))
    merged, first = np.unique(group[order], return_index=True)
    standing = np.zeros(len(points), np.int32)
    standing[merged] = order[first]
    return standing[reduced[:max_triangles]]


def mesh_marker(vertices: np.ndarray, triangles: np.ndarray, colors: np.ndarray | None, message_header: dict) -> dict:
    """Marker TRIANGLE_LIST of the given triangles, always id 0, so that each one replaces the last."""
    used, inverse = np.unique(triangles, return_inverse=True)
    inverse = inverse.reshape(-1).tolist()
    points = [{"x": x, "y": y, "z": z} for x, y, z in np.asarray(vertices, float)[used].tolist()]
    fields = marker("surface", TRIANGLE_LIST, (1.0, 1.0, 1.0), message_header)
    fields["points"] = [points[i] for i in inverse]
    if colors is not None:
        tints = _colors(colors[used])
        fields["colors"] = [tints[i] for i in inverse]
    return fields


def landmark_marker(start: np.ndarray, end: np.ndarray, residual_m: np.ndarray, message_header: dict, worst_m: float = 0.02) -> dict:
    """Marker LINE_LIST from start to end (M, 3) metres, blue where the residual is 0 through orange at worst_m metres."""
    share = np.clip(np.nan_to_num(np.asarray(residual_m, float), nan=worst_m) / worst_m, 0, 1)
    fields = marker("landmarks", LINE_LIST, (0.001, 0.0, 0.0), message_header)
    both = np.stack([start, end], axis=1).reshape(-1, 3).astype(float)
    fields["points"] = [{"x": x, "y": y, "z": z} for x, y, z in both.tolist()]
    fields["colors"] = [tint for tint in _colors(palette.quality_colors(share)[:, ::-1]) for _ in range(2)]
    return fields


def marker(namespace: str, kind: int, scale: tuple[float, float, float], message_header: dict) -> dict:
    r, g, b = (value / 255.0 for value in PLAIN_RGB)
    return {
        "header": message_header,
        "ns": namespace,
        "id": 0,
        "type": kind,
        "action": 0,
        "pose": {"orientation": {"w": 1.0}},
        "scale": {"x": scale[0], "y": scale[1], "z": scale[2]},
        "color": {"r": r, "g": g, "b": b, "a": 1.0},
    }


def _colors(rgb: np.ndarray) -> list[dict]:
    return [{"r": r, "g": g, "b": b, "a": 1.0} for r, g, b in (np.asarray(rgb, float) / 255.0).tolist()]
