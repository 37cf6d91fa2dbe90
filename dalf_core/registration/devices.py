"""What a registration can be solved on."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..camera import PinholeCamera
from ..surface import Surface
from .graph import DeformationGraph
from .solver import Solver

SolverMaker = Callable[[Surface, DeformationGraph, PinholeCamera], Solver]


def solver_on(device: str) -> tuple[str, SolverMaker]:
    """The device that a name stands for ("cpu" or "cuda:N"), and what makes solvers on it.

    "auto" and "cpu" are the CPU; "cuda" and "cuda:N" a GPU through NVIDIA Warp. RuntimeError when that cannot be had, ValueError for
    another name.
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
    chosen = device_of(device).alias
    from .gpu.solver import GpuSolver

    return chosen, partial(GpuSolver, device=chosen)
