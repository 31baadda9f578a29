"""Recall along the stream, by shift, by severity."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.cell import CLEAN, StreamSpec
from benchmark.evaluation.stream import Block, batch_ends, blocks
from benchmark.report.plots import layout
from benchmark.report.pools import Pool, labels_of, metrics_of
from benchmark.report.results import NOTHING, CellResult

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
        curves = [_cumulative(cell) for cell in pool.done]
        length = min(len(seen) for seen, _ in curves)
        recall = np.mean([values[:length] for _, values in curves], axis=0)
        every = max(1, length // 5)
        marked = (place * every // max(1, len(pools)), every)
        order, look = 2 if pool.is_source else 3, looks[pool.label]
        axis.plot(
            curves[0][0][:length], recall, **layout.line(look), markevery=marked, zorder=order
        )
    axis.grid(axis="y")
    axis.set_xlim(left=0)
    axis.margins(y=0.12)
    _boundaries(axis, pools[0].first)


def _boundaries(axis: Axes, cell: CellResult) -> None:
    """Where the domain changes in a continual or gradual stream, and what it changes to."""
    spec, found = _spec(cell), _blocks(cell)
    if not found:
        return
    axis.set_xlim(0, found[-1].stop)
    room = 50 // len(found) if spec.kind == "continual" else 2
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
    return [] if cell.order is None else blocks(_spec(cell), len(cell.order))


def _cumulative(cell: CellResult) -> tuple[np.ndarray, np.ndarray]:
    """Queries seen and R@1 over them (percent), after each batch of the stream."""
    assert cell.hits is not None, "only finished cells are drawn"
    assert cell.order is not None, "only finished cells are drawn"
    running = 100.0 * np.cumsum(cell.hits[cell.order]) / np.arange(1, len(cell.order) + 1)
    ends = np.array(batch_ends(len(running), _spec(cell).batch_size, _blocks(cell)))
    return ends, running[ends - 1]


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
    layout.name_bars(axes, labels)
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
        axis.set_title(_curve_name(curve, shown))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(axis="y")
    below = "severity (0: no corruption)" if clean else "severity"
    layout.name_axes(axes, len(shown), below, "R@1 (%), 95 % interval")
    layout.finish(figure, title, labels_of(used), note)
    return figure


def _curve_name(curve: Curve, shown: Sequence[Curve]) -> str:
    """The shift's name, with a number where it was run with several options."""
    same = [other for other in shown if other[0] == curve[0]]
    name = layout.shown(curve[0].replace("_", " "), 40)
    return name if len(same) == 1 else f"{name} #{same.index(curve) + 1}"


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
