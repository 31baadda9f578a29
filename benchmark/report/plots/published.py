"""Published against measured numbers."""

from __future__ import annotations

import math

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.report import style
from benchmark.report.layout import name_axes, point, wrapped
from benchmark.report.results import method_rank


def reported_and_measured(frame: pd.DataFrame) -> Figure:
    """Measured R@1 against published R@1, a panel per benchmark, a point per method and shift.

    On the line the two are equal. Weights and data may differ from the paper's: see the columns
    ``weights``, ``queries`` and ``caution`` of the frame.

    Args:
        frame: ``reported.beside(...)``, with at least one row whose metric is R@1.

    Raises:
        ValueError: no such row.
    """
    rows = frame[frame["metric"] == "R@1"]
    if rows.empty:
        raise ValueError("no published R@1 to draw")
    names = sorted(set(rows["method"]), key=method_rank)
    looks = style.looks(names)
    panels = [(str(name), part) for name, part in rows.groupby("benchmark", sort=True)]
    columns = min(2, len(panels))
    count = math.ceil(len(panels) / columns)
    with mpl.rc_context(style.RC):
        size = (style.WIDTH if columns > 1 else 4.6, 0.8 + 3.1 * count)
        figure = Figure(figsize=size, layout="constrained")
        axes = list(figure.subplots(count, columns, squeeze=False).ravel())
        for axis, (name, part) in zip(axes, panels, strict=False):
            _panel(axis, part, looks)
            axis.set_title(wrapped(name, 40))
        name_axes(axes, len(panels), columns, "published R@1 (%)", "measured R@1 (%)")
        handles = [Line2D([], [], **point(looks[name])) for name in names]
        shown = [style.label(name) for name in names]
        lines = math.ceil(len(names) / 6)
        across = math.ceil(len(names) / lines)
        figure.legend(handles, shown, loc="outside lower center", ncols=across)
    return figure


def _panel(axis: Axes, rows: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    for name, part in rows.groupby("method", sort=True):
        axis.plot(part["reported"], part["measured"], **point(looks[str(name)]), alpha=0.85)
    numbers = [*rows["reported"], *rows["measured"].dropna()]
    low, high = max(0.0, min(numbers) - 3), min(100.0, max(numbers) + 3)
    axis.plot([low, high], [low, high], color=style.QUIET, linewidth=1.0, zorder=1)
    axis.set_xlim(low, high)
    axis.set_ylim(low, high)
    axis.set_aspect("equal")
    axis.grid(axis="both")
