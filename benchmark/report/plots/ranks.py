"""Average ranks of methods, and which of them a critical difference keeps apart."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.report.plots import layout, style
from benchmark.report.ranking_tables import Ranking


def near_best(ranks: Sequence[float], difference: float) -> int:
    """How many of the rising ranks are at most ``difference`` above the first."""
    return sum(rank - ranks[0] <= difference for rank in ranks)


@mpl.rc_context(style.RC)
def rank_diagram(ranking: Ranking, title: str = "") -> Figure:
    """A row per method, the best on top: its average rank, half the critical difference each way.

    Two methods differ where their bars do not overlap (Nemenyi's test; Demsar, JMLR 2006). The band
    is the best method's bar: whoever reaches into it may be as good.

    Raises:
        ValueError: the ranking has no critical difference; says why.
    """
    if ranking.critical_difference is None:
        raise ValueError(f"no critical difference to draw: {ranking.reason}")
    ordered = sorted(ranking.average.items(), key=lambda item: (item[1], item[0]))
    labels, ranks = zip(*ordered, strict=True)
    looks = style.looks(labels)
    half = ranking.critical_difference / 2
    figure, (axis,) = layout.panels(1, 0.95 + 0.2 * len(labels), room=0.3 if title else 0)
    axis.axvspan(ranks[0] - half, ranks[0] + half, color=style.GRID, alpha=0.55, linewidth=0)
    for y, (label, rank) in enumerate(ordered):
        look = looks[label]
        axis.hlines(y, rank - half, rank + half, color=look.colour, linewidth=1.6)
        axis.plot([rank], [y], **{**layout.point(look), "markersize": 5.5})
        axis.annotate(f"{rank:.2f}", (rank + half, y), (5, 0), textcoords="offset points",
                      va="center", fontsize=8)  # fmt: skip
    layout.name_bars(axis, labels)
    axis.tick_params(axis="y", length=0)
    axis.set_xlim(0.5, ranks[-1] + half + 0.12 * len(labels))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axis.grid(axis="x")
    count = near_best(ranks, ranking.critical_difference)
    axis.set_xlabel(
        f"average rank, bars: critical difference {2 * half:.2f}\n"
        f"{count} of {len(ranks)} methods reach into the best one's bar"
    )
    layout.set_title(figure, title)
    return figure
