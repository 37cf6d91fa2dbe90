"""The heavy parts of both networks, U-Net and patch descriptor, run by OpenVINO on the CPU.

The results equal PyTorch's up to rounding and take about half the time. PyTorch is the reference.
"""
from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .light_network import LightNetwork, PatchRows
from .network import Backbone, DalfNetwork
from .openvino_graph import model_of, quiet_openvino
from .tiles import TiledBackbone

log = logging.getLogger(__name__)

BACKENDS = ("auto", "openvino", "pytorch")
OPENVINO_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
SHAPES_KEPT = 4          # image sizes whose compiled models are kept
ROWS = 32                # patches described at once
PROBE_ERROR = 0.05       # of the largest value: more than float32 may be off, even where a processor rounds it to bfloat16


def choose_backend(backend: str) -> str:
    """What runs the network on the CPU: "openvino" or "pytorch".

    backend: "openvino" (RuntimeError where it does not run), "pytorch", "auto" (OpenVINO where it runs; says so where not).
    """
    if backend == "pytorch":
        return backend
    if fault := openvino_fault():
        if backend == "openvino":
            raise RuntimeError(f'{fault}; take backend="pytorch"')
        log.warning("%s: the CPU runs PyTorch, at about half the speed", fault)
        return "pytorch"
    return "openvino"


def accelerate(network: DalfNetwork | LightNetwork, precision: str) -> str:
    """Hand the convolutions of a folded network on the CPU to OpenVINO. Returns its name and version. precision: float32 or bfloat16."""
    openvino = quiet_openvino()
    core = openvino.Core()
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": OPENVINO_PRECISIONS[precision], "PERFORMANCE_HINT": "LATENCY"}
    if (threads := threads_asked_for()) is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    if isinstance(network, LightNetwork):
        _accelerate_light(network, core, settings)
        return _name_of(openvino)
    network.backbone = OpenVinoBackbone(network.backbone, core, settings)                               # type: ignore[assignment]
    network.warper.convolutions = OpenVinoModule(network.warper.convolutions, core, settings)          # type: ignore[assignment]
    descriptor = network.patch_descriptor
    descriptor.layers[0] = nn.Identity()
    network.patch_descriptor = nn.Sequential(Norm(), OpenVinoBatches(descriptor, core, settings))      # type: ignore[assignment]
    return _name_of(openvino)


def _accelerate_light(network: LightNetwork, core: Any, settings: dict[str, Any]) -> None:
    from .kernels.log_polar_patches import NormalisedPatches
    from .kernels.steering import CompiledPatchDescriptor

    backbone, descriptor = network.backbone, network.patch_descriptor
    backbone.norm = descriptor.layers[0] = nn.Identity()            # type: ignore[assignment]
    network.backbone = nn.Sequential(Norm(), OpenVinoModule(backbone, core, settings))                 # type: ignore[assignment]
    network.patches = NormalisedPatches(network.patches)                                                # type: ignore[assignment]
    network.patch_descriptor = CompiledPatchDescriptor(descriptor, OpenVinoBatches(PatchRows(descriptor.layers), core, settings))  # type: ignore[assignment]


def _name_of(openvino: Any) -> str:
    return f"openvino {openvino.__version__.split('-')[0]}"


@lru_cache(maxsize=1)
def openvino_fault() -> str:
    """Why OpenVINO is not to be used here; empty where it is."""
    try:
        openvino = quiet_openvino()
    except ImportError:
        return "OpenVINO is not installed (pip install openvino)"
    try:
        error = _probe_error(openvino.Core())
    except RuntimeError as failed:
        return f"OpenVINO does not run on this processor ({str(failed).strip().splitlines()[-1]})"
    return "" if error < PROBE_ERROR else f"OpenVINO computes wrongly on this processor (off by {error:.0%} of the largest value)"


def _probe_error(core: Any) -> float:
    """How far a norm, which fails first where a processor lacks AVX, and a convolution are off from PyTorch's, over the largest value.

    Seen to be 2.3 for convolutions of 64 channels on an emulated ARM processor with SVE2, where all smaller ones were right.
    """
    with torch.random.fork_rng(devices=()), torch.inference_mode():
        torch.manual_seed(0)
        module = nn.Sequential(nn.InstanceNorm2d(64), nn.Conv2d(64, 64, 3, padding=1)).eval()
        values = torch.rand(1, 64, 16, 16)
        expected = module(values).numpy()
    found = compiled(module, [tuple(values.shape)], core, {"INFERENCE_PRECISION_HINT": "f32"})(values.numpy())[0]
    return float(np.nan_to_num(np.abs(found - expected), nan=np.inf).max() / np.abs(expected).max())


def has_native_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16 (AVX-512 BF16, AMX), so that it saves time."""
    return "BF16" in quiet_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def openvino_precision(asked: str) -> str:
    """What OpenVINO computes in on this CPU when a precision is asked for."""
    settings = {"INFERENCE_PRECISION_HINT": OPENVINO_PRECISIONS[asked]}
    model = compiled(nn.ReLU(), [(1, 1, 8, 8)], quiet_openvino().Core(), settings)
    used = model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return next((name for name, theirs in OPENVINO_PRECISIONS.items() if theirs == used), used)


def threads_asked_for() -> int | None:
    """The number in OMP_NUM_THREADS, the first of a list ("4,2": one for each level of nesting); None where it holds none."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    first = text.split(",")[0].strip()
    if first.isdecimal() and int(first) > 0:
        return int(first)
    if text.strip():
        log.warning("OMP_NUM_THREADS=%s asks for no number of threads and is ignored", text)
    return None


class Norm(nn.Module):
    """nn.InstanceNorm2d of one channel. OpenVINO's is slow in bfloat16, and rounds to it before it normalises."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[1:])


class OpenVinoBackbone(nn.Module):
    """Stands in for the backbone."""

    def __init__(self, backbone: Backbone, core: Any, settings: dict[str, Any]) -> None:
        super().__init__()
        self._norm = backbone.norm = Norm()                         # type: ignore[assignment]
        self.tiled = TiledBackbone(backbone, lambda block: OpenVinoModule(block, core, settings))
        backbone.norm = nn.Identity()                               # type: ignore[assignment]
        self._whole = OpenVinoModule(backbone, core, settings)

    def forward(self, gray: torch.Tensor) -> Any:
        return self._whole(self._norm(gray))


class OpenVinoModule(nn.Module):
    """Stands in for a module; compiled for each shape of its inputs when it first comes, the latest few are kept."""

    def __init__(self, module: nn.Module, core: Any, settings: dict[str, Any]) -> None:
        super().__init__()
        self._module, self._core, self._settings = module, core, settings
        self._requests: OrderedDict[tuple[tuple[int, ...], ...], Any] = OrderedDict()

    def forward(self, *inputs: torch.Tensor) -> Any:
        values = [np.ascontiguousarray(x.numpy()) for x in inputs]
        outputs = self._request(tuple(x.shape for x in values)).infer(values, share_inputs=True)
        tensors = tuple(torch.from_numpy(np.array(value)) for value in outputs.to_tuple())
        return tensors if len(tensors) > 1 else tensors[0]

    def _request(self, shapes: tuple[tuple[int, ...], ...]) -> Any:
        if shapes not in self._requests:
            self._requests[shapes] = compiled(self._module, shapes, self._core, self._settings).create_infer_request()
            while len(self._requests) > SHAPES_KEPT:
                self._requests.popitem(last=False)
        self._requests.move_to_end(shapes)
        return self._requests[shapes]


class OpenVinoBatches(nn.Module):
    """Stands in for a module of one tensor in and one out, whose rows are independent: they are worked on in small batches, which fit
    the processor's caches, as many at a time as there are threads."""

    def __init__(self, module: nn.Module, core: Any, settings: dict[str, Any]) -> None:
        super().__init__()
        self._module = module
        threads = int(settings.get("INFERENCE_NUM_THREADS", os.cpu_count() or 1))
        self._core, self._settings = core, {**settings, "PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": threads}
        self._queue: Any = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = len(x)
        missing = -rows % ROWS
        padded = torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x
        values = np.ascontiguousarray(padded.numpy())
        if self._queue is None:
            self._start(values.shape[1:])
        self._result = np.empty((len(values), *self._shape), np.float32)
        for start in range(0, len(values), ROWS):
            self._queue.start_async({0: values[start:start + ROWS]}, start, share_inputs=True)
        self._queue.wait_all()
        return torch.from_numpy(self._result[:rows])

    def _start(self, shape: tuple[int, ...]) -> None:
        shape = (ROWS, *shape)
        model = compiled(self._module, [shape], self._core, self._settings)
        self._shape = tuple(int(length) for length in model.output(0).shape)[1:]
        self._queue = quiet_openvino().AsyncInferQueue(model, self._settings["NUM_STREAMS"])
        self._queue.set_callback(self._store)

    def _store(self, request: Any, start: int) -> None:
        self._result[start:start + ROWS] = request.get_output_tensor(0).data


def compiled(module: nn.Module, shapes: Sequence[tuple[int, ...]], core: Any, settings: dict[str, Any]) -> Any:
    """A module ready to run on inputs of these shapes."""
    return core.compile_model(model_of(module, shapes), "CPU", settings)
