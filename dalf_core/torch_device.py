"""PyTorch's devices: which one a name means, and how to work on a GPU without disturbing others."""
from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

log = logging.getLogger(__name__)


def choose_device(name: str) -> torch.device:
    """The device a name means. "auto" takes a GPU if there is one and logs its choice. A GPU always has its index.

    ValueError: an unknown name. RuntimeError: that GPU does not exist.
    """
    if name == "auto":
        found = torch.cuda.is_available()
        log.info("device auto: using %s", torch.cuda.get_device_name() if found else "the CPU, no CUDA GPU is usable")
        return torch.device("cuda", torch.cuda.current_device()) if found else torch.device("cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ValueError(f'unknown device {name!r}; use "auto", "cpu", "cuda" or "cuda:N"') from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f'device {name!r} is not supported; use "auto", "cpu", "cuda" or "cuda:N"')
    if device.type == "cpu":
        return device
    if (device.index or 0) >= torch.cuda.device_count():
        raise RuntimeError(f'device {name!r} was asked for, but PyTorch sees {torch.cuda.device_count()} CUDA GPUs; use "cpu" or "auto"')
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


@contextmanager
def gpu_work(device: torch.device) -> Iterator[None]:
    """Work on a GPU: on this thread's own stream, in full float32, and finished at the end of the block. On the CPU nothing changes.

    Nothing may be launched on the default stream while another library captures a CUDA graph.
    """
    if device.type == "cpu":
        yield
        return
    stream = _own_stream(device)
    with FULL_FLOAT32, torch.cuda.device(device), torch.cuda.stream(stream):
        yield
        stream.synchronize()


_streams = threading.local()


def _own_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of this thread on a GPU."""
    streams = vars(_streams)
    if str(device) not in streams:
        streams[str(device)] = torch.cuda.Stream(device)
    return streams[str(device)]


class _FullFloat32:
    """In a `with` block, GPUs do not round what convolutions and matrix products read to TF32, 10 of 23 bits.

    The switches are PyTorch's, the same for all threads: they are put back when the last thread has left the block.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._before = Switches(None, None, ())

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = Switches.now()
                self._before.off().set()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._before.set()


class Switches(NamedTuple):
    """PyTorch's switches for TF32, of its old interface (convolutions, products) and its new one.

    Both must agree, or PyTorch raises an error where it reads an old one; those that cannot be read for that reason are None.
    """

    convolutions: bool | None
    products: str | None
    new: tuple[str, ...]

    @staticmethod
    def now() -> Switches:
        """As they stand."""
        return Switches(_readable(lambda: torch.backends.cudnn.allow_tf32), _readable(torch.get_float32_matmul_precision),
                        tuple(place.fp32_precision for place in _places()))

    def off(self) -> Switches:
        """Full float32."""
        return Switches(None if self.convolutions is None else False, None if self.products is None else "highest",
                        ("ieee",) * len(self.new))

    def set(self) -> None:
        """Set PyTorch's."""
        if self.convolutions is not None:
            torch.backends.cudnn.allow_tf32 = self.convolutions
        if self.products is not None:
            torch.set_float32_matmul_precision(self.products)
        for place, precision in zip(_places(), self.new):
            if place.fp32_precision != precision:
                place.fp32_precision = precision


def _places() -> tuple[Any, ...]:
    return torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul


def _readable(switch: Callable[[], Any]) -> Any:
    """Its value; None where PyTorch refuses to read it."""
    try:
        return switch()
    except RuntimeError:
        return None


FULL_FLOAT32 = _FullFloat32()
