"""The energy of a deformation and its Gauss-Newton normal equations, assembled straight into block-sparse storage.

State: per node a rotation R and a translation t. A point x that follows nodes k with weights w_k moves to
    x' = sum_k w_k (R_k (x - g_k) + g_k + t_k).
A step is (omega_k, tau_k): R_k <- exp(omega_k) R_k, t_k <- t_k + tau_k, so that with y_k = R_k (x - g_k)
    dx'/d omega_k = -w_k [y_k]x,   dx'/d tau_k = w_k I.
Unknowns of node k are rows 6k .. 6k+5 (omega, then tau). diagonal, coupling, rhs: see normal_equations.py; when all terms are added,
they must be symmetrised. pairs: see graph.py.
"""
from __future__ import annotations

import math

import numpy as np

from ..compiled import REORDERED, njit
from .normal_equations import add_row
from .planes import plane_at
from .simd import PADDED

# what a vertex met in the depth image
UNSEEN, SUPPORTED, OCCLUDED, CONTRADICTED = 0, 1, 2, 3


@njit(fastmath=REORDERED, inline="always")
def _deform(point, nodes, weights, R, t, g, y):
    """x' of one point; y[k] receives R_k (x - g_k)."""
    px = py = pz = 0.0
    for k in range(4):
        n = nodes[k]
        dx = point[0] - g[n, 0]
        dy = point[1] - g[n, 1]
        dz = point[2] - g[n, 2]
        for r in range(3):
            y[k, r] = R[n, r, 0] * dx + R[n, r, 1] * dy + R[n, r, 2] * dz
        w = weights[k]
        px += w * (y[k, 0] + g[n, 0] + t[n, 0])
        py += w * (y[k, 1] + g[n, 1] + t[n, 1])
        pz += w * (y[k, 2] + g[n, 2] + t[n, 2])
    return px, py, pz


@njit(fastmath=REORDERED, inline="always")
def _blend_normal(normal, nodes, weights, R):
    nx = ny = nz = 0.0
    for k in range(4):
        n = nodes[k]
        w = weights[k]
        nx += w * (R[n, 0, 0] * normal[0] + R[n, 0, 1] * normal[1] + R[n, 0, 2] * normal[2])
        ny += w * (R[n, 1, 0] * normal[0] + R[n, 1, 1] * normal[1] + R[n, 1, 2] * normal[2])
        nz += w * (R[n, 2, 0] * normal[0] + R[n, 2, 1] * normal[1] + R[n, 2, 2] * normal[2])
    length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
    return nx / length, ny / length, nz / length


@njit(fastmath=REORDERED, inline="always")
def _plane_normal(inverse, mx, my, shift):
    """Unit normal, towards the camera, of the plane 1/z = inverse + b (x - u) + c (y - w) in space; mx = b fx, my = c fy."""
    mz = inverse - shift
    norm = math.sqrt(mx * mx + my * my + mz * mz)
    return -mx / norm, -my / norm, -mz / norm


@njit(fastmath=REORDERED, inline="always")
def _fill_row(row, y, mx, my, mz):
    """The derivatives of a residual m . x' by the motion of each node, before its weight."""
    for k in range(4):
        row[k, 0] = y[k, 1] * mz - y[k, 2] * my
        row[k, 1] = y[k, 2] * mx - y[k, 0] * mz
        row[k, 2] = y[k, 0] * my - y[k, 1] * mx
        row[k, 3], row[k, 4], row[k, 5] = mx, my, mz


@njit(fastmath=REORDERED)
def depth_term(diagonal, coupling, rhs, vertices, normals, node_index, node_weight, pairs, R, t, g, depth, planes, fitted,
               radius, plane_gate, fx, fy, cx, cy, gate, tukey, importance, two_sided, equations, seen):
    """Projective point-to-plane term: each vertex against the plane fitted to the depth readings around its pixel.

    Robust with Tukey's biweight of scale `tukey` metres; a reading farther than `gate` metres in front means the vertex is
    hidden, behind means it is contradicted. seen[v] receives which. two_sided: a vertex that turns its back is compared too.
    planes, fitted, radius, plane_gate: see planes.LocalPlanes.
    Returns (energy, sum of squared residuals, supported).
    """
    y = np.zeros((4, 3))
    row = np.zeros((4, PADDED), np.float32)
    energy = 0.0
    squares = 0.0
    supported = 0
    limit = tukey * tukey / 6.0 * importance
    for v in range(len(vertices)):
        seen[v] = UNSEEN
        nodes = node_index[v]
        weights = node_weight[v]
        px, py, pz = _deform(vertices[v], nodes, weights, R, t, g, y)
        if pz < 1e-3:
            continue
        nx, ny, nz = _blend_normal(normals[v], nodes, weights, R)
        length = math.sqrt(px * px + py * py + pz * pz)
        facing = -(nx * px + ny * py + nz * pz)
        if facing < 0.17 * length and not (two_sided and facing < -0.17 * length):      # turned away, or seen at more than 80 degrees
            continue
        if facing < 0.0:
            nx, ny, nz = -nx, -ny, -nz
        u = fx * px / pz + cx
        w = fy * py / pz + cy
        found, inverse, b, c = plane_at(depth, planes, fitted, radius, plane_gate, u, w)
        if found == 0 or inverse <= 0.0:
            continue
        z = 1.0 / inverse
        mx, my, mz = _plane_normal(inverse, b * fx, c * fy, b * (u - cx) + c * (w - cy))
        residual = mx * (px - px / pz * z) + my * (py - py / pz * z) + mz * (pz - z)        # along the plane's normal
        if abs(residual) > gate:
            seen[v] = OCCLUDED if z < pz else CONTRADICTED
            energy += limit
            continue
        if mx * nx + my * ny + mz * nz < 0.5:                  # more than 60 degrees between the two normals
            continue
        seen[v] = SUPPORTED
        supported += 1
        squares += residual * residual
        ratio = residual / tukey
        ratio = ratio * ratio
        if ratio >= 1.0:
            energy += limit
            continue
        q = 1.0 - ratio
        energy += limit * (1.0 - q * q * q)
        if not equations:
            continue
        _fill_row(row, y, mx, my, mz)
        add_row(diagonal, coupling, rhs, nodes, weights, pairs[v], row, residual, importance * q * q)
    return energy, squares, supported


@njit(fastmath=REORDERED)
def silhouette_term(diagonal, coupling, rhs, vertices, node_index, node_weight, pairs, R, t, g, label, place, fx, fy, cx, cy,
                    sigma, importance, equations, seen):
    """Free space is empty: a vertex that is not supported and projects outside the outline is drawn sideways to it.

    label, place: see outline.Outline; fx, fy, cx, cy: of its pixels. seen: what each vertex met, from depth_term.
    Robust with Geman-McClure of scale `sigma` metres.
    """
    height, width = label.shape
    y = np.zeros((4, 3))
    row = np.zeros((4, PADDED), np.float32)
    energy = 0.0
    for v in range(len(vertices)):
        if seen[v] == SUPPORTED:
            continue
        nodes = node_index[v]
        weights = node_weight[v]
        px, py, pz = _deform(vertices[v], nodes, weights, R, t, g, y)
        if pz < 1e-3:
            continue
        u = fx * px / pz + cx
        w = fy * py / pz + cy
        x0 = int(math.floor(u + 0.5))
        y0 = int(math.floor(w + 0.5))
        if x0 < 0 or y0 < 0 or x0 >= width or y0 >= height:
            continue
        nearest = place[label[y0, x0]]
        dx = u - nearest[0]
        dy = w - nearest[1]
        distance = math.sqrt(dx * dx + dy * dy)
        if not distance > 1.0:          # within the pixel, or there is no outline (NaN)
            continue
        shrink = (distance - 1.0) / distance * pz
        ex, ey = dx * shrink / fx, dy * shrink / fy
        square = ex * ex + ey * ey
        fraction = sigma * sigma / (sigma * sigma + square)
        energy += 0.5 * importance * square * fraction
        if not equations:
            continue
        for axis in range(2):       # the distance to the outline's viewing ray, along x and along y
            mx, my = 1.0 - axis, 1.0 * axis
            mz = (cx - nearest[0]) / fx if axis == 0 else (cy - nearest[1]) / fy
            _fill_row(row, y, mx, my, mz)
            add_row(diagonal, coupling, rhs, nodes, weights, pairs[v], row, ex if axis == 0 else ey, importance * fraction * fraction)
    return energy


@njit(fastmath=REORDERED)
def landmark_term(diagonal, coupling, rhs, points, vertex, targets, ray_only, confidence, node_index, node_weight, pairs, R, t, g,
                  sigma, importance, equations, residuals):
    """Landmarks: |x' - q|, robust with Geman-McClure of scale `sigma` metres; each moves with a vertex. residuals[m] receives the
    distance, metres.

    ray_only, viewing-ray constraint: q is the point of the viewing ray through targets[m] that is nearest to x'. The matrix neglects that q
    moves with x', which only damps steps along the ray.
    """
    y = np.zeros((4, 3))
    row = np.zeros((4, PADDED), np.float32)
    energy = 0.0
    for m in range(len(points)):
        v = vertex[m]
        nodes = node_index[v]
        weights = node_weight[v]
        px, py, pz = _deform(points[m], nodes, weights, R, t, g, y)
        q = targets[m]
        along = (px * q[0] + py * q[1] + pz * q[2]) / (q[0] * q[0] + q[1] * q[1] + q[2] * q[2]) if ray_only[m] else 1.0
        e = np.array((px - along * q[0], py - along * q[1], pz - along * q[2]))
        square = e[0] * e[0] + e[1] * e[1] + e[2] * e[2]
        residuals[m] = math.sqrt(square)
        fraction = sigma * sigma / (sigma * sigma + square)
        amount = importance * confidence[m]
        energy += 0.5 * amount * square * fraction
        if not equations or amount == 0.0:
            continue
        amount *= fraction * fraction
        for axis in range(3):
            for k in range(4):
                # row `axis` of -[y]x, then of I
                row[k, :6] = 0.0
                row[k, (axis + 1) % 3] = y[k, (axis + 2) % 3]
                row[k, (axis + 2) % 3] = -y[k, (axis + 1) % 3]
                row[k, 3 + axis] = 1.0
            add_row(diagonal, coupling, rhs, nodes, weights, pairs[v], row, e[axis], amount)
    return energy


@njit(fastmath=REORDERED)
def rigidity_term(diagonal, coupling, rhs, first_edge, edges, rest, frame, R, t, g, stretch, bend, equations):
    """As rigid as possible (Sorkine & Alexa 2007) on directed node pairs: node i predicts where node j goes.

    rest: (E, 3) offsets from i to j at rest, see rest_shape; in the reference these are g_j - g_i.
    The residual is split along the axes of frame[i] (3x3 rows: normal, two tangents, in the reference), turned with the node:
    `bend` weighs the part along the normal, `stretch` the parts along the surface, since thin things bend far more easily than
    they stretch.
    """
    W, M = np.empty((3, 3)), np.empty((3, 3))
    d, r, q = np.empty(3), np.empty(3), np.empty(3)
    energy = 0.0
    for i in range(len(g)):
        _turned_weights(R[i], frame[i], stretch, bend, W)
        for e in range(first_edge[i], first_edge[i + 1]):
            j = edges[e, 1]
            for k in range(3):
                d[k] = g[j, k] - g[i, k]
            for k in range(3):
                q[k] = d[k] + t[j, k] - t[i, k]         # where the neighbour really is
                turned = R[i, k, 0] * rest[e, 0] + R[i, k, 1] * rest[e, 1] + R[i, k, 2] * rest[e, 2]
                r[k] = turned - q[k]
            f0 = W[0, 0] * r[0] + W[0, 1] * r[1] + W[0, 2] * r[2]
            f1 = W[1, 0] * r[0] + W[1, 1] * r[1] + W[1, 2] * r[2]
            f2 = W[2, 0] * r[0] + W[2, 1] * r[1] + W[2, 2] * r[2]
            energy += 0.5 * (r[0] * f0 + r[1] * f1 + r[2] * f2)
            if not equations:
                continue
            rhs[i, 0] -= q[1] * f2 - q[2] * f1
            rhs[i, 1] -= q[2] * f0 - q[0] * f2
            rhs[i, 2] -= q[0] * f1 - q[1] * f0
            for k, force in enumerate((f0, f1, f2)):
                rhs[i, 3 + k] -= force
                rhs[j, 3 + k] += force
            _add_edge(diagonal[i], diagonal[j], coupling[e], q, W, M)
    return energy


@njit(fastmath=REORDERED, inline="always")
def _turned_weights(R, frame, stretch, bend, W):
    """W = sum over the axes of weight a a^T, with the axes a = R frame[axis] as they are turned now."""
    for p in range(3):
        a = R[p, 0] * frame[0, 0] + R[p, 1] * frame[0, 1] + R[p, 2] * frame[0, 2]
        for q in range(3):
            b = R[q, 0] * frame[0, 0] + R[q, 1] * frame[0, 1] + R[q, 2] * frame[0, 2]
            W[p, q] = (bend - stretch) * a * b + (stretch if p == q else 0.0)


@njit(fastmath=REORDERED, inline="always")
def _add_edge(first, second, coupling, q, W, M):
    """J^T W J of one edge's residual, whose axes turn with the first node: J = (-[q]x, I) for the first, (0, -I) for the second node.

    first, second: the nodes' diagonal blocks. M: (3, 3) work space, [q]x W.
    """
    for k in range(3):
        M[0, k] = q[1] * W[2, k] - q[2] * W[1, k]
        M[1, k] = q[2] * W[0, k] - q[0] * W[2, k]
        M[2, k] = q[0] * W[1, k] - q[1] * W[0, k]
    for p in range(3):
        first[p, 0] += q[1] * M[p, 2] - q[2] * M[p, 1]
        first[p, 1] += q[2] * M[p, 0] - q[0] * M[p, 2]
        first[p, 2] += q[0] * M[p, 1] - q[1] * M[p, 0]
        for k in range(3):
            first[p, 3 + k] += M[p, k]
            first[3 + k, p] += M[p, k]
            first[3 + p, 3 + k] += W[p, k]
            second[3 + p, 3 + k] += W[p, k]
            coupling[3 + k, p] -= M[p, k]
            coupling[3 + k, 3 + p] -= W[p, k]


@njit(fastmath=REORDERED)
def deform_points(points, node_index, node_weight, R, t, g):
    """x' of (N, 3) points that follow node_index (N, 4) with node_weight (N, 4); (N, 3) float64."""
    out = np.empty((len(points), 3))
    y = np.zeros((4, 3))
    for n in range(len(points)):
        out[n, 0], out[n, 1], out[n, 2] = _deform(points[n], node_index[n], node_weight[n], R, t, g, y)
    return out


@njit(fastmath=REORDERED)
def deform_normals(normals, node_index, node_weight, R):
    """Reference normals turned with their nodes; (N, 3) float64, unit length."""
    out = np.empty((len(normals), 3))
    for n in range(len(normals)):
        out[n, 0], out[n, 1], out[n, 2] = _blend_normal(normals[n], node_index[n], node_weight[n], R)
    return out


@njit
def apply_step(R, t, step):
    """R <- exp(omega) R by Rodrigues' formula, re-orthonormalised; t <- t + tau. Returns new arrays."""
    R_new = np.empty_like(R)
    t_new = np.empty_like(t)
    E = np.empty((3, 3))
    for k in range(len(t)):
        a, b, c = step[6 * k], step[6 * k + 1], step[6 * k + 2]
        angle = math.sqrt(a * a + b * b + c * c)
        s = 1.0 - angle * angle / 6.0 if angle < 1e-4 else math.sin(angle) / angle
        h = 0.5 if angle < 1e-4 else (1.0 - math.cos(angle)) / (angle * angle)
        E[0, 0] = 1.0 - h * (b * b + c * c)
        E[0, 1] = -s * c + h * a * b
        E[0, 2] = s * b + h * a * c
        E[1, 0] = s * c + h * a * b
        E[1, 1] = 1.0 - h * (a * a + c * c)
        E[1, 2] = -s * a + h * b * c
        E[2, 0] = -s * b + h * a * c
        E[2, 1] = s * a + h * b * c
        E[2, 2] = 1.0 - h * (a * a + b * b)
        for i in range(3):
            for j in range(3):
                R_new[k, i, j] = E[i, 0] * R[k, 0, j] + E[i, 1] * R[k, 1, j] + E[i, 2] * R[k, 2, j]
        _orthonormalise(R_new[k])
        for i in range(3):
            t_new[k, i] = t[k, i] + step[6 * k + 3 + i]
    return R_new, t_new


@njit
def _orthonormalise(R):
    """Gram-Schmidt on the rows: thousands of small steps must not shear the rotation."""
    length = math.sqrt(R[0, 0] ** 2 + R[0, 1] ** 2 + R[0, 2] ** 2)
    for j in range(3):
        R[0, j] /= length
    dot = R[0, 0] * R[1, 0] + R[0, 1] * R[1, 1] + R[0, 2] * R[1, 2]
    for j in range(3):
        R[1, j] -= dot * R[0, j]
    length = math.sqrt(R[1, 0] ** 2 + R[1, 1] ** 2 + R[1, 2] ** 2)
    for j in range(3):
        R[1, j] /= length
    R[2, 0] = R[0, 1] * R[1, 2] - R[0, 2] * R[1, 1]
    R[2, 1] = R[0, 2] * R[1, 0] - R[0, 0] * R[1, 2]
    R[2, 2] = R[0, 0] * R[1, 1] - R[0, 1] * R[1, 0]
