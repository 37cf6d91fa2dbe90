"""What a .rviz file shows: its displays, and from where the scene is looked at."""
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

FILLED = 0.9                # of the picture's half height or width, by what a view is fitted to
NEAREST = 0.05              # metres, the distance of a fitted view from its focal point
FIELD_OF_VIEW = 45.0        # degrees, vertical: RViz's own where the file names none


@dataclass(frozen=True)
class Orbit:
    """RViz's Orbit view: yaw and pitch in radians about the fixed frame's z, which is up; distance and focal point (3,) in metres."""

    yaw: float
    pitch: float
    distance: float
    focal_point: tuple[float, float, float]

    @property
    def eye(self) -> np.ndarray:
        """(3,) metres, where the scene is looked at from."""
        direction = np.array([np.cos(self.yaw) * np.cos(self.pitch), np.sin(self.yaw) * np.cos(self.pitch), np.sin(self.pitch)])
        return np.array(self.focal_point) + self.distance * direction

    def fitted(self, points: np.ndarray, aspect: float) -> Orbit:
        """The same direction, aimed at points (N, 3) metres and so near that they fill a picture of that aspect, width over height."""
        points = np.asarray(points, float).reshape(-1, 3)
        points = points[np.isfinite(points).all(axis=1)]
        if not len(points):
            raise ValueError("there are no points to fit the view to")
        look = (np.array(self.focal_point) - self.eye) / self.distance
        right = np.cross(look, (0, 0, 1))
        right /= np.linalg.norm(right)
        across = points @ np.stack([right, np.cross(look, right), look]).T
        middle = (across.min(axis=0) + across.max(axis=0)) / 2
        x, y, depth = (across - middle).T
        slope = FILLED * np.tan(np.radians(FIELD_OF_VIEW / 2))
        distance = max((np.abs(x) / (aspect * slope) - depth).max(), (np.abs(y) / slope - depth).max(), NEAREST)
        return replace(self, distance=float(distance), focal_point=tuple(middle @ np.stack([right, np.cross(look, right), look])))


@dataclass(frozen=True)
class Layout:
    """background: RGB 0..255. fixed_frame: all positions are in it. displays: the enabled ones, as the file has them."""

    background: tuple[int, int, int]
    fixed_frame: str
    view: Orbit
    displays: tuple[dict[str, Any], ...]


def load_layout(path: Path) -> Layout:
    """Read a .rviz file. Raises ValueError where it is none, or looks in another way than by Orbit."""
    try:
        manager = yaml.safe_load(path.read_text(encoding="utf-8"))["Visualization Manager"]
        options, view = manager["Global Options"], manager["Views"]["Current"]
        if view["Class"] != "rviz_default_plugins/Orbit":
            raise ValueError(f"{path}: its view is {view['Class']}; only rviz_default_plugins/Orbit can be drawn")
        red, green, blue = (int(part) for part in options["Background Color"].split(";"))
        orbit = Orbit(float(view["Yaw"]), float(view["Pitch"]), float(view["Distance"]),
                      tuple(float(view["Focal Point"][axis]) for axis in "XYZ"))
        displays = tuple(display for display in manager["Displays"] if display.get("Enabled", True))
    except (KeyError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is not a configuration of RViz: {type(error).__name__} {error}") from error
    return Layout((red, green, blue), options["Fixed Frame"], orbit, displays)


def topic_of(display: dict[str, Any]) -> str:
    """The topic that a display shows; empty for those that show none, such as Axes."""
    return str(display["Topic"]["Value"]) if "Topic" in display else ""
