"""The report of one run: a template, libraries and the run's data, put together to one file of HTML."""
from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from ..drawing.palette import BACKGROUND, GRID, INK, NEUTRAL, PLAIN, SERIES, TINT, UNSEEN, hexadecimal, magnitude_colors, rgb, signed_colors
from .frame_columns import frame_columns, seconds, status_bars, status_shares, troubles
from .mesh_blocks import Blocks, mesh_blocks
from .run_report import RunReport
from .templates import file_text, template

SCRIPTS = ("unpack.js", "mesh_scene.js", "named_points.js", "plots.js", "report.js")
SHADES = 255


def report_page(report: RunReport) -> Iterator[str]:
    """The page, piece by piece. It connects to nothing, and names nothing outside itself."""
    blocks: Blocks = {}
    if report.film is not None:
        blocks["film"] = report.film.data
    if report.sheet is not None:
        blocks["sheet"] = report.sheet
    sequences = mesh_blocks(report.sequences, blocks)
    data = {"frames": frame_columns(report.frames), "film": _film(report), "sequences": sequences, "points": _points(report),
            "colors": _colors()}
    return template("report.html").generate(
        name=report.name, notes=report.notes, shares=status_shares(report.frames), bars=status_bars(report.frames),
        troubles=troubles(report.frames), facts=_facts(report), options=_told(report.options), data=data,
        style=file_text("page", "report.css") + file_text("libraries", "uPlot.min.css"),
        libraries=[file_text("libraries", "three.min.js"), file_text("libraries", "uPlot.iife.min.js")],
        scripts=[file_text("page", name) for name in SCRIPTS],
        blocks=((key, b64encode(value).decode()) for key, value in blocks.items()),
        has_mesh=bool(sequences), has_points=bool(sequences and report.points), film=report.film,
        sheet=report.sheet, ground=hexadecimal(BACKGROUND))


def _points(report: RunReport) -> list[dict[str, Any]]:
    """Named points as the page has them: metres, to 10 micrometres, None where a place is not known."""
    return [{"name": name, "visible": track.visible.astype(int).tolist(),
             "position": [place if known else None for place, known in zip(track.position.astype(float).round(5).tolist(),
                                                                           np.isfinite(track.position).all(axis=1))]}
            for name, track in report.points.items()]


def _film(report: RunReport) -> dict[str, Any] | None:
    if report.film is None:
        return None
    return {"fps": report.film.fps, "pictures": report.film.pictures, "frames": report.film.frames}


def _colors() -> dict[str, Any]:
    """What the scripts take from the palette, RGB."""
    share = np.linspace(0, 1, SHADES)
    return {"magnitude": magnitude_colors(share)[:, ::-1].reshape(-1).tolist(),
            "signed": signed_colors(2 * share - 1)[:, ::-1].reshape(-1).tolist(),
            "unseen": rgb(UNSEEN), "tint": TINT, "plain": rgb(PLAIN), "point": rgb(GRID), "hidden": rgb(NEUTRAL),
            "ground": hexadecimal(BACKGROUND), "ink": hexadecimal(INK),
            "curves": [SERIES[4], SERIES[1], SERIES[2]]}


def _facts(report: RunReport) -> list[tuple[str, str]]:
    """What stands on top: caption and value."""
    summary, frames = report.summary, report.frames
    facts = [("frames", str(len(frames)))]
    if (length := seconds(frames)) is not None:
        facts.append(("length", f"{length:.1f} s"))
    if (residual := summary.get("median_residual_m")) is not None:
        facts.append(("median residual", f"{1e3 * residual:.2f} mm"))
    for caption, key in (("median matches", "median_matches"), ("median inliers", "median_inliers")):
        if summary.get(key) is not None:
            facts.append((caption, f"{summary[key]:.0f}"))
    if report.sequences:
        facts.append(("vertices", " / ".join(str(count) for count in sorted({len(each.reference) for each in report.sequences})[-3:])))
    if summary.get("frames_per_second"):
        facts.append(("speed", f"{summary['frames_per_second']:.2f} frames a second"))
    stamp = frames[0]["stamp"]
    if stamp > 1e8:         # seconds since 1970; what is smaller counts from the start of a recording
        facts.append(("recorded", f"{datetime.fromtimestamp(stamp, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"))
    return facts


def _told(options: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in sorted(options.items()) if value not in (None, "", [], False)]


def save_page(path: Path, pieces: Iterator[str]) -> None:
    """Write a page, whole or not at all. Raises OSError."""
    from ..files.whole_file import whole_file

    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as stream:
        stream.writelines(pieces)
