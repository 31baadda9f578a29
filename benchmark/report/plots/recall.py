"""Recall along the stream, recall by shift, forgetting."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.cell import StreamSpec
from benchmark.evaluation.stream import Block, batch_ends, blocks
from benchmark.report import style
from benchmark.report.layout import (
    finish,
    hide_unused,
    name_axes,
    panels,
    place_titles,
    settings_of,
    shift_label,
    wrapped,
)
from benchmark.report.pools import Pool, labels_of
from benchmark.report.results import CellResult


def recall_along_stream(pools: Sequence[Pool], title: str = "") -> Figure:
    """Cumulative R@1 after each batch, one line per method and one panel per shift.

    Several seeds have several orders of the same queries; the line is their mean.
    """
    settings = settings_of(pools)
    columns = min(2, len(settings))
    rows = math.ceil(len(settings) / columns)
    with mpl.rc_context(style.RC):
        size = (style.WIDTH if columns > 1 else 5.2, rows * (2.1 if columns > 1 else 2.9))
        figure, axes = panels(rows, columns, size, pools)
        for axis, setting in zip(axes, settings, strict=False):
            here = [pool for pool in pools if pool.first.setting == setting]
            _stream_panel(axis, here, style.looks(pool.label for pool in pools))
            axis.set_title(shift_label(here[0]), pad=6 if _blocks(here[0].first) == [] else 14)
        name_axes(axes, len(settings), columns, "queries seen", "R@1 so far (%)")
        finish(figure, title, pools, lines=True)
    return figure


def _stream_panel(axis: Axes, pools: Sequence[Pool], looks: dict[str, style.Look]) -> None:
    for place, pool in enumerate(sorted(pools, key=lambda p: not p.is_source)):
        look = looks[pool.label]
        curves = [_cumulative(cell) for cell in pool.done]
        length = min(len(seen) for seen, _ in curves)
        seen = curves[0][0][:length]
        recall = np.mean([values[:length] for _, values in curves], axis=0)
        every = max(1, length // 5)
        axis.plot(
            seen,
            recall,
            color=look.colour,
            linestyle=look.dashes,
            marker=look.marker or None,
            markevery=(place * every // max(1, len(pools)), every),
            zorder=2 if pool.is_source else 3,
        )
    axis.grid(axis="y")
    axis.set_xlim(left=0)
    axis.margins(y=0.12)
    _boundaries(axis, pools[0].first)


def _boundaries(axis: Axes, cell: CellResult) -> None:
    """Where the domain changes in a continual or gradual stream, and what it changes to."""
    spec, found = _spec(cell), _blocks(cell)
    if not found:
        return
    axis.set_xlim(0, found[-1].stop)
    room = 50 // len(found) if spec.kind == "continual" else 2
    for block in found:
        domain = spec.domains[block.domain]
        name = domain.name.replace("_", " ") if spec.kind == "continual" else str(domain.severity)
        if block.start:
            axis.axvline(block.start, color=style.QUIET, linestyle=":", linewidth=0.9, zorder=1)
        axis.text(
            (block.start + block.stop) / 2,
            1.01,
            style.label(name, room) if room > 5 or len(name) <= room else "",
            transform=axis.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=7,
            color=style.QUIET,
        )


def _spec(cell: CellResult) -> StreamSpec:
    return StreamSpec.from_dict(cell.record.cell.get("stream", {}))


def _blocks(cell: CellResult) -> list[Block]:
    return [] if cell.order is None else blocks(_spec(cell), len(cell.order))


def _cumulative(cell: CellResult) -> tuple[np.ndarray, np.ndarray]:
    """Queries seen and R@1 over them (percent), after each batch of the stream."""
    assert cell.hits is not None, "only finished cells are drawn"
    assert cell.order is not None, "only finished cells are drawn"
    running = 100.0 * np.cumsum(cell.hits[cell.order]) / np.arange(1, len(cell.order) + 1)
    ends = np.array(batch_ends(len(running), _spec(cell).batch_size, _blocks(cell)))
    return ends, running[ends - 1]


def recall_by_shift(pools: Sequence[Pool], title: str = "") -> Figure:
    """R@1 of source and methods for each shift as grouped bars with 95 % intervals.

    Headline metrics of the benchmark follow in panels of their own, without intervals.
    """
    settings = settings_of(pools)
    labels = labels_of(pools)
    per_row = max(1, min(6, 48 // len(labels), len(settings)))
    rows = math.ceil(len(settings) / per_row)
    per_row = math.ceil(len(settings) / rows)
    looks = style.looks(labels)
    width = min(0.84 / len(labels), 0.3)
    with mpl.rc_context(style.RC):
        bars = per_row * (len(labels) + 1)
        size = (min(style.WIDTH, max(4.2, 1.0 + 0.42 * bars)), rows * (2.3 if rows > 1 else 2.7))
        metrics = ("R@1", *dict.fromkeys(name for pool in pools for name in pool.headline))
        size = (size[0], size[1] * len(metrics))
        figure, axes = panels(rows * len(metrics), 1, size, pools)
        for number, axis in enumerate(axes):
            metric, row = metrics[number // rows], number % rows
            shown = settings[row * per_row : (row + 1) * per_row]
            names = []
            for place, setting in enumerate(shown):
                here = {pool.label: pool for pool in pools if pool.first.setting == setting}
                shift = shift_label(next(iter(here.values())))
                names.append(wrapped(shift, int(11 * size[0] / per_row)))
                for index, label in enumerate(labels):
                    at = place + (index - (len(labels) - 1) / 2) * width
                    _bar(axis, at, width, here.get(label), looks[label], metric)
            axis.set_xticks(range(len(shown)), names)
            axis.set_xlim(-0.55, per_row - 0.45)
            axis.set_ylim(bottom=0)
            axis.tick_params(axis="x", length=0)
            axis.grid(axis="y")
            axis.set_ylabel("R@1 (%), 95 % interval" if metric == "R@1" else f"{metric} (%)")
        finish(figure, title, pools, lines=False)
    return figure


def _bar(
    axis: Axes, at: float, width: float, pool: Pool | None, look: style.Look, metric: str
) -> None:
    """One bar, R@1 with its interval; a small cross on the base line where there is no number."""
    value = pool.mean("metrics", metric) if pool is not None else math.nan
    if metric != "R@1" and math.isfinite(value):
        axis.bar(at, value, width * 0.9, color=look.colour)
        return
    recall = pool.recall if pool is not None and metric == "R@1" else None
    if recall is None or not math.isfinite(recall.value):
        axis.plot([at], [0], marker="x", color=style.QUIET, clip_on=False, zorder=4)
        return
    axis.bar(at, recall.value, width * 0.9, color=look.colour)
    axis.vlines(at, recall.low, recall.high, color="white", linewidth=2.4)
    axis.vlines(at, recall.low, recall.high, color=style.INK, linewidth=1.0)


def forgetting(pools: Sequence[Pool]) -> Figure:
    """Clean R@1 after the stream minus before: a bar for the mean, a dot for each cell."""
    titles = place_titles(pools)
    labels = labels_of(pools)
    looks = style.looks(labels)
    columns = min(2, len(titles))
    rows = math.ceil(len(titles) / columns)
    size = (style.WIDTH if columns > 1 else 5.2, 0.5 + rows * (0.55 + 0.24 * len(labels)))
    with mpl.rc_context(style.RC):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axis, (place, title) in zip(axes, titles.items(), strict=False):
            here = [pool for pool in pools if pool.first.place == place]
            for y, name in enumerate(labels):
                values = [v for p in here if p.label == name for v in _forgotten(p)]
                _forgetting_bar(axis, y, values, looks[name])
            axis.axvline(0, color=style.INK, linewidth=0.9)
            axis.set_title(wrapped(title, 40))
            axis.grid(axis="x")
            axis.tick_params(axis="y", length=0)
        hide_unused(list(axes), len(titles))
        axes[0].set_yticks(range(len(labels)), [style.label(name) for name in labels])
        axes[0].set_ylim(len(labels) - 0.4, -0.6)
        axes[0].set_xlim(*_room_for_numbers([v for pool in pools for v in _forgotten(pool)]))
        figure.supxlabel("clean R@1 after the stream minus before (points)", fontsize=9)
    return figure


def _room_for_numbers(values: Sequence[float]) -> tuple[float, float]:
    low, high = min([0.0, *values]), max([0.0, *values])
    pad = 0.22 * max(high - low, 1.0)
    return low - pad, high + pad


def _forgotten(pool: Pool) -> list[float]:
    return [value for value in pool.values("metrics", "forgetting") if math.isfinite(value)]


def _forgetting_bar(axis: Axes, y: int, values: list[float], look: style.Look) -> None:
    if not values:
        axis.annotate("no number", (0, y), (4, 0), va="center", fontsize=8, color=style.QUIET,
                      textcoords="offset points")  # fmt: skip
        return
    mean = float(np.mean(values))
    axis.barh(y, mean, 0.62, color=look.colour)
    if len(values) > 1:
        axis.plot(
            values, [y] * len(values), "o", markersize=4, color=style.INK, markeredgecolor="white"
        )
    end = min([mean, *values]) if mean < 0 else max([mean, *values])
    axis.annotate(
        f"{mean:+.1f}",
        (end, y),
        (-8 if mean < 0 else 8, 0),
        textcoords="offset points",
        ha="right" if mean < 0 else "left",
        va="center",
        fontsize=8,
    )
