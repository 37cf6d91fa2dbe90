"""The normal equations on a device of NVIDIA Warp: as normal_equations, in float32 and not padded.

Conjugate gradients stay on the device. An iteration is two kernels: each of their blocks sums up the parts of the scalar products that the
kernel before has left, one part a block, and so knows step lengths and whether all is done without asking the host. Nothing is added
atomically: sums have one order, and the same input gives the same output.
"""
import sys

import numpy as np
import warp as wp

from .graph import DeformationGraph
from .normal_equations import MAX_ITERATIONS, TOLERANCE

NODES = 16                      # of a block
THREADS = 6 * NODES             # of a block, one for each unknown; a CPU runs its work in one
CHUNK = 20                      # iterations between two looks at whether it is done; even, see _rz
RUNNING, CONVERGED, FAILED = 0, 1, 2

vec6 = wp.types.vector(6, wp.float32)
mat66 = wp.types.matrix((6, 6), wp.float32)
mat66d = wp.types.matrix((6, 6), wp.float64)

wp.set_module_options({"enable_backward": False, "max_unroll": 4})


class WarpEquations:
    """H x = rhs for one graph.

    On the device: diagonal (K, 6) rows of a node's block, coupling (E, 6) rows of a directed edge's: coupling[e, p, q] = H[6i + p, 6j + q].
    """

    def __init__(self, graph: DeformationGraph, device: wp.Device) -> None:
        count = len(graph)
        self._device, self._blocks = device, -(-count // NODES)
        self.diagonal = wp.zeros((count, 6), vec6, device=device)
        self.coupling = wp.zeros((max(1, len(graph.edges)), 6), vec6, device=device)
        self.gradient = wp.zeros(count, vec6, device=device)            # less rhs
        self._first_edge = wp.array(graph.first_edge, dtype=int, device=device)
        self._neighbour = wp.array(np.ascontiguousarray(graph.edges[:, 1]), dtype=int, device=device)
        self._damped = wp.zeros((count, 6), vec6, device=device)
        self._inverse = wp.zeros(count, mat66, device=device)
        self._x, self._r, self._z = (wp.zeros(count, vec6, device=device) for _ in range(3))
        self._p = [wp.zeros(count, vec6, device=device) for _ in range(2)]
        self._product = wp.zeros((count, 6), float, device=device)      # H p
        # parts of r . z, this iteration's and the one's before in turn; of p . H p; of the r . z at which to stop
        self._rz = wp.zeros((2, self._blocks), float, device=device)
        self._curvature, self._limit = (wp.zeros(self._blocks, float, device=device) for _ in range(2))
        self._status = wp.zeros(1, int, device=device)
        self._graph = self._captured() if device.is_cuda else None

    @property
    def rhs(self) -> np.ndarray:
        """(K, 6) float64"""
        return -self.gradient.numpy().astype(np.float64)

    def solve(self, damping: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray | None:
        """x (K, 6) float64 of (H + diag(damping)) x = rhs, by conjugate gradients; None when that matrix is not positive definite.

        damping: (6,) added to each node's diagonal.
        """
        self._status.zero_()
        self._launch(_begin, self.diagonal, self.gradient, vec6(*damping), tolerance**2, self._damped, self._inverse, self._x, self._r,
                     self._z, self._p[0], self._rz, self._limit, self._status)
        for _ in range(0, MAX_ITERATIONS, CHUNK):
            if self._graph is None:
                self._iterate()
            else:
                wp.capture_launch(self._graph)
            status = self._status.numpy()[0]
            if status != RUNNING:
                break
        x = self._x.numpy().astype(np.float64)
        return x if status != FAILED and np.isfinite(x).all() else None

    def _iterate(self) -> None:
        for n in range(CHUNK):
            now = n % 2
            self._launch(_multiply, self._first_edge, self._neighbour, self._damped, self.coupling, self._z, self._p[now], self._p[1 - now],
                         self._product, now, self._rz, self._curvature, self._limit, self._status)
            self._launch(_advance, self._inverse, self._p[1 - now], self._product, self._x, self._r, self._z, now, self._rz,
                         self._curvature, self._status)

    def _launch(self, kernel: wp.Kernel, *arguments: object) -> None:
        wp.launch_tiled(kernel, dim=[self._blocks], inputs=list(arguments), block_dim=THREADS, device=self._device)

    def _captured(self) -> wp.Graph:
        """A chunk of iterations as one CUDA graph."""
        wp.load_module(sys.modules[__name__], self._device, block_dim=THREADS)
        with wp.ScopedCapture(self._device, force_module_load=False) as capture:
            self._iterate()
        return capture.graph


@wp.kernel
def _begin(diagonal: wp.array2d[vec6], gradient: wp.array[vec6], damping: vec6, tolerance: float, damped: wp.array2d[vec6],
           inverse: wp.array[mat66], x: wp.array[vec6], r: wp.array[vec6], z: wp.array[vec6], p: wp.array[vec6],
           rz: wp.array2d[float], limit: wp.array[float], status: wp.array[int]):
    """Damp and invert the blocks; start from x = 0. tolerance: squared."""
    block, lane = wp.tid()
    total = float(0.0)
    for n in range(lane, NODES, wp.block_dim()):
        i = block * NODES + n
        if i < gradient.shape[0]:
            work = mat66d()
            for row in range(6):
                values = diagonal[i, row]
                values[row] = values[row] + damping[row]
                damped[i, row] = values
                for q in range(6):
                    work[row, q] = wp.float64(values[q])
            work, positive = _inverted(work)
            if not positive:
                status[0] = FAILED
            inverse[i] = mat66(work)
            x[i] = vec6()
            p[i] = vec6()
            r[i] = -gradient[i]
            z[i] = inverse[i] @ r[i]
            total += wp.dot(r[i], z[i])
    part = wp.tile_sum(wp.tile(total))[0]
    if lane == 0:
        rz[0, block] = part
        rz[1, block] = wp.INF               # so that the first direction is z alone
        limit[block] = tolerance * part


@wp.func
def _inverted(work: mat66d):
    """By Gauss-Jordan in float64; and whether the matrix is positive definite."""
    positive = bool(True)
    for k in range(6):
        pivot = work[k, k]
        if not pivot > wp.float64(0.0):
            positive = False
        work[k, k] = wp.float64(1.0)
        for q in range(6):
            work[k, q] = work[k, q] / pivot
        for row in range(6):
            if row != k:
                factor = work[row, k]
                work[row, k] = wp.float64(0.0)
                for q in range(6):
                    work[row, q] = work[row, q] - factor * work[k, q]
    return work, positive


@wp.func
def _sum(parts: wp.array[float], lane: int):
    """Of the parts that all blocks have left; every thread of the block must come here."""
    total = float(0.0)
    for n in range(lane, parts.shape[0], wp.block_dim()):
        total += parts[n]
    return wp.tile_sum(wp.tile(total))[0]


@wp.kernel
def _multiply(first_edge: wp.array[int], neighbour: wp.array[int], damped: wp.array2d[vec6], coupling: wp.array2d[vec6],
              z: wp.array[vec6], p: wp.array[vec6], p_new: wp.array[vec6], product: wp.array2d[float], now: int,
              rz: wp.array2d[float], curvature: wp.array[float], limit: wp.array[float], status: wp.array[int]):
    """The next direction p_new = z + beta p, and H p_new; nothing when done. A thread has a row."""
    block, lane = wp.tid()
    r_z = _sum(rz[now], lane)
    before = _sum(rz[1 - now], lane)
    goal = _sum(limit, lane)
    # whoever sees a status that block 0 has set just now finds the same itself
    going = status[0] == RUNNING and r_z > goal
    if block == 0 and lane == 0 and status[0] == RUNNING and not going:
        status[0] = wp.where(r_z <= goal, CONVERGED, FAILED)       # failed: not a number
    beta = r_z / before
    total = float(0.0)
    for n in range(lane, 6 * NODES, wp.block_dim()):
        i = block * NODES + n // 6
        row = n % 6
        if going and i < z.shape[0]:
            own = z[i] + beta * p[i]
            value = wp.dot(damped[i, row], own)
            for e in range(first_edge[i], first_edge[i + 1]):
                j = neighbour[e]
                value += wp.dot(coupling[e, row], z[j] + beta * p[j])
            product[i, row] = value
            total += own[row] * value
            if row == 0:
                p_new[i] = own
    part = wp.tile_sum(wp.tile(total))[0]
    if lane == 0:
        curvature[block] = part


@wp.kernel
def _advance(inverse: wp.array[mat66], p: wp.array[vec6], product: wp.array2d[float], x: wp.array[vec6], r: wp.array[vec6],
             z: wp.array[vec6], now: int, rz: wp.array2d[float], curvature: wp.array[float], status: wp.array[int]):
    """The step along p, and what is left; nothing when done. A thread has a node."""
    block, lane = wp.tid()
    r_z = _sum(rz[now], lane)
    bent = _sum(curvature, lane)
    going = status[0] == RUNNING and bent > 0.0
    if block == 0 and lane == 0 and status[0] == RUNNING and not going:
        status[0] = FAILED
    length = r_z / bent
    total = float(0.0)
    for n in range(lane, NODES, wp.block_dim()):
        i = block * NODES + n
        if going and i < x.shape[0]:
            x[i] = x[i] + length * p[i]
            left = r[i]
            for q in range(6):
                left[q] = left[q] - length * product[i, q]
            r[i] = left
            z[i] = inverse[i] @ left
            total += wp.dot(left, z[i])
    part = wp.tile_sum(wp.tile(total))[0]
    if lane == 0 and going:
        rz[1 - now, block] = part
