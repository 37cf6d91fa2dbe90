"""What metrics.json says of the frames, as a report shows it."""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from ..drawing.palette import OTHER_STATUS, STATUS

Frames = list[dict[str, Any]]
OUTER_STAGES_LEFT_OUT = ("write",)      # the time of a frame is that of following it
MOST_TROUBLES = 200


@dataclass(frozen=True)
class Bar:
    """Frames in a row of one status: first and last number. reason: the commonest of them, with how many others there are."""

    status: str
    color: str
    first: int
    last: int
    reason: str

    @property
    def count(self) -> int:
        return self.last - self.first + 1


def status_color(status: str) -> str:
    """#rrggbb."""
    return STATUS.get(status, OTHER_STATUS)


def frame_columns(frames: Frames) -> dict[str, Any]:
    """Columns, one value a frame, None where there is none. time: seconds from the first, or, where stamps do not grow, the frame's number
    (then time_unit is "frame"); residual: mm; milliseconds: of following the frame."""
    names = sorted({frame["status"] for frame in frames})
    stamps = np.array([frame["stamp_ns"] for frame in frames], np.int64)
    grows = bool((np.diff(stamps) > 0).all())
    times = ((stamps - stamps[0]) / 1e9).round(4) if grows else np.arange(len(frames))
    return {
        "time": times.tolist(), "time_unit": "s" if grows else "frame",
        "statuses": names, "status_colors": [status_color(name) for name in names],
        "status": [names.index(frame["status"]) for frame in frames],
        "reason": [frame["reason"] or "" for frame in frames],
        "residual": [None if frame["residual_m"] is None else round(1e3 * frame["residual_m"], 4) for frame in frames],
        **{name: [frame[name] for frame in frames] for name in ("matches", "verified", "inliers")},
        "milliseconds": [_milliseconds(frame) for frame in frames],
    }


def seconds(frames: Frames) -> float | None:
    """From the first frame to the last; None where stamps go back."""
    length = (frames[-1]["stamp_ns"] - frames[0]["stamp_ns"]) / 1e9
    return length if length > 0 else None


def status_shares(frames: Frames) -> list[tuple[str, str, int, float]]:
    """Status, its colour, frames, share 0..1; the commonest first."""
    counts = Counter(frame["status"] for frame in frames)
    return [(status, status_color(status), count, count / len(frames)) for status, count in counts.most_common()]


def status_bars(frames: Frames) -> list[Bar]:
    """The run as bars, each of frames of one status."""
    bars = []
    for status, group in groupby(enumerate(frames), key=lambda pair: pair[1]["status"]):
        members = list(group)
        bars.append(Bar(status, status_color(status), members[0][0], members[-1][0], _commonest([frame for _, frame in members])))
    return bars


def troubles(frames: Frames) -> list[Bar]:
    """The first MOST_TROUBLES bars of frames that were not followed as they should be."""
    return [bar for bar in status_bars(frames) if bar.status not in ("tracked", "matched")][:MOST_TROUBLES]


def _commonest(frames: Frames) -> str:
    reasons = Counter(frame["reason"] for frame in frames if frame["reason"])
    if not reasons:
        return ""
    reason, _ = reasons.most_common(1)[0]
    return reason if len(reasons) == 1 else f"{reason} (and {len(reasons) - 1} other reasons)"


def _milliseconds(frame: dict[str, Any]) -> float | None:
    stages = [value for name, value in frame["milliseconds"].items() if name not in OUTER_STAGES_LEFT_OUT]
    return round(sum(stages), 1) if stages else None
