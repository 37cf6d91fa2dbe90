"""The core types as message fields, and back. Fields are plain dictionaries (see message_factory); reading is duck-typed."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from dalf_core.camera import PinholeCamera
from dalf_core.image_registration.image_warp import ImageWarp
from dalf_core.matching.keyframes import KeyframeMatches
from dalf_core.matching.prediction import Prediction
from dalf_core.tracking import FrameMatches, SurfaceFrame
from dalf_core.types import Features, Matches

WARP_STEP = 8                           # pixels between the points of an ImageWarp
NANOSECONDS = 1_000_000_000
FLOAT32, FLOAT16 = 7, 9                 # FeatureArray's descriptor_dtype
DESCRIPTOR_TYPES = {FLOAT32: np.dtype("<f4"), FLOAT16: np.dtype("<f2")}
MAX_KEYPOINTS = 1 << 20                 # of an image; a MatchArray's larger indices are wrong, and would cost memory by their value
DETECTED, CARRIED, NO_INDEX = 0, 1, 2**32 - 1        # of MatchArray
TEMPLATE_FRAME = "template:"
STATUS_CODES = {"waiting": 0, "tracked": 1, "degraded": 2, "lost": 3}
STATUS_NAMES = {code: name for name, code in STATUS_CODES.items()}


def header(stamp_ns: int, frame_id: str) -> dict:
    """std_msgs/Header: the sensor's stamp in nanoseconds, and the optical frame. Raises ValueError where a stamp cannot hold that time."""
    if not -(2**31) <= stamp_ns // NANOSECONDS < 2**31:
        raise ValueError(f"the time {stamp_ns} ns does not fit into a message's stamp")
    return {"stamp": {"sec": int(stamp_ns // NANOSECONDS), "nanosec": int(stamp_ns % NANOSECONDS)}, "frame_id": frame_id}


def stamp_ns(message_header: Any) -> int:
    """A message header's stamp in nanoseconds."""
    return int(message_header.stamp.sec) * NANOSECONDS + int(message_header.stamp.nanosec)


def feature_array(features: Features, message_header: dict, descriptor_type: int | None = FLOAT32) -> dict:
    """FeatureArray. descriptor_type: FLOAT32, FLOAT16, or None to leave the descriptors out."""
    width, height = features.image_size
    fields = {
        "header": message_header,
        "width": int(width),
        "height": int(height),
        "keypoints": np.asarray(features.keypoints, np.float32).reshape(-1),
        "scores": np.asarray(features.scores, np.float32),
        "descriptor_dtype": FLOAT32 if descriptor_type is None else descriptor_type,
    }
    if descriptor_type is not None and features.descriptors.size:
        packed = np.ascontiguousarray(features.descriptors, DESCRIPTOR_TYPES[descriptor_type])
        fields |= {"descriptor_dim": packed.shape[1], "descriptors": packed.reshape(-1).view(np.uint8)}
    return fields


def features_of(message: Any) -> Features:
    """FeatureArray to Features. Raises ValueError when its arrays do not fit together."""
    keypoints = _vectors(message.keypoints, 2, "keypoints")
    scores = np.array(message.scores, np.float32)
    kind = DESCRIPTOR_TYPES.get(int(message.descriptor_dtype))
    if kind is None:
        raise ValueError(f"descriptor_dtype {message.descriptor_dtype} is neither FLOAT32 ({FLOAT32}) nor FLOAT16 ({FLOAT16})")
    dim = int(message.descriptor_dim)
    data = np.frombuffer(message.descriptors, np.uint8) if len(message.descriptors) else np.empty(0, np.uint8)
    if len(scores) != len(keypoints) or data.size != len(keypoints) * dim * kind.itemsize:
        raise ValueError(f"{len(keypoints)} keypoints, {len(scores)} scores, {data.size} bytes of descriptors of length {dim} do not fit")
    descriptors = data.view(kind).astype(np.float32).reshape(len(keypoints), dim)
    return Features(keypoints, scores, descriptors, (int(message.width), int(message.height)))


def match_array(frame: FrameMatches, frame_id: str) -> dict:
    """MatchArray of one frame's matches; both headers carry frame_id, unless the reference is a template."""
    return {
        "header": header(frame.stamp_ns, frame_id),
        "reference_header": header(frame.reference_stamp_ns, template_frame(frame.template) if frame.template else frame_id),
        "width": int(frame.image_size[0]),
        "height": int(frame.image_size[1]),
        "reference_width": int(frame.reference_image_size[0]),
        "reference_height": int(frame.reference_image_size[1]),
        "reference_index": np.asarray(frame.matches.reference_index, np.uint32),
        "query_index": np.asarray(frame.matches.query_index, np.int64).astype(np.uint32),       # -1 becomes NO_INDEX
        "reference_xy": np.asarray(frame.reference_xy, np.float32).reshape(-1),
        "query_xy": np.asarray(frame.query_xy, np.float32).reshape(-1),
        "distance": np.asarray(frame.matches.distance, np.float32),
        "inlier": np.asarray(frame.matches.inlier).astype(np.uint8),
        **_origin(frame),
        "keyframe": np.asarray(frame.keyframes.keyframe, np.uint32),
        "keyframe_index": np.asarray(frame.keyframes.index, np.uint32),
        "keyframe_xy": np.asarray(frame.keyframes.query_xy, np.float32).reshape(-1),
    }


def _origin(frame: FrameMatches) -> dict:
    """How each match was found; nothing where all were in this image."""
    if frame.age_s is None:
        return {}
    found = np.where(frame.matches.query_index < 0, CARRIED, DETECTED)
    return {"found": found.astype(np.uint8), "age": np.asarray(frame.age_s, np.float32)}


def matches_of(message: Any) -> FrameMatches:
    """MatchArray to FrameMatches. Raises ValueError when its arrays do not fit together."""
    reference_xy = _vectors(message.reference_xy, 2, "reference_xy")
    query_xy = _vectors(message.query_xy, 2, "query_xy")
    matches = Matches(
        np.array(message.reference_index, np.int64),
        _indices(message.query_index),
        np.array(message.distance, np.float32),
        np.array(message.inlier, np.uint8) != 0,
    )
    arrays = (query_xy, reference_xy, matches.reference_index, matches.query_index, matches.distance, matches.inlier)
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1:
        raise ValueError(f"the arrays of a MatchArray must have one length, these have {sorted(lengths)}")
    keyframes = KeyframeMatches(np.array(message.keyframe, np.int64), np.array(message.keyframe_index, np.int64),
                                _vectors(message.keyframe_xy, 2, "keyframe_xy"))
    if not len(keyframes.keyframe) == len(keyframes.index) == len(keyframes.query_xy):
        raise ValueError(f"the keyframe arrays of a MatchArray must have one length, these have {len(keyframes.keyframe)}, "
                         f"{len(keyframes.index)} and {len(keyframes.query_xy)}")
    if not all(np.isfinite(xy).all() for xy in (reference_xy, query_xy, keyframes.query_xy)):
        raise ValueError("a MatchArray holds pixel positions that are not finite")
    if min(message.width, message.height, message.reference_width, message.reference_height) < 1:
        raise ValueError("a MatchArray names an image without pixels")
    if max(index.max(initial=0) for index in (matches.reference_index, matches.query_index, keyframes.index)) >= MAX_KEYPOINTS:
        raise ValueError(f"a MatchArray names keypoints beyond the {MAX_KEYPOINTS} that an image may have")
    age = getattr(message, "age", ())        # recordings from before matches were carried have none
    age_s = np.array(age, np.float32) if len(age) else None
    if age_s is not None and len(age_s) != len(matches):
        raise ValueError(f"a MatchArray of {len(matches)} matches has the age of {len(age_s)}")
    return FrameMatches(
        stamp_ns(message.header), stamp_ns(message.reference_header), (int(message.width), int(message.height)),
        (int(message.reference_width), int(message.reference_height)), matches, reference_xy, query_xy, keyframes, age_s,
        frame.removeprefix(TEMPLATE_FRAME) if (frame := str(message.reference_header.frame_id)).startswith(TEMPLATE_FRAME) else "",
    )


def template_frame(name: str) -> str:
    """The frame_id of a reference that is a template: no frame of tf."""
    return f"{TEMPLATE_FRAME}{name}"


def prediction_message(prediction: Prediction, frame_id: str) -> dict:
    """LandmarkPrediction; both headers carry frame_id."""
    return {"header": header(prediction.stamp_ns, frame_id), "reference_header": header(prediction.reference_stamp_ns, frame_id),
            "view": np.asarray(prediction.view, np.uint32), "index": np.asarray(prediction.index, np.uint32),
            "xy": np.asarray(prediction.xy, np.float32).reshape(-1), "visible": np.asarray(prediction.visible).astype(np.uint8)}


def prediction_of(message: Any) -> Prediction:
    """LandmarkPrediction to Prediction. Raises ValueError when its arrays do not fit together."""
    view, index, xy = np.array(message.view, np.int64), np.array(message.index, np.int64), _vectors(message.xy, 2, "xy")
    visible = np.array(message.visible, np.uint8) != 0
    if not len(view) == len(index) == len(xy) == len(visible):
        raise ValueError(f"the arrays of a LandmarkPrediction must have one length, these have {len(view)}, {len(index)}, {len(xy)} and "
                         f"{len(visible)}")
    return Prediction(stamp_ns(message.header), stamp_ns(message.reference_header), view, index, xy, visible)


def image_warp(warp: ImageWarp, message_header: dict, reference_header: dict) -> dict:
    """ImageWarp, sampled WARP_STEP pixels apart."""
    (width, height), (image_width, image_height) = warp.template_size, warp.image_size
    x, y = (np.arange(-(-(length - 1) // WARP_STEP) + 1) * WARP_STEP for length in (width, height))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return {
        "header": message_header,
        "reference_header": reference_header,
        "width": int(image_width),
        "height": int(image_height),
        "reference_width": int(width),
        "reference_height": int(height),
        "columns": len(x),
        "rows": len(y),
        "step": float(WARP_STEP),
        "xy": warp.image_positions(grid).astype(np.float32).reshape(-1),
        "support": warp.support[np.ix_(y.clip(max=height - 1), x.clip(max=width - 1))].astype(np.uint8).reshape(-1),
        "matches": len(warp.template_xy),
    }


def warp_positions(message: Any, reference_xy: np.ndarray) -> np.ndarray:
    """Where an ImageWarp has reference pixels (N, 2): (N, 2) float32 pixels of the current image. ValueError: arrays that do not fit."""
    rows, columns, step = int(message.rows), int(message.columns), float(message.step)
    grid = _vectors(message.xy, 2, "xy")
    if len(grid) != rows * columns or min(rows, columns) < 1 or not step > 0:
        raise ValueError(f"an ImageWarp of {rows}x{columns} points, {step} pixels apart, has {len(grid)} positions")
    at = np.asarray(reference_xy, float).reshape(-1, 2).T[::-1] / step
    return np.stack([map_coordinates(axis.reshape(rows, columns), at, order=1, mode="nearest") for axis in grid.T], axis=1)


def surface_mesh(message_header: dict, reference_header: dict, topology_id: int, vertices: np.ndarray, normals: np.ndarray | None = None,
                 visible: np.ndarray | None = None, triangles: np.ndarray | None = None, colors: np.ndarray | None = None) -> dict:
    """SurfaceMesh; leave triangles and colors out in per-frame messages. vertices (V, 3) metres, colors (V, 3) uint8 RGB."""
    fields = {"header": message_header, "reference_header": reference_header, "topology_id": int(topology_id),
              "vertices": np.asarray(vertices, np.float32).reshape(-1)}
    optional = {"normals": (normals, np.float32), "visible": (visible, np.uint8), "triangles": (triangles, np.uint32),
                "colors": (colors, np.uint8)}
    return fields | {name: np.asarray(value).astype(kind).reshape(-1) for name, (value, kind) in optional.items() if value is not None}


def mesh_of(message: Any) -> dict[str, np.ndarray | None]:
    """SurfaceMesh to vertices (V, 3), normals (V, 3), visible (V,) bool, triangles (F, 3), colors (V, 3); None where empty."""
    shaped = {
        "vertices": _vectors(message.vertices, 3, "vertices"),
        "normals": _vectors(message.normals, 3, "normals"),
        "visible": np.array(message.visible, np.uint8) != 0,
        "triangles": _vectors(message.triangles, 3, "triangles", np.int32),
        "colors": _vectors(message.colors, 3, "colors", np.uint8),
    }
    count = len(shaped["vertices"])
    for name in ("normals", "visible", "colors"):
        if len(shaped[name]) not in (0, count):
            raise ValueError(f"a SurfaceMesh of {count} vertices has {len(shaped[name])} {name}")
    if len(shaped["triangles"]) and not (0 <= shaped["triangles"].min() and shaped["triangles"].max() < count):
        raise ValueError(f"a SurfaceMesh of {count} vertices has triangles that name others")
    return {name: value if len(value) or name == "vertices" else None for name, value in shaped.items()}


def deformation_field(message_header: dict, reference_header: dict, position: np.ndarray, rotation: np.ndarray,
                      translation: np.ndarray, radius: np.ndarray) -> dict:
    """DeformationField. position, translation (K, 3) metres; rotation (K, 3, 3); radius (K,) metres."""
    return {
        "header": message_header,
        "reference_header": reference_header,
        "node_position": np.asarray(position, np.float32).reshape(-1),
        "node_rotation": quaternions(rotation).astype(np.float32).reshape(-1),
        "node_translation": np.asarray(translation, np.float32).reshape(-1),
        "node_radius": np.asarray(radius, np.float32).reshape(-1),
    }


def surface_covariance(message_header: dict, reference_header: dict, topology_id: int, covariance: np.ndarray) -> dict:
    """SurfaceCovariance. covariance: (V, 3, 3) square metres, symmetric."""
    rows, columns = np.triu_indices(3)
    return {"header": message_header, "reference_header": reference_header, "topology_id": int(topology_id),
            "covariance": np.asarray(covariance, np.float32)[:, rows, columns].reshape(-1)}


def covariance_of(message: Any) -> np.ndarray:
    """SurfaceCovariance to (V, 3, 3) float32, square metres."""
    packed = _vectors(message.covariance, 6, "covariance")
    return packed[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)


def deformation_of(message: Any) -> dict[str, np.ndarray]:
    """DeformationField to position (K, 3), rotation (K, 3, 3), translation (K, 3), radius (K,)."""
    arrays = {
        "position": _vectors(message.node_position, 3, "node_position"),
        "rotation": rotation_matrices(_vectors(message.node_rotation, 4, "node_rotation")),
        "translation": _vectors(message.node_translation, 3, "node_translation"),
        "radius": np.array(message.node_radius, np.float32),
    }
    if len({len(value) for value in arrays.values()}) != 1:
        raise ValueError(f"the arrays of a DeformationField name different numbers of nodes: {[len(v) for v in arrays.values()]}")
    return arrays


def registration_status(frame: SurfaceFrame, frame_id: str, milliseconds: float, vertices: int, nodes: int, dropped: int = 0) -> dict:
    """RegistrationStatus of one frame. vertices, nodes: size of the reference surface and its graph; dropped: frames overwritten."""
    result = frame.registration
    return {
        "header": header(frame.stamp_ns, frame_id),
        "reference_header": header(frame.reference_stamp_ns, frame_id),
        "status": STATUS_CODES[frame.status],
        "reason": frame.reason,
        "matches": int(frame.matches),
        "inliers": int(frame.inliers),
        "residual_m": float("nan") if result is None else float(result.residual_m),
        "visible_fraction": float(np.mean(result.visible)) if result is not None and len(result.visible) else 0.0,
        "vertices": int(vertices),
        "nodes": int(nodes),
        "milliseconds": float(milliseconds),
        "dropped": int(dropped),
    }


def camera_info(camera: PinholeCamera, message_header: dict, model: str = "plumb_bob", distortion: Sequence[float] = (0.0,) * 5) -> dict:
    """PinholeCamera to a CameraInfo, undistorted unless coefficients are given; P is K."""
    k = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1], float)
    p = np.array([camera.fx, 0, camera.cx, 0, 0, camera.fy, camera.cy, 0, 0, 0, 1, 0], float)
    return {"header": message_header, "height": camera.height, "width": camera.width, "distortion_model": model,
            "d": np.array(distortion, float), "k": k, "r": np.eye(3).reshape(-1), "p": p}


def quaternions(rotation: np.ndarray) -> np.ndarray:
    """(K, 3, 3) rotation matrices to (K, 4) unit quaternions x, y, z, w with w >= 0."""
    return Rotation.from_matrix(np.asarray(rotation, float).reshape(-1, 3, 3)).as_quat(canonical=True)


def rotation_matrices(quaternion: np.ndarray) -> np.ndarray:
    """(K, 4) quaternions x, y, z, w, of any length but zero (ValueError), to (K, 3, 3) float32 rotation matrices."""
    return Rotation.from_quat(np.asarray(quaternion, float).reshape(-1, 4)).as_matrix().astype(np.float32)


def _indices(values: Any) -> np.ndarray:
    """(M,) int64, -1 where there is none."""
    index = np.array(values, np.uint32).astype(np.int64)
    return np.where(index == NO_INDEX, -1, index)


def _vectors(values: Any, size: int, name: str, kind: Any = np.float32) -> np.ndarray:
    array = np.array(values, kind)
    if array.size % size:
        raise ValueError(f"{name} has {array.size} numbers, not a multiple of {size}")
    return array.reshape(-1, size)
