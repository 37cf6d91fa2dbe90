"""A textured plane that turns, grows and bends before a camera, drawn without an image to resample: its exact places are known."""
from __future__ import annotations

import numpy as np

SIZE = (320, 240)           # width, height
_rng = np.random.default_rng(7)
_WAVES = _rng.normal(0, 0.35, (60, 2))          # radians a pixel
_PHASES = _rng.uniform(0, 2 * np.pi, 60)


def texture(xy: np.ndarray) -> np.ndarray:
    """Grey value at places (..., 2) of the plane: a sum of waves, smooth, never the same twice."""
    value = np.zeros(xy.shape[:-1])
    for wave, phase in zip(_WAVES, _PHASES):
        value += np.cos(xy @ wave + phase)
    return 128 + 8 * value


def affine_view(matrix: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Image of the plane mapped by xy -> matrix (xy - c) + middle, with c the image's centre: (H, W) uint8."""
    pixels = np.stack(np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1])), axis=-1).astype(float)
    return np.rint(texture((pixels - middle) @ np.linalg.inv(matrix).T + centre()).clip(0, 255)).astype(np.uint8)


def centre() -> np.ndarray:
    """Of the image, pixels."""
    return (np.array(SIZE) - 1) / 2


def turned(degrees: float, zoom: float = 1.0) -> np.ndarray:
    """(2, 2) rotation with zoom."""
    angle = np.radians(degrees)
    return zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def mapped(xy: np.ndarray, matrix: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Where the view shows places of the plane."""
    return (xy - centre()) @ matrix.T + middle


def grid(step: float = 12.0, border: float = 60.0) -> np.ndarray:
    """Places in the first view, away from its border: (N, 2) float32."""
    x, y = (np.arange(border, length - border, step) for length in SIZE)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32) + np.float32(0.3)
