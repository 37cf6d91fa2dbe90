"""Plots of an evaluation: curves of matching accuracy, bars of scores."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from dalf_core.drawing.palette import SERIES
from dalf_core.files.whole_file import write_whole

from .extractor_scores import THRESHOLDS, PairResult, grouped, mean_accuracy

DPI = 120


def plot_accuracy(path: Path, results: Sequence[PairResult]) -> None:
    """A panel for each level: the share of matches within a distance, a curve for each extractor."""
    groups = grouped(results)
    curves = {key: mean_accuracy(rows) for key, rows in groups.items()}
    levels = list(dict.fromkeys(level for level, _ in curves))
    figure = _figure(4.2 * len(levels) + 0.6, 4)
    panels = _panels(figure, len(levels))
    for panel, level in zip(panels, levels):
        for (other, name), curve in curves.items():
            if other == level:
                panel.plot(THRESHOLDS, curve, marker="o", markersize=3, label=name)
        pairs = max(len(rows) for (other, _), rows in groups.items() if other == level)
        panel.set(title=f"{level}, {pairs} pairs", xlabel="threshold, px", xticks=THRESHOLDS, ylim=(0, 1))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("mean matching accuracy")
    _legend(figure, panels[0], "Matches that lie where the true map takes them")
    _write(path, figure)


def plot_bars(path: Path, scores: Mapping[tuple[str, str], float], label: str, pairs: Mapping[str, int]) -> None:
    """A group of bars for each first key (a level, a dataset), in it one for each second key (an extractor).

    label: of the values. pairs: of pictures, in each group.
    """
    groups, names = (list(dict.fromkeys(key[place] for key in scores)) for place in (0, 1))
    figure = _figure(2 + 0.5 * len(groups) * (len(names) + 1), 4)
    panel, = _panels(figure, 1)
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        heights = [scores.get((group, name), np.nan) for group in groups]
        bars = panel.bar(np.arange(len(groups)) + (number - (len(names) - 1) / 2) * width, heights, width, label=name)
        panel.bar_label(bars, fmt="%.2f", fontsize=7, padding=1)
    panel.set(ylabel=label, ylim=(0, 1))
    panel.set_xticks(np.arange(len(groups)), [f"{group}\n{pairs[group]} pairs" for group in groups])
    _legend(figure, panel, f"{label[0].upper()}{label[1:]}")
    panel.grid(axis="y", alpha=0.3)
    panel.set_axisbelow(True)
    _write(path, figure)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(width, 4.5), height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _panels(figure: Any, count: int) -> Any:
    """In a row, with curves and bars in the colours of all pictures."""
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for panel in panels:
        panel.set_prop_cycle(color=SERIES)
    return panels


def _legend(figure: Any, panel: Any, title: str) -> None:
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=3, title=title)


def _write(path: Path, figure: Any) -> None:
    data = BytesIO()
    figure.savefig(data, format="png", dpi=DPI)
    write_whole(path, data.getvalue())
