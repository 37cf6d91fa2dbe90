"""What a .rviz file shows: its displays, and from where the scene is looked at."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

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
