"""What became of every frame of a clip: table and summary."""
from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..files.whole_file import write_whole

if TYPE_CHECKING:
    from ..tracking.template_tracking import TemplateFrame

SUFFIXES = (".csv", ".json")


@dataclass(frozen=True)
class FrameRow:
    """One frame. matches, verified: found without a prediction; None where DALF did not look. carried: from the frame before, beside
    those. used: those the map agrees with, carried or found near a prediction included.

    method: reference, direct, tracked or lost; reason: why lost. supported: part of the template's area, 0 to 1.
    zncc: mean local correlation of the registered frame with the template there, -1 to 1; None when lost.
    """

    frame: int
    time_s: float
    method: str
    matches: int | None
    verified: int | None
    carried: int
    used: int
    supported: float
    zncc: float | None
    reason: str

    @classmethod
    def of(cls, number: int, time_s: float, frame: TemplateFrame) -> FrameRow:
        """The row of one registered frame."""
        matches, verified = (None, None) if frame.matches is None else (len(frame.matches), frame.verified)
        return cls(number, round(time_s, 4), frame.method, matches, verified, frame.carried, frame.used, round(frame.supported, 4),
                   round(frame.zncc, 4) if math.isfinite(frame.zncc) else None, frame.reason)


def write_table(path: Path, rows: list[FrameRow], clip: str, reference: int) -> None:
    """Write the rows as .csv (a line a frame) or .json (`clip`, `reference`, `frames`), by the name's ending."""
    if path.suffix.lower() == ".json":
        text = json.dumps({"clip": clip, "reference": reference, "frames": [asdict(row) for row in rows]}, indent=1) + "\n"
    else:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, [f.name for f in fields(FrameRow)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
        text = buffer.getvalue()
    write_whole(path, text.encode())


def summarise(rows: list[FrameRow]) -> str:
    """Frames registered and how; median and worst counts over the registered frames but the reference itself, as far as they have any."""
    count = Counter(row.method for row in rows)
    lost = count["lost"]
    lines = [f"{len(rows) - lost} of {len(rows)} frames registered ({count['direct']} directly, {count['tracked']} tracked, "
             f"{count['reference']} reference, {lost} lost)"]
    others = [row for row in rows if row.method not in ("lost", "reference")]
    for title, name in (("verified matches", "verified"), ("matches carried", "carried"), ("matches used", "used"),
                        ("template seen", "supported"), ("local ZNCC", "zncc")):
        known = [(getattr(row, name), row.frame) for row in others if getattr(row, name) is not None]
        if known:
            worst, frame = min(known)
            lines.append(f"{title}: median {np.median([value for value, _ in known]):g}, worst {worst:g} (frame {frame})")
    return "\n".join(lines)
