"""One row or point per method over all benchmarks: gain, forgetting, time, average rank, cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.report.frames import Ranking
from benchmark.report.plots import layout
from benchmark.report.pools import Pool, changed_nothing, labels_of
from benchmark.report.results import NOTHING, Setting
from benchmark.report.verdict import MethodSummary


@mpl.rc_context(layout.RC)
def by_method(rows: Sequence[MethodSummary], title: str = "") -> Figure:
    """Gain over the source with its 95 % interval, forgetting and time, the best on top.

    Methods that train stand above those that do not. An open point does not differ from the source;
    a plus behind a name says that cells are missing.

    Args:
        rows: summaries of one suite and kind of stream (``summaries_of``).
    """
    known = {row.pools[0].label: (row, row.gain) for row in rows if row.gain is not None}
    groups = layout.families([pool for row, _ in known.values() for pool in row.pools])
    pools = [pool for row in rows for pool in row.pools]
    looks = layout.looks(labels_of(pools))
    lines: list[str] = []
    for heading, labels in groups.items():
        lines += [heading] if len(groups) > 1 else []
        lines += sorted(labels, key=lambda label: -known[label][1].difference)
    figure = Figure(figsize=(layout.WIDTH, 1.45 + 0.19 * len(lines)), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True, width_ratios=(2.2, 1, 1))
    for y, label in enumerate(lines):
        if label in known:
            row, gain = known[label]
            form = layout.point(looks[label]) | {"markersize": 5.5}
            form |= {} if gain.significant else {"markerfacecolor": "white"}
            axes[0].hlines(y, gain.low, gain.high, color=looks[label].colour, linewidth=1.6)
            axes[0].plot([gain.difference], [y], **form)
            layout.beside(axes[0], f"{gain.difference:+.1f}", max(gain.high, 0.0), y)
            _number(axes[1], y, row.forgetting, looks[label], 0.0, "+.1f")
            _number(axes[2], y, row.ms_per_query_ratio, looks[label], 1.0, ".1f")
    for axis, at in zip(axes, (0.0, 0.0, 1.0), strict=True):
        axis.axvline(at, color=layout.QUIET, linewidth=0.9, zorder=0)
        axis.margins(x=0.2)
    times = [1.0, *filter(math.isfinite, (row.ms_per_query_ratio for row, _ in known.values()))]
    layout.log_axis(axes[2], min(times), max(times))
    axes[0].set_xlabel("R@1 against source (points)\n95 % interval; open: includes 0")
    axes[1].set_xlabel("clean R@1, after\nminus before (points)")
    axes[2].set_xlabel("ms per query,\ntimes source")
    layout.name_bars(axes, layout.marked(figure, lines, pools), 30)
    for tick, label in zip(axes[0].get_yticklabels(), lines, strict=True):
        tick.set_fontweight("normal" if label in known else "bold")
    if changed_nothing(pools):
        title = f"{title} ({NOTHING})"
    layout.set_title(figure, title)
    return figure


def _number(axis: Axes, y: int, value: float, look: layout.Look, start: float, form: str) -> None:
    """A stem from where nothing changes to the value, and the value."""
    if not math.isfinite(value):
        layout.beside(axis, "-", start, y, 4, color=layout.QUIET)
        return
    axis.hlines(y, start, value, color=look.colour, linewidth=1.6)
    axis.plot([value], [y], "o", markersize=4, color=look.colour)
    layout.beside(axis, f"{value:{form}}", max(value, start), y)


@mpl.rc_context(layout.RC)
def rank_diagram(ranking: Ranking, title: str = "") -> Figure:
    """A row per method, the best on top: its average rank, half the critical difference each way.

    Two methods differ where their bars do not overlap (Nemenyi's test; Demsar, JMLR 2006). The band
    is the best method's bar: a method whose bar reaches it may be as good.

    Raises:
        ValueError: the ranking has no critical difference; says why.
    """
    if ranking.tested is None:
        raise ValueError(f"no critical difference to draw: {ranking.reason}")
    ordered = sorted(ranking.average.items(), key=lambda item: (item[1], item[0]))
    labels, ranks = zip(*ordered, strict=True)
    looks = layout.looks(labels)
    half = ranking.tested.critical_difference / 2
    figure, (axis,) = layout.panels(1, 0.95 + 0.2 * len(labels), room=0.3 if title else 0)
    axis.axvspan(ranks[0] - half, ranks[0] + half, color=layout.GRID, alpha=0.55, linewidth=0)
    for y, (label, rank) in enumerate(ordered):
        look = looks[label]
        axis.hlines(y, rank - half, rank + half, color=look.colour, linewidth=1.6)
        axis.plot([rank], [y], **{**layout.point(look), "markersize": 5.5})
        layout.beside(axis, f"{rank:.2f}", rank + half, y, fontsize=8)
    layout.name_bars([axis], labels)
    axis.set_xlim(0.5, ranks[-1] + half + 0.12 * len(labels))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    count = sum(rank - ranks[0] <= 2 * half for rank in ranks)
    axis.set_xlabel(
        f"average rank, bars: critical difference {2 * half:.2f}\n"
        f"{count} of {len(ranks)} bars reach{'es' * (count == 1)} the grey band\n"
        "(the bar of the best method)"
    )
    layout.set_title(figure, title)
    return figure


_NAME = 7.0
"""Size of the names beside points."""

_WIDE = 4.0
"""From this ratio of the dearest to the cheapest on, the cost axis is logarithmic."""


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (cost, quality) points that no other equals or betters in both.

    In the order of rising cost; of equal points the first.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


@mpl.rc_context(layout.RC)
def quality_and_cost(whole: Sequence[Pool]) -> Figure:
    """R@1 against source over the cost relative to source, both means over the benchmarks.

    A point per method, over the benchmarks that all methods have finished, and with few methods a
    faint one for each benchmark; a plus behind a name says that cells are missing there. The line
    is the Pareto front: methods that no other method betters without costing more.
    """
    whole = [pool for pool in whole if pool.done]
    looks = layout.looks(pool.label for pool in whole)
    found: dict[str, dict[Setting, tuple[float, float]]] = {}
    for pool in whole:
        gain = math.nan if pool.comparison is None else pool.comparison.difference
        cost = pool.ratio("cost", "ms_per_query")
        cost, gain = (1.0, 0.0) if pool.is_source else (cost, gain)
        if math.isfinite(cost) and math.isfinite(gain) and cost > 0:
            found.setdefault(pool.label, {})[pool.first.place] = cost, gain
    shared = sorted(set.intersection(*map(set, found.values()))) if found else []
    drawn = [label for label in labels_of(whole) if label in found and shared]
    few = len(drawn) <= layout.MANY
    figure, (axis,) = layout.panels(1, 4.0 if few else 5.2, width=layout.WIDTH)
    if not drawn:
        text = "no benchmark that all methods have finished"
        axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", color=layout.QUIET)
    means = []
    for label in drawn:
        costs, gains = zip(*(found[label][place] for place in shared), strict=True)
        look = looks[label]
        if few:
            axis.plot(
                costs, gains, look.marker or "o", color=look.colour, markersize=3.5, alpha=0.3
            )
        means.append((fmean(costs), fmean(gains)))
    if means:
        steps = zip(*(means[i] for i in pareto(means)), strict=True)
        axis.step(*steps, where="post", color=layout.INK, linewidth=1.3, alpha=0.75, zorder=2)
    for label, (cost, gain) in zip(drawn, means, strict=True):
        axis.plot([cost], [gain], **layout.point(looks[label]), zorder=3)
    axis.axhline(0, color=layout.QUIET, linewidth=0.9, zorder=0)
    every = [cost for label in drawn for cost, _ in found[label].values()]
    if every and max(every) > _WIDE * min(every):
        layout.log_axis(axis, min(every), max(every))
    axis.margins(x=0.1, y=0.12)
    axis.grid(axis="both")
    over = f", mean of {len(shared)} benchmarks" if len(shared) > 1 else ""
    axis.set_xlabel(f"ms per query, as a multiple of source{over} (line: Pareto front)")
    axis.set_ylabel(f"R@1 against source (points){over}")
    nothing = f" ({NOTHING})" if changed_nothing(whole) else ""
    layout.set_title(figure, f"Quality against cost{nothing}")
    names = layout.marked(figure, drawn, [pool for pool in whole if pool.first.place in shared])
    named = [
        (*mean, name, looks[label].colour)
        for label, name, mean in zip(drawn, names, means, strict=True)
    ]
    name_points(figure, axis, named)
    return figure


NamedPoint = tuple[float, float, str, str]
"""x and y in data, label and colour of a point."""


def name_points(figure: Figure, axis: Axes, points: Sequence[NamedPoint]) -> None:
    """Writes its name beside each point where it covers least, with a line where that is far.

    Names keep away from other points and from the Pareto front. The panel's limits and scale must
    be final.
    """
    figure.draw_without_rendering()  # places the panel
    scale = figure.dpi / 72
    placed = (axis.transData.transform((x, y)) / scale for x, y, _, _ in points)
    pixels = [(float(x), float(y)) for x, y in placed]
    box = axis.bbox
    frame = (box.x0 / scale, box.y0 / scale, box.x1 / scale, box.y1 / scale)
    marks = [(x - 8, y - 8, x + 8, y + 8) for x, y in pixels]
    taken: list[_Box] = []
    # Narrow boxes around the steps of the front.
    front = (pixels[i] for i in pareto([(x, y) for x, y, _, _ in points]))
    for (x, y), (right, top) in pairwise(front):
        taken += [(x, y - 2, right, y + 2), (right - 2, y, right + 2, top)]
    order = sorted(range(len(points)), key=lambda i: (-pixels[i][1], pixels[i][0]))
    for i in order:
        text = layout.shown(points[i][2], 22)
        width, height = 0.6 * _NAME * len(text), 1.15 * _NAME
        x, y = pixels[i]
        places = [_beside(x, y, away, turn, width, height)
                  for away in (7, 13, 20, 28, 38, 50) for turn in range(0, 360, 30)]  # fmt: skip
        others = [*taken, *marks[:i], *marks[i + 1 :]]
        best = min(places, key=lambda box: _covered(box, others, frame))
        taken.append(best)
        centre = ((best[0] + best[2]) / 2 - x, (best[1] + best[3]) / 2 - y)
        far = max(abs(centre[0]) - width / 2, abs(centre[1]) - height / 2) > 9
        line = {"arrowstyle": "-", "color": points[i][3], "linewidth": 0.5, "shrinkB": 3}
        axis.annotate(text, points[i][:2], centre, textcoords="offset points", ha="center",
                      va="center", fontsize=_NAME, color=points[i][3], zorder=4,
                      bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.4},
                      arrowprops=line if far else None)  # fmt: skip


_Box = tuple[float, float, float, float]


def _beside(x: float, y: float, away: float, turn: int, width: float, height: float) -> _Box:
    """A text's box whose edge is so far from a point, in a direction in degrees."""
    across, up = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    left = x + away * across + width * (across - 1) / 2
    low = y + away * up + height * (up - 1) / 2
    return left, low, left + width, low + height


def _covered(box: _Box, taken: Sequence[_Box], frame: _Box) -> float:
    """The area that a box shares with others and has outside of the panel."""
    *shared, inside = (
        max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
        * max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
        for other in (*taken, frame)
    )
    return sum(shared) + 2 * ((box[2] - box[0]) * (box[3] - box[1]) - inside)
