"""What explains a recall: probes of the query embeddings, in-domain against shifted; angles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from benchmark.cell import CLEAN
from benchmark.report import style
from benchmark.report.layout import PANELS, headline, hide_unused, place_titles, wrapped
from benchmark.report.pools import Pool, labels_of

PROBES = ("uniformity", "gap", "consistency")
BIN_DEGREES = 5
CONFLICT_DEGREES = 90


def has_probes(pools: Sequence[Pool]) -> bool:
    """Whether there is anything to draw in ``probes``."""
    return any(pool.values("probes", name) for pool in pools for name in PROBES)


def probes(pools: Sequence[Pool], title: str = "") -> Figure:
    """Uniformity, gap and consistency: source on uncorrupted queries, then all on shifted ones.

    The three axes are those of the bars in REST's first figure, as we read them. Bars are means
    over shifts and seeds, a dot is one shift's. The dashed line repeats the uncorrupted source;
    it is left out where uncorrupted queries were not run.

    Args:
        pools: of one benchmark.
        title: the figure's.
    """
    shifted = [pool for pool in pools if pool.first.shift != CLEAN] or list(pools)
    clean = [p for p in pools if p.first.shift == CLEAN and p.is_source and p not in shifted]
    labels = labels_of(shifted)
    looks = style.looks(labels)
    bars = [("source, in-domain", clean, style.LOOKS["source"])] if clean else []
    bars += [(name, [p for p in shifted if p.label == name], looks[name]) for name in labels]
    with mpl.rc_context(style.RC):
        size = (style.WIDTH, 1.0 + 0.26 * len(bars) + (0.25 if title else 0))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(PROBES), squeeze=False, sharey=True)[0]
        for axis, name in zip(axes, PROBES, strict=True):
            ends = [_probe_bar(axis, y, name, p, look) for y, (_, p, look) in enumerate(bars)]
            if clean and math.isfinite(ends[0]):
                axis.axvline(ends[0], color=style.INK, linestyle="--", linewidth=0.9)
            axis.set_title(name)
            axis.grid(axis="x")
            axis.tick_params(axis="y", length=0)
            axis.margins(x=0.2)
        axes[0].set_yticks(range(len(bars)), [style.label(name) for name, _, _ in bars])
        axes[0].set_ylim(len(bars) - 0.4, -0.6)
        headline(figure, title)
    return figure


def _probe_bar(axis: Axes, y: int, name: str, pools: Sequence[Pool], look: style.Look) -> float:
    """One bar, its dots and its number; gives the mean over the pools' cells."""
    by_shift = [pool.mean("probes", name) for pool in pools]
    finite = [value for value in by_shift if math.isfinite(value)]
    if not finite:
        axis.annotate("no number", (0, y), (4, 0), va="center", fontsize=8, color=style.QUIET,
                      textcoords="offset points")  # fmt: skip
        return math.nan
    mean = float(np.mean(finite))
    hatch = "////" if all(pool.first.shift == CLEAN for pool in pools) else ""
    axis.barh(y, mean, 0.62, color=look.colour, hatch=hatch, edgecolor="white", linewidth=0)
    if len(finite) > 1:
        axis.plot(finite, [y] * len(finite), "o", markersize=3.2, color=style.INK,
                  markeredgecolor="white", markeredgewidth=0.6)  # fmt: skip
    axis.annotate(
        f"{mean:.2f}",
        (max([0.0, mean, *finite]), y),
        (6, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},  # over the dashed line
    )
    return mean


def angles(pools: Sequence[Pool]) -> Figure:
    """How often which angle lay between the gradients of adapting and of keeping the source.

    A panel per benchmark, an outline per method that computes both gradients; one count is one
    batch (the mean angle of its updates). Right of the line the two conflict. With more benchmarks
    than ``layout.PANELS`` each is a strip, the darker the more batches.

    Args:
        pools: ``shift_pools(results)``.
    """
    known = [pool for pool in pools if _angles(pool).size]
    titles = place_titles(known)
    if len(titles) > PANELS:
        return _strips(known)
    looks = style.looks(pool.label for pool in known)
    columns = min(2, len(titles)) or 1
    rows = math.ceil(len(titles) / columns) or 1
    with mpl.rc_context(style.RC):
        size = (style.WIDTH if columns > 1 else 5.2, 0.5 + 2.1 * rows)
        figure = Figure(figsize=size, layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False, sharex=True).ravel())
        for axis, (place, title) in zip(axes, titles.items(), strict=False):
            _histograms(axis, [pool for pool in known if pool.first.place == place], looks)
            axis.set_title(wrapped(title, 40))
        hide_unused(axes, len(titles))
        for axis in axes[::columns]:
            axis.set_ylabel("batches (%)")
        figure.supxlabel("angle between the gradients (degrees)", fontsize=9)
    return figure


def _strips(pools: Sequence[Pool]) -> Figure:
    """A row of shaded bins per benchmark and method, with the share of conflicts beside it."""
    titles, labels = place_titles(pools), labels_of(pools)
    edges = np.arange(0, 181, BIN_DEGREES)
    found = {}
    for place, title in titles.items():
        for label in labels:
            here = [_angles(p) for p in pools if p.first.place == place and p.label == label]
            name = style.label(title, 40) + (f"  {style.label(label)}" if len(labels) > 1 else "")
            if here:
                found[name] = np.concatenate(here)
    shares = [
        100.0 * np.histogram(values, bins=edges)[0] / len(values) for values in found.values()
    ]
    with mpl.rc_context(style.RC):
        figure = Figure(figsize=(style.WIDTH, 1.2 + 0.19 * len(found)), layout="constrained")
        axis = figure.subplots()
        rows = np.arange(len(found) + 1) - 0.5
        # The square root keeps single batches visible beside a bin that holds all of a stream.
        norm = PowerNorm(0.5, vmin=0)
        image = axis.pcolormesh(edges, rows, np.array(shares), cmap="Greys", norm=norm)
        axis.hlines(rows, 0, 180, color="white", linewidth=1.5)
        for y, values in enumerate(found.values()):
            conflict = 100.0 * float(np.mean(values > CONFLICT_DEGREES))
            axis.text(184, y, f"{conflict:.0f} %", va="center", fontsize=8)
        axis.text(184, -0.8, f"above {CONFLICT_DEGREES}°", fontsize=8, color=style.QUIET)
        axis.axvline(CONFLICT_DEGREES, color=style.LOOKS["rest"].colour, linewidth=1.1)
        axis.set_xlim(0, 180)
        axis.set_ylim(len(found) - 0.5, -0.5)
        axis.set_xticks(range(0, 181, 30))
        axis.set_yticks(range(len(found)), list(found))
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        whose = f" of {style.label(labels[0])}" if len(labels) == 1 else ""
        axis.set_xlabel(f"angle between the gradients{whose} (degrees)")
        bar = figure.colorbar(image, ax=axis, fraction=0.03, pad=0.1, aspect=30)
        bar.set_label(f"batches per {BIN_DEGREES}° (%)")
        bar.outline.set_visible(False)
    return figure


def _angles(pool: Pool) -> np.ndarray:
    """The finite angles of all batches of a pool's cells, in degrees."""
    found = [batch.get("angle", math.nan) for cell in pool.done for batch in cell.record.batches]
    values = np.array([math.nan if value is None else value for value in found], dtype=float)
    return values[np.isfinite(values)]


def _histograms(axis: Axes, pools: Sequence[Pool], looks: dict[str, style.Look]) -> None:
    edges = np.arange(0, 181, BIN_DEGREES)
    for label in labels_of(pools):
        values = np.concatenate([_angles(pool) for pool in pools if pool.label == label])
        shares, _ = np.histogram(values, bins=edges)
        colour = looks[label].colour
        heights = 100.0 * shares / len(values)
        conflict = 100.0 * float(np.mean(values > CONFLICT_DEGREES))
        text = f"{style.label(label)}: {conflict:.0f} % above {CONFLICT_DEGREES}°"
        axis.stairs(heights, edges, fill=True, color=colour, alpha=0.3)
        axis.stairs(heights, edges, color=colour, linestyle=looks[label].dashes, label=text)
    axis.axvline(CONFLICT_DEGREES, color=style.INK, linestyle=":", linewidth=1.1)
    axis.set_xlim(0, 180)
    axis.set_xticks(range(0, 181, 30))
    axis.margins(y=0.35)
    axis.set_ylim(bottom=0)
    axis.grid(axis="y")
    axis.legend(loc="upper left", handlelength=1.4, frameon=True, framealpha=1.0, edgecolor="none")
