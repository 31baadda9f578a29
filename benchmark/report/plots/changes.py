"""What a shift does to the queries: the share that it changes, and by how much."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.cell import CLEAN
from benchmark.evaluation.changes import LITTLE
from benchmark.report.plots import layout, style
from benchmark.report.pools import Pool

PER_PAGE = 50
"""Shifts in one figure."""

_PARTS = {"image": "^", "text": "s"}
_COLOUR = "#5b7fa6"


def measured(pools: Sequence[Pool]) -> list[Pool]:
    """One pool for each shift of each benchmark whose cells say how many queries it changed.

    All methods see the same queries, so that any pool will do.
    """
    found: dict[tuple[str, ...], Pool] = {}
    for pool in pools:
        if pool.first.shift != CLEAN and pool.values("probes", "coverage"):
            found.setdefault(pool.first.setting, pool)
    return [found[setting] for setting in layout.settings_of(list(found.values()))]


@mpl.rc_context(style.RC)
def coverage(shown: Sequence[Pool]) -> Figure:
    """Share of queries that each shift changes, and the mean size of the change.

    Means over seeds. Triangle and square: images and captions of composed queries alone. Below the
    dotted line a shift changes too little to say anything about robustness.

    Args:
        shown: ``measured(pools)``, or some of them.
    """
    names = layout.place_names(shown)
    height = 1.2 + 0.2 * len(shown)
    figure, (share, size) = layout.panels(2, height, columns=2, sharey=True)
    for y, pool in enumerate(shown):
        _bar(share, y, pool, "coverage", 0)
        _bar(size, y, pool, "change_size", 1)
    share.axvline(LITTLE, color=style.INK, linestyle=":", linewidth=1.0)
    share.set_xlim(0, 118)
    share.set_xticks(range(0, 101, 25))
    size.set_xlim(left=0)
    size.margins(x=0.16)
    share.set_xlabel("queries changed (%)")
    size.set_xlabel("size of the change (% of full scale)")
    rows = [f"{names[pool.first.place]}  {layout.shift_label(pool)}" for pool in shown]
    for axis in (share, size):
        axis.grid(axis="x")
        axis.tick_params(axis="y", length=0)
        axis.set_ylim(len(shown) - 0.4, -0.6)
    share.set_yticks(range(len(shown)), [style.label(row, 46) for row in rows], fontsize=7.5)
    if any(pool.values("probes", f"coverage_{part}") for pool in shown for part in _PARTS):
        figure.supxlabel(
            "triangle: images alone; square: captions alone", fontsize=7.5, color=style.QUIET
        )
    layout.set_title(figure, "How many queries each shift changes, and by how much")
    return figure


def _bar(axis: Axes, y: int, pool: Pool, name: str, digits: int) -> None:
    value = pool.mean("probes", name)
    if not math.isfinite(value):
        layout.no_number(axis, y)
        return
    axis.barh(y, value, 0.62, color=_COLOUR)
    ends = [value]
    for part, marker in _PARTS.items():
        of_part = pool.mean("probes", f"{name}_{part}")
        if math.isfinite(of_part):
            axis.plot(
                [of_part], [y], marker, color="white", markeredgecolor=style.INK, markersize=4
            )
            ends.append(of_part)
    axis.annotate(f"{value:.{digits}f}", (max(ends), y), (5, 0), textcoords="offset points",
                  va="center", fontsize=7.5)  # fmt: skip
