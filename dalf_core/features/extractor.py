"""DALF: image in, keypoints and descriptors out."""
from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch

from ..options import PRECISION
from ..torch_device import choose_device, gpu_work
from ..types import Features
from ..weights import fingerprint, load_network
from .acceleration import BACKENDS, accelerate, choose_backend
from .cuda_graph import GraphedFunction
from .geometry import CORRECTED, GEOMETRIES, ORIGINAL
from .image_input import MIN_SIDE, check_mask, to_gray
from .network import DESCRIPTORS
from .pipeline import CHUNK, OPENVINO_CHUNK, TILE_ABOVE, Found, Pipeline
from .precision import PRECISIONS, choose_precision

KEYPOINT_SIZE = 6.0         # pixels; cv2.KeyPoint wants one, the official code's
MULTI_SCALE = (1 / 6, 1 / 4, 1 / 2, 1.0)        # the official code's
WARM_UP_SIDE = 64           # pixels
BATCH = {"cpu": 1, "cuda": 16}                  # images worked on at once: a processor gains nothing from more than one

log = logging.getLogger(__name__)


class DALF:
    """The DALF detector and descriptor (Potje et al., CVPR 2023).

    weights: None = the default, "official", "light", or a path; see dalf_core.weights. They also tell which network it is: DALF's own, or
    the light one (features.light_network), which gives keypoints and descriptors of the same kinds: they match those of the same
    weights only. The attribute architecture names the network.
    device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:N".
    top_k: the largest number of keypoints; the strongest are kept.
    geometry: "corrected" samples the network's maps where they belong and places keypoints between pixels; "original" samples them as
    the official code does, for DALF's own network. The attribute tells how
    they are read; of the light network it is "aligned".
    threshold: smallest heatmap value of a keypoint; None: the one that belongs to the weights.
    descriptor: "fused" (128 numbers), "polar" or "backbone" (64); polar alone withstands large rotations better.
    precision: "float32", on a GPU without TF32; "bfloat16" on the CPU: faster, keypoints move by some tenths of a pixel; "float16" on a
    GPU: half precision where it costs no accuracy, run as one CUDA graph; "auto": the fastest of them that the device computes in.
    The attribute of that name tells what is used.
    The attribute fingerprint tells extractors apart whose descriptors do not match: weights, geometry and descriptor.
    backend: what runs the network on the CPU: "openvino", "pytorch", or "auto", OpenVINO where it runs. CUDA and the original geometry
    always use PyTorch.
    scales: the image is searched at each of these scales, each with an equal share of top_k; what the coarser ones do not use goes to the
    finest. MULTI_SCALE is the official choice. Scales that make the image smaller than 32x32 are left out.

    Raises WeightsError (missing or bad weights), RuntimeError (CUDA or OpenVINO requested but unusable), ValueError (other arguments).
    One object serves one thread at a time.
    """

    def __init__(self, weights: str | os.PathLike | None = None, device: str = "auto", top_k: int = 2048,
                 geometry: str = CORRECTED, threshold: float | None = None, descriptor: str = "fused",
                 precision: str = str(PRECISION.default), backend: str = "auto", scales: Sequence[float] = (1.0,)) -> None:
        _check_choices(geometry, descriptor, precision, backend)
        if isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)) or top_k < 1:
            raise ValueError(f"top_k must be a positive whole number, not {top_k!r}")
        if threshold is not None and not np.isfinite(threshold):
            raise ValueError(f"threshold must be finite, not {threshold!r}")
        if len(scales) == 0 or not all(0.01 <= scale <= 8 for scale in scales):
            raise ValueError(f"scales must be factors between 0.01 and 8, not {scales!r}")
        self.device = choose_device(device)
        self.top_k, self.descriptor = int(top_k), descriptor
        self.scales = tuple(sorted(float(scale) for scale in scales))
        network, loaded = load_network(weights)
        if geometry not in network.geometries and geometry == ORIGINAL:
            raise ValueError(f"geometry={ORIGINAL!r} is DALF's; {loaded.source} is a network of kind {network.architecture!r}")
        self.architecture = network.architecture
        self.geometry = network.geometries[0] if geometry == CORRECTED else geometry
        if loaded.geometry == CORRECTED and geometry == ORIGINAL:
            log.warning("%s was trained with corrected geometry; reading it as %r loses accuracy", loaded.source, geometry)
        self.weights = loaded.source
        self.fingerprint = fingerprint(loaded, self.geometry, descriptor)
        with gpu_work(self.device):
            # rounding decides which samples of a plateau are maxima, so parity needs the official order of operations
            self.network = (network.requires_grad_(False).to(self.device) if geometry == ORIGINAL
                            else network.folded().to(self.device, memory_format=torch.channels_last))
            self.precision, self.backend, chunk = self._accelerate(backend, precision)
            self._graph = GraphedFunction(_run_fixed, self.device) if self.precision == "float16" else None
        self._pipeline = Pipeline(self.network, self.device, self.geometry, loaded.threshold if threshold is None else float(threshold),
                                  descriptor, 0.0 if geometry == ORIGINAL else loaded.keypoint_bias, chunk,
                                  TILE_ABOVE[self.device.type])
        self._short_of_memory = False
        log.info("DALF on %s (%s, %s), weights %s, %s geometry", self.device, self.backend, self.precision, loaded.source, geometry)

    def _accelerate(self, backend: str, precision: str) -> tuple[str, str, int]:
        """The precision, what runs the network, in words, and how many patches it takes at once. ValueError: a precision not to be had."""
        on_cpu, corrected = self.device.type == "cpu", self.geometry != ORIGINAL
        on_openvino = on_cpu and corrected and choose_backend(backend) == "openvino"
        precision = choose_precision(precision, on_gpu=not on_cpu, corrected=corrected, on_openvino=on_openvino)
        if on_openvino:
            return precision, accelerate(self.network, precision), OPENVINO_CHUNK
        if precision == "float16":
            self.network.to_half()
            return precision, "pytorch, one CUDA graph", CHUNK[self.device.type]
        return precision, "pytorch", CHUNK[self.device.type]

    def warm_up(self) -> None:
        """Make what is made on first use, and is not of one image size. On a GPU, where that is quick, also what is of VGA size."""
        if self.device.type == "cuda":
            self.extract(np.random.default_rng(0).integers(0, 256, (480, 640), np.uint8))
            return
        with torch.inference_mode():
            gray = torch.rand(1, 1, WARM_UP_SIDE, WARM_UP_SIDE, generator=torch.Generator().manual_seed(0))
            _, features = self._pipeline.maps(gray)
            self._pipeline.describe(gray, features, torch.full((1, 2), WARM_UP_SIDE / 2))

    @property
    def threshold(self) -> float:
        """Least heatmap value of a keypoint."""
        return self._pipeline.threshold

    @property
    def keypoint_bias(self) -> float:
        """Pixels by which the detector answers too far right and down; keypoints are set right by it."""
        return self._pipeline.bias

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

        image: HxWx3 BGR, HxWx4 BGRA (alpha is ignored) or HxW; uint8, uint16 (equalised) or float in 0 to 1. At least 32x32.
        mask: HxW of any resolution, nonzero (or True) where keypoints may lie. ValueError: anything else, NaN, or a constant image.
        RuntimeError: the GPU has too little memory even for the smallest steps.
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
            with gpu_work(self.device):
                some = self._extract_some([grays[i] for i in indices], [allowed[i] for i in indices])
            results.update(zip(indices, some))
        return [results[i] for i in range(len(grays))]

    @torch.inference_mode()
    def heatmap(self, image: np.ndarray) -> np.ndarray:
        """(H, W) float32, the detector's response. Its positions are the network's; geometry.heatmap_to_image has the pixels."""
        gray = torch.from_numpy(to_gray(image))[None, None]
        with gpu_work(self.device):
            return self._pipeline.maps(gray.to(self.device))[0][0, 0].float().cpu().numpy()

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
        """The pipeline on images of the same size. When the GPU runs out of memory, in smaller steps."""
        batch = torch.from_numpy(np.stack(grays)[:, None])
        if self.device.type == "cuda":
            batch = batch.pin_memory()
        while True:
            try:
                if (graph := self._graph_for(batch, allowed)) is not None:
                    return [_found_rows(Found(*graph(batch, self._pipeline, top_k)))]
                return self._pipeline.run(batch.to(self.device, non_blocking=True), allowed, top_k)
            except torch.OutOfMemoryError as error:
                cause = error
            if self._graph is not None:
                self._graph.clear()
            if len(batch) > 1:
                return [self._run([gray], [mask], top_k)[0] for gray, mask in zip(grays, allowed)]
            self._take_smaller_steps(batch, top_k, cause)

    def _graph_for(self, batch: torch.Tensor, allowed: list[torch.Tensor | None]) -> GraphedFunction | None:
        """What runs a batch (B, 1, H, W) as a graph; None where it cannot be one: several images, a mask, or tiles."""
        alone = len(batch) == 1 and allowed[0] is None
        return self._graph if alone and not self._pipeline.tiles(*batch.shape[2:]) else None

    def _take_smaller_steps(self, batch: torch.Tensor, top_k: int, cause: Exception) -> None:
        """From now on. RuntimeError: they cannot get smaller."""
        smaller = self._pipeline.smaller()
        if smaller is None:
            raise RuntimeError(f"{self.device} has too little memory for an image of {batch.shape[3]}x{batch.shape[2]} and {top_k} "
                               "keypoints, even in the smallest steps: free some, make the image smaller, or use device='cpu'") from cause
        self._pipeline = smaller
        if not self._short_of_memory:
            log.warning("%s ran out of memory: working in smaller steps from now on, which takes longer", self.device)
        self._short_of_memory = True
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _run_fixed(gray: torch.Tensor, pipeline: Pipeline, top_k: int) -> Found:
    """What is captured as a graph."""
    return pipeline.run_fixed(gray, top_k)


def _check_choices(geometry: str, descriptor: str, precision: str, backend: str) -> None:
    for name, value, choices in (("geometry", geometry, GEOMETRIES), ("descriptor", descriptor, tuple(DESCRIPTORS)),
                                 ("precision", precision, PRECISIONS), ("backend", backend, BACKENDS)):
        if value not in choices:
            raise ValueError(f"{name} must be one of {choices}, not {value!r}")


def _same_size(grays: list[np.ndarray], most: int) -> Iterator[list[int]]:
    """Indices of images of one size, at most `most` together."""
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
    """The rows that are keypoints."""
    count = int((found.scores > -torch.inf).sum())
    return Found(*(values[:count] for values in found))


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
