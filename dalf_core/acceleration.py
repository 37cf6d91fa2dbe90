"""The network's two heavy parts, the U-Net and the patch descriptor, run by OpenVINO on the CPU.

Same weights, same results to rounding, about half the time of PyTorch. PyTorch stays the reference.
"""
from __future__ import annotations

import logging
import os
import warnings
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import nn

from .network import Backbone, DalfNetwork
from .strips import BackboneInStrips

log = logging.getLogger(__name__)

BACKENDS = ("auto", "openvino", "pytorch")
PRECISIONS = ("float32", "bfloat16", "float16")
OPENVINO_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
SHAPES_KEPT = 4          # compiled graphs for so many image sizes


def accelerate(network: DalfNetwork, batch: int, backend: str = "auto", precision: str = "float32") -> str:
    """Hand the backbone and the patch descriptor of a folded network on the CPU to OpenVINO. Returns what is used.

    batch: patches described at once; the patch descriptor is compiled for just this number.
    backend: "openvino" (ImportError without it), "pytorch" (does nothing), "auto" (OpenVINO where it is installed; says so when not).
    """
    if backend == "pytorch":
        return "pytorch"
    try:
        import openvino
    except ImportError:
        if backend == "openvino":
            raise
        log.warning("OpenVINO is not installed: the CPU runs PyTorch, at about half the speed (pip install openvino)")
        return "pytorch"
    core = openvino.Core()
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": OPENVINO_PRECISIONS[precision], "PERFORMANCE_HINT": "LATENCY"}
    if threads := os.environ.get("OMP_NUM_THREADS"):
        settings["INFERENCE_NUM_THREADS"] = int(threads)
    if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        log.warning("this CPU has no bfloat16: float32 is used")
    network.backbone = OpenVinoBackbone(network.backbone, core, settings)                               # type: ignore[assignment]
    network.patch_descriptor = OpenVinoModule(network.patch_descriptor, core, settings, batch)          # type: ignore[assignment]
    return f"openvino {openvino.__version__.split('-')[0]}"


class OpenVinoBackbone(nn.Module):
    """Stands in for the backbone. Strips stay with PyTorch: a graph for each shape of each block takes more memory than they save."""

    def __init__(self, backbone: Backbone, core: Any, settings: dict[str, Any]) -> None:
        super().__init__()
        self._whole = OpenVinoModule(backbone, core, settings)
        self.in_strips = BackboneInStrips(backbone)

    def forward(self, gray: torch.Tensor) -> Any:
        return self._whole(gray)


class OpenVinoModule(nn.Module):
    """Stands in for a module of one tensor in; compiled for each input shape when it first comes, the latest few are kept.

    batch: inputs of fewer rows are padded to so many, so that one compiled graph serves them.
    """

    def __init__(self, module: nn.Module, core: Any, settings: dict[str, Any], batch: int | None = None) -> None:
        super().__init__()
        self._batch = batch
        self._module = module.to(memory_format=torch.contiguous_format)
        self._core, self._settings = core, settings
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def forward(self, x: torch.Tensor) -> Any:
        rows = len(x)
        if self._batch and rows < self._batch:
            x = torch.cat([x, x.new_zeros(self._batch - rows, *x.shape[1:])])
        outputs = self._request(tuple(x.shape)).infer([np.ascontiguousarray(x.numpy())], share_inputs=True)
        tensors = tuple(torch.from_numpy(np.array(value[:rows])) for value in outputs.to_tuple())
        return tensors if len(tensors) > 1 else tensors[0]

    def _request(self, shape: tuple[int, ...]) -> Any:
        if shape not in self._compiled:
            import openvino

            example = torch.zeros(*shape[:2], min(shape[2], 64), min(shape[3], 64))      # tracing runs it in PyTorch: a small one will do
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", torch.jit.TracerWarning)
                model = openvino.convert_model(self._module, example_input=example, input=[list(shape)])
            self._compiled[shape] = self._core.compile_model(model, "CPU", self._settings).create_infer_request()
            while len(self._compiled) > SHAPES_KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(shape)
        return self._compiled[shape]
