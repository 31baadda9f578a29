"""Quality against cost: which methods nobody beats at their price."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, geometric_mean

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from benchmark.report import style
from benchmark.report.layout import (
    PANELS,
    finish,
    name_axes,
    panels,
    place_titles,
    point,
    wrapped,
)
from benchmark.report.pools import Pool, labels_of, over_shifts
from benchmark.report.results import Setting

_WIDE = 4.0
"""From this ratio of the dearest to the cheapest on, the cost axis is logarithmic."""


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (cost, quality) points that no other equals or betters in both.

    Returns:
        In the order of rising cost; of equal points the first.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


def quality_and_cost(pools: Sequence[Pool], whole: Sequence[Pool] | None = None) -> Figure:
    """R@1 with its interval against milliseconds per query, a panel per benchmark.

    Means over shifts and seeds, as in leaderboard.csv. The line is the Pareto front: methods that
    no other method betters without costing more. With more benchmarks than ``layout.PANELS`` it is
    one panel: the difference to source against the cost relative to source, a mean point per method
    over the benchmarks that all of them have finished, and a faint one for each benchmark.

    Args:
        pools: ``shift_pools(results)``.
        whole: ``benchmark_pools(results)`` where the caller has them, which saves comparing again.
    """
    whole = over_shifts(pools) if whole is None else whole
    finished = [pool for pool in whole if pool.done]
    if len(place_titles(finished)) > PANELS:
        return _relative(finished)
    return _by_benchmark(finished)


def _by_benchmark(whole: Sequence[Pool]) -> Figure:
    titles = place_titles(whole)
    looks = style.looks(pool.label for pool in whole)
    columns = min(2, len(titles))
    rows = math.ceil(len(titles) / columns)
    with mpl.rc_context(style.RC):
        size = (style.WIDTH if columns > 1 else 5.2, rows * (2.3 if columns > 1 else 3.0))
        figure, axes = panels(rows, columns, size, whole, sharey=False)
        for axis, (place, title) in zip(axes, titles.items(), strict=False):
            _panel(axis, [pool for pool in whole if pool.first.place == place], looks)
            axis.set_title(wrapped(title, 40))
        name_axes(
            axes,
            len(titles),
            columns,
            "ms per query (line: Pareto front)",
            "R@1 (%), 95 % interval",
        )
        finish(figure, "", whole, lines=False, points=True)
    return figure


def _relative(whole: Sequence[Pool]) -> Figure:
    """All benchmarks in one panel, each relative to its source."""
    looks = style.looks(pool.label for pool in whole)
    found: dict[str, dict[Setting, tuple[float, float]]] = {}
    for pool in whole:
        numbers = (
            (1.0, 0.0) if pool.is_source else (pool.ratio("cost", "ms_per_query"), _gain(pool))
        )
        if all(math.isfinite(number) for number in numbers) and numbers[0] > 0:
            found.setdefault(pool.label, {})[pool.first.place] = numbers
    shared = set.intersection(*(set(places) for places in found.values())) if found else set()
    means = {
        label: (
            geometric_mean(found[label][place][0] for place in sorted(shared)),
            fmean(found[label][place][1] for place in sorted(shared)),
        )
        for label in labels_of(whole)
        if label in found and shared
    }
    with mpl.rc_context(style.RC):
        figure, (axis,) = panels(1, 1, (5.2, 3.6), whole)
        if not means:
            _nothing(axis, "no benchmark that all methods have finished")
        for label in means:
            look, places = looks[label], [found[label][place] for place in sorted(shared)]
            axis.plot(
                *zip(*places, strict=True),
                color=look.colour,
                marker=look.marker or "o",
                markersize=3.5,
                linestyle="",
                alpha=0.3,
            )
        _front(axis, list(means.values()))
        for label, (cost, gain) in means.items():
            axis.plot([cost], [gain], **point(looks[label]), zorder=3)
        axis.axhline(0, color=style.QUIET, linewidth=0.9, zorder=0)
        _scale(axis, [cost for label in means for cost, _ in found[label].values()])
        axis.set_xlabel("ms per query, as a multiple of source (line: Pareto front)")
        axis.set_ylabel(f"R@1 against source (points),\nmean of {len(shared)} benchmarks")
        finish(figure, "", whole, lines=False, points=True)
    return figure


def _gain(pool: Pool) -> float:
    return math.nan if pool.comparison is None else pool.comparison.difference


def _panel(axis: Axes, pools: Sequence[Pool], looks: dict[str, style.Look]) -> None:
    found = [(pool.mean("cost", "ms_per_query"), pool.recall, pool.label) for pool in pools]
    drawn = [
        (cost, recall, label)
        for cost, recall, label in found
        if recall is not None and math.isfinite(cost) and math.isfinite(recall.value) and cost > 0
    ]
    if not drawn:
        _nothing(axis, "no number")
        return
    _front(axis, [(cost, recall.value) for cost, recall, _ in drawn])
    for cost, recall, label in drawn:
        axis.vlines(cost, recall.low, recall.high, color=looks[label].colour, linewidth=1.0)
        axis.plot([cost], [recall.value], **point(looks[label]), zorder=3)
    _scale(axis, [cost for cost, _, _ in drawn])


def _nothing(axis: Axes, text: str) -> None:
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", color=style.QUIET)


def _front(axis: Axes, points: Sequence[tuple[float, float]]) -> None:
    """The Pareto front as steps."""
    if points:
        line = [points[i] for i in pareto(points)]
        steps = zip(*line, strict=True)
        axis.step(*steps, where="post", color=style.QUIET, linewidth=1.0, zorder=1)


def _scale(axis: Axes, costs: Sequence[float]) -> None:
    """A logarithmic axis where costs differ widely, with readable numbers; margins and grid."""
    if costs and max(costs) > _WIDE * min(costs):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.margins(x=0.1, y=0.12)
    axis.grid(axis="both")
