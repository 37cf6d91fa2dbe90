"""One CUDA graph for a whole function: the processor launches it once instead of some hundred kernels."""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch

GRAPHS_KEPT = 4         # for so many image sizes
WARM_UPS = 3            # runs before the capture: cuDNN chooses its algorithms, caches fill


class GraphedFunction:
    """Runs a function of one tensor as a CUDA graph, captured for each input shape when it first comes; the latest few are kept.

    function: all its work must be on the GPU, of shapes that depend on the input's shape only. It returns a tuple of tensors.
    What a call returns is overwritten by the next call of the same shape.
    """

    def __init__(self, function: Callable[[torch.Tensor], tuple[torch.Tensor, ...]], device: torch.device) -> None:
        self._function, self._device = function, device
        self._captured: OrderedDict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, torch.Tensor, tuple[torch.Tensor, ...]]] = OrderedDict()

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """x: on the CPU (pinned memory is copied without waiting) or on the GPU."""
        shape = tuple(x.shape)
        if shape not in self._captured:
            self._captured[shape] = self._capture(x)
            while len(self._captured) > GRAPHS_KEPT:
                self._captured.popitem(last=False)
        self._captured.move_to_end(shape)
        graph, place, result = self._captured[shape]
        place.copy_(x, non_blocking=True)
        graph.replay()
        return result

    def clear(self) -> None:
        """Give the graphs' memory back."""
        self._captured.clear()

    def _capture(self, x: torch.Tensor) -> tuple[torch.cuda.CUDAGraph, torch.Tensor, tuple[torch.Tensor, ...]]:
        place = x.to(self._device, copy=True)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._function(place)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):       # the registration may allocate meanwhile
            result = self._function(place)
        return graph, place, result
