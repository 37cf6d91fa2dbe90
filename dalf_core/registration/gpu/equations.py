"""The normal equations on a device of NVIDIA Warp: as normal_equations, in float32 and not padded.

Conjugate gradients stay on the device. An iteration is two kernels: each of their blocks sums up the parts of the scalar products that the
kernel before has left, one part a block, and so knows step lengths and whether all is done without asking the host. Nothing is added
atomically: sums have one order, and the same input gives the same output.

Launches are recorded once and repeated. They are not captured in a CUDA graph: while a stream of NVIDIA Warp's (none is non-blocking) is
being captured, CUDA forbids other threads to use the default stream, on which PyTorch works, and fails both.
"""
import numpy as np
import warp as wp

from ..graph import DeformationGraph
from ..normal_equations import MAX_ITERATIONS, TOLERANCE

NODES = 16                      # of a block
THREADS = 6 * NODES             # of a block, one for each unknown; on the CPU one does their work in turn
CHUNK = 20                      # iterations between two looks at whether it is done; even, as launches alternate
RUNNING, CONVERGED, FAILED = 0, 1, 2

wp.set_module_options({"enable_backward": False, "max_unroll": 4})


@wp.struct
class System:
    """H and -rhs. diagonal: (K, 6) rows of the nodes' blocks; coupling: (E, 6) of the edges', coupling[e, p, q] = H[6i + p, 6j + q]."""

    first_edge: wp.array[int]
    neighbour: wp.array[int]
    diagonal: wp.array2d[wp.spatial_vector]
    coupling: wp.array2d[wp.spatial_vector]
    gradient: wp.array[wp.spatial_vector]


@wp.struct
class Search:
    """Where conjugate gradients are. damped: diagonal blocks, inverse: of these; product: H p.

    Parts, one a block: rz of r . z, this iteration's and the last one's in turn; curvature of p . H p; limit of the r . z to stop at.
    """

    damped: wp.array2d[wp.spatial_vector]
    inverse: wp.array[wp.spatial_matrix]
    x: wp.array[wp.spatial_vector]
    r: wp.array[wp.spatial_vector]
    z: wp.array[wp.spatial_vector]
    product: wp.array2d[float]
    rz: wp.array2d[float]
    curvature: wp.array[float]
    limit: wp.array[float]
    status: wp.array[int]


class GpuEquations:
    """H x = rhs for one graph. On the device: diagonal, coupling and gradient, see System."""

    def __init__(self, graph: DeformationGraph, device: wp.Device) -> None:
        count, self._blocks, self._device = len(graph), -(-len(graph) // NODES), device
        self._system, self._search = system, search = System(), Search()
        system.first_edge = wp.array(graph.first_edge, dtype=int, device=device)
        system.neighbour = wp.array(np.ascontiguousarray(graph.edges[:, 1]), dtype=int, device=device)
        self.diagonal = system.diagonal = self._zeros((count, 6))
        self.coupling = system.coupling = self._zeros((len(graph.edges), 6))
        self.gradient = system.gradient = self._zeros(count)
        search.damped, search.inverse = self._zeros((count, 6)), self._zeros(count, wp.spatial_matrix)
        search.x, search.r, search.z = self._zeros(count), self._zeros(count), self._zeros(count)
        search.product, search.rz = self._zeros((count, 6), float), self._zeros((2, self._blocks), float)
        search.curvature, search.limit = self._zeros(self._blocks, float), self._zeros(self._blocks, float)
        search.status = self._zeros(1, int)
        self._p = self._zeros(count), self._zeros(count)        # the direction, and the one before, in turn
        self._two_iterations = [launch for now in (0, 1) for launch in self._recorded(now)]

    @property
    def rhs(self) -> np.ndarray:
        """(K, 6) float64"""
        return -self.gradient.numpy().astype(np.float64)

    def solve(self, damping: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray | None:
        """x (K, 6) float64 of (H + diag(damping)) x = rhs, by conjugate gradients; None when that matrix is not positive definite.

        damping: (6,) added to each node's diagonal.
        """
        search = self._search
        search.status.zero_()
        self._launch(_begin, self._system, search, self._p[0], wp.spatial_vector(*damping), tolerance**2)
        for _ in range(0, MAX_ITERATIONS, CHUNK):
            for _ in range(CHUNK // 2):
                for launch in self._two_iterations:
                    launch.launch()
            status = search.status.numpy()[0]
            if status != RUNNING:
                break
        x = search.x.numpy().astype(np.float64)
        return x if status != FAILED and np.isfinite(x).all() else None

    def _zeros(self, shape: int | tuple[int, ...], kind: type = wp.spatial_vector) -> wp.array:
        return wp.zeros(shape, kind, device=self._device)

    def _launch(self, kernel: wp.Kernel, *arguments: object) -> None:
        self._recording(kernel, *arguments).launch()

    def _recording(self, kernel: wp.Kernel, *arguments: object) -> wp.Launch:
        """A launch that is not carried out yet, and may be any number of times."""
        return wp.launch_tiled(kernel, dim=[self._blocks], inputs=list(arguments), block_dim=THREADS, device=self._device, record_cmd=True)

    def _recorded(self, now: int) -> list[wp.Launch]:
        """The two launches of an even (0) or odd (1) iteration."""
        p, p_new = self._p[now], self._p[1 - now]
        return [self._recording(_multiply, self._system, self._search, p, p_new, now), self._recording(_advance, self._search, p_new, now)]


@wp.kernel
def _begin(system: System, search: Search, p: wp.array[wp.spatial_vector], damping: wp.spatial_vector, tolerance: float) -> None:
    """Damp and invert the blocks; start from x = 0. tolerance: squared. A thread has a node."""
    block, lane = wp.tid()
    total = wp.float32(0.0)
    for n in range(lane, NODES, wp.block_dim()):
        i = block * NODES + n
        if i < search.x.shape[0]:
            work = wp.spatial_matrixd()
            for row in range(6):
                values = system.diagonal[i, row]
                values[row] = values[row] + damping[row]
                search.damped[i, row] = values
                for q in range(6):
                    work[row, q] = wp.float64(values[q])
            work, positive = _inverted(work)
            if not positive:
                search.status[0] = FAILED
            inverse = wp.spatial_matrix(work)
            r = -system.gradient[i]
            z = inverse @ r
            search.inverse[i] = inverse
            search.x[i] = wp.spatial_vector()
            search.r[i] = r
            search.z[i] = z
            p[i] = wp.spatial_vector()
            total += wp.dot(r, z)
    part = wp.tile_sum(wp.tile(total))[0]
    if lane == 0:
        search.rz[0, block] = part
        search.rz[1, block] = wp.INF               # so that the first direction is z alone
        search.limit[block] = tolerance * part


@wp.func
def _inverted(work: wp.spatial_matrixd) -> tuple[wp.spatial_matrixd, bool]:
    """By Gauss-Jordan in float64; and whether the matrix is positive definite."""
    positive = wp.bool(True)
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
def _sum(parts: wp.array[float], lane: int) -> float:
    """Of the parts that all blocks have left; every thread of the block must come here."""
    total = wp.float32(0.0)
    for n in range(lane, parts.shape[0], wp.block_dim()):
        total += parts[n]
    return wp.tile_sum(wp.tile(total))[0]


@wp.kernel
def _multiply(system: System, search: Search, p: wp.array[wp.spatial_vector], p_new: wp.array[wp.spatial_vector], now: int) -> None:
    """The next direction p_new = z + beta p, and H p_new; nothing when done. A thread has a row."""
    block, lane = wp.tid()
    rz = _sum(search.rz[now], lane)
    before = _sum(search.rz[1 - now], lane)
    limit = _sum(search.limit, lane)
    # a thread that sees a status set just now by the first block finds the same itself, so that all of them go on or none
    going = search.status[0] == RUNNING and rz > limit
    if block == 0 and lane == 0 and search.status[0] == RUNNING and not going:
        search.status[0] = wp.where(rz <= limit, CONVERGED, FAILED)       # failed: not a number
    beta = rz / before
    total = wp.float32(0.0)
    for n in range(lane, 6 * NODES, wp.block_dim()):
        i = block * NODES + n // 6
        row = n % 6
        if going and i < search.x.shape[0]:
            own = search.z[i] + beta * p[i]
            value = wp.dot(search.damped[i, row], own)
            for e in range(system.first_edge[i], system.first_edge[i + 1]):
                j = system.neighbour[e]
                value += wp.dot(system.coupling[e, row], search.z[j] + beta * p[j])
            search.product[i, row] = value
            total += own[row] * value
            if row == 0:
                p_new[i] = own
    part = wp.tile_sum(wp.tile(total))[0]
    if lane == 0:
        search.curvature[block] = part


@wp.kernel
def _advance(search: Search, p: wp.array[wp.spatial_vector], now: int) -> None:
    """The step along p, and what is left; nothing when done. A thread has a node."""
    block, lane = wp.tid()
    rz = _sum(search.rz[now], lane)
    curvature = _sum(search.curvature, lane)
    going = search.status[0] == RUNNING and curvature > 0.0
    if block == 0 and lane == 0 and search.status[0] == RUNNING and not going:
        search.status[0] = FAILED
    length = rz / curvature
    total = wp.float32(0.0)
    for n in range(lane, NODES, wp.block_dim()):
        i = block * NODES + n
        if going and i < search.x.shape[0]:
            search.x[i] = search.x[i] + length * p[i]
            r = search.r[i]
            for q in range(6):
                r[q] = r[q] - length * search.product[i, q]
            z = search.inverse[i] @ r
            search.r[i] = r
            search.z[i] = z
            total += wp.dot(r, z)
    part = wp.tile_sum(wp.tile(total))[0]
    if lane == 0 and going:
        search.rz[1 - now, block] = part
