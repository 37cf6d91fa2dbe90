"""Pictures with words: a headline, titles above the panels, a legend below. Words have bands of their own and hide nothing."""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .draw import as_bgr
from .palette import BACKGROUND, INK, direction_colors

Entry = tuple[tuple[int, int, int] | str, str]      # of a legend: BGR colour or MOTION, and what it means
MOTION = "motion"           # a wheel: each direction in the colour of a motion that way
FONT = cv2.FONT_HERSHEY_SIMPLEX
CAPITAL = 21                # pixels, height of the font's capitals at scale 1
SMALLEST, LARGEST = 9, 28   # pixels, of capitals
PER_PICTURE = 40            # capitals in a picture's height


def compose(panels: Sequence[np.ndarray], titles: Sequence[str], headline: str = "", legend: Sequence[Entry] = (),
            capital: int | None = None) -> np.ndarray:
    """Panels side by side (BGR, each at its size), each with its title above it, the headline on top, the legend below.

    capital: pixels, height of the words; by the highest panel's where not given. What is too long is written smaller.
    """
    capital = capital or capital_height(max(panel.shape[0] for panel in panels))
    width, titled = sum(panel.shape[1] for panel in panels), max(panel.shape[0] for panel in panels) + band_height(capital)
    above = band(headline, width, capital) if headline else np.empty((0, width, 3), np.uint8)
    below = legend_band(legend, width, capital) if legend else np.empty((0, width, 3), np.uint8)
    picture = np.zeros((len(above) + titled + len(below), width, 3), np.uint8)
    picture[:len(above)], picture[len(above) + titled:] = above, below
    left = 0
    for panel, title in zip(panels, titles, strict=True):
        column = picture[len(above):, left:left + panel.shape[1]]
        column[:band_height(capital)] = band(title, panel.shape[1], capital)
        column[band_height(capital):][:panel.shape[0]] = as_bgr(panel)
        left += panel.shape[1]
    return picture


def capital_height(height: int) -> int:
    """Pixels of a capital in words about a picture so many pixels high."""
    return int(np.clip(round(height / PER_PICTURE), SMALLEST, LARGEST))


def band_height(capital: int) -> int:
    """Pixels of a line of words with its margins."""
    return 2 * capital + 2


def band(text: str, width: int, capital: int) -> np.ndarray:
    """One line of words, so many pixels wide."""
    picture = np.full((band_height(capital), width, 3), BACKGROUND, np.uint8)
    _write(picture, text, capital // 2, capital, width - capital)
    return picture


def legend_band(entries: Sequence[Entry], width: int, capital: int) -> np.ndarray:
    """What the colours mean: squares or wheels with words, in as many lines as it takes."""
    high, gap = band_height(capital), capital // 2
    lines: list[list[Entry]] = [[]]
    left = gap
    for entry in entries:
        needed = _swatch_size(entry, capital) + _text_width(entry[1], capital) + 5 * gap
        if left + needed > width and lines[-1]:
            lines.append([])
            left = gap
        lines[-1].append(entry)
        left += needed
    picture = np.full((high * len(lines), width, 3), BACKGROUND, np.uint8)
    for number, line in enumerate(lines):
        row, left = picture[number * high:(number + 1) * high], gap
        for entry in line:
            size = _swatch_size(entry, capital)
            top = (high - size) // 2
            patch = row[top:top + size, left:left + size]
            patch[:] = _swatch(entry[0], size)[:, :patch.shape[1]]
            left += size + gap
            _write(row, entry[1], left, capital, width - left)
            left += _text_width(entry[1], capital) + 4 * gap
    return picture


def motion_wheel(size: int) -> np.ndarray:
    """A disc (size, size, 3) BGR: a motion from its middle to a pixel has that pixel's colour."""
    at = (np.arange(size) - (size - 1) / 2) / (size / 2)
    x, y = np.meshgrid(at, at)
    length = np.hypot(x, y)
    disc = direction_colors(np.arctan2(y, x), length)
    disc[length > 1] = BACKGROUND
    return disc


def _swatch(what: tuple[int, int, int] | str, size: int) -> np.ndarray:
    return motion_wheel(size) if isinstance(what, str) else np.full((size, size, 3), what, np.uint8)


def _swatch_size(entry: Entry, capital: int) -> int:
    """A wheel needs more room to be read."""
    return 2 * capital if isinstance(entry[0], str) else capital


def _text_width(text: str, capital: float) -> int:
    return int(cv2.getTextSize(text, FONT, capital / CAPITAL, _thickness(capital))[0][0])


def _thickness(capital: float) -> int:
    return max(1, round(capital / 12))


def _write(picture: np.ndarray, text: str, left: int, capital: int, room: int) -> None:
    """In place, in the middle of the picture's height, no wider than the room."""
    if not text or room <= 0:
        return
    high = float(capital)
    while high > 1 and _text_width(text, high) > room:      # in small steps: OpenCV 5 has letters of a few sizes only
        high *= 0.97
    base = (picture.shape[0] + round(high)) // 2
    cv2.putText(picture, text, (left, base), FONT, high / CAPITAL, INK, _thickness(high), cv2.LINE_AA)
