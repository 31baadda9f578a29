"""Average ranks of methods, and which of them a critical difference keeps apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmark.report.plots import layout, style
from benchmark.report.ranking_tables import Ranking

_GROUP, _ROW = 0.22, 0.36
"""Heights of a group's bar and of a name's row, in ranks."""


def groups_of(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """First and last index of the largest runs of rising ranks at most ``difference`` apart.

    Runs of two and more; none lies within another.
    """
    runs: list[tuple[int, int]] = []
    for first, low in enumerate(ranks):
        last = max(i for i, rank in enumerate(ranks) if rank - low <= difference)
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


@mpl.rc_context(style.RC)
def rank_diagram(ranking: Ranking, title: str = "") -> Figure:
    """The diagram of Demsar (JMLR 2006, figure 1): ranks on a line, bars over what may be equal.

    The best is on the left. A bar joins methods whose average ranks are no further apart than the
    critical difference, whose length is the ruler above.

    Raises:
        ValueError: the ranking has no critical difference; says why.
    """
    if ranking.critical_difference is None:
        raise ValueError(f"no critical difference to draw: {ranking.reason}")
    ordered = sorted(ranking.average.items(), key=lambda item: (item[1], item[0]))
    ranks, count = [rank for _, rank in ordered], len(ordered)
    looks = style.looks(ranking.average)
    groups = groups_of(ranks, ranking.critical_difference)
    left = math.ceil(count / 2)
    below = 0.3 + _GROUP * len(groups)
    depth, room = below + _ROW * left + 0.2, 0.22 * count
    height = 0.55 + 0.5 * depth + (0.3 if title else 0)
    figure, (axis,) = layout.panels(1, height, width=style.WIDTH)
    axis.set_axis_off()
    axis.set_xlim(1 - room, count + room)
    axis.set_ylim(-depth, 1.3)
    axis.hlines(0, 1, count, color=style.INK, linewidth=1.2)
    for tick in range(1, count + 1):
        axis.vlines(tick, 0, 0.12, color=style.INK, linewidth=1.0)
        axis.text(tick, 0.2, str(tick), ha="center", va="bottom", fontsize=8.5)
    end = 1 + ranking.critical_difference
    axis.plot([1, end], [0.95, 0.95], "|-", color=style.INK, linewidth=1.2, markersize=7)
    text = f"critical difference {ranking.critical_difference:.2f}"
    axis.text(end + 0.1, 0.95, text, va="center", fontsize=8.5)
    for level, (first, last) in enumerate(groups):
        y = -0.25 - _GROUP * level
        bar = axis.hlines(y, ranks[first] - 0.06, ranks[last] + 0.06, linewidth=3.5)
        bar.set(color=style.QUIET, capstyle="round")
    for index, (name, rank) in enumerate(ordered):
        on_left = index < left
        row, edge = (index, 1 - 0.1) if on_left else (count - 1 - index, count + 0.1)
        y = -below - _ROW * (row + 0.5)
        colour = looks[name].colour
        axis.plot([rank, rank, edge], [0, y, y], color=colour, linewidth=1.2)
        axis.plot([rank], [0], "o", color=colour, markersize=4.5, clip_on=False)
        shown = (style.label(name), f"{rank:.2f}")
        text = "  ".join(shown if on_left else shown[::-1])
        at = edge - 0.08 if on_left else edge + 0.08
        axis.text(at, y, text, ha="right" if on_left else "left", va="center")
    layout.set_title(figure, title)
    return figure
