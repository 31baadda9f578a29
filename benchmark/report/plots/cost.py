"""Quality against cost: which methods nobody beats at their price."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from benchmark.report import style
from benchmark.report.layout import finish, hide_unused, panels, place_titles, point, wrapped
from benchmark.report.pairs import Pool, benchmark_pools

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


def quality_and_cost(pools: Sequence[Pool]) -> Figure:
    """R@1 with its interval against milliseconds per query, a panel per benchmark.

    Means over shifts and seeds, as in leaderboard.csv. The line is the Pareto front: methods that
    no other method betters without costing more.

    Args:
        pools: ``shift_pools(results)``.
    """
    cells = [cell for pool in pools for cell in (*pool.done, *pool.undone)]
    whole = [pool for pool in benchmark_pools(cells, resamples=pools[0].resamples) if pool.done]
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
        hide_unused(axes, len(titles))
        for axis in axes[max(0, len(titles) - columns) : len(titles)]:
            axis.set_xlabel("ms per query (line: Pareto front)")
        for axis in axes[::columns]:
            axis.set_ylabel("R@1 (%)")
        finish(figure, "", whole, lines=False, points=True)
    return figure


def _panel(axis: Axes, pools: Sequence[Pool], looks: dict[str, style.Look]) -> None:
    found = [(pool.mean("cost", "ms_per_query"), pool.recall, pool.label) for pool in pools]
    drawn = [
        (cost, recall, label)
        for cost, recall, label in found
        if recall is not None and math.isfinite(cost) and math.isfinite(recall.value) and cost > 0
    ]
    if not drawn:
        axis.text(0.5, 0.5, "no number", transform=axis.transAxes, ha="center", color=style.QUIET)
        return
    front = [drawn[i] for i in pareto([(cost, recall.value) for cost, recall, _ in drawn])]
    line = [(cost, recall.value) for cost, recall, _ in front]
    axis.step(*zip(*line, strict=True), where="post", color=style.QUIET, linewidth=1.0, zorder=1)
    for cost, recall, label in drawn:
        axis.vlines(cost, recall.low, recall.high, color=looks[label].colour, linewidth=1.0)
        axis.plot([cost], [recall.value], **point(looks[label]), zorder=3)
    costs = [cost for cost, _, _ in drawn]
    if max(costs) > _WIDE * min(costs):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.margins(x=0.1, y=0.12)
    axis.grid(axis="both")
