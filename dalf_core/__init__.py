"""DALF features, matching and registration of deforming surfaces. No ROS in here.

Names are imported on first use, so that `import dalf_core` is quick and `PinholeCamera` does not need PyTorch.
"""
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .types import Features, Matches, Registration

if TYPE_CHECKING:
    from .camera import PinholeCamera
    from .features.extractor import DALF
    from .image_matching.match_images import ImageMatches, match_images
    from .image_registration.image_warp import ImageWarp, fit_image_warp, warp_to_template
    from .matching.nearest_neighbours import match
    from .matching.verification import verify
    from .recordings.picture_folder import PictureFolder
    from .recordings.picture_sequence import PictureSequence
    from .registration import NonRigidRegistration
    from .surface import load_ply, save_ply
    from .templates.template import Template, TemplateError
    from .templates.template_file import load_template, save_template
    from .weights import WeightsError

_HOME = {
    "DALF": "features.extractor",
    "match": "matching.nearest_neighbours",
    "match_images": "image_matching.match_images",
    "ImageMatches": "image_matching.match_images",
    "verify": "matching.verification",
    "NonRigidRegistration": "registration",
    "PinholeCamera": "camera",
    "WeightsError": "weights",
    "ImageWarp": "image_registration.image_warp",
    "fit_image_warp": "image_registration.image_warp",
    "warp_to_template": "image_registration.image_warp",
    "PictureFolder": "recordings.picture_folder",
    "PictureSequence": "recordings.picture_sequence",
    "load_ply": "surface",
    "save_ply": "surface",
    "Template": "templates.template",
    "TemplateError": "templates.template",
    "load_template": "templates.template_file",
    "save_template": "templates.template_file",
}

__all__ = ["DALF", "Features", "ImageMatches", "ImageWarp", "Matches", "NonRigidRegistration", "PictureFolder",
           "PictureSequence", "PinholeCamera", "Registration", "Template", "TemplateError", "WeightsError", "fit_image_warp",
           "load_ply", "load_template", "match", "match_images", "save_ply", "save_template", "verify", "warp_to_template"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
