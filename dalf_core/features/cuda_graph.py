"""One CUDA graph for a whole function: the processor launches it once instead of some hundred kernels."""
from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple

import torch

GRAPHS_KEPT = 4         # the latest ones
WARM_UPS = 3            # runs before the capture: cuDNN chooses its algorithms, caches fill

# Held while a graph is captured: PyTorch begins by synchronising the whole GPU, which would break another thread's capture.
CAPTURE = threading.Lock()

Tensors = tuple[torch.Tensor, ...]


class GraphKey(NamedTuple):
    """Everything a captured graph depends on except the values of its input."""

    device: torch.device
    shape: tuple[int, ...]
    dtype: torch.dtype
    constants: tuple[Hashable, ...]


class CapturedGraph:
    """A graph with the places of its input and its results."""

    def __init__(self, function: Callable[..., Tensors], x: torch.Tensor, key: GraphKey) -> None:
        """Captures function(x, *constants) on the current stream, which must be none of the default ones."""
        self._place = x.to(key.device, copy=True)
        for _ in range(WARM_UPS):
            function(self._place, *key.constants)
        self._graph = torch.cuda.CUDAGraph()
        # thread_local: other threads may allocate meanwhile. Without a stream named, PyTorch takes one of the first GPU ever used.
        with CAPTURE, torch.cuda.graph(self._graph, stream=torch.cuda.current_stream(key.device), capture_error_mode="thread_local"):
            self._results = function(self._place, *key.constants)

    def __call__(self, x: torch.Tensor) -> Tensors:
        self._place.copy_(x, non_blocking=True)
        self._graph.replay()
        return tuple(result.clone() for result in self._results)        # the next call writes over them


class GraphedFunction:
    """Runs a function on a GPU as CUDA graphs: one for each kind of input and each set of constants; the latest few are kept.

    function: of a tensor and of hashable constants; it returns a tuple of tensors. All its work must be on the GPU, of shapes that depend
    on the input's shape and the constants only. What else it reads is fixed in the graph, so it must not change: make it a constant.
    device: with its index. Call it on a stream of your own (torch_device.gpu_work).
    """

    def __init__(self, function: Callable[..., Tensors], device: torch.device) -> None:
        self._function, self._device = function, device
        self._captured: OrderedDict[GraphKey, CapturedGraph] = OrderedDict()

    def __call__(self, x: torch.Tensor, *constants: Hashable) -> Tensors:
        """x: on the CPU (pinned memory is copied without waiting) or on the GPU."""
        key = GraphKey(self._device, tuple(x.shape), x.dtype, constants)
        if key not in self._captured:
            self._captured[key] = CapturedGraph(self._function, x, key)
            while len(self._captured) > GRAPHS_KEPT:
                self._captured.popitem(last=False)
        self._captured.move_to_end(key)
        return self._captured[key](x)

    def clear(self) -> None:
        """Give the graphs' memory back."""
        self._captured.clear()
