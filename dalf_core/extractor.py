"""DALF: image in, keypoints and descriptors out."""
from __future__ import annotations

import logging
import os

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from .acceleration import BACKENDS, PRECISIONS, accelerate
from .geometry import CORRECTED, GEOMETRIES, ORIGINAL, heatmap_to_image
from .network import DESCRIPTORS
from .types import Features
from .weights import load_network

MIN_SIDE = 32               # pixels; the network halves the image three times and then loses a border
DEFAULT_THRESHOLD = 25.0    # of the heatmap; the official code's
KEYPOINT_SIZE = 6.0         # pixels; cv2.KeyPoint wants one, the official code's
BORDER = 2                  # heatmap samples at the rim that see the network's zero padding
CHUNK = {"cpu": 64, "cuda": 1024}       # patches described at once: fits a processor's cache, fills a GPU

log = logging.getLogger(__name__)


class DALF:
    """The DALF detector and descriptor (Potje et al., CVPR 2023).

    weights: None = the default, "official", or a path; see dalf_core.weights.
    device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:N".
    top_k: at most so many keypoints, the strongest.
    geometry: "corrected" reads the network's maps where they lie, keypoints are sub-pixel; "original" is the official code's reading.
    threshold: least heatmap value of a keypoint.
    descriptor: "fused" (128 numbers), "polar" or "backbone" (64); polar alone stands large rotations better.

    precision: "float32", or "bfloat16" on the CPU: faster, keypoints move by some tenths of a pixel.
    backend: what runs the network on the CPU: "openvino", "pytorch", or "auto", OpenVINO where it is installed. CUDA and the original
    geometry always take PyTorch.

    Raises WeightsError (no or bad weights), RuntimeError (CUDA asked for, but absent), ValueError (other arguments).
    One object serves one thread at a time.
    """

    def __init__(self, weights: str | os.PathLike | None = None, device: str = "auto", top_k: int = 2048,
                 geometry: str = CORRECTED, threshold: float = DEFAULT_THRESHOLD, descriptor: str = "fused",
                 precision: str = "float32", backend: str = "auto") -> None:
        if geometry not in GEOMETRIES:
            raise ValueError(f"geometry must be one of {GEOMETRIES}, not {geometry!r}")
        if descriptor not in DESCRIPTORS:
            raise ValueError(f"descriptor must be one of {tuple(DESCRIPTORS)}, not {descriptor!r}")
        if isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)) or top_k < 1:
            raise ValueError(f"top_k must be a positive whole number, not {top_k!r}")
        if not np.isfinite(threshold):
            raise ValueError(f"threshold must be finite, not {threshold!r}")
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {tuple(PRECISIONS)}, not {precision!r}")
        if backend not in BACKENDS:
            raise ValueError(f"backend must be one of {BACKENDS}, not {backend!r}")
        self.device = choose_device(device)
        self.top_k, self.geometry, self.threshold, self.descriptor = int(top_k), geometry, float(threshold), descriptor
        network, loaded = load_network(weights)
        if loaded.geometry == CORRECTED and geometry == ORIGINAL:
            log.warning("%s was trained with corrected geometry; reading it as %r loses accuracy", loaded.source, geometry)
        self.weights = loaded.source
        self.keypoint_bias = loaded.keypoint_bias if geometry == CORRECTED else 0.0
        # rounding decides which samples of a plateau are maxima, so parity needs the official order of operations
        self.network = (network.requires_grad_(False).to(self.device) if geometry == ORIGINAL
                        else network.folded().to(self.device, memory_format=torch.channels_last))
        self.backend = "pytorch"
        if self.device.type == "cpu" and geometry == CORRECTED:
            self.backend = accelerate(self.network, CHUNK["cpu"], backend, precision)
        if precision != "float32" and self.backend == "pytorch":
            raise ValueError(f"precision {precision!r} needs the OpenVINO backend and the corrected geometry on the CPU")
        log.info("DALF on %s (%s), weights %s, %s geometry", self.device, self.backend, loaded.source, geometry)

    @property
    def dimension(self) -> int:
        """Length of a descriptor."""
        return DESCRIPTORS[self.descriptor]

    def detectAndCompute(self, image: np.ndarray, mask: np.ndarray | None = None) -> tuple[list[cv2.KeyPoint], np.ndarray]:  # noqa: N802
        """As OpenCV's feature extractors: ([cv2.KeyPoint], (N, D) float32), strongest first. Arguments as for extract."""
        features = self.extract(image, mask)
        keypoints = [cv2.KeyPoint(float(x), float(y), KEYPOINT_SIZE, 0.0, float(score))
                     for (x, y), score in zip(features.keypoints, features.scores)]
        return keypoints, features.descriptors

    def detect(self, image: np.ndarray, mask: np.ndarray | None = None) -> list[cv2.KeyPoint]:
        """The keypoints alone."""
        return self.detectAndCompute(image, mask)[0]

    @torch.inference_mode()
    def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
        """Keypoints and descriptors of an image, strongest first. scores are heatmap values over the heatmap's maximum.

        image: HxWx3 BGR, HxWx4 BGRA (alpha is ignored) or HxW; uint8, or float in 0 to 1. At least 32x32.
        mask: HxW, nonzero (or True) where keypoints may lie. ValueError: anything else, NaN, or a constant image.
        """
        gray = torch.from_numpy(to_gray(image))
        allowed = None if mask is None else _check_mask(mask, gray.shape)
        gray = gray.to(self.device)[None, None]
        heatmap, features = self._maps(gray)
        keypoints, scores = self._keypoints(heatmap, allowed)
        descriptors = self.network.describe(gray, features, keypoints, geometry=self.geometry, descriptor=self.descriptor,
                                            chunk=CHUNK.get(self.device.type, 256))
        height, width = gray.shape[-2:]
        return Features(keypoints.cpu().numpy(), scores.cpu().numpy(), descriptors.float().cpu().numpy(), (width, height))

    @torch.inference_mode()
    def heatmap(self, image: np.ndarray) -> np.ndarray:
        """(H, W) float32, the detector's response. Its positions are the network's; geometry.heatmap_to_image has the pixels."""
        gray = torch.from_numpy(to_gray(image)).to(self.device)[None, None]
        return self._maps(gray)[0][0, 0].float().cpu().numpy()

    def _maps(self, gray: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Heatmap and features. The original geometry takes one CPU thread, so that its rounding does not depend on their number."""
        threads = torch.get_num_threads()
        if self.geometry != ORIGINAL or self.device.type != "cpu" or threads == 1:
            return self.network(gray)
        torch.set_num_threads(1)
        try:
            return self.network(gray)
        finally:
            torch.set_num_threads(threads)

    def _keypoints(self, heatmap: torch.Tensor, allowed: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions (N, 2) in image pixels and scores (N,) of the strongest local maxima of a heatmap (1, 1, H, W)."""
        height, width = heatmap.shape[-2:]
        corrected = self.geometry == CORRECTED
        index = local_maxima(heatmap[0, 0], self.threshold, BORDER if corrected else 0, plateaus=not corrected)
        xy = torch.stack([index % width, torch.div(index, width, rounding_mode="floor")], dim=1).to(heatmap.dtype)
        if corrected:
            xy = xy + quadratic_offset(heatmap[0, 0], index)
        xy = heatmap_to_image(xy, (width, height), self.geometry) - self.keypoint_bias
        score = heatmap.flatten()[index]
        if allowed is not None:
            nearest = xy.round().long()
            inside = allowed.to(xy.device)[nearest[:, 1].clamp(0, height - 1), nearest[:, 0].clamp(0, width - 1)]
            xy, score = xy[inside], score[inside]
        order = (torch.argsort(score, descending=True, stable=True) if corrected else torch.argsort(-score))[:self.top_k]
        return xy[order], score[order] / heatmap.max()


def choose_device(name: str) -> torch.device:
    """The device a name means. "auto" takes a GPU if there is one and says what it took. RuntimeError: CUDA is absent."""
    if name == "auto":
        chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        log.info("device auto: using %s", torch.cuda.get_device_name() if chosen.type == "cuda" else "the CPU, no CUDA GPU is usable")
        return chosen
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ValueError(f'unknown device {name!r}; use "auto", "cpu", "cuda" or "cuda:N"') from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f'device {name!r} is not supported; use "auto", "cpu", "cuda" or "cuda:N"')
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RuntimeError(f'device {name!r} was asked for, but PyTorch sees {torch.cuda.device_count()} CUDA GPUs; use "cpu" or "auto"')
    return device


def to_gray(image: np.ndarray) -> np.ndarray:
    """Checks an image and returns it as HxW float32 in 0 to 1: the plain mean of the colours, as the network was trained."""
    if not isinstance(image, np.ndarray):
        raise ValueError(f"image must be a NumPy array, not {type(image).__name__}; could the file be read?")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise ValueError(f"image must be HxW, HxWx3 (BGR) or HxWx4 (BGRA), not of shape {image.shape}")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"image must be uint8 or float in 0 to 1, not {image.dtype}")
    if min(image.shape[:2]) < MIN_SIDE:
        raise ValueError(f"image must be at least {MIN_SIDE}x{MIN_SIDE} pixels, not {image.shape[1]}x{image.shape[0]}")
    gray = _channel_mean(image)
    if image.dtype == np.uint8:
        gray /= 255.0
    low, high = float(gray.min()), float(gray.max())
    if not np.isfinite(low + high):
        raise ValueError("image holds NaN or infinity")
    if low < 0 or high > 1 + 1e-6:
        raise ValueError(f"a float image must lie in 0 to 1, this one spans {low:g} to {high:g}")
    if low == high:
        raise ValueError("image is constant: there is nothing to find; is the lens covered?")
    return gray


def _channel_mean(image: np.ndarray) -> np.ndarray:
    """HxW float32, a new array."""
    if image.ndim == 2:
        return image.astype(np.float32)
    if image.dtype == np.uint8:
        image = np.ascontiguousarray(image)
        weights = np.full((1, image.shape[2]), 1 / 3, np.float32)
        weights[0, 3:] = 0
        return cv2.transform(image.astype(np.float32), weights)
    return image[:, :, :3].mean(axis=2, dtype=np.float64).astype(np.float32)


def _check_mask(mask: np.ndarray, shape: torch.Size) -> torch.Tensor:
    if not isinstance(mask, np.ndarray) or mask.shape[:2] != tuple(shape) or mask.size != shape[0] * shape[1]:
        raise ValueError(f"mask must be a {shape[0]}x{shape[1]} array like the image, not {getattr(mask, 'shape', type(mask).__name__)}")
    return torch.from_numpy(mask.reshape(shape) != 0)


def local_maxima(heatmap: torch.Tensor, threshold: float, border: int = 0, plateaus: bool = False) -> torch.Tensor:
    """Flat indices (N,) of the 3x3 local maxima above threshold, rising; a plateau counts once.

    heatmap: (H, W). border: maxima within so many samples of the rim are left out.
    plateaus: keep every sample of a plateau, as the official code does.
    """
    height, width = heatmap.shape
    peak = (heatmap == F.max_pool2d(heatmap[None], 3, stride=1, padding=1)[0]) & (heatmap > threshold)
    if border:
        inner = torch.zeros_like(peak)
        inner[border:height - border, border:width - border] = True
        peak &= inner
    index = peak.flatten().nonzero()[:, 0]
    if plateaus:
        return index
    x, y = index % width, torch.div(index, width, rounding_mode="floor")
    first = torch.ones_like(index, dtype=torch.bool)
    for dx, dy in ((-1, 0), (-1, -1), (0, -1), (1, -1)):        # two peaks that touch are equal: keep the first in reading order
        nx, ny = x + dx, y + dy
        inside = (nx >= 0) & (nx < width) & (ny >= 0)
        first &= ~(inside & peak[ny.clamp(min=0), nx.clamp(0, width - 1)])
    return index[first]


def quadratic_offset(heatmap: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Where a quadratic fitted to the 3x3 values around each peak has its top, relative to the peak: (N, 2), within half a sample.

    heatmap: (H, W). index: (N,) flat indices of local maxima at least one sample inside the rim.
    """
    width = heatmap.shape[1]
    flat = heatmap.flatten()
    value = {(dx, dy): flat[index + dy * width + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    gx = (value[1, 0] - value[-1, 0]) / 2
    gy = (value[0, 1] - value[0, -1]) / 2
    gxx = value[1, 0] - 2 * value[0, 0] + value[-1, 0]
    gyy = value[0, 1] - 2 * value[0, 0] + value[0, -1]
    gxy = (value[1, 1] - value[1, -1] - value[-1, 1] + value[-1, -1]) / 4
    determinant = gxx * gyy - gxy * gxy
    usable = (determinant > 1e-6 * gxx * gyy) & (gxx < 0) & (gyy < 0)
    safe = torch.where(usable, determinant, torch.ones_like(determinant))
    offset = torch.stack([gxy * gy - gyy * gx, gxy * gx - gxx * gy], dim=1) / safe[:, None]
    return torch.where(usable[:, None], offset.clamp(-0.5, 0.5), torch.zeros_like(offset))
