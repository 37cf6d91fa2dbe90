"""The pictures in the scene: the print on the cloth, and a quiet wooden board behind it. All BGR uint8."""
from __future__ import annotations

from importlib.resources import as_file, files

import cv2
import numpy as np

PICTURE = "starry_night.jpg"   # source and licence: data/SOURCES.md
BORDER = 0.03                  # of the cloth's width, an unprinted hem


def cloth_print() -> np.ndarray:
    """The front of the cloth: the printed picture with a woven, unprinted border."""
    with as_file(files(__package__) / "data" / PICTURE) as path:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise FileNotFoundError(f"the cloth's picture {PICTURE} is missing from the installed package (dalf_ros/simulation/data)")
    height, width = picture.shape[:2]
    border = round(BORDER * width)
    front = np.empty((height, width, 3), np.uint8)
    front[:] = (196, 212, 222)
    front[border:-border, border:-border] = cv2.resize(picture, (width - 2 * border, height - 2 * border), interpolation=cv2.INTER_AREA)
    for inset, color in ((border // 2, (90, 70, 60)), (border - 2, (120, 110, 96))):
        cv2.rectangle(front, (inset, inset), (width - 1 - inset, height - 1 - inset), color, 2, cv2.LINE_AA)
    return front


def cloth_back(front: np.ndarray) -> np.ndarray:
    """The reverse: the print shows through, pale."""
    grey = cv2.cvtColor(cv2.cvtColor(front, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    faded = 0.55 * grey + 0.45 * front
    return cv2.GaussianBlur((0.35 * faded + 0.65 * np.array([188, 204, 214])).astype(np.uint8), (0, 0), 1.5)


def board(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Planks of wood: low contrast, so that few keypoints lie on it."""
    grain = rng.normal(size=(height, width)).astype(np.float32)
    fine = cv2.GaussianBlur(grain, (0, 0), sigmaX=40, sigmaY=0.8)
    broad = cv2.GaussianBlur(grain, (0, 0), sigmaX=160, sigmaY=8)
    wood = 6 * fine / fine.std() + 7 * broad / broad.std()
    plank = height // 6
    for number in range(6):
        wood[number * plank:(number + 1) * plank] += rng.normal() * 7
        wood[number * plank:number * plank + 2] -= 26
    return np.clip(np.array([78, 98, 116]) + wood[..., None] * np.array([0.8, 0.95, 1.0]), 0, 255).astype(np.uint8)
