"""The table of many runs."""
from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Any

from .frame_columns import status_color
from .run_report import RunLine
from .templates import file_text, template


def index_page(title: str, runs: Sequence[RunLine]) -> Iterator[str]:
    """The page, piece by piece: a table that a click on a column's head sorts. Links are relative to where it lies."""
    return template("index.html").generate(title=title, rows=[_row(run) for run in runs], style=file_text("page", "report.css"),
                                           script=file_text("page", "index.js"))


def _row(run: RunLine) -> dict[str, Any]:
    """Numbers as they are shown and, for sorting, as they are; None where there is none."""
    summary, count = run.summary, run.summary.get("frames", 0)
    statuses = summary.get("status", {})
    good = statuses.get("tracked", 0) + statuses.get("matched", 0)
    residual, speed = summary.get("median_residual_m"), summary.get("frames_per_second")
    return {
        "name": run.name, "link": run.link, "problem": run.problem,
        "thumbnail": None if run.thumbnail is None else b64encode(run.thumbnail).decode(),
        "shares": [(status, status_color(status), number, number / count) for status, number in
                   sorted(statuses.items(), key=lambda pair: -pair[1])] if count else [],
        "numbers": [(count or None, str(count or "")),
                    (good / count if count else None, f"{100 * good / count:.1f} %" if count else ""),
                    (residual, "" if residual is None else f"{1e3 * residual:.2f}"),
                    *((summary.get(key), "" if summary.get(key) is None else f"{summary[key]:.0f}")
                      for key in ("median_matches", "median_inliers")),
                    (speed, "" if speed is None else f"{speed:.2f}")],
    }
