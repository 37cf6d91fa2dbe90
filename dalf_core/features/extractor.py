"""DALF: image in, keypoints and descriptors out."""
from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch

from ..types import Features
from ..weights import load_network
from .acceleration import BACKENDS, PRECISIONS, accelerate
from .cuda_graph import GraphedFunction
from .geometry import CORRECTED, GEOMETRIES, ORIGINAL
from .image_input import MIN_SIDE, check_mask, to_gray
from .network import DESCRIPTORS
from .pipeline import OPENVINO_CHUNK, Found, Pipeline

KEYPOINT_SIZE = 6.0         # pixels; cv2.KeyPoint wants one, the official code's
MULTI_SCALE = (1 / 6, 1 / 4, 1 / 2, 1.0)        # the official code's
BATCH = {"cpu": 1, "cuda": 16}                  # images worked on at once: a processor gains nothing from more than one

log = logging.getLogger(__name__)


class DALF:
    """The DALF detector and descriptor (Potje et al., CVPR 2023).

    weights: None = the default, "official", or a path; see dalf_core.weights.
    device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:N".
    top_k: at most so many keypoints, the strongest.
    geometry: "corrected" reads the network's maps where they lie, keypoints are sub-pixel; "original" is the official code's reading.
    threshold: least heatmap value of a keypoint; None: the one that belongs to the weights.
    descriptor: "fused" (128 numbers), "polar" or "backbone" (64); polar alone stands large rotations better.
    precision: "float32"; "bfloat16" on the CPU: faster, keypoints move by some tenths of a pixel; "float16" on a GPU: half precision
    where it costs nothing, run as one CUDA graph.
    backend: what runs the network on the CPU: "openvino", "pytorch", or "auto", OpenVINO where it is installed. CUDA and the original
    geometry always take PyTorch.
    scales: the image is looked at resized by each of these factors, and each gets an equal part of top_k; what the coarser ones leave
    goes to the finest. MULTI_SCALE is the official choice. A scale that makes the image smaller than 32x32 is left out.

    Raises WeightsError (no or bad weights), RuntimeError (CUDA asked for, but absent), ValueError (other arguments).
    One object serves one thread at a time.
    """

    def __init__(self, weights: str | os.PathLike | None = None, device: str = "auto", top_k: int = 2048,
                 geometry: str = CORRECTED, threshold: float | None = None, descriptor: str = "fused",
                 precision: str = "float32", backend: str = "auto", scales: Sequence[float] = (1.0,)) -> None:
        _check_choices(geometry, descriptor, precision, backend)
        if isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)) or top_k < 1:
            raise ValueError(f"top_k must be a positive whole number, not {top_k!r}")
        if threshold is not None and not np.isfinite(threshold):
            raise ValueError(f"threshold must be finite, not {threshold!r}")
        if len(scales) == 0 or not all(0.01 <= scale <= 8 for scale in scales):
            raise ValueError(f"scales must be factors between 0.01 and 8, not {scales!r}")
        self.device = choose_device(device)
        self.top_k, self.geometry, self.descriptor = int(top_k), geometry, descriptor
        self.scales = tuple(sorted(float(scale) for scale in scales))
        network, loaded = load_network(weights)
        self.threshold = loaded.threshold if threshold is None else float(threshold)
        if loaded.geometry == CORRECTED and geometry == ORIGINAL:
            log.warning("%s was trained with corrected geometry; reading it as %r loses accuracy", loaded.source, geometry)
        self.weights = loaded.source
        # rounding decides which samples of a plateau are maxima, so parity needs the official order of operations
        self.network = (network.requires_grad_(False).to(self.device) if geometry == ORIGINAL
                        else network.folded().to(self.device, memory_format=torch.channels_last))
        self.keypoint_bias = loaded.keypoint_bias if geometry == CORRECTED else 0.0
        self._pipeline = Pipeline(self.network, self.device, geometry, self.threshold, descriptor, self.keypoint_bias)
        self._graph: GraphedFunction | None = None
        self._short_of_memory = False
        self.backend = self._accelerate(backend, precision)
        log.info("DALF on %s (%s), weights %s, %s geometry", self.device, self.backend, loaded.source, geometry)

    def _accelerate(self, backend: str, precision: str) -> str:
        """What runs the network, in words. ValueError: the precision is not to be had."""
        on_cpu, corrected = self.device.type == "cpu", self.geometry == CORRECTED
        used = "pytorch"
        if precision == "float16":
            if on_cpu or not corrected:
                raise ValueError("precision 'float16' needs a GPU and the corrected geometry")
            self.network.to_half()
            self._graph = GraphedFunction(lambda gray: self._pipeline.run_fixed(gray, self.top_k), self.device)
            return "pytorch, one CUDA graph"
        if on_cpu and corrected:
            used = accelerate(self.network, backend, precision)
            if used != "pytorch":
                self._pipeline.chunk = OPENVINO_CHUNK
        if precision == "bfloat16" and used == "pytorch":
            raise ValueError("precision 'bfloat16' needs the OpenVINO backend and the corrected geometry on the CPU")
        return used

    @property
    def dimension(self) -> int:
        """Length of a descriptor."""
        return DESCRIPTORS[self.descriptor]

    def detectAndCompute(self, image: np.ndarray, mask: np.ndarray | None = None) -> tuple[list[cv2.KeyPoint], np.ndarray]:  # noqa: N802
        """As OpenCV's feature extractors: ([cv2.KeyPoint], (N, D) float32), strongest first. Arguments as for extract."""
        features = self.extract(image, mask)
        keypoints = [cv2.KeyPoint(float(x), float(y), KEYPOINT_SIZE / float(scale), 0.0, float(score))
                     for (x, y), score, scale in zip(features.keypoints, features.scores, features.scales)]
        return keypoints, features.descriptors

    def detect(self, image: np.ndarray, mask: np.ndarray | None = None) -> list[cv2.KeyPoint]:
        """The keypoints alone."""
        return self.detectAndCompute(image, mask)[0]

    def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
        """Keypoints and descriptors of an image, strongest first. scores are heatmap values over the heatmap's maximum.

        image: HxWx3 BGR, HxWx4 BGRA (alpha is ignored) or HxW; uint8, or float in 0 to 1. At least 32x32.
        mask: HxW of any resolution, nonzero (or True) where keypoints may lie. ValueError: anything else, NaN, or a constant image.
        RuntimeError: the GPU's memory does not do even in the smallest steps.
        """
        return self.extract_batch([image], [mask])[0]

    @torch.inference_mode()
    def extract_batch(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray | None] | None = None) -> list[Features]:
        """What extract gives for each image. A GPU works on images of the same size together. Sizes may differ.

        masks: one for each image, or None. ValueError: as extract, or another number of masks.
        """
        masks = [None] * len(images) if masks is None else masks
        if len(masks) != len(images):
            raise ValueError(f"there are {len(images)} images but {len(masks)} masks")
        grays = [to_gray(image) for image in images]
        allowed = [None if mask is None else torch.from_numpy(check_mask(mask, gray.shape)) for gray, mask in zip(grays, masks)]
        results: dict[int, Features] = {}
        for indices in _same_size(grays, BATCH[self.device.type]):
            some = self._extract_some([grays[i] for i in indices], [allowed[i] for i in indices])
            results.update(zip(indices, some))
        return [results[i] for i in range(len(grays))]

    @torch.inference_mode()
    def heatmap(self, image: np.ndarray) -> np.ndarray:
        """(H, W) float32, the detector's response. Its positions are the network's; geometry.heatmap_to_image has the pixels."""
        gray = torch.from_numpy(to_gray(image)).to(self.device)[None, None]
        return self._pipeline.maps(gray)[0][0, 0].float().cpu().numpy()

    def _extract_some(self, grays: list[np.ndarray], allowed: list[torch.Tensor | None]) -> list[Features]:
        """Images of the same size, at all scales."""
        height, width = grays[0].shape
        sizes = {scale: (round(width * scale), round(height * scale)) for scale in self.scales}
        usable = [scale for scale in self.scales if min(sizes[scale]) >= MIN_SIDE] or [1.0]
        left = np.full(len(grays), self.top_k)
        parts: list[list[Features]] = [[] for _ in grays]
        for scale in usable:
            quota = self.top_k if scale == usable[-1] else self.top_k // len(usable)
            found = self._run([_resized(gray, sizes.get(scale, (width, height))) for gray in grays], allowed, quota)
            for i, one in enumerate(found):
                parts[i].append(_to_features(one, int(min(quota, left[i])), scale, (width, height)))
                left[i] -= len(parts[i][-1])
        return [_join(some) for some in parts]

    def _run(self, grays: list[np.ndarray], allowed: list[torch.Tensor | None], top_k: int) -> list[Found]:
        """The pipeline on images of the same size. When the GPU's memory does not do, in smaller steps."""
        batch = torch.from_numpy(np.stack(grays)[:, None])
        if self.device.type == "cuda":
            batch = batch.pin_memory()
        while True:
            try:
                if self._graph and len(batch) == 1 and allowed[0] is None and top_k == self.top_k:
                    return [_found_rows(Found(*self._graph(batch)))]
                return self._pipeline.run(batch.to(self.device, non_blocking=True), allowed, top_k)
            except torch.OutOfMemoryError as error:
                cause = error
            self._graph = None
            if len(batch) > 1:
                return [self._run([gray], [mask], top_k)[0] for gray, mask in zip(grays, allowed)]
            if not self._pipeline.shrink():
                raise RuntimeError(f"the memory of {self.device} does not do for an image of {batch.shape[3]}x{batch.shape[2]} and {top_k} "
                                   "keypoints, even in the smallest steps: free some, make the image smaller, or take device='cpu'"
                                   ) from cause
            if not self._short_of_memory:
                log.warning("the memory of %s was too small: working in smaller steps from now on, which takes longer", self.device)
            self._short_of_memory = True
            if self.device.type == "cuda":
                torch.cuda.empty_cache()


def _check_choices(geometry: str, descriptor: str, precision: str, backend: str) -> None:
    for name, value, choices in (("geometry", geometry, GEOMETRIES), ("descriptor", descriptor, tuple(DESCRIPTORS)),
                                 ("precision", precision, PRECISIONS), ("backend", backend, BACKENDS)):
        if value not in choices:
            raise ValueError(f"{name} must be one of {choices}, not {value!r}")


def _same_size(grays: list[np.ndarray], most: int) -> Iterator[list[int]]:
    """Indices of images of one size, at most so many together."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, gray in enumerate(grays):
        by_size.setdefault(gray.shape, []).append(index)
    for indices in by_size.values():
        for start in range(0, len(indices), most):
            yield indices[start:start + most]


def _resized(gray: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """gray at a size (width, height)."""
    if size == (gray.shape[1], gray.shape[0]):
        return gray
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA if size[0] < gray.shape[1] else cv2.INTER_LINEAR)


def _found_rows(found: Found) -> Found:
    """The rows that are keypoints, copied from where the next image's will be written."""
    count = int((found.scores > -torch.inf).sum())
    return Found(*(values[:count].clone() for values in found))


def _to_features(found: Found, count: int, scale: float, image_size: tuple[int, int]) -> Features:
    """The first `count` of what was found in an image resized by about `scale`, in pixels of the image of size (width, height)."""
    width, height = image_size
    xy = found.keypoints[:count].float().cpu().numpy()
    if scale != 1.0:
        ratio = np.array([round(width * scale) / width, round(height * scale) / height], np.float32)
        xy = ((xy + 0.5) / ratio - 0.5).clip(0, [width - 1, height - 1]).astype(np.float32)
    descriptors = found.descriptors[:count].float()
    return Features(xy, found.scores[:count].float().cpu().numpy(), descriptors.cpu().numpy(), image_size,
                    np.full(len(xy), scale, np.float32), descriptors if descriptors.is_cuda else None)


def _join(parts: list[Features]) -> Features:
    """What several scales found, as one, strongest first."""
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(-np.concatenate([part.scores for part in parts]), kind="stable")
    keypoints, scores, descriptors, scales = (np.concatenate([getattr(part, name) for part in parts])[order]
                                              for name in ("keypoints", "scores", "descriptors", "scales"))
    return Features(keypoints, scores, descriptors, parts[0].image_size, scales)


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
