"""What explains a recall: the size of shifts, probes of embeddings, gradient angles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from benchmark.cell import CLEAN, SOURCE
from benchmark.errors import amount
from benchmark.metrics import CONFLICT_DEGREES
from benchmark.report.plots import layout
from benchmark.report.pools import Pool, labels_of
from benchmark.report.results import LITTLE, PARTS

PER_PAGE = 50
"""Shifts in one figure of ``coverage``."""

_MARKS = (("^", -0.3), ("s", 0.3))
"""For each of ``PARTS`` a marker, and how far below the row's middle it stands."""
_COLOUR = "#5b7fa6"

PROBES = ("uniformity", "gap", "consistency")
BIN_DEGREES = 5
_EDGES = np.arange(0, 181, BIN_DEGREES)


@mpl.rc_context(layout.RC)
def probes(pools: Sequence[Pool], title: str = "") -> Figure:
    """Uniformity, gap and consistency: source on uncorrupted queries, then all on shifted ones.

    The three axes are those of the bars in REST's first figure, as we read them. Bars are means
    over shifts and seeds, a dot is one shift's. The dashed line repeats the uncorrupted source;
    it is left out where uncorrupted queries were not run.
    """
    shifted = [pool for pool in pools if pool.first.shift != CLEAN] or list(pools)
    clean = [p for p in pools if p.first.shift == CLEAN and p.is_source and p not in shifted]
    labels = labels_of(shifted)
    looks = layout.looks(labels)
    bars = [("source, in-domain", clean, layout.LOOKS[SOURCE])] if clean else []
    bars += [(name, [p for p in shifted if p.label == name], looks[name]) for name in labels]
    height = 1.0 + 0.26 * len(bars) + (0.25 if title else 0)
    figure, axes = layout.panels(len(PROBES), height, columns=len(PROBES), sharey=True)
    for axis, name in zip(axes, PROBES, strict=True):
        ends = [_probe_bar(axis, y, name, p, look) for y, (_, p, look) in enumerate(bars)]
        if clean and math.isfinite(ends[0]):
            axis.axvline(ends[0], color=layout.INK, linestyle="--", linewidth=0.9)
        axis.set_title(name)
        axis.margins(x=0.2)
    names = layout.marked(figure, [name for name, _, _ in bars], shifted)
    layout.name_bars(axes, names)
    layout.set_title(figure, title)
    return figure


def _probe_bar(axis: Axes, y: int, name: str, pools: Sequence[Pool], look: layout.Look) -> float:
    """One bar, its dots and its number; gives the mean over the pools' cells."""
    by_shift = [pool.mean("probes", name) for pool in pools]
    finite = [value for value in by_shift if math.isfinite(value)]
    if not finite:
        layout.no_number(axis, y)
        return math.nan
    mean = float(np.mean(finite))
    hatch = "////" if all(pool.first.shift == CLEAN for pool in pools) else ""
    axis.barh(y, mean, 0.62, color=look.colour, hatch=hatch, edgecolor="white", linewidth=0)
    if len(finite) > 1:
        axis.plot(finite, [y] * len(finite), "o", markersize=3.2, color=layout.INK,
                  markeredgecolor="white", markeredgewidth=0.6)  # fmt: skip
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # over the dashed line
    layout.beside(axis, f"{mean:.2f}", max([0.0, mean, *finite]), y, 6, fontsize=8, bbox=box)
    return mean


@mpl.rc_context(layout.RC)
def angles(pools: Sequence[Pool]) -> Figure:
    """How often which angle lay between the gradients of adapting and of keeping the source.

    A panel for each method that computes both gradients, in it a row of shaded bins for each
    benchmark: the darker, the more batches (a batch counts with the mean angle of its updates).
    Right of the line the two conflict; the number is the share of batches that do.
    """
    pools = [pool for pool in pools if angles_of(pool).size]
    labels, places = labels_of(pools), layout.place_titles(pools)
    found = {
        (label, y): np.concatenate(here)
        for label in labels
        for y, place in enumerate(places)
        if (here := [angles_of(p) for p in pools if p.first.place == place and p.label == label])
    }
    # The square root keeps single batches visible beside a bin that holds all of a stream.
    norm = PowerNorm(0.5, vmin=0, vmax=max(_shares(values).max() for values in found.values()))
    figure, axes = layout.panels(
        len(labels),
        0.19 * len(places),
        room=1.4,
        columns=len(labels),
        width=max(layout.WIDTH, 2.4 + 2.0 * len(labels)),
        sharey=True,
    )
    for axis, label in zip(axes, labels, strict=True):
        rows = {y: values for (name, y), values in found.items() if name == label}
        image = _strip_panel(axis, rows, len(places), norm)
        axis.set_title(layout.shown(label))
        axis.set_xlabel("degrees")
    axes[0].set_yticks(range(len(places)), [layout.shown(title, 40) for title in places.values()])
    layout.colour_bar(
        figure, image, axes, f"batches per {BIN_DEGREES}° (%)", fraction=0.03, pad=0.02
    )
    some = amount(len(places), "benchmark")
    layout.set_title(figure, f"Angle between adapting and keeping the source on {some}")
    return figure


def _strip_panel(
    axis: Axes, rows: Mapping[int, np.ndarray], count: int, norm: PowerNorm
) -> QuadMesh:
    """The strips of one method; row -> angles of its batches."""
    shares = np.full((count, len(_EDGES) - 1), np.nan)
    for y, values in rows.items():
        shares[y] = _shares(values)
        share = 100.0 * float(np.mean(values > CONFLICT_DEGREES))
        axis.text(232, y, f"{share:.0f} %", va="center", ha="right", fontsize=8)
    edges = np.arange(count + 1) - 0.5
    image = axis.pcolormesh(_EDGES, edges, np.ma.masked_invalid(shares), cmap="Greys", norm=norm)
    axis.hlines(edges, 0, 180, color="white", linewidth=1.5)
    above = f"above {CONFLICT_DEGREES:.0f}°"
    axis.text(232, -0.8, above, fontsize=8, color=layout.QUIET, ha="right")
    axis.axvline(CONFLICT_DEGREES, color=layout.LOOKS["rest"].colour, linewidth=1.1)
    axis.set_xlim(0, 235)
    axis.set_ylim(count - 0.5, -0.5)
    axis.set_xticks(range(0, 181, 45))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return image


def angles_of(pool: Pool) -> np.ndarray:
    """The finite angles of all batches of a pool's cells, in degrees."""
    found = [batch.get("angle", math.nan) for cell in pool.done for batch in cell.record.batches]
    values = np.array([math.nan if value is None else value for value in found], dtype=float)
    return values[np.isfinite(values)]


def _shares(angles: np.ndarray) -> np.ndarray:
    """Percent of the angles in each bin."""
    return 100.0 * np.histogram(angles, bins=_EDGES)[0] / len(angles)


def measured(pools: Sequence[Pool]) -> list[Pool]:
    """One pool for each shift of each benchmark whose cells say how many queries it changed.

    All methods see the same queries, so that any pool will do.
    """
    found: dict[tuple[str, ...], Pool] = {}
    for pool in pools:
        if pool.first.shift != CLEAN and pool.values("probes", "coverage"):
            found.setdefault(pool.first.setting, pool)
    return [found[setting] for setting in layout.settings_of(list(found.values()))]


@mpl.rc_context(layout.RC)
def coverage(shown: Sequence[Pool]) -> Figure:
    """Share of queries that each shift changes, and the mean size of the change.

    Means over seeds. The number is the bar's; triangle and square are images and captions of
    composed queries alone. Below the dotted line a shift changes too little to say anything about
    robustness.

    Args:
        shown: ``measured(pools)``, or some of them.
    """
    names = layout.place_names(shown)
    height = 1.2 + 0.2 * len(shown)
    figure, (share, size) = layout.panels(2, height, columns=2, sharey=True)
    for y, pool in enumerate(shown):
        _bar(share, y, pool, "coverage", 0)
        _bar(size, y, pool, "change_size", 1)
    share.axvline(LITTLE, color=layout.INK, linestyle=":", linewidth=1.0)
    share.set_xlim(0, 118)
    share.set_xticks(range(0, 101, 25))
    size.set_xlim(left=0)
    size.margins(x=0.16)
    share.set_xlabel("queries changed (%)")
    size.set_xlabel("size of the change (% of full scale)")
    rows = [f"{names[pool.first.place]}  {layout.shift_label(pool)}" for pool in shown]
    layout.name_bars((share, size), rows, 46, fontsize=7.5)
    note = f"dotted line: {LITTLE:g} %, under which a shift says little"
    if any(pool.values("probes", f"coverage_{part}") for pool in shown for part in PARTS):
        note += "; triangle: images alone; square: captions alone"
    figure.supxlabel(note, fontsize=7.5, color=layout.QUIET)
    count = amount(len(shown), "shift")
    layout.set_title(figure, f"Queries changed by {count}, and by how much")
    return figure


def _bar(axis: Axes, y: int, pool: Pool, name: str, digits: int) -> None:
    value = pool.mean("probes", name)
    if not math.isfinite(value):
        layout.no_number(axis, y)
        return
    axis.barh(y, value, 0.62, color=_COLOUR)
    layout.beside(axis, f"{value:.{digits}f}", value, y)
    for part, (marker, down) in zip(PARTS, _MARKS, strict=True):
        of_part = pool.mean("probes", f"{name}_{part}")
        if math.isfinite(of_part):
            axis.plot([of_part], [y + down], marker, color="white", markersize=4,
                      markeredgecolor=layout.INK)  # fmt: skip
