"""Recall along the stream, by shift, by severity, by a setting that a run varies."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from benchmark.cell import CLEAN, StreamSpec
from benchmark.evaluation.stream import Block, batch_ends, blocks
from benchmark.metrics.intervals import Interval
from benchmark.report.plots import layout
from benchmark.report.pools import Pool, labels_of, metrics_of, recall_of
from benchmark.report.results import NOTHING, CellResult, canonical, method_rank

Curve = tuple[str, str]
"""A shift and the rest of its settings (options, version): what the points of a curve share."""


@mpl.rc_context(layout.RC)
def recall_along_stream(pools: Sequence[Pool], title: str = "", note: str = "") -> Figure:
    """Cumulative R@1 after each batch, one line per method and one panel per shift.

    Several seeds have several orders of the same queries; the line is their mean. ``note``: which
    methods are left out.
    """
    settings = layout.settings_of(pools)
    looks = layout.looks(pool.label for pool in pools)
    height = 2.1 if len(settings) > 1 else 2.9
    figure, axes = layout.panels(len(settings), height, legend=pools, sharey=True)
    for axis, setting in zip(axes, settings, strict=False):
        here = [pool for pool in pools if pool.first.setting == setting]
        _stream_panel(axis, here, looks)
        axis.set_title(layout.shift_label(here[0]), pad=14 if _blocks(here[0].first) else 6)
    layout.name_axes(axes, len(settings), "queries seen", "R@1 so far (%)")
    layout.finish(figure, title, labels_of(pools), note)
    return figure


def _stream_panel(axis: Axes, pools: Sequence[Pool], looks: dict[str, layout.Look]) -> None:
    for place, pool in enumerate(sorted(pools, key=lambda p: not p.is_source)):
        curves = []  # of each: queries seen, and R@1 over them (percent), after each batch
        for cell in pool.done:
            running = 100.0 * np.cumsum(cell.hits[cell.order]) / np.arange(1, len(cell.order) + 1)
            ends = batch_ends(len(running), _spec(cell).batch_size, _blocks(cell))
            curves.append((ends, running[np.array(ends) - 1]))
        length = min(len(seen) for seen, _ in curves)
        recall = np.mean([values[:length] for _, values in curves], axis=0)
        every = max(1, length // 5)
        marked = (place * every // max(1, len(pools)), every)
        order, look = 2 if pool.is_source else 3, looks[pool.label]
        form = layout.line(look) if length > 1 else layout.point(look)
        axis.plot(curves[0][0][:length], recall, **form, markevery=marked, zorder=order)
    axis.grid(axis="y")
    axis.margins(y=0.12)
    # Where the domain changes in a continual or gradual stream, and what it changes to.
    spec, found = _spec(pools[0].first), _blocks(pools[0].first)
    axis.set_xlim(0, found[-1].stop if found else None)
    room = 50 // max(1, len(found)) if spec.kind == "continual" else 2
    for block in found:
        domain = spec.domains[block.domain]
        name = domain.name.replace("_", " ") if spec.kind == "continual" else str(domain.severity)
        if block.start:
            axis.axvline(block.start, color=layout.QUIET, linestyle=":", linewidth=0.9, zorder=1)
        text = layout.shown(name, room) if room > 5 or len(name) <= room else ""
        axis.text((block.start + block.stop) / 2, 1.01, text, ha="center", va="bottom", fontsize=7,
                  color=layout.QUIET, transform=axis.get_xaxis_transform())  # fmt: skip


def _spec(cell: CellResult) -> StreamSpec:
    return StreamSpec.from_dict(cell.record.cell.get("stream", {}))


def _blocks(cell: CellResult) -> list[Block]:
    return blocks(_spec(cell), len(cell.order)) if len(cell.order) else []


@mpl.rc_context(layout.RC)
def recall_by_shift(pools: Sequence[Pool], title: str = "") -> Figure:
    """R@1 with its 95 % interval, a row per method and a panel per shift; the line is the source's.

    Headline metrics of the benchmark follow in panels of their own, without intervals.
    """
    settings, labels = layout.settings_of(pools), labels_of(pools)
    looks = layout.looks(labels)
    metrics = metrics_of(pools)
    panels = [(metric, setting) for metric in metrics for setting in settings]
    columns = max(1, min(3, len(panels)))
    figure, axes = layout.panels(
        len(panels), 0.95 + 0.17 * len(labels), columns=columns, room=0.35, sharey=True
    )
    for axis, (metric, setting) in zip(axes, panels, strict=False):
        here = {pool.label: pool for pool in pools if pool.first.setting == setting}
        for y, label in enumerate(labels):
            _row(axis, y, here.get(label), looks[label], metric)
        shift = layout.shift_label(next(iter(here.values())))
        axis.set_title(layout.wrapped(shift, 66 // columns))
        axis.set_xlabel("R@1 (%), 95 % interval" if metric == "R@1" else f"{metric} (%)")
        axis.margins(x=0.08)
        low, high = axis.get_xlim()
        ticks = MaxNLocator(4).tick_values(low, high)
        # Fixed, and no number reaches over the panel's edge.
        axis.set_xticks([at for at in ticks if low <= at <= high - 0.07 * (high - low)])
        axis.set_xlim(low, high)
    for axis in axes[len(panels) :]:
        axis.set_xticks([])
    layout.name_bars(axes, layout.marked(figure, labels, pools))
    layout.set_title(figure, title)
    return figure


def _row(axis: Axes, y: int, pool: Pool | None, look: layout.Look, metric: str) -> None:
    """One method's number, R@1 with its interval; says so where there is none."""
    value = pool.mean("metrics", metric) if pool is not None else math.nan
    if pool is None or not math.isfinite(value):
        axis.annotate("no number", (0.02, y), xycoords=("axes fraction", "data"), va="center",
                      fontsize=7.5, color=layout.QUIET)  # fmt: skip
        return
    if metric == "R@1" and pool.recall is not None:
        axis.hlines(y, pool.recall.low, pool.recall.high, color=look.colour, linewidth=1.3)
    if pool.is_source:
        axis.axvline(value, color=look.colour, linestyle=look.dashes, linewidth=0.9, zorder=1)
    axis.plot([value], [y], **{**layout.point(look), "markersize": 5, "markeredgewidth": 1.0})


def _curve(pool: Pool) -> Curve:
    return pool.first.shift, pool.first.setting[-1]


def curves(pools: Sequence[Pool]) -> list[Curve]:
    """The shifts of single streams that have at least two severities, in order."""
    found: dict[Curve, set[int]] = {}
    for pool in pools:
        if pool.first.stream == "single" and pool.first.shift != CLEAN:
            found.setdefault(_curve(pool), set()).add(pool.first.severity)
    return sorted(curve for curve, severities in found.items() if len(severities) > 1)


@mpl.rc_context(layout.RC)
def severity_curves(
    pools: Sequence[Pool], title: str, shown: Sequence[Curve], note: str = ""
) -> Figure:
    """R@1 against severity, a line per method with its 95 % interval as a band.

    Where uncorrupted queries were run too, they are severity 0. ``shown``: some of
    ``curves(pools)``; ``note``: which methods are left out.
    """
    used = [pool for pool in pools if _curve(pool) in set(shown)]
    clean = [pool for pool in pools if pool.first.shift == CLEAN]
    looks = layout.looks(pool.label for pool in used)
    height = 2.1 if len(shown) > 1 else 2.9
    figure, axes = layout.panels(len(shown), height, legend=used, sharey=True)
    for axis, curve in zip(axes, shown, strict=False):
        for label, look in looks.items():
            points = [p for p in used if p.label == label and _curve(p) == curve]
            if points:
                _severity_line(axis, [*(p for p in clean if p.label == label), *points], look)
        same = [other for other in shown if other[0] == curve[0]]  # run with several options
        number = f" #{same.index(curve) + 1}" if len(same) > 1 else ""
        axis.set_title(layout.shown(curve[0].replace("_", " "), 40) + number)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(axis="y")
    below = "severity (0: no corruption)" if clean else "severity"
    layout.name_axes(axes, len(shown), below, "R@1 (%), 95 % interval")
    layout.finish(figure, title, labels_of(used), note)
    return figure


def _severity_line(axis: Axes, pools: Sequence[Pool], look: layout.Look) -> None:
    points = {
        0 if pool.first.shift == CLEAN else pool.first.severity: pool.recall
        for pool in pools
        if pool.recall is not None and math.isfinite(pool.recall.value)
    }
    if not points:
        return
    at = sorted(points)
    value, low, high = zip(*(points[severity] for severity in at), strict=True)
    axis.plot(at, value, **layout.line(look))
    for severity in {pool.first.severity for pool in pools if pool.changed_nothing} & set(points):
        axis.annotate(NOTHING, (severity, points[severity].value), (0, 6), ha="center", fontsize=7,
                      color=layout.QUIET, textcoords="offset points")  # fmt: skip
    axis.fill_between(at, low, high, color=look.colour, alpha=0.13, linewidth=0)


# R@1 against a setting that a run varies: a method's option, or the batch size.

BATCH = "batch_size"

_WIDE = 8.0
"""From this ratio of the largest to the smallest value on, the axis is logarithmic."""

_APART = 0.13
"""Part of the axis that lies between two labels at least: nearer ones would touch."""


@dataclass(frozen=True)
class Line:
    """A method on a benchmark with one setting varied and all others the same.

    Attributes:
        place: benchmark, weights, data, stream and limit; what a panel is of.
        benchmark: its name.
        method: with the options that tell the line from others of the same method.
        points: value of the setting -> R@1 (percent) over the shifts and seeds of all values.
        runs: these shifts and seeds.
    """

    place: str
    benchmark: str
    method: str
    points: Mapping[Any, Interval]
    runs: Set[tuple[Any, int]]


def lines(pools: Sequence[Pool]) -> dict[str, list[Line]]:
    """The settings that some method was run with several values of, all else the same.

    Args:
        pools: ``shift_pools(results)``.

    Returns:
        ``BATCH`` or an option of methods -> its lines, by benchmark, then method; each has at
        least two points.
    """
    cells = [cell for pool in pools for cell in pool.done]
    values: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for cell in cells:
        place = _place(cell, BATCH)
        for name, value in _settings(cell).items():
            values[place, cell.method, name].add(canonical(value))
    names = {name for (_, _, name), found in values.items() if len(found) > 1} - {"version"}
    ordered = sorted(names, key=lambda name: (name != BATCH, name))
    return {name: drawn for name in ordered if (drawn := _lines(cells, name))}


def _lines(cells: Iterable[CellResult], name: str) -> list[Line]:
    by_value: dict[tuple[str, str, str], dict[str, list[CellResult]]] = {}
    for cell in cells:
        settings = _settings(cell)
        if name in settings:
            value = canonical(settings.pop(name))
            own = by_value.setdefault((_place(cell, name), cell.method, canonical(settings)), {})
            own.setdefault(value, []).append(cell)
    found: dict[tuple[str, str, str], list[list[CellResult]]] = {}
    for key, values in by_value.items():
        # Only the (shift, seed) pairs that every value has: other means do not compare.
        pairs = [{_run(cell) for cell in own} for own in values.values()]
        if len(pairs) > 1 and (common := set.intersection(*pairs)):
            found[key] = [[cell for cell in own if _run(cell) in common] for own in values.values()]
    drawn = []
    for key in sorted(found, key=lambda key: (key[0], method_rank(key[1]), key[2])):
        first = found[key][0][0]
        # In brackets, the settings that tell the lines of a method apart.
        others = [_settings(found[other][0][0]) for other in found if other[:2] == key[:2]]
        told = ", ".join(
            f"{of}={value}"
            for of, value in sorted(_settings(first).items())
            if of != name and len({canonical(other.get(of)) for other in others}) > 1
        )
        points = {}
        for same in found[key]:
            value = _settings(same[0])[name]
            at = value if isinstance(value, int | float | str) else canonical(value)
            points[at] = recall_of(same)
        label = f"{first.method} [{told}]" if told else first.method
        runs = {_run(cell) for cell in found[key][0]}
        drawn.append(Line(key[0], first.benchmark, label, points, runs))
    return drawn


def _run(cell: CellResult) -> tuple[Any, int]:
    return cell.setting[6:], cell.seed


def _settings(cell: CellResult) -> dict[str, Any]:
    return {**cell.options, "version": cell.version, BATCH: cell.batch_size}


def _place(cell: CellResult, name: str) -> str:
    """The cell's place; without the batch size where this is what varies."""
    suite, benchmark, weights, data, _, limit = cell.place
    left_out = ("domains", BATCH) if name == BATCH else ("domains",)
    spec = cell.record.cell.get("stream", {})
    stream = {key: value for key, value in spec.items() if key not in left_out}
    return canonical([suite, benchmark, weights, data, stream, limit])


@mpl.rc_context(layout.RC)
def sensitivity(pools: Sequence[Pool], name: str, shown: Sequence[Line]) -> Figure:
    """R@1 against the values of a setting, a panel per benchmark and a line per method.

    Means over the shifts and seeds that all values of a line have, with 95 % intervals as bands.
    Where ``source`` and ``recentre`` do not have the setting, they are level lines over what all
    lines of the panel have. Of more than ``layout.LINES`` methods, the best are drawn.

    Args:
        pools: ``shift_pools(results)``.
        shown: of its ``lines(pools)`` those to draw, of at most ``layout.PANELS`` benchmarks.
    """
    best: dict[str, float] = {}
    for line in shown:
        highest = max(found.value for found in line.points.values())
        best[line.method] = max(highest, best.get(line.method, highest))
    labels, note = layout.best_of(best)
    places = {line.place: line.benchmark for line in shown}
    level = {}
    for place in places if name != BATCH else ():
        runs = set.intersection(*(set(line.runs) for line in shown if line.place == place))
        level[place] = _level(pools, name, place, runs)
    names = [*dict.fromkeys(key for found in level.values() for key in found), *labels]
    looks = layout.looks(names)
    found = {value for line in shown for value in line.points}
    values = sorted(found, key=None if _is_scale(found) else str)
    height = 2.2 if len(places) > 1 else 3.0
    figure, axes = layout.panels(len(places), height, room=0.9, sharey=True)
    for axis, (place, benchmark) in zip(axes, places.items(), strict=False):
        for label, recall in level.get(place, {}).items():
            look = looks[label]
            axis.axhline(recall, color=look.colour, linestyle=look.dashes, linewidth=1.2, zorder=1)
        for line in shown:
            if line.place == place and line.method in labels:
                at, look = [value for value in values if value in line.points], looks[line.method]
                mean, low, high = zip(*(line.points[value] for value in at), strict=True)
                x = at if _is_scale(values) else [values.index(value) for value in at]
                axis.plot(x, mean, **layout.line(look), zorder=3)
                axis.fill_between(x, low, high, color=look.colour, alpha=0.12, linewidth=0)
        _scale(axis, values)
        axis.set_title(layout.wrapped(benchmark, 40))
        axis.grid(axis="y")
    layout.name_axes(axes, len(places), name.replace("_", " "), "R@1 (%), 95 % interval")
    layout.finish(figure, f"R@1 by {name.replace('_', ' ')}", names, note)
    return figure


def _level(
    pools: Sequence[Pool], name: str, place: str, runs: Set[tuple[Any, int]]
) -> dict[str, float]:
    """R@1 of the methods that have no such option."""
    found = {}
    for method in layout.ALWAYS:
        cells = (cell for pool in pools for cell in pool.done if cell.method == method)
        own = [cell for cell in cells if _place(cell, name) == place]
        same = [cell for cell in own if _run(cell) in runs]
        if same and not any(name in cell.options for cell in own):
            found[method] = recall_of(same).value
    return found


def _is_scale(values: Collection[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


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
