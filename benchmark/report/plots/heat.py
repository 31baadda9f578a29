"""Heat maps of methods by shifts or by benchmarks: difference to source, forgetting."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.plots import layout
from benchmark.report.pools import Pool, grouped, labels_of, metrics_of
from benchmark.report.results import NOTHING, Setting, numbered
from benchmark.report.style import extent

HEAT_COLUMNS = 16
"""Widest heat map by shift; with more columns the overview has one row per benchmark."""

_BRACKETS = "in brackets: 95 % interval includes 0"
_GAIN = "R@1 of each method minus that of the unadapted model"

_Square = tuple[float, str]
"""A number of a heat map and how it is written."""

_Columns = Mapping[str, Mapping[str, _Square]]
"""Column name -> row name -> number; what has none is hatched."""


@mpl.rc_context(layout.RC)
def heat_map(pools: Sequence[Pool]) -> Figure:
    """Paired R@1 difference to the source, methods by shifts, one panel per benchmark.

    Numbers in brackets do not differ from the source (``intervals.excludes_zero``); hatched cells
    were not run, did not finish or have no source cell.
    """
    compared = [pool for pool in pools if not pool.is_source]
    labels = labels_of(compared)
    titles = layout.place_titles(compared)
    columns = [
        {
            shift if metric == "R@1" else f"{shift}, {metric}": squares
            for metric in metrics_of(p for p in compared if p.first.place == place)
            for shift, squares in _by_shift(compared, place, metric).items()
        }
        for place in titles
    ]
    reach = _extent(columns)
    # A stream of several domains is one column with a long name: give it the room of two.
    counts = [max(len(c), 1 if all("+" not in name for name in c) else 2) for c in columns]
    size = (max(4.2, 2.6 + 0.56 * sum(counts)), max(2.8, 1.7 + 0.29 * len(labels)))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(titles), squeeze=False, width_ratios=counts, sharey=True)[0]
    for axis, title, column in zip(axes, titles.values(), columns, strict=True):
        image = _draw(axis, labels, column, reach)
        axis.set_title(layout.wrapped(title, 7 * len(column) + 3))
    axes[0].set_yticks(range(len(labels)), [layout.shown(name) for name in labels])
    layout.colour_bar(figure, image, list(axes), "points", aspect=14)
    figure.supxlabel(_note(compared), fontsize=7.5, color=layout.QUIET)
    layout.set_title(figure, _GAIN)
    return figure


def benchmark_map(pools: Sequence[Pool]) -> Figure:
    """As ``heat_map``, benchmarks (over all their shifts) by methods: long names stand upright."""
    compared = [pool for pool in pools if not pool.is_source]
    squares = {
        (pool.label, pool.first.place, metric): square
        for pool in compared
        for metric in ("R@1", *pool.headline)
        if (square := _difference(pool, metric)) is not None
    }
    return _by_benchmark(compared, squares, _GAIN, _note(compared))


def forgetting_map(pools: Sequence[Pool]) -> Figure:
    """Clean R@1 after the stream minus before, benchmarks (over their shifts) by methods.

    Methods that change it nowhere are named below instead of drawn.
    """
    adapting = [pool for pool in pools if not pool.is_source]
    moved = {p.label for p in adapting if any(p.values("metrics", "forgetting"))}
    still = [label for label in labels_of(adapting) if label not in moved]
    adapting = [pool for pool in adapting if pool.label in moved] or adapting
    squares = {
        (pool.label, pool.first.place, "R@1"): (mean, f"{mean:+.1f}" + "+" * (pool.missing > 0))
        for pool in adapting
        if math.isfinite(mean := pool.mean("metrics", "forgetting"))
    }
    notes = [f"no change anywhere: {', '.join(still)}"] if moved and still else []
    notes += ["+: cells are missing"] if any(pool.missing for pool in adapting) else []
    title = "Clean R@1 after the stream minus before"
    return _by_benchmark(adapting, squares, title, "; ".join(notes))


def _difference(pool: Pool, metric: str = "R@1") -> _Square | None:
    found = pool.comparison if metric == "R@1" else None
    gain = found.difference if found else pool.gain(metric)
    if not math.isfinite(gain):
        return None
    text = f"{gain:+.1f}" + "+" * (pool.missing > 0)
    # Nothing is tested on another metric, so that nothing is in brackets.
    return gain, f"({text})" if found and not found.significant else text


def _note(pools: Sequence[Pool]) -> str:
    """What stands below differences: the colour bar of few rows has no room for it."""
    lacking = any(pool.missing for pool in pools if pool.pairs)
    untested = any(pool.headline for pool in pools)
    return _BRACKETS + "; tested: only R@1" * untested + "\n+: cells are missing" * lacking


@mpl.rc_context(layout.RC)
def _by_benchmark(
    pools: Sequence[Pool],
    squares: Mapping[tuple[str, Setting, str], _Square],
    title: str,
    note: str = "",
) -> Figure:
    """One row per benchmark, and headline metric that has numbers; one column per method.

    With more than ``layout.MANY`` methods, those that train and the others have a panel each.
    """
    titles = layout.place_titles(pools)
    names = {
        (place, metric): title if metric == "R@1" else f"{title}, {metric}"
        for place, title in titles.items()
        for metric in metrics_of(p for p in pools if p.first.place == place)
        if metric == "R@1" or any(key[1:] == (place, metric) for key in squares)
    }
    labels = labels_of(pools)
    groups = layout.families(pools) if len(labels) > layout.MANY else {"": labels}
    panels = [
        {
            label: {names[key[1:]]: square for key, square in squares.items() if key[0] == label}
            for label in members
        }
        for members in groups.values()
    ]
    rows = list(names.values())
    widest = max(map(len, panels))
    width = max(4.2, 2.9 + 0.56 * widest) if widest <= layout.MANY else 8.4
    height = max(2.4, 1.0 + (0.25 if len(panels) == 1 else 0.2) * len(rows))
    figure, axes = layout.panels(len(panels), height, columns=1, width=width, room=0.35)
    for axis, heading, columns in zip(axes, groups, panels, strict=True):
        size = 8.0 if widest <= layout.MANY else min(7.0, 100.0 / len(columns))
        image = _draw(axis, rows, columns, _extent(panels), size)
        axis.set_yticks(range(len(rows)), [layout.shown(row, 56) for row in rows])
        axis.tick_params(axis="y", labelsize=8.5 if widest <= layout.MANY else 7.5)
        axis.set_title(heading)
    layout.colour_bar(figure, image, axes, "points")
    if note:
        figure.supxlabel("\n".join(textwrap.wrap(note, 100)), fontsize=7.5, color=layout.QUIET)
    layout.set_title(figure, title)
    return figure


def _by_shift(pools: Sequence[Pool], place: Setting, metric: str) -> _Columns:
    """The differences of a benchmark; a shift's name that stands for several gets a number."""
    here = grouped((p for p in pools if p.first.place == place), lambda p: p.first.setting)
    ordered = layout.settings_of([pool for same in here.values() for pool in same])
    names = numbered([layout.shift_label(here[setting][0]) for setting in ordered])
    return {
        name: {p.label: square for p in here[setting] if (square := _difference(p, metric))}
        for name, setting in zip(names, ordered, strict=True)
    }


def _extent(panels: Sequence[_Columns]) -> float:
    """How far the colours reach on either side of zero."""
    return extent(n for columns in panels for c in columns.values() for n, _ in c.values())


def _draw(
    axis: Axes, rows: Sequence[str], columns: _Columns, reach: float, size: float = 8.0
) -> Any:
    """The squares of one panel with their numbers; gives the image for the colour bar."""
    values = np.full((len(rows), len(columns)), np.nan)
    for x, column in enumerate(columns.values()):
        for y, row in enumerate(rows):
            if row not in column:
                continue
            values[y, x], text = column[row]
            colour = "white" if abs(values[y, x]) > 0.6 * reach else layout.INK
            axis.text(x, y, text, ha="center", va="center", fontsize=size, color=colour)
    axis.patch.set(facecolor="#f4f4f4", hatch="////", edgecolor="#d0d0d0")
    image = axis.imshow(
        np.ma.masked_invalid(values), cmap="RdBu", vmin=-reach, vmax=reach, aspect="auto"
    )
    room = {name: (24 if "+" in name else 30) + 20 * (NOTHING in name) for name in columns}
    names = [layout.shown(name, length) for name, length in room.items()]
    axis.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axis.set_yticks(np.arange(len(rows) - 1) + 0.5, minor=True)
    axis.grid(which="minor", color="white", linewidth=1.5)
    axis.tick_params(which="minor", length=0)
    return image
