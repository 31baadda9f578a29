"""What all figures share: names of panels and shifts, the grid of panels, title and legend."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmark.cell import CLEAN
from benchmark.report import style
from benchmark.report.pools import Pool, changed_nothing, labels_of
from benchmark.report.results import Setting, told_apart
from benchmark.report.unshifted import NOTHING

PANELS = 6
"""Panels in one figure. Shifts beyond it go on another page, benchmarks into a denser form."""


def place_titles(pools: Sequence[Pool]) -> dict[Setting, str]:
    """A title for each benchmark and stream, in order; says where the shifts changed nothing."""
    titles = place_names(pools)
    for place, name in titles.items():
        if changed_nothing(pool for pool in pools if pool.first.place == place):
            titles[place] = f"{name} ({NOTHING})"
    return titles


def place_names(pools: Sequence[Pool]) -> dict[Setting, str]:
    """A name for each benchmark and stream, in order."""
    first = {pool.first.place: pool.first for pool in pools}
    return told_apart(
        {
            place: (cell.benchmark + ("" if cell.stream == "single" else f" {cell.stream}"), cell)
            for place, cell in sorted(first.items())
        }
    )


def settings_of(pools: Sequence[Pool]) -> list[Setting]:
    """Settings in order, uncorrupted queries first."""
    found = {pool.first.setting: pool.first.shift for pool in pools}
    return sorted(found, key=lambda s: (s[:6], found[s] != CLEAN, s))


def shift_label(pool: Pool) -> str:
    """The shift (or domains) and severity as a panel or a column names them."""
    if pool.first.shift == CLEAN:
        return "no corruption"
    name = pool.first.shift.replace("_", " ").replace("+", " + ")
    label = style.label(f"{name} {pool.first.severities}", 40)
    return f"{label} ({NOTHING})" if pool.changed_nothing else label


def wrapped(text: str, width: int) -> str:
    """Text in lines of about the given number of characters; a number stays with its word."""
    tied = re.sub(r" (\d+)$", "\xa0\\1", style.label(text, 60))
    lines = textwrap.wrap(tied, max(8, width), max_lines=4, placeholder="…")
    return "\n".join(lines).replace("\xa0", " ")


def slug(text: str) -> str:
    """A title as part of a file name."""
    return "".join(c if c.isalnum() or c in "-." else "-" for c in text).strip("-")


def panels(
    rows: int,
    columns: int,
    size: tuple[float, float],
    pools: Sequence[Pool],
    *,
    sharey: bool = True,
) -> tuple[Figure, list[Axes]]:
    """Panels of the given size in all (inches), with room for title and legend added."""
    width, height = size
    legend = 0.18 * math.ceil(len(labels_of(pools)) / _legend_columns(pools, width))
    figure = Figure(figsize=(width, height + legend + 0.55), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=sharey and columns > 1)
    return figure, list(axes.ravel())


def hide_unused(axes: Sequence[Axes], used: int) -> None:
    """Takes panels that nothing is drawn in out of the figure."""
    for axis in axes[used:]:
        axis.set_visible(False)


def name_axes(axes: Sequence[Axes], used: int, columns: int, x: str, y: str) -> None:
    """Names below the lowest panel of each column and left of each row; hides unused panels."""
    hide_unused(axes, used)
    for axis in axes[max(0, used - columns) : used]:
        axis.set_xlabel(x)
    for axis in axes[::columns]:
        axis.set_ylabel(y)


def headline(figure: Figure, title: str, length: int = 70) -> None:
    """The figure's title; nothing where it is empty."""
    if title:
        shown = style.label(title, length)
        figure.suptitle(shown, x=0.01, ha="left", fontsize=10.5, weight="bold")


def _legend_columns(pools: Sequence[Pool], width: float) -> int:
    """As many columns as the longest name allows at the figure's width in inches."""
    longest = max(len(style.label(name)) for name in labels_of(pools))
    return max(1, min(8, int(width / (0.075 * longest + 0.6))))


def point(look: style.Look) -> dict[str, Any]:
    """How a method's single point is drawn; one without a marker (source) is a ring."""
    face = look.colour if look.marker else "white"
    marker = {"marker": look.marker or "o", "markersize": 7, "markerfacecolor": face}
    edge = {"markeredgecolor": look.colour, "markeredgewidth": 1.4}
    return {"color": look.colour, "linestyle": "", **marker, **edge}


def finish(
    figure: Figure, title: str, pools: Sequence[Pool], *, lines: bool, points: bool = False
) -> None:
    """Title and one legend for all panels, outside of them.

    Args:
        figure: where to.
        title: the figure's, or "".
        pools: whose methods the legend names.
        lines: methods are lines with markers; otherwise filled patches.
        points: methods are markers alone (``point``).
    """
    labels = labels_of(pools)
    chosen = style.looks(labels)
    handles: list[Line2D | Patch] = [
        Line2D([], [], **point(look))
        if points
        else Line2D([], [], color=look.colour, linestyle=look.dashes, marker=look.marker or None)
        if lines
        else Patch(facecolor=look.colour)
        for look in (chosen[name] for name in labels)
    ]
    headline(figure, title)
    names = [style.label(name) for name in labels]
    columns = _legend_columns(pools, figure.get_figwidth())
    figure.legend(handles, names, loc="outside lower center", ncols=columns)
