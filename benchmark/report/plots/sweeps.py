"""R@1 against a setting that a run varies: a method's option, or the batch size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmark.metrics.intervals import Interval, mean_interval
from benchmark.report.plots import layout
from benchmark.report.pools import Pool, stacked
from benchmark.report.results import CellResult, canonical, method_rank

BATCH = "batch_size"

_WIDE = 8.0
"""From this ratio of the largest to the smallest value on, the axis is logarithmic."""

_APART = 0.13
"""Part of the axis that lies between two labels at least: nearer ones would touch."""

_UNVARIED = ("source", "recentre")
"""Drawn as level lines where they do not have the option."""


@dataclass(frozen=True)
class Line:
    """A method on a benchmark with one setting varied and all others the same.

    Attributes:
        place: benchmark, weights, data, stream and limit; what a panel is of.
        benchmark: its name.
        method: with the options that tell the line from others of the same method.
        points: value of the setting -> R@1 (percent) over the shifts and seeds of all values.
    """

    place: str
    benchmark: str
    method: str
    points: Mapping[Any, Interval]


def varied(pools: Sequence[Pool]) -> list[str]:
    """Settings that some method was run with several values of, all else the same."""
    values: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for cell in _cells(pools):
        place = _place(cell, BATCH)
        for name, value in _settings(cell).items():
            values[place, cell.method, name].add(canonical(value))
    names = {name for (_, _, name), found in values.items() if len(found) > 1} - {"version"}
    ordered = sorted(names, key=lambda name: (name != BATCH, name))
    return [name for name in ordered if lines(pools, name)]


def lines(pools: Sequence[Pool], name: str) -> list[Line]:
    """The lines of one setting, by benchmark, then method; each has at least two points.

    Args:
        pools: ``shift_pools(results)``.
        name: an option of methods, or ``BATCH``.
    """
    groups: dict[tuple[str, str, str], dict[str, list[CellResult]]] = defaultdict(dict)
    for cell in _cells(pools):
        settings = _settings(cell)
        if name in settings:
            rest = canonical({key: value for key, value in settings.items() if key != name})
            by_value = groups[_place(cell, name), cell.method, rest]
            by_value.setdefault(canonical(settings[name]), []).append(cell)
    found = {key: shared for key, values in groups.items() if len(shared := _shared(values)) > 1}
    drawn = []
    for key in sorted(found, key=lambda key: (key[0], method_rank(key[1]), key[2])):
        cells = [cell for members in found[key].values() for cell in members]
        others = [other for other in found if other[:2] == key[:2]]
        points = {_value(members[0], name): _recall(members) for members in found[key].values()}
        label = cells[0].method + _note(cells[0], [found[other] for other in others], name)
        drawn.append(Line(key[0], cells[0].benchmark, label, points))
    return drawn


def _cells(pools: Sequence[Pool]) -> list[CellResult]:
    return [cell for pool in pools for cell in pool.done]


def _options(cell: CellResult) -> Mapping[str, Any]:
    options: Mapping[str, Any] = cell.record.cell["method"].get("options", {})
    return options


def _settings(cell: CellResult) -> dict[str, Any]:
    spec = cell.record.cell
    return {**_options(cell), "version": spec["method"].get("version", 1), BATCH: cell.batch_size}


def _value(cell: CellResult, name: str) -> Any:
    value = _settings(cell)[name]
    return value if isinstance(value, int | float | str) else canonical(value)


def _recall(cells: Sequence[CellResult]) -> Interval:
    hits, groups, seeds = stacked(cells)
    return mean_interval(hits, groups, seeds=seeds)


def _place(cell: CellResult, name: str) -> str:
    """The cell's place; without the batch size where this is what varies."""
    suite, benchmark, weights, data, _, limit = cell.place
    stream = {
        key: value
        for key, value in cell.record.cell.get("stream", {}).items()
        if key not in (("domains", BATCH) if name == BATCH else ("domains",))
    }
    return canonical([suite, benchmark, weights, data, stream, limit])


def _shared(values: Mapping[str, list[CellResult]]) -> dict[str, list[CellResult]]:
    """The cells of the (shift, seed) pairs that every value has; other means do not compare."""
    pairs = [{(cell.setting[6:], cell.seed) for cell in cells} for cells in values.values()]
    common = set.intersection(*pairs)
    kept = {
        value: [cell for cell in cells if (cell.setting[6:], cell.seed) in common]
        for value, cells in values.items()
    }
    return kept if common else {}


def _note(cell: CellResult, groups: Sequence[Mapping[str, list[CellResult]]], name: str) -> str:
    """The settings that differ between the lines of a method, in brackets."""
    others = [_settings(next(iter(group.values()))[0]) for group in groups]
    own = _settings(cell)
    told = [
        f"{key}={own[key]}"
        for key in sorted(own)
        if key != name and len({canonical(other.get(key)) for other in others}) > 1
    ]
    return f" [{', '.join(told)}]" if told else ""


@mpl.rc_context(layout.RC)
def sensitivity(pools: Sequence[Pool], name: str, shown: Sequence[Line]) -> Figure:
    """R@1 against the values of a setting, a panel per benchmark and a line per method.

    Means over the shifts and seeds that all values of a line have, with 95 % intervals as bands.
    ``source`` and ``recentre`` are level lines where they do not have the setting. Of more than
    ``layout.LINES`` methods, the best are drawn.

    Args:
        pools: ``shift_pools(results)``.
        name: the setting, one of ``varied(pools)``.
        shown: the lines to draw, of at most ``layout.PANELS`` benchmarks.
    """
    best: dict[str, float] = {}
    for line in shown:
        highest = max(found.value for found in line.points.values())
        best[line.method] = max(highest, best.get(line.method, highest))
    labels, note = layout.best_of(best)
    places = {line.place: line.benchmark for line in shown}
    level = {place: _level(pools, name, place) for place in places} if name != BATCH else {}
    names = [*dict.fromkeys(key for found in level.values() for key in found), *labels]
    looks = layout.looks(names)
    values = _ordered({value for line in shown for value in line.points})
    height = 2.2 if len(places) > 1 else 3.0
    figure, axes = layout.panels(len(places), height, room=0.9, sharey=True)
    for axis, (place, benchmark) in zip(axes, places.items(), strict=False):
        for label, recall in level.get(place, {}).items():
            look = looks[label]
            axis.axhline(recall, color=look.colour, linestyle=look.dashes, linewidth=1.2, zorder=1)
        for line in shown:
            if line.place == place and line.method in labels:
                _line(axis, line, values, looks[line.method])
        _scale(axis, values)
        axis.set_title(layout.wrapped(benchmark, 40))
        axis.grid(axis="y")
    layout.name_axes(axes, len(places), name.replace("_", " "), "R@1 (%), 95 % interval")
    layout.finish(figure, f"R@1 by {name.replace('_', ' ')}", names, note)
    return figure


def _level(pools: Sequence[Pool], name: str, place: str) -> dict[str, float]:
    """R@1 of the methods that have no such option."""
    found = {}
    for method in _UNVARIED:
        own = [c for c in _cells(pools) if c.method == method and _place(c, name) == place]
        if own and not any(name in _options(cell) for cell in own):
            found[method] = _recall(own).value
    return found


def _ordered(values: set[Any]) -> list[Any]:
    """Numbers by size; other values in the order of their texts."""
    return sorted(values, key=None if _is_scale(values) else str)


def _is_scale(values: Collection[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _line(axis: Axes, line: Line, values: Sequence[Any], look: layout.Look) -> None:
    at = [value for value in values if value in line.points]
    found = [line.points[value] for value in at]
    recall, low, high = zip(*((f.value, f.low, f.high) for f in found), strict=True)
    x = at if _is_scale(values) else [values.index(value) for value in at]
    axis.plot(x, recall, **layout.line(look), zorder=3)
    axis.fill_between(x, low, high, color=look.colour, alpha=0.12, linewidth=0)


def _scale(axis: Axes, values: Sequence[Any]) -> None:
    """A tick at each value; logarithmic where they are positive and far apart."""
    if not _is_scale(values):
        axis.set_xticks(range(len(values)), [layout.shown(str(value), 16) for value in values])
        return
    places = np.array(values, dtype=float)
    if min(values) > 0 and max(values) >= _WIDE * min(values):
        axis.set_xscale("log")
        axis.xaxis.set_minor_locator(NullLocator())
        places = np.log(places)
    labels, last = [], -np.inf
    for value, place in zip(values, places, strict=True):
        apart = place - last >= _APART * np.ptp(places)
        labels.append(f"{value:g}" if apart else "")
        last = place if apart else last
    axis.set_xticks(list(values), labels)
