"""The file of a template, *.dalf: safetensors, whose metadata name the format and its version. Reading runs nothing and checks all."""
from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save as pack

from ..camera import PinholeCamera
from ..files.whole_file import write_whole
from ..surface import Surface
from ..types import Features
from .named_points import check_name as check_point_name
from .template import Template, TemplateError, check_name

SUFFIX = ".dalf"
FORMAT, VERSION = "dalf template", 1
MOST_BYTES = 512 << 20      # a template of 640x480 takes 4 MB
MOST_METADATA = 1 << 20
# Arrays of a file: type, and shape with letters for what they share; "N" keypoints, "V" vertices, "F" triangles, "P" points.
ARRAYS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "image": ("uint8", ("H", "W", 3)), "mask": ("uint8", ("H", "W")), "depth": ("float32", ("h", "w")),
    "keypoints": ("float32", ("N", 2)), "scores": ("float32", ("N",)), "scales": ("float32", ("N",)),
    "descriptors": ("float32", ("N", "D")),
    "vertices": ("float32", ("V", 3)), "normals": ("float32", ("V", 3)), "triangles": ("int32", ("F", 3)), "colors": ("uint8", ("V", 3)),
    "points": ("float64", ("P", 3)),
}
TOGETHER = (("keypoints", "scores", "scales", "descriptors"), ("vertices", "normals", "triangles", "depth"))


def save_template(template: Template, path: str | os.PathLike) -> None:
    """Write it, whole or not at all. Raises OSError, TemplateError for another suffix."""
    path = Path(path)
    if path.suffix != SUFFIX:
        raise TemplateError(f"{path}: a template's file ends in {SUFFIX}")
    write_whole(path, template_bytes(template))


def load_template(path: str | os.PathLike) -> Template:
    """Read one. Nothing in a file is run, whoever made it. TemplateError: it is no sound template; OSError: it cannot be read."""
    path = Path(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise TemplateError(f"{path} has {path.stat().st_size >> 20} MB: no template has more than {MOST_BYTES >> 20}")
        data = path.read_bytes()
    except OSError as error:
        raise OSError(f"template {path} cannot be read: {error.strerror or error}; ./run template make writes one") from error
    return template_of(data, str(path))


def template_bytes(template: Template) -> bytes:
    """What its file holds."""
    arrays: dict[str, np.ndarray] = {"image": template.image}
    if template.mask is not None:
        arrays["mask"] = template.mask.astype(np.uint8)
    if template.features is not None:
        found = template.features
        arrays |= {"keypoints": found.keypoints, "scores": found.scores, "scales": found.scales, "descriptors": found.descriptors}
    if template.surface is not None and template.depth_m is not None:
        surface = template.surface
        arrays |= {"vertices": surface.vertices, "normals": surface.normals, "triangles": surface.triangles, "depth": template.depth_m}
        if surface.colors is not None:
            arrays["colors"] = surface.colors
    if template.points:
        arrays["points"] = np.stack(list(template.points.values()))
    described = {"name": template.name, "extractor": template.extractor, "image_scale": template.image_scale,
                 "points": list(template.points), "metadata": template.metadata}
    if template.camera is not None:
        camera = template.camera
        described["camera"] = [camera.fx, camera.fy, camera.cx, camera.cy]
    if template.features is not None:
        described["image_size"] = list(template.features.image_size)
    typed = {name: np.ascontiguousarray(array, ARRAYS[name][0]) for name, array in arrays.items()}
    return pack(typed, {"format": FORMAT, "version": str(VERSION), "template": json.dumps(described)})


def template_of(data: bytes, source: str) -> Template:
    """The template in a file's bytes; source names them in errors. Raises TemplateError."""
    try:
        arrays, described = _unpacked(data)
        _check_arrays(arrays)
        return _built(arrays, described)
    except TemplateError as error:
        raise TemplateError(f"{source}: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise TemplateError(f"{source}: what describes this template is damaged ({type(error).__name__}: {error}); make it anew") from error


def _unpacked(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        raw = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise TemplateError(f"is no template, or was cut off ({str(error)[:100]}); ./run template make writes one") from error
    length = int.from_bytes(data[:8], "little")
    if length > MOST_METADATA:
        raise TemplateError("its description is too long for a template")
    metadata = json.loads(data[8:8 + length]).get("__metadata__") or {}
    if metadata.get("format") != FORMAT:
        raise TemplateError("is a safetensors file, but no template (weights, perhaps?); ./run template make writes one")
    if metadata.get("version") != str(VERSION):
        raise TemplateError(f"is a template of format version {str(metadata.get('version'))[:20]}; this program reads version {VERSION}: "
                            "make it anew, or use the release of dalf that wrote it")
    types = {"U8": np.uint8, "F32": np.float32, "I32": np.int32, "F64": np.float64}
    arrays = {}
    for name, tensor in raw:
        if name not in ARRAYS or tensor["dtype"] not in types:
            raise TemplateError(f"holds an array that no template has: {name[:40]!r} of type {tensor['dtype']}")
        arrays[name] = np.frombuffer(tensor["data"], types[tensor["dtype"]]).reshape(tensor["shape"])
    return arrays, json.loads(metadata["template"])


def _check_arrays(arrays: dict[str, np.ndarray]) -> None:
    """TemplateError where one is missing, of another type or shape, holds NaN or points beyond the others."""
    if "image" not in arrays:
        raise TemplateError("holds no picture")
    for group in TOGETHER:
        missing = [name for name in group if name not in arrays]
        if missing and len(missing) < len(group):
            raise TemplateError(f"lacks {', '.join(missing)}")
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        kind, shape = ARRAYS[name]
        wanted = [sizes.setdefault(side, length) if isinstance(side, str) else side for side, length in zip(shape, array.shape)]
        if array.dtype != kind or array.ndim != len(shape) or list(array.shape) != wanted or (0 in array.shape and name != "points"):
            raise TemplateError(f"{name} is {array.dtype} of shape {array.shape}, which does not fit a template")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise TemplateError(f"{name} holds NaN or infinity")
    if "triangles" in arrays and not (arrays["triangles"].min() >= 0 and arrays["triangles"].max() < len(arrays["vertices"])):
        raise TemplateError("its triangles name vertices that it does not have")


def _built(arrays: dict[str, np.ndarray], described: dict[str, Any]) -> Template:
    check_name(described["name"])
    metadata = {str(name): str(value) for name, value in dict(described["metadata"]).items()}
    template = Template(described["name"], arrays["image"], arrays["mask"] != 0 if "mask" in arrays else None, metadata=metadata)
    if "keypoints" in arrays:
        width, height = described["image_size"]
        if [height, width] != list(template.image.shape[:2]):
            raise TemplateError(f"its features are of a picture of {width}x{height}, not of this one")
        features = Features(arrays["keypoints"], arrays["scores"], arrays["descriptors"], (int(width), int(height)), arrays["scales"])
        template = replace(template, features=features, extractor=str(described["extractor"]), image_scale=float(described["image_scale"]))
    if "vertices" not in arrays:
        return template
    height, width = arrays["depth"].shape
    fx, fy, cx, cy = described["camera"]
    names = described["points"]
    points = arrays.get("points", np.zeros((0, 3)))
    if len(names) != len(points) or len(set(names)) != len(names):
        raise TemplateError(f"names {len(names)} points and holds {len(points)}")
    for name in names:
        check_point_name(name)
    surface = Surface(arrays["vertices"], arrays["normals"], arrays["triangles"], arrays.get("colors"))
    return replace(template, depth_m=arrays["depth"], camera=PinholeCamera(fx, fy, cx, cy, width, height), surface=surface,
                   points=dict(zip(map(str, names), points)))
