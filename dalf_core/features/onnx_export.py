"""The whole extractor as one ONNX graph, for TensorRT, ONNX Runtime and the like; checked against PyTorch.

Input `gray` (1, 1, H, W) float32, the mean of the colours, 0 to 1. Outputs, strongest keypoint first, always top_k rows:
`keypoints` (top_k, 2) pixels, pixel centres at integers; `scores` (top_k,), -inf where there was no further keypoint;
`descriptors` (top_k, D) of unit length. The image size and top_k are fixed in the graph; all else is in its metadata.

A graph of free size takes `gray` (B, 1, H, W), any number of images of any one size, sides of at least 32 and more than top_k pixels, and
gives `keypoints` (B, top_k, 2), `scores` (B, top_k), `descriptors` (B, top_k, D).
"""
from __future__ import annotations

import copy
import logging
import math
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from ..files.whole_file import whole_file
from .extractor import DALF
from .geometry import ORIGINAL
from .pipeline import Found

NEW_EXPORTER = 18       # the least opset that PyTorch's exporter of today writes
OPSET = {"ts-fl": 20, "light": 17}          # the first that has the layers of each network
FREE = "free"               # the image size of a graph that takes any
FREE_OPSET = 17             # of graphs of free size, by the older exporter
FREE_AXES = {"gray": {0: "batch", 2: "height", 3: "width"}, **{name: {0: "batch"} for name in Found._fields}}
PLACE_TOLERANCE = 0.05      # pixels: further apart is another keypoint
LEAST_AGREEMENT = 0.99      # of the keypoints: rounding decides which sample of a flat top is the maximum
LEAST_COSINE = 0.9999


class ExportError(RuntimeError):
    """The graph could not be made, or its results differ from PyTorch's."""


@dataclass(frozen=True)
class Agreement:
    """ONNX Runtime against PyTorch on one image: keypoints found, the part of them found by both, and the worst descriptor cosine."""

    keypoints: int
    common: float
    cosine: float


class _Extraction(nn.Module):
    """From grey image to keypoints, scores and descriptors, of fixed shapes; or free: from any number of images of any one size."""

    def __init__(self, dalf: DALF, free: bool) -> None:
        super().__init__()
        self.network = copy.deepcopy(dalf.network)
        _tell_channels_of_norms(self.network)
        self._pipeline, self._top_k, self.free = replace(dalf._pipeline, network=self.network), dalf.top_k, free

    def forward(self, gray: torch.Tensor) -> Found:
        return self._pipeline.run_fixed_batch(gray, self._top_k) if self.free else self._pipeline.run_fixed(gray, self._top_k)


def _tell_channels_of_norms(network: nn.Module) -> None:
    """Instance norms with a scale of one and a shift of zero: the older exporter reads from them what the tensors do not tell it."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.InstanceNorm2d):
                setattr(module, name, nn.InstanceNorm2d(child.num_features, child.eps, affine=True))


def export_onnx(path: str | os.PathLike[str], dalf: DALF, width: int, height: int) -> Agreement:
    """Write the extractor as an ONNX file for images of width x height, and check it on a made-up picture.

    dalf: on the CPU, backend="pytorch", corrected geometry, one scale. An existing file is replaced only after that check.
    Raises ExportError (differs from PyTorch), ValueError (another dalf), ImportError (pip install onnx onnxscript onnxruntime), OSError.
    """
    return _export(Path(path), dalf, f"{width}x{height}", [_test_pictures(1, width, height)])


def export_free_onnx(path: str | os.PathLike[str], dalf: DALF) -> Agreement:
    """As export_onnx, for any number of images of any size. It is checked on two sizes and numbers of them; the worst image is told."""
    side = max(64, math.isqrt(dalf.top_k) + 1)
    return _export(Path(path), dalf, FREE, [_test_pictures(2, side + 45, side), _test_pictures(1, side, side + 16)])


def _export(path: Path, dalf: DALF, size: str, batches: list[torch.Tensor]) -> Agreement:
    """Written from the first batch, checked on all."""
    if dalf.device.type != "cpu" or dalf.backend != "pytorch" or dalf.geometry == ORIGINAL or dalf.scales != (1.0,):
        raise ValueError('the export needs DALF(device="cpu", backend="pytorch") with the corrected geometry and one scale')
    with whole_file(path) as partial:
        partial.touch()         # a folder that cannot be written to shows before the work
        _write(partial, _Extraction(dalf, size == FREE).eval(), batches[0], _metadata(dalf, size))
        return _compare(partial, dalf, batches)


def _metadata(dalf: DALF, size: str) -> dict[str, str]:
    return {"architecture": dalf.architecture, "geometry": dalf.geometry, "weights": dalf.weights, "descriptor": dalf.descriptor,
            "threshold": str(dalf.threshold), "top_k": str(dalf.top_k), "image_size": size}


def _write(path: Path, module: _Extraction, gray: torch.Tensor, metadata: dict[str, str]) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)         # it warns that torchvision is not installed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opset = FREE_OPSET if module.free else OPSET[metadata["architecture"]]
        names: dict[str, Any] = {"opset_version": opset, "input_names": ["gray"], "output_names": list(Found._fields), "verbose": False}
        if opset < NEW_EXPORTER:
            _write_traced(path, module, gray, metadata, names | {"dynamic_axes": FREE_AXES} if module.free else names)
            return
        program = torch.onnx.export(module, (gray,), dynamo=True, **names)
    assert program is not None
    program.model.metadata_props.update(metadata)
    program.save(str(path), external_data=False)


def _write_traced(path: Path, module: nn.Module, gray: torch.Tensor, metadata: dict[str, str], names: dict[str, Any]) -> None:
    """By PyTorch's older exporter."""
    import onnx

    with torch.inference_mode(False), torch.no_grad():
        torch.onnx.export(module, (gray,), str(path), dynamo=False, **names)
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, str(path))


def _test_pictures(count: int, width: int, height: int) -> torch.Tensor:
    """(count, 1, H, W) float32."""
    return torch.from_numpy(np.stack([_test_picture(seed, width, height) for seed in range(count)]))[:, None]


def _test_picture(seed: int, width: int, height: int) -> np.ndarray:
    """(H, W) float32: smoothed noise of several sizes, full of corners."""
    rng = np.random.default_rng(seed)
    picture = sum(sigma * cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), sigma) for sigma in (1.5, 3.0, 8.0))
    return cv2.normalize(picture, None, 0, 1, cv2.NORM_MINMAX).astype(np.float32)


def _compare(path: Path, dalf: DALF, batches: list[torch.Tensor]) -> Agreement:
    """The worst of all images. ExportError: it differs by more than rounding."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    compared = []
    for gray in batches:
        outputs = [torch.from_numpy(value) for value in session.run(None, {"gray": gray.numpy()})]
        rows = [outputs] if outputs[1].dim() == 1 else list(zip(*outputs))
        with torch.inference_mode():
            compared += [_agreement(Found(*ours), dalf._pipeline.run_fixed(image, dalf.top_k)) for ours, image in zip(rows, gray.split(1))]
    agreement = Agreement(sum(one.keypoints for one in compared), min(one.common for one in compared), min(one.cosine for one in compared))
    if agreement.common < LEAST_AGREEMENT or agreement.cosine < LEAST_COSINE:
        raise ExportError(f"the ONNX graph differs from PyTorch: {agreement.common:.1%} of {agreement.keypoints} keypoints agree, worst "
                          f"descriptor cosine {agreement.cosine:.5f}")
    return agreement


def _agreement(ours: Found, expected: Found) -> Agreement:
    """What was found in one image, by ONNX Runtime and by PyTorch."""
    kept, wanted = ours.scores > -torch.inf, expected.scores > -torch.inf
    if not wanted.any():
        return Agreement(0, 1.0, 1.0) if not kept.any() else Agreement(0, 0.0, 0.0)
    apart = torch.cdist(expected.keypoints[wanted], ours.keypoints[kept], compute_mode="donot_use_mm_for_euclid_dist")
    distance, nearest = apart.min(dim=1)
    near = distance < PLACE_TOLERANCE
    cosine = (expected.descriptors[wanted][near] * ours.descriptors[kept][nearest[near]]).sum(dim=1)
    return Agreement(int(wanted.sum()), float(near.float().mean()), float(cosine.min()) if len(cosine) else 0.0)
