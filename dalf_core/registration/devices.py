"""The devices on which a registration can be solved."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..camera import PinholeCamera
from ..surface import Surface
from .graph import DeformationGraph
from .solver import Solver

SolverMaker = Callable[[Surface, DeformationGraph, PinholeCamera], Solver]


def solver_on(device: str) -> tuple[str, SolverMaker]:
    """The device of a name, as "cpu" or "cuda:N", and the constructor of its solvers.

    "auto" and "cpu" are the CPU: it has not been measured from what size on a GPU is faster. "cuda" and "cuda:N" are a GPU, through NVIDIA
    Warp. RuntimeError when there is none, ValueError for any other name.
    """
    if device in ("auto", "cpu"):
        return "cpu", Solver
    kind, _, number = device.partition(":")
    if kind != "cuda" or (":" in device and not number.isdigit()):
        raise ValueError(f'unknown device {device!r}; use "auto", "cpu", "cuda" or "cuda:N"')
    try:
        from .gpu.device import device_of
    except ImportError as error:
        raise RuntimeError(f"registration with device={device!r} needs NVIDIA Warp ({error}): pip install warp-lang, or take "
                           "'cpu' or 'auto'") from error
    alias = device_of(device).alias
    from .gpu.solver import GpuSolver

    return alias, partial(GpuSolver, device=alias)
