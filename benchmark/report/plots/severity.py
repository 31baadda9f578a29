"""Recall by severity, a panel for each shift that was run at several severities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.cell import CLEAN
from benchmark.report import style
from benchmark.report.layout import finish, name_axes, panels
from benchmark.report.pools import Pool
from benchmark.report.unshifted import NOTHING

Curve = tuple[str, str]
"""A shift and the rest of its settings (options, version): what the points of a curve share."""


def _curve(pool: Pool) -> Curve:
    return pool.first.shift, pool.first.setting[-1]


def curves(pools: Sequence[Pool]) -> list[Curve]:
    """The shifts of single streams that have at least two severities, in order."""
    found: dict[Curve, set[int]] = {}
    for pool in pools:
        if pool.first.stream == "single" and pool.first.shift != CLEAN:
            found.setdefault(_curve(pool), set()).add(pool.first.severity)
    return sorted(curve for curve, severities in found.items() if len(severities) > 1)


def severity_curves(
    pools: Sequence[Pool], title: str = "", shown: Sequence[Curve] | None = None
) -> Figure:
    """R@1 against severity, a line per method with its 95 % interval as a band.

    Where uncorrupted queries were run too, they are severity 0.

    Args:
        pools: of one benchmark.
        title: the figure's.
        shown: which of ``curves(pools)``; all by default.
    """
    shown = curves(pools) if shown is None else shown
    columns = min(2, len(shown))
    rows = math.ceil(len(shown) / columns)
    used = [pool for pool in pools if _curve(pool) in set(shown)]
    clean = [pool for pool in pools if pool.first.shift == CLEAN]
    looks = style.looks(pool.label for pool in used)
    with mpl.rc_context(style.RC):
        size = (style.WIDTH if columns > 1 else 5.2, rows * (2.1 if columns > 1 else 2.9))
        figure, axes = panels(rows, columns, size, used)
        for axis, curve in zip(axes, shown, strict=False):
            for label, look in looks.items():
                points = [p for p in used if p.label == label and _curve(p) == curve]
                if points:
                    _line(axis, [*(p for p in clean if p.label == label), *points], look)
            axis.set_title(_name(curve, shown))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid(axis="y")
        below = "severity (0: no corruption)" if clean else "severity"
        name_axes(axes, len(shown), columns, below, "R@1 (%), 95 % interval")
        finish(figure, title, used, lines=True)
    return figure


def _name(curve: Curve, shown: Sequence[Curve]) -> str:
    """The shift's name, with a number where it was run with several options."""
    same = [other for other in shown if other[0] == curve[0]]
    name = style.label(curve[0].replace("_", " "), 40)
    return name if len(same) == 1 else f"{name} #{same.index(curve) + 1}"


def _line(axis: Axes, pools: Sequence[Pool], look: style.Look) -> None:
    points = {
        0 if pool.first.shift == CLEAN else pool.first.severity: pool.recall
        for pool in pools
        if pool.recall is not None and math.isfinite(pool.recall.value)
    }
    at = sorted(points)
    found = [points[severity] for severity in at]
    axis.plot(
        at,
        [interval.value for interval in found],
        color=look.colour,
        linestyle=look.dashes,
        marker=look.marker or None,
    )
    for severity in {pool.first.severity for pool in pools if pool.changed_nothing} & set(points):
        axis.annotate(NOTHING, (severity, points[severity].value), (0, 6), ha="center", fontsize=7,
                      color=style.QUIET, textcoords="offset points")  # fmt: skip
    low, high = [interval.low for interval in found], [interval.high for interval in found]
    axis.fill_between(at, low, high, color=look.colour, alpha=0.13, linewidth=0)
