"""The physics: a hanging cloth, pegged along its upper edge, is gathered, waved, twisted, folded by a corner and let go.

Frame: the camera's optical frame (x right, y down, z forward), metres, seconds. Gravity points along +y.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

DURATION_S = 6.0
WIDTH_M, HEIGHT_M = 0.45, 0.356
COLUMNS, ROWS = 33, 26          # vertices of the physical cloth
REFINEMENT = 3                  # the true surface has this many times finer triangles, on a smooth interpolation
DISTANCE_M = 0.70
TIMESTEP_S = 0.002
PEGS = (0, 8, 16, 24, 32)       # columns of the upper edge that are held
BENDING_N_M = 0.5               # force per second difference of neighbouring vertices: 1e-4 N m of bending stiffness, a firm cotton
BENDING_DAMPING_NS_M = 0.0008


@dataclass(frozen=True)
class ClothMotion:
    """The exact deforming surface. vertices: (T, V, 3) float32 metres; triangles: (F, 3) int32, counter-clockwise seen from the camera
    in the first frame; uv: (V, 2) float32, 0..1 over the cloth, (0, 0) its upper left corner; time_s: (T,) seconds."""

    vertices: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    time_s: np.ndarray


def simulate_cloth(time_s: np.ndarray, progress: Callable[[int], None] | None = None) -> ClothMotion:
    """Run the physics and sample the surface at the given times (increasing, within 0..DURATION_S). progress(n) is called for sample n."""
    import mujoco

    model = mujoco.MjModel.from_xml_string(_cloth_xml())
    data = mujoco.MjData(model)
    mass = float(model.body_mass[model.body("v1").id])
    model.dof_damping[:] = mass * 2.0
    smooth_rows, smooth_columns = _interpolation(ROWS), _interpolation(COLUMNS)
    settle = round(0.5 / TIMESTEP_S)
    surface = []
    mujoco.mj_forward(model, data)
    actors = _Actors(model, data, mass)
    for _ in range(settle):
        actors.act(0.0)
        mujoco.mj_step(model, data)
    step = 0
    for number, moment in enumerate(time_s):
        while step * TIMESTEP_S < moment:
            actors.act(step * TIMESTEP_S)
            mujoco.mj_step(model, data)
            step += 1
        coarse = data.xpos[actors.vertex_body].reshape(ROWS, COLUMNS, 3)
        if not np.isfinite(coarse).all():
            raise RuntimeError(f"the cloth simulation became unstable at {moment:.2f} s")
        surface.append(np.einsum("ir,rcx,jc->ijx", smooth_rows, coarse, smooth_columns).reshape(-1, 3))
        if progress is not None:
            progress(number)
    uv, triangles = _fine_grid(len(smooth_rows), len(smooth_columns))
    return ClothMotion(np.asarray(surface, np.float32), triangles, uv, np.asarray(time_s, float))


def _cloth_xml() -> str:
    """One body per vertex: three slide joints for the free ones, a mocap body for the pegged ones."""
    xs, ys = np.linspace(-WIDTH_M / 2, WIDTH_M / 2, COLUMNS), np.linspace(-HEIGHT_M / 2, HEIGHT_M / 2, ROWS)
    mass = 0.08 / (COLUMNS * ROWS)
    joints = "".join(f'<joint type="slide" axis="{axis}"/>' for axis in ("1 0 0", "0 1 0", "0 0 1"))
    inertia = f'<inertial pos="0 0 0" mass="{mass:.6g}" diaginertia="1e-9 1e-9 1e-9"/>'
    bodies = []
    for index in range(ROWS * COLUMNS):
        place = f'name="v{index}" pos="{xs[index % COLUMNS]:.6f} {ys[index // COLUMNS]:.6f} {DISTANCE_M}"'
        bodies.append(f'<body {place} mocap="true"/>' if index in PEGS else f'<body {place}>{inertia}{joints}</body>')
    names = " ".join(f"v{index}" for index in range(ROWS * COLUMNS))
    element = " ".join(map(str, _triangles(ROWS, COLUMNS).ravel()))
    zeros = " ".join(["0 0 0"] * (ROWS * COLUMNS))
    corner = ROWS * COLUMNS - 1
    return f"""<mujoco>
      <option timestep="{TIMESTEP_S}" solver="CG" iterations="30" tolerance="1e-7" integrator="Euler" gravity="0 9.81 0"/>
      <size memory="200M"/>
      <worldbody><body name="hand" mocap="true" pos="{xs[-1]} {ys[-1]} {DISTANCE_M}"/>{"".join(bodies)}</worldbody>
      <deformable>
        <flex name="cloth" dim="2" radius="0.001" body="{names}" vertex="{zeros}" element="{element}">
          <contact contype="0" conaffinity="0" selfcollide="none"/>
        </flex>
      </deformable>
      <equality>
        <flex flex="cloth" solref="0.005 1"/>
        <connect name="grip" body1="v{corner}" body2="hand" anchor="0 0 0" active="false" solref="0.005 1"/>
      </equality>
    </mujoco>"""


class _Actors:
    """What moves the cloth: the pegs, the hand at the lower right corner, and a breeze."""

    def __init__(self, model, data, mass: float) -> None:
        self.vertex_body = np.array([model.body(f"v{index}").id for index in range(ROWS * COLUMNS)])
        self._data = data
        self._model = model
        self._peg = np.array([model.body_mocapid[self.vertex_body[index]] for index in PEGS])
        self._peg_rest = np.array(data.mocap_pos[self._peg])
        self._hand = int(model.body_mocapid[model.body("hand").id])
        self._grip = model.equality("grip").id
        self._corner = self.vertex_body[-1]
        self._grip_start: np.ndarray | None = None
        self._mass = mass
        self._previous = data.xpos[self.vertex_body].reshape(ROWS, COLUMNS, 3)
        self._u = np.tile(np.linspace(0, 1, COLUMNS), ROWS)
        self._v = np.repeat(np.linspace(0, 1, ROWS), COLUMNS)

    def act(self, time: float) -> None:
        """Set targets and forces for the next step."""
        import mujoco

        data = self._data
        mujoco.mj_kinematics(self._model, data)
        data.mocap_pos[self._peg] = self._pegs(time)
        gust = _hold(time, 0.5, 1.0, 1.7, 2.3) + 0.7 * _hold(time, 5.0, 5.2, 5.6, 5.9)
        wave = np.sin(2 * np.pi * (1.2 * self._u + 0.3 * self._v - 1.1 * time)) * self._v
        force = self._bending()
        force[:, 2] += 4.0 * self._mass * gust * wave
        data.xfrc_applied[self.vertex_body, :3] = force
        gripping = 3.25 <= time <= 5.2
        if gripping and self._grip_start is None:
            self._grip_start = data.xpos[self._corner].copy()
        if self._grip_start is not None and gripping:
            away = _hold(time, 3.3, 4.2, 4.45, 5.2)
            arc = np.sin(np.pi * min(away, 1.0)) * np.array([0.02, 0.0, -0.06])
            data.mocap_pos[self._hand] = self._grip_start + away * np.array([-0.22, -0.20, -0.10]) + arc
        data.eq_active[self._grip] = gripping

    def _bending(self) -> np.ndarray:
        """(V, 3) newtons against curvature and its change, along both directions of the weave."""
        place = self._data.xpos[self.vertex_body].reshape(ROWS, COLUMNS, 3)
        stress = BENDING_N_M * place + BENDING_DAMPING_NS_M * (place - self._previous) / TIMESTEP_S
        self._previous = place
        force = np.zeros_like(place)
        across = stress[:, :-2] - 2 * stress[:, 1:-1] + stress[:, 2:]
        along = stress[:-2] - 2 * stress[1:-1] + stress[2:]
        for shift, weight in ((0, -1.0), (1, 2.0), (2, -1.0)):
            force[:, shift:COLUMNS - 2 + shift] += weight * across
            force[shift:ROWS - 2 + shift] += weight * along
        return force.reshape(-1, 3)

    def _pegs(self, time: float) -> np.ndarray:
        """(P, 3) where the pegs are at a time."""
        pegs = self._peg_rest.copy()
        side = pegs[:, 0] / (WIDTH_M / 2)
        gather = _hold(time, 0.5, 1.4, 1.9, 2.6)
        twist = _hold(time, 1.9, 2.6, 2.9, 3.5) - 0.8 * _hold(time, 4.9, 5.4, 5.5, 6.0)
        zigzag = np.array([0.0, -1.0, 0.4, -1.0, 0.0])
        pegs[:, 0] *= 1 - 0.22 * gather - 0.10 * abs(twist)
        pegs[:, 0] += 0.03 * gather * np.sin(2 * np.pi * 1.0 * (time - 0.5))
        pegs[:, 1] += 0.015 * gather
        pegs[:, 2] += 0.045 * gather * zigzag + 0.09 * twist * side
        return pegs


def _hold(time: float, start: float, full: float, end: float, gone: float) -> float:
    """0, smoothly up to 1 between start and full, smoothly down to 0 between end and gone."""
    up = np.clip((time - start) / (full - start), 0, 1)
    down = np.clip((gone - time) / (gone - end), 0, 1)
    level = min(up, down)
    return float(level**3 * (level * (6 * level - 15) + 10))


def _triangles(rows: int, columns: int) -> np.ndarray:
    """(F, 3) int32 triangles of a grid, row by row, diagonals alternating, counter-clockwise seen from the camera."""
    corner = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]
    even = (np.add.outer(np.arange(rows - 1), np.arange(columns - 1)) % 2 == 0)[..., None]
    first = np.where(even, np.stack([a, c, d], -1), np.stack([a, c, b], -1))
    second = np.where(even, np.stack([a, d, b], -1), np.stack([b, c, d], -1))
    return np.concatenate([first.reshape(-1, 3), second.reshape(-1, 3)]).astype(np.int32)


def _interpolation(count: int) -> np.ndarray:
    """((count - 1) * REFINEMENT + 1, count): natural cubic spline through `count` equally spaced values, as a matrix."""
    from scipy.interpolate import CubicSpline

    fine = np.linspace(0, count - 1, (count - 1) * REFINEMENT + 1)
    return CubicSpline(np.arange(count), np.eye(count), bc_type="natural")(fine)


def _fine_grid(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """uv and triangles of the fine surface."""
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    return np.stack([u, v], -1).reshape(-1, 2).astype(np.float32), _triangles(rows, columns)
