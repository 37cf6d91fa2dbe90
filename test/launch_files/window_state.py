"""The docks of a saved Qt main window: what QMainWindow::saveState() writes, big-endian.

Worked out from the bytes of saved layouts.
"""
from __future__ import annotations

import struct
from dataclasses import dataclass

VERSION_MARKER, DOCKS, TABS, SEQUENCE, DOCK = 0xFF, 0xFD, 0xFA, 0xFC, 0xFB
SIDES = ("left", "right", "top", "bottom")
VERTICAL = 2                # Qt::Orientation
VISIBLE, FLOATING = 1, 2    # flags of a dock


@dataclass(frozen=True)
class Dock:
    """A panel. size: (width, height) in pixels, which it would have if it is hidden."""

    name: str
    side: str
    shown: bool
    size: tuple[int, int]


@dataclass(frozen=True)
class WindowState:
    """center: (width, height) in pixels of what the docks leave free."""

    docks: dict[str, Dock]
    center: tuple[int, int]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, form: str) -> tuple:
        values = struct.unpack_from(f">{form}", self._data, self._at)
        self._at += struct.calcsize(f">{form}")
        return values

    def byte(self) -> int:
        return self.take("B")[0]

    def text(self) -> str:
        (length,) = self.take("I")
        return self.take(f"{length}s")[0].decode("utf-16-be")


def window_state(state: str) -> WindowState:
    """From the hexadecimal digits of `QMainWindow State`. AssertionError, struct.error: it is none."""
    data = _Reader(bytes.fromhex(state))
    assert data.take("ii") == (VERSION_MARKER, 0) and data.byte() == DOCKS
    docks: dict[str, Dock] = {}
    for _ in range(data.take("i")[0]):
        side, width, height = data.take("iii")
        _group(data, SIDES[side], (width, height), docks)
    center = data.take("ii")
    data.take("4i")         # which side has which corner
    assert data.byte() == SEQUENCE, "the tool bars follow"      # ToolBarStateMarkerEx has the same number
    return WindowState(docks, center)


def _group(data: _Reader, side: str, size: tuple[int, int], docks: dict[str, Dock]) -> None:
    """Docks beside each other, or as tabs of one place."""
    kind = data.byte()
    assert kind in (TABS, SEQUENCE)
    if kind == TABS:
        data.take("i")      # which one is on top
    vertical, count = data.byte() == VERTICAL, data.take("i")[0]
    for _ in range(count):
        item = data.byte()
        if item == DOCK:
            name, flags = data.text(), data.byte()
            assert not flags & FLOATING
        extent = data.take("4i")[1]         # position, size, least, most
        own = size if kind == TABS else (size[0], extent) if vertical else (extent, size[1])
        if item == DOCK:
            docks[name] = Dock(name, side, bool(flags & VISIBLE), own)
        else:
            assert item == SEQUENCE
            _group(data, side, own, docks)
