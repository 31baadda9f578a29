"""One picture per stream kind for docs/streams.md, drawn from the streams themselves.

Each column is a batch, each square a query; its colour is the
domain that hits it (for correlated streams, the group that it belongs to). Within a batch squares
are sorted by colour: that order means nothing to a method.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmark.cell import ShiftSpec, StreamSpec
from benchmark.evaluation.stream import QueryStream
from benchmark.report import plots
from benchmark.report.plots import layout
from benchmark.report.writing import write_bytes

BATCH, BATCHES = 12, 36
SHIFTS = ("gaussian noise", "contrast", "JPEG compression", "fog")
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
"""One for each of ``SHIFTS``; Okabe and Ito, as in all figures."""
SEVERITY_COLOURS = ("#d4e6f4", "#9ac8e0", "#539ecd", "#1f6eb3", "#08306b")
"""Severities 1 to 5, light to dark."""
GROUP_COLOURS = (*COLOURS, "#56B4E9", "#D55E00", "#999999", "#F0E442")
DELTAS = (0.01, 1.0)


def pictures() -> dict[str, Figure]:
    """Stream kind -> its picture."""
    severities = tuple(ShiftSpec("gaussian_noise", severity) for severity in range(1, 6))
    domains = tuple(ShiftSpec(name, 5) for name in SHIFTS)
    specs = {
        "single": StreamSpec("single", BATCH),
        "continual": StreamSpec("continual", BATCH, domains),
        "gradual": StreamSpec("gradual", BATCH, severities),
        "mixed": StreamSpec("mixed", BATCH, domains),
        "diverse": StreamSpec("diverse", BATCH, domains),
    }
    found = {}
    for kind, spec in specs.items():
        ramp = kind == "gradual"
        names = [f"severity {s}" for s in range(1, 6)] if ramp else list(SHIFTS)
        used = names[: max(1, len(spec.domains))]
        colours = SEVERITY_COLOURS if ramp else COLOURS
        stream = QueryStream(BATCH * BATCHES, spec, seed=0)
        found[kind] = _picture([("", _columns(stream, stream.shifts))], used, colours)
    found["correlated"] = _picture(
        [(f"delta {delta:g}", _by_group(delta)) for delta in DELTAS],
        list("ABCDEFGH"),
        GROUP_COLOURS,
    )
    sections = np.arange(BATCH * BATCHES) % 4 % 3
    stream = QueryStream(len(sections), StreamSpec("interleaved", BATCH), 0, None, sections)
    found["interleaved"] = _picture(
        [("", _columns(stream, sections[stream.order]))], list("ABC"), GROUP_COLOURS
    )
    return found


def _by_group(delta: float) -> np.ndarray:
    count = BATCH * BATCHES
    groups = np.arange(count) % len(GROUP_COLOURS)
    spec = StreamSpec("correlated", BATCH, group_key="group", delta=delta)
    stream = QueryStream(count, spec, seed=0, groups=groups)
    return _columns(stream, groups[stream.order])


def _columns(stream: QueryStream, numbers: np.ndarray) -> np.ndarray:
    """(batch size, batches) number of each query along the stream; NaN where a batch is short."""
    sizes = [len(batch) for batch in stream]
    found = np.full((max(sizes), len(sizes)), np.nan)
    ends = np.cumsum(sizes)
    for column, (size, end) in enumerate(zip(sizes, ends, strict=True)):
        found[:size, column] = np.sort(numbers[end - size : end])
    return found


def _picture(
    rows: Sequence[tuple[str, np.ndarray]], names: Sequence[str], colours: Sequence[str]
) -> Figure:
    with mpl.rc_context(layout.RC):
        figure = Figure(figsize=(layout.WIDTH, 0.75 + 1.15 * len(rows)), layout="constrained")
        axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
        for axis, (title, columns) in zip(axes, rows, strict=True):
            _squares(axis, columns, colours[: len(names)])
            axis.set_title(title)
        axes[-1].set_xlabel("batches, in the order in which they come")
        handles = [Patch(facecolor=c) for c in colours[: len(names)]]
        figure.legend(handles, list(names), loc="outside lower center", ncols=min(8, len(names)))
    return figure


def _squares(axis: Axes, columns: np.ndarray, colours: Sequence[str]) -> None:
    axis.imshow(
        np.ma.masked_invalid(columns),
        cmap=ListedColormap(list(colours)),
        vmin=-0.5,
        vmax=len(colours) - 0.5,
        aspect="auto",
        interpolation="nearest",
        origin="lower",
    )
    axis.set_xticks([])  # a major tick would hide the minor one, and so the line, at its place
    axis.set_yticks([])
    axis.set_xticks(np.arange(columns.shape[1] - 1) + 0.5, minor=True)
    axis.set_yticks(np.arange(columns.shape[0] - 1) + 0.5, minor=True)
    axis.grid(which="minor", color="white", linewidth=0.6)
    axis.tick_params(which="both", length=0)
    axis.set_ylabel("queries")
    axis.spines[:].set_visible(False)


def write(folder: Path) -> list[Path]:
    """Writes ``<kind>.png`` for each picture; the same code gives the same bytes."""
    return [
        write_bytes(plots.render(drawn), folder / f"{kind}.png")
        for kind, drawn in pictures().items()
    ]
