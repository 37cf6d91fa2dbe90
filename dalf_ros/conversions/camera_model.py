"""What CameraInfo says about the pixels of an image."""
from __future__ import annotations

import re
from typing import Any

import numpy as np

from dalf_core.camera import PinholeCamera, is_resized
from dalf_core.lens import COEFFICIENTS, EQUIDISTANT, PLUMB_BOB, Lens

from ..errors import SetupError

# The RealSense SDK's names. Two of them shift what is bent already, which plumb_bob does not: less than a hundredth of a pixel.
_SDK_MODELS = {"Brown Conrady": PLUMB_BOB, "Modified Brown Conrady": PLUMB_BOB, "Inverse Brown Conrady": PLUMB_BOB,
               "Kannala Brandt4": EQUIDISTANT}
_RECTIFIED = re.compile(r"(?:^|[/_])rect(?:ified)?(?:[/_]|$)", re.IGNORECASE)


def is_rectified(geometry: str, *topics: str) -> bool:
    """Whether the images are rectified: as `geometry` says ("raw", "rectified"); "auto": one of the topics' names says "rect"."""
    return geometry == "rectified" or (geometry == "auto" and any(_RECTIFIED.search(topic) for topic in topics))


def lens_of(message: Any, rectified: bool = False) -> Lens:
    """CameraInfo (ROS 2 or ROS 1) to the camera of its image: K and the distortion; P alone where the image is rectified.

    Where the one that is wanted is empty (all zero) the other stands in for it. As everywhere in ROS, coefficients that are all zero mean
    that there is no distortion, whatever the model.
    Raises SetupError when it is not calibrated, or of a distortion model that is not known.
    """
    if is_empty(message):
        raise SetupError("camera_info cannot be used: K and P are all zero; is the camera calibrated?")
    k, p = _matrices(message)
    try:
        if rectified:
            return Lens(_in_image(p if p.any() else k, message))
        camera, coefficients = _in_image(k if k.any() else p, message), _field(message, "d")
        if not np.abs(coefficients).max(initial=0.0) > 1e-9:
            return Lens(camera)
        model = str(message.distortion_model)
        if model in _SDK_MODELS:        # of its five coefficients the fisheye has four
            model, coefficients = _SDK_MODELS[model], coefficients[:max(COEFFICIENTS[_SDK_MODELS[model]][:2])]
        return Lens(camera, model, tuple(coefficients.tolist()))
    except ValueError as error:
        raise SetupError(f"camera_info cannot be used: {error}") from error


def is_empty(message: Any) -> bool:
    """Whether a CameraInfo says nothing: what drivers send before they know, and cameras that are not calibrated."""
    return not any(matrix.any() for matrix in _matrices(message))


def fitted(lens: Lens, width: int, height: int, what: str) -> Lens:
    """The lens for images of another resolution. Raises SetupError when they have another shape: then they are not aligned."""
    camera = lens.camera
    if min(width, height) < 1:
        raise ValueError(f"{what} is of {width}x{height} pixels")
    if not is_resized((width, height), (camera.width, camera.height)):
        raise SetupError(f"{what} is {width}x{height} but camera_info describes {camera.width}x{camera.height}, which is no resized copy: "
                         "depth, image and camera_info must be of one camera, depth aligned to colour")
    return lens if (width, height) == (camera.width, camera.height) else lens.scaled(width, height)


def same_camera(a: Lens, b: Lens) -> bool:
    """Whether two lenses differ by no more than an autofocus lens breathes: 0.1 % of the focal length, half a pixel of the centre."""
    p, q = a.camera, b.camera
    if (p.width, p.height, a.model, len(a.coefficients)) != (q.width, q.height, b.model, len(b.coefficients)):
        return False
    return bool(np.allclose([p.fx, p.fy], [q.fx, q.fy], rtol=1e-3, atol=0) and np.allclose([p.cx, p.cy], [q.cx, q.cy], rtol=0, atol=0.5)
                and np.allclose(a.coefficients, b.coefficients, rtol=0, atol=1e-3))


def _matrices(message: Any) -> tuple[np.ndarray, np.ndarray]:
    """K (3, 3) and P (3, 4)."""
    return _field(message, "k").reshape(3, 3), _field(message, "p").reshape(3, 4)


def _field(message: Any, name: str) -> np.ndarray:
    """ROS 1 writes these fields' names in capitals."""
    return np.array(getattr(message, name) if hasattr(message, name) else getattr(message, name.upper()), float).reshape(-1)


def _in_image(matrix: np.ndarray, message: Any) -> PinholeCamera:
    """A camera matrix of the full sensor image as it holds for the published one: cut to `roi`, then binned."""
    width, height, left, top = int(message.width), int(message.height), 0, 0
    roi = getattr(message, "roi", None)
    if roi is not None and roi.width and roi.height:
        width, height, left, top = int(roi.width), int(roi.height), int(roi.x_offset), int(roi.y_offset)
    camera = PinholeCamera(float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]) - left, float(matrix[1, 2]) - top, width, height)
    binning = max(1, int(getattr(message, "binning_x", 0))), max(1, int(getattr(message, "binning_y", 0)))
    return camera if binning == (1, 1) else camera.scaled(max(1, width // binning[0]), max(1, height // binning[1]))
