"""What passes between camera and cloth: a forearm in a dark sleeve with a spread hand. Camera optical frame, metres."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SLEEVE, SKIN = (86, 62, 50), (130, 158, 205)   # BGR
PASSES_S = (2.55, 3.35)                        # enters and has gone
DISTANCE_M = 0.28


@dataclass(frozen=True)
class Hand:
    """vertices (V, 3) metres with the palm's middle at the origin; triangles (F, 3) int32; colors (F, 3) uint8 BGR per triangle."""

    vertices: np.ndarray
    triangles: np.ndarray
    colors: np.ndarray


def make_hand() -> Hand:
    """A forearm that comes from below, a palm and five fingers, out of capsules and an ellipsoid."""
    parts = [(_capsule((0.05, 0.13, 0.0), (0.16, 0.50, 0.02), 0.048), SLEEVE),
             (_capsule((0.02, 0.06, 0.0), (0.05, 0.13, 0.0), 0.034), SKIN),
             (_ellipsoid((0.058, 0.064, 0.020)), SKIN)]
    for base, tip in (((-0.05, 0.02), (-0.125, -0.03)), ((-0.042, -0.045), (-0.085, -0.125)), ((-0.015, -0.055), (-0.028, -0.15)),
                      ((0.015, -0.055), (0.026, -0.145)), ((0.04, -0.045), (0.075, -0.12))):
        parts.append((_capsule((*base, 0.0), (*tip, 0.012), 0.0125), SKIN))
    vertices, triangles, colors, offset = [], [], [], 0
    for (points, faces), color in parts:
        vertices.append(points)
        triangles.append(faces + offset)
        colors.append(np.tile(np.array(color, np.uint8), (len(faces), 1)))
        offset += len(points)
    return Hand(np.concatenate(vertices).astype(np.float32), np.concatenate(triangles).astype(np.int32), np.concatenate(colors))


def hand_place(time: float) -> np.ndarray | None:
    """(3,) metres, where the palm's middle is; None while the hand is out of the picture."""
    start, end = PASSES_S
    if not start <= time <= end:
        return None
    part = (time - start) / (end - start)
    eased = 0.5 + 4 * (part - 0.5) ** 3 * 0.6 + 0.7 * (part - 0.5)   # slower in the middle
    return np.array([0.42 - 0.84 * eased, 0.02 + 0.05 * np.cos(np.pi * part), DISTANCE_M])


def _capsule(start: tuple[float, float, float], end: tuple[float, float, float], radius: float) -> tuple[np.ndarray, np.ndarray]:
    """A round-ended rod as vertices and triangles."""
    a, b = np.array(start), np.array(end)
    axis = (b - a) / np.linalg.norm(b - a)
    side = np.cross(axis, (0.0, 0.0, 1.0) if abs(axis[2]) < 0.9 else (1.0, 0.0, 0.0))
    side /= np.linalg.norm(side)
    frame = np.stack([side, np.cross(axis, side), axis])
    points, faces = _ellipsoid((radius, radius, radius))
    return points @ frame + np.where(points[:, 2:] > 0, b, a), faces


def _ellipsoid(radii: tuple[float, float, float], rings: int = 26, segments: int = 44) -> tuple[np.ndarray, np.ndarray]:
    """An axis-aligned ellipsoid about the origin."""
    latitude = np.linspace(0, np.pi, rings + 1)
    longitude = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    ring, turn = np.meshgrid(latitude, longitude, indexing="ij")
    points = np.stack([np.sin(ring) * np.cos(turn), np.sin(ring) * np.sin(turn), np.cos(ring)], -1).reshape(-1, 3) * np.array(radii)
    index = np.arange((rings + 1) * segments).reshape(rings + 1, segments)
    a, b = index[:-1], np.roll(index[:-1], -1, axis=1)
    c, d = index[1:], np.roll(index[1:], -1, axis=1)
    return points, np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)]).astype(np.int32)
