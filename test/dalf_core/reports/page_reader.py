"""Reads a page back as a browser does, its numbers too."""
from __future__ import annotations

import json
import zlib
from base64 import b64decode
from html.parser import HTMLParser
from typing import Any

import numpy as np


class Page(HTMLParser):
    """tags: (name, attributes) of every element. text: what is read, with spaces between elements.

    scripts: text of every script and style, by its id, else its number. data: what the page's scripts are given.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str | int, str] = {}
        self.text = ""
        self._key: str | int | None = None
        self.feed(html)
        self.close()
        self.data: Any = json.loads(self.scripts["run"]) if "run" in self.scripts else None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " "
        if tag in ("script", "style"):
            self._key = dict(attrs).get("id") or len(self.scripts)
            self.scripts[self._key] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._key = None

    def handle_data(self, data: str) -> None:
        if self._key is None:
            self.text += data
        else:
            self.scripts[self._key] += data

    def block(self, name: str) -> bytes:
        return b64decode(self.scripts[f"block-{name}"], validate=True)

    def topology(self, number: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Triangles (F, 3) and colours (V, 3) of a sequence."""
        told = self.data["sequences"][number]
        raw = zlib.decompress(self.block(f"{told['name']}-rest"))
        end = 12 * told["triangles"]
        colors = np.frombuffer(raw[end:], np.uint8).reshape(-1, 3) if told["colored"] else None
        return np.frombuffer(raw[:end], "<u4").reshape(-1, 3), colors

    def surfaces(self, number: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Vertices (T, V, 3), visible (T, V), and fields by name: (T, V) in their unit or its log10, NaN where there is no value."""
        told = self.data["sequences"][number]
        count, size = told["vertices"], told["frames_a_block"]
        numbers, visible, fields = [], [], {field["name"]: [] for field in told["fields"]}
        for block, start in enumerate(range(0, len(told["frames"]), size)):
            frames = min(size, len(told["frames"]) - start)
            series = [(3, 2), (1, 1), *[(1, 1)] * len(fields)]
            position, seen, *others = unpack(zlib.decompress(self.block(f"{told['name']}-{block}")), frames, count, series)
            numbers.append(position.transpose(0, 2, 1))
            visible.append(seen[:, 0])
            for field, shades in zip(told["fields"], others):
                value = field["low"] + shades[:, 0] / 254 * (field["high"] - field["low"])
                fields[field["name"]].append(np.where(shades[:, 0] == 255, np.nan, value))
        vertices = np.array(told["low"]) + told["step"] * np.concatenate(numbers)
        return vertices, np.concatenate(visible) != 0, {name: np.concatenate(values) for name, values in fields.items()}


def unpack(raw: bytes, frames: int, count: int, series: list[tuple[int, int]]) -> list[np.ndarray]:
    """What pack() packed, inflated: of each of the series (rows, bytes of a number) an array (frames, rows, count)."""
    arrays, at = [], 0
    for rows, size in series:
        planes = np.frombuffer(raw, np.uint8, frames * rows * count * size, at).reshape(size, frames, rows, count).astype(np.int64)
        at += planes.size
        folded = sum(plane << (8 * byte) for byte, plane in enumerate(planes))
        change = np.where(folded % 2, -(folded // 2) - 1, folded // 2)
        arrays.append(change.cumsum(axis=2).cumsum(axis=0) % (1 << (8 * size)))
    assert at == len(raw)
    return arrays
