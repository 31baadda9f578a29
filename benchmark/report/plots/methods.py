"""One row per method over all benchmarks: gain, forgetting and time; average rank."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.report.frames import Ranking
from benchmark.report.plots import layout
from benchmark.report.pools import changed_nothing, labels_of
from benchmark.report.results import NOTHING
from benchmark.report.verdict import MethodSummary


@mpl.rc_context(layout.RC)
def by_method(rows: Sequence[MethodSummary], title: str = "") -> Figure:
    """Gain over the source with its 95 % interval, forgetting and time, the best on top.

    Methods that train stand above those that do not. An open point does not differ from the source;
    a plus behind a name says that cells are missing.

    Args:
        rows: summaries of one suite and kind of stream (``method_summaries``).
        title: of the figure.
    """
    known = {row.pools[0].label: row for row in rows if row.gain is not None}
    groups = layout.families([pool for row in known.values() for pool in row.pools])
    looks = layout.looks(labels_of([pool for row in rows for pool in row.pools]))
    lines: list[tuple[str, MethodSummary | None]] = []
    for heading, labels in groups.items():
        lines += [(heading, None)] if len(groups) > 1 else []
        ranked = sorted(labels, key=lambda label: -_gain(known[label]))
        lines += [(label, known[label]) for label in ranked]
    figure = Figure(figsize=(layout.WIDTH, 1.45 + 0.19 * len(lines)), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True, width_ratios=(2.2, 1, 1))
    for y, (label, row) in enumerate(lines):
        if row is not None:
            _gain_row(axes[0], y, row, looks[label])
            _number(axes[1], y, row.forgetting, looks[label], 0.0, "+.1f")
            _number(axes[2], y, row.time, looks[label], 1.0, ".1f")
    for axis, at in zip(axes, (0.0, 0.0, 1.0), strict=True):
        axis.axvline(at, color=layout.QUIET, linewidth=0.9, zorder=0)
        axis.margins(x=0.2)
    times = [1.0, *(row.time for row in known.values() if math.isfinite(row.time))]
    layout.log_axis(axes[2], min(times), max(times))
    axes[0].set_xlabel("R@1 against source (points)\n95 % interval; open: includes 0")
    axes[1].set_xlabel("clean R@1, after\nminus before (points)")
    axes[2].set_xlabel("ms per query,\ntimes source")
    names = [
        label if row is None else layout.shown(label) + " +" * bool(row.missing)
        for label, row in lines
    ]
    layout.name_bars(axes, names, 30)
    for tick, (_, row) in zip(axes[0].get_yticklabels(), lines, strict=True):
        tick.set_fontweight("normal" if row is not None else "bold")
    if any(row is not None and row.missing for _, row in lines):
        figure.supxlabel("+: some of its cells are missing", fontsize=7.5, color=layout.QUIET)
    if changed_nothing(pool for row in rows for pool in row.pools):
        title = f"{title} ({NOTHING})"
    layout.set_title(figure, title)
    return figure


def _gain(row: MethodSummary) -> float:
    return -math.inf if row.gain is None else row.gain.difference


def _gain_row(axis: Axes, y: int, row: MethodSummary, look: layout.Look) -> None:
    if row.gain is None:
        return
    axis.hlines(y, row.gain.low, row.gain.high, color=look.colour, linewidth=1.6)
    face = look.colour if row.gain.significant else "white"
    form = {**layout.point(look), "markersize": 5.5, "markerfacecolor": face}
    axis.plot([row.gain.difference], [y], **form)
    layout.beside(axis, f"{row.gain.difference:+.1f}", max(row.gain.high, 0.0), y)


def _number(axis: Axes, y: int, value: float, look: layout.Look, start: float, form: str) -> None:
    """A stem from where nothing changes to the value, and the value."""
    if not math.isfinite(value):
        layout.beside(axis, "-", start, y, 4, color=layout.QUIET)
        return
    axis.hlines(y, start, value, color=look.colour, linewidth=1.6)
    axis.plot([value], [y], "o", markersize=4, color=look.colour)
    layout.beside(axis, f"{value:{form}}", max(value, start), y)


def near_best(ranks: Sequence[float], difference: float) -> int:
    """How many of the rising ranks are at most ``difference`` above the first."""
    return sum(rank - ranks[0] <= difference for rank in ranks)


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
    count = near_best(ranks, 2 * half)
    axis.set_xlabel(
        f"average rank, bars: critical difference {2 * half:.2f}\n"
        f"{count} of {len(ranks)} bars reach the grey band\n(the bar of the best method)"
    )
    layout.set_title(figure, title)
    return figure
