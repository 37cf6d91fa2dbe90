"""The terms of energy.py as kernels of NVIDIA Warp, which run on CUDA devices and on the CPU.

The formulas are those of energy.py. Positions and associations are computed in float64, because one vertex that is judged otherwise can
make a solve stop a step earlier. Sums are in float32.

The data terms of a vertex or landmark x', with directions m, residuals r and importances a, are evaluated once: their Hessian
sum a m m^T (3x3) and gradient sum a r m with respect to x'. With J = w (-[y]x, I) of each of its nodes, x' adds J^T Hessian J to the
blocks and J^T gradient to the right-hand side. Each thread gathers one block, so nothing is added atomically and sums have one order.
"""
import warp as wp

from ..energy import CONTRADICTED, OCCLUDED, SUPPORTED, UNSEEN

THREADS = 64            # of a block: few, so that some thousand nodes are spread over a whole GPU
real = wp.float64
STEEPEST = wp.constant(real(0.17))         # cosines as in energy.depth_term
ALIKE = wp.constant(real(0.5))
ZERO, HALF, ONE = wp.constant(real(0.0)), wp.constant(real(0.5)), wp.constant(real(1.0))
NEAREST = wp.constant(real(1.0e-3))         # metres before the camera

wp.set_module_options({"enable_backward": False})


@wp.struct
class View:
    """A pinhole camera."""

    fx: wp.float64
    fy: wp.float64
    cx: wp.float64
    cy: wp.float64


@wp.struct
class Model:
    """What is constant: the surface, its graph (see graph.DeformationGraph), and which vertices add to which block.

    rest_offset: along the edges in the reference; node_normal: the surface's normal at each node. Node i has the vertices
    of_node[first_of_node[i]] .. and their weights w. Pair n has the edge pair_edge[n], the vertices of_pair[first_of_pair[n]] .. that
    follow both its nodes, and the products of the two weights.
    """

    vertex: wp.array[wp.vec3d]
    normal: wp.array[wp.vec3d]
    node: wp.array[wp.vec4i]
    weight: wp.array[wp.vec4d]
    position: wp.array[wp.vec3d]
    first_edge: wp.array[int]
    neighbour: wp.array[int]
    reverse: wp.array[int]
    rest_offset: wp.array[wp.vec3]
    node_normal: wp.array[wp.vec3]
    first_of_node: wp.array[int]
    of_node: wp.array[int]
    of_node_weight: wp.array[float]
    pair_edge: wp.array[int]
    first_of_pair: wp.array[int]
    of_pair: wp.array[int]
    of_pair_weight: wp.array[float]


@wp.struct
class Motion:
    """The nodes' rotations and translations."""

    R: wp.array[wp.mat33d]
    t: wp.array[wp.vec3d]


@wp.struct
class DataTerms:
    """Derivatives of the data terms: by vertex, and by landmark. Landmarks are sorted by vertex: v has first[v] .. first[v + 1] - 1.

    hessian, gradient: of the depth and free-space terms of each vertex. amount: a landmark's weight, its Hessian is amount times I.
    """

    hessian: wp.array[wp.mat33]
    gradient: wp.array[wp.vec3]
    first: wp.array[int]
    point: wp.array[wp.vec3d]
    target: wp.array[wp.vec3d]
    ray_only: wp.array[bool]
    vertex: wp.array[int]
    confidence: wp.array[float]
    amount: wp.array[float]
    landmark_gradient: wp.array[wp.vec3]


# ---------------------------------------------------------------- deformation

@wp.func
def _moved(point: wp.vec3d, v: int, model: Model, motion: Motion) -> wp.vec3d:
    """x' of a point that moves with vertex v."""
    by = wp.vec3d()
    nodes = model.node[v]
    weights = model.weight[v]
    for k in range(4):
        n = nodes[k]
        d = point - model.position[n]
        by += weights[k] * (motion.R[n] @ d - d + motion.t[n])
    return point + by


@wp.func
def _turned(v: int, model: Model, motion: Motion) -> wp.vec3d:
    out = wp.vec3d()
    nodes = model.node[v]
    weights = model.weight[v]
    for k in range(4):
        out += weights[k] * (motion.R[nodes[k]] @ model.normal[v])
    return wp.normalize(out)


@wp.kernel
def deform(model: Model, motion: Motion, vertices: wp.array[wp.vec3], normals: wp.array[wp.vec3]) -> None:
    """Where the vertices are, and their normals."""
    v = wp.tid()
    vertices[v] = wp.vec3(_moved(model.vertex[v], v, model, motion))
    normals[v] = wp.vec3(_turned(v, model, motion))


# ---------------------------------------------------------------- depth and silhouette

@wp.kernel
def fit_planes(depth: wp.array2d[float], radius: int, gate: float, planes: wp.array2d[wp.vec3]) -> None:
    """Per pixel (1/z, b, c) of the local plane as in depth.fit_plane; zeros where there is none. gate: metres per metre of depth."""
    y, x = wp.tid()
    planes[y, x] = wp.vec3()
    height = depth.shape[0]
    width = depth.shape[1]
    if x < radius or y < radius or x >= width - radius or y >= height - radius or depth[y, x] <= 0.0:
        return
    middle = depth[y, x]
    count = wp.float32(0.0)
    s = wp.vec3()               # sums of x, y and 1/z - 1/middle
    sxx = wp.float32(0.0)
    sxy = wp.float32(0.0)
    syy = wp.float32(0.0)
    sxi = wp.float32(0.0)
    syi = wp.float32(0.0)
    for j in range(-radius, radius + 1):
        for i in range(-radius, radius + 1):
            z = depth[y + j, x + i]
            if z > 0.0 and wp.abs(z - middle) < gate * middle:
                dx = float(i)
                dy = float(j)
                di = (middle - z) / (middle * z)
                count += 1.0
                s += wp.vec3(dx, dy, di)
                sxx += dx * dx
                sxy += dx * dy
                syy += dy * dy
                sxi += dx * di
                syi += dy * di
    if count < 6.0:
        return
    m = s / count
    cxx = sxx / count - m[0] * m[0]
    cxy = sxy / count - m[0] * m[1]
    cyy = syy / count - m[1] * m[1]
    cxi = sxi / count - m[0] * m[2]
    cyi = syi / count - m[1] * m[2]
    determinant = cxx * cyy - cxy * cxy
    if determinant < 0.02:
        return
    b = (cxi * cyy - cyi * cxy) / determinant
    c = (cyi * cxx - cxi * cxy) / determinant
    inverse = 1.0 / middle + m[2] - b * m[0] - c * m[1]
    if inverse > 0.0:
        planes[y, x] = wp.vec3(inverse, b, c)


@wp.func
def _projected(p: wp.vec3d, view: View) -> wp.vec2d:
    return wp.vec2d(view.fx * p[0] / p[2] + view.cx, view.fy * p[1] / p[2] + view.cy)


@wp.func
def _rounded(value: wp.float64) -> int:
    return int(wp.floor(value + HALF))


@wp.kernel
def judge_depth(model: Model, motion: Motion, view: View, planes: wp.array2d[wp.vec3], gate: wp.float64, tukey: wp.float64,
                importance: wp.float64, two_sided: bool, data: DataTerms, cost: wp.array[wp.vec2], seen: wp.array[wp.uint8]) -> None:
    """energy.depth_term. cost: energy, and the squared residual of a supported vertex."""
    v = wp.tid()
    data.hessian[v] = wp.mat33()
    data.gradient[v] = wp.vec3()
    cost[v] = wp.vec2()
    seen[v] = wp.uint8(UNSEEN)
    p = _moved(model.vertex[v], v, model, motion)
    if p[2] < NEAREST:
        return
    n = _turned(v, model, motion)
    facing = -wp.dot(n, p)
    if facing < STEEPEST * wp.length(p) and not (two_sided and facing < -STEEPEST * wp.length(p)):
        return
    if facing < ZERO:
        n = -n
    at = _projected(p, view)
    x = _rounded(at[0])
    y = _rounded(at[1])
    if x < 0 or y < 0 or x >= planes.shape[1] or y >= planes.shape[0]:
        return
    plane = wp.vec3d(planes[y, x])
    inverse = plane[0] + plane[1] * (at[0] - real(x)) + plane[2] * (at[1] - real(y))
    if plane[0] <= ZERO or inverse <= ZERO:
        return
    z = ONE / inverse
    m = -wp.normalize(wp.vec3d(plane[1] * view.fx, plane[2] * view.fy,
                               inverse - plane[1] * (at[0] - view.cx) - plane[2] * (at[1] - view.cy)))
    residual = wp.dot(m, p) * (ONE - z / p[2])
    limit = tukey * tukey / real(6.0) * importance
    if wp.abs(residual) > gate:
        seen[v] = wp.uint8(wp.where(z < p[2], OCCLUDED, CONTRADICTED))
        cost[v] = wp.vec2(float(limit), 0.0)
        return
    if wp.dot(m, n) < ALIKE:
        return
    seen[v] = wp.uint8(SUPPORTED)
    q = wp.max(ONE - residual * residual / (tukey * tukey), ZERO)
    cost[v] = wp.vec2(float(limit * (ONE - q * q * q)), float(residual * residual))
    amount = importance * q * q
    data.hessian[v] = wp.mat33(amount * wp.outer(m, m))
    data.gradient[v] = wp.vec3(amount * residual * m)


@wp.kernel
def judge_silhouette(model: Model, motion: Motion, view: View, label: wp.array2d[int], place: wp.array[wp.vec2], sigma: wp.float64,
                     importance: wp.float64, seen: wp.array[wp.uint8], data: DataTerms, cost: wp.array[wp.vec2]) -> None:
    """energy.silhouette_term, after judge_depth. view: of the outline."""
    v = wp.tid()
    if int(seen[v]) == SUPPORTED:
        return
    p = _moved(model.vertex[v], v, model, motion)
    if p[2] < NEAREST:
        return
    at = _projected(p, view)
    x = _rounded(at[0])
    y = _rounded(at[1])
    if x < 0 or y < 0 or x >= label.shape[1] or y >= label.shape[0]:
        return
    nearest = wp.vec2d(place[label[y, x]])
    away = at - nearest
    distance = wp.length(away)
    if not distance > ONE:          # within the pixel, or there is no outline (NaN)
        return
    shrink = (distance - ONE) / distance * p[2]
    ex = away[0] * shrink / view.fx
    ey = away[1] * shrink / view.fy
    square = ex * ex + ey * ey
    fraction = sigma * sigma / (sigma * sigma + square)
    cost[v] = cost[v] + wp.vec2(float(HALF * importance * square * fraction), 0.0)
    amount = importance * fraction * fraction
    mx = wp.vec3d(ONE, ZERO, (view.cx - nearest[0]) / view.fx)
    my = wp.vec3d(ZERO, ONE, (view.cy - nearest[1]) / view.fy)
    data.hessian[v] = wp.mat33(amount * (wp.outer(mx, mx) + wp.outer(my, my)))
    data.gradient[v] = wp.vec3(amount * (ex * mx + ey * my))


# ---------------------------------------------------------------- landmarks

@wp.kernel
def judge_landmarks(model: Model, motion: Motion, sigma: float, importance: float, data: DataTerms, cost: wp.array[float],
                    distance: wp.array[float]) -> None:
    """energy.landmark_term"""
    m = wp.tid()
    p = _moved(data.point[m], data.vertex[m], model, motion)
    q = data.target[m]
    if data.ray_only[m]:
        q = wp.dot(p, q) / wp.dot(q, q) * q
    e = wp.vec3(p - q)
    square = wp.dot(e, e)
    distance[m] = wp.sqrt(square)
    fraction = sigma * sigma / (sigma * sigma + square)
    amount = importance * data.confidence[m]
    cost[m] = 0.5 * amount * square * fraction
    data.amount[m] = amount * fraction * fraction
    data.landmark_gradient[m] = amount * fraction * fraction * e


# ---------------------------------------------------------------- rigidity

@wp.func
def _turned_weights(i: int, model: Model, motion: Motion, stretch: float, bend: float) -> wp.mat33:
    """energy._turned_weights"""
    a = wp.mat33(motion.R[i]) @ model.node_normal[i]
    return (bend - stretch) * wp.outer(a, a) + stretch * wp.identity(n=3, dtype=float)


@wp.func
def reach(e: int, i: int, j: int, model: Model, motion: Motion) -> wp.vec3:
    """From node i to where node j really is."""
    return model.rest_offset[e] + wp.vec3(motion.t[j] - motion.t[i])


@wp.kernel
def judge_rigidity(model: Model, motion: Motion, rest: wp.array[wp.vec3], stretch: float, bend: float, cost: wp.array[float]) -> None:
    """The energy of energy.rigidity_term, by node."""
    i = wp.tid()
    W = _turned_weights(i, model, motion, stretch, bend)
    total = wp.float32(0.0)
    for e in range(model.first_edge[i], model.first_edge[i + 1]):
        r = wp.mat33(motion.R[i]) @ rest[e] - reach(e, i, model.neighbour[e], model, motion)
        total += 0.5 * wp.dot(r, W @ r)
    cost[i] = total


# ---------------------------------------------------------------- sums

@wp.kernel
def sum_costs(vertex: wp.array[wp.vec2], landmark: wp.array[float], node: wp.array[float], parts: wp.array2d[wp.float64]) -> None:
    """Parts of the energy and of the squared depth residuals, one row for each block."""
    block, lane = wp.tid()
    energy = wp.float64(0.0)
    squares = wp.float64(0.0)
    stride = wp.block_dim() * parts.shape[0]
    first = block * wp.block_dim() + lane
    for n in range(first, vertex.shape[0], stride):
        energy += wp.float64(vertex[n][0])
        squares += wp.float64(vertex[n][1])
    for n in range(first, landmark.shape[0], stride):
        energy += wp.float64(landmark[n])
    for n in range(first, node.shape[0], stride):
        energy += wp.float64(node[n])
    energy_part = wp.tile_sum(wp.tile(energy))[0]
    squares_part = wp.tile_sum(wp.tile(squares))[0]
    if lane == 0:
        parts[block, 0] = energy_part
        parts[block, 1] = squares_part


# ---------------------------------------------------------------- equations

@wp.func
def _store(blocks: wp.array2d[wp.spatial_vector], b: int, oo: wp.mat33, ot: wp.mat33, to: wp.mat33, tt: wp.mat33) -> None:
    """A block of omega and tau (o, t) from its quarters."""
    for p in range(3):
        blocks[b, p] = wp.spatial_vector(oo[p, 0], oo[p, 1], oo[p, 2], ot[p, 0], ot[p, 1], ot[p, 2])
        blocks[b, p + 3] = wp.spatial_vector(to[p, 0], to[p, 1], to[p, 2], tt[p, 0], tt[p, 1], tt[p, 2])


@wp.kernel
def gather_nodes(model: Model, motion: Motion, data: DataTerms, rest: wp.array[wp.vec3], stretch: float, bend: float,
                 diagonal: wp.array2d[wp.spatial_vector], gradient: wp.array[wp.spatial_vector]) -> None:
    """Each node's block and gradient."""
    i = wp.tid()
    R = wp.mat33(motion.R[i])
    g = model.position[i]
    oo = wp.mat33()
    ot = wp.mat33()
    tt = wp.mat33()
    turn = wp.vec3()
    shift = wp.vec3()
    for n in range(model.first_of_node[i], model.first_of_node[i + 1]):
        v = model.of_node[n]
        w = model.of_node_weight[n]
        y = R @ wp.vec3(model.vertex[v] - g)
        Y = wp.skew(y)
        A = (w * w) * data.hessian[v]
        b = w * data.gradient[v]
        oo -= Y @ A @ Y
        ot += Y @ A
        tt += A
        turn += wp.cross(y, b)
        shift += b
        for m in range(data.first[v], data.first[v + 1]):
            y = R @ wp.vec3(data.point[m] - g)
            Y = wp.skew(y)
            amount = w * w * data.amount[m]
            b = w * data.landmark_gradient[m]
            oo -= amount * (Y @ Y)
            ot += amount * Y
            tt += amount * wp.identity(n=3, dtype=float)
            turn += wp.cross(y, b)
            shift += b
    W = _turned_weights(i, model, motion, stretch, bend)
    for e in range(model.first_edge[i], model.first_edge[i + 1]):
        j = model.neighbour[e]
        back = model.reverse[e]
        q = reach(e, i, j, model, motion)
        Q = wp.skew(q)
        force = W @ (R @ rest[e] - q)
        oo -= Q @ W @ Q
        ot += Q @ W
        turn += wp.cross(q, force)
        # what the neighbour predicts of this node
        other = _turned_weights(j, model, motion, stretch, bend)
        tt += W + other
        shift += force - other @ (wp.mat33(motion.R[j]) @ rest[back] + q)
    _store(diagonal, i, oo, ot, wp.transpose(ot), tt)
    gradient[i] = wp.spatial_vector(turn[0], turn[1], turn[2], shift[0], shift[1], shift[2])


@wp.kernel
def gather_pairs(model: Model, motion: Motion, data: DataTerms, stretch: float, bend: float,
                 coupling: wp.array2d[wp.spatial_vector]) -> None:
    """The blocks of each edge and of its reverse."""
    pair = wp.tid()
    e = model.pair_edge[pair]
    back = model.reverse[e]
    i = model.neighbour[back]
    j = model.neighbour[e]
    Ri = wp.mat33(motion.R[i])
    Rj = wp.mat33(motion.R[j])
    gi = model.position[i]
    gj = model.position[j]
    oo = wp.mat33()
    ot = wp.mat33()
    to = wp.mat33()
    tt = wp.mat33()
    for n in range(model.first_of_pair[pair], model.first_of_pair[pair + 1]):
        v = model.of_pair[n]
        w = model.of_pair_weight[n]
        A = w * data.hessian[v]
        Yi = wp.skew(Ri @ wp.vec3(model.vertex[v] - gi))
        Yj = wp.skew(Rj @ wp.vec3(model.vertex[v] - gj))
        YA = Yi @ A
        oo -= YA @ Yj
        ot += YA
        to -= A @ Yj
        tt += A
        for m in range(data.first[v], data.first[v + 1]):
            amount = w * data.amount[m]
            Yi = wp.skew(Ri @ wp.vec3(data.point[m] - gi))
            Yj = wp.skew(Rj @ wp.vec3(data.point[m] - gj))
            oo -= amount * (Yi @ Yj)
            ot += amount * Yi
            to -= amount * Yj
            tt += amount * wp.identity(n=3, dtype=float)
    Q = wp.skew(reach(e, i, j, model, motion))
    Wi = _turned_weights(i, model, motion, stretch, bend)
    Wj = _turned_weights(j, model, motion, stretch, bend)
    ot -= Q @ Wi
    to -= Wj @ Q
    tt -= Wi + Wj
    _store(coupling, e, oo, ot, to, tt)
    _store(coupling, back, wp.transpose(oo), wp.transpose(to), wp.transpose(ot), wp.transpose(tt))
