"""What docs/scale.md shows of results/growth.json: slopes, and the curves as pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from docs.marks import filled, table

Kept = Mapping[str, Any]
Row = Mapping[str, Any]


class Curve(NamedTuple):
    """One line of a picture, and one row of the list.

    Attributes:
        part: of ``growth.PARTS``.
        label: what is measured.
        axis: what grows.
        match: only rows with these values.
        seconds: name of the time, "" where none is shown.
        memory: name of the memory, "" where none is shown.
    """

    part: str
    label: str
    axis: str
    match: Mapping[str, Any] = {}
    seconds: str = "seconds"
    memory: str = "added_mb"


CURVES = (
    Curve("gallery", "source, a batch", "gallery items", {"method": "source"}),
    Curve("gallery", "Tent, a batch", "gallery items", {"method": "tent"}),
    Curve("streamed", "ranks, from a file", "gallery items"),
    Curve(
        "streamed",
        "100 candidates, from a file",
        "gallery items",
        seconds="top_seconds",
        memory="top_added_mb",
    ),
    Curve("queries", "a cell", "queries"),
    Curve("batch", "source, 128 queries", "queries a batch", {"method": "source"}),
    Curve("batch", "Tent, 128 queries", "queries a batch", {"method": "tent"}),
    Curve("cells", "plan", "cells", {"what": "planned"}),
    Curve("cells", "store", "cells", {"what": "stored"}),
    Curve(
        "cells", "find again (whole process)", "cells", {"what": "found again"}, memory="peak_mb"
    ),
    Curve("cells", "report (whole process)", "cells", {"what": "reported"}, memory="peak_mb"),
    Curve("workers", "14 cells, wall time", "processes"),
)
"""All that is drawn and listed, in this order."""


def points(kept: Kept, curve: Curve) -> list[Row]:
    """A curve's rows by size."""
    rows = kept.get(curve.part, {}).get("points", ())
    found = [r for r in rows if all(r.get(k) == v for k, v in curve.match.items())]
    return sorted(
        (r for r in found if curve.seconds in r or curve.memory in r), key=lambda r: r["size"]
    )


def slope(rows: Sequence[Row], name: str) -> float:
    """Exponent of growth between the two largest sizes: 1 is linear, 2 quadratic.

    NaN where a value is missing or zero.
    """
    if len(rows) < 2:
        return math.nan
    (a, b), sizes = (rows[-2].get(name), rows[-1].get(name)), (rows[-2]["size"], rows[-1]["size"])
    if not a or not b:
        return math.nan
    return math.log(b / a) / math.log(sizes[1] / sizes[0])


def listing(kept: Kept) -> str:
    """The Markdown list of the docs: values at the largest size, and slopes."""
    lines = []
    for curve in CURVES:
        rows = points(kept, curve)
        if not rows:
            continue
        last = rows[-1]
        lines.append(
            [
                curve.label,
                f"{last['size']:,} {curve.axis}",
                _number(last.get(curve.seconds)),
                _number(slope(rows, curve.seconds)),
                _number(last.get(curve.memory)),
                _number(slope(rows, curve.memory)),
            ]
        )
    head = ("what", "largest", "seconds", "slope", "MB", "slope")
    return "\n".join([table(head, lines), *_one_process(kept), *_places(kept)]) + "\n"


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _one_process(kept: Kept) -> Iterable[str]:
    for row in kept.get("process", {}).get("points", ()):
        yield (
            f"{row['size']} cells in one process: memory after the last is {row['last_to_first']} "
            f"times that after the first, {row['last_to_tenth']} times that after the tenth."
        )
        yield ""


def _places(kept: Kept) -> Iterable[str]:
    found: dict[str, list[float]] = {}
    for part in kept.values():
        where = f"{part['machine']}, torch {part['torch']}, {part['date']}"
        found.setdefault(where, []).append(part["load_at_start"])
    for where, loads in found.items():
        yield f"Measured on: {where}. Load average before: {min(loads)} to {max(loads)}."


def with_slopes(text: str, kept: Kept) -> str:
    """A page with the list between its two marks replaced."""
    return filled(text, "growth", f"\n{listing(kept)}\n")


def draw(kept: Kept, folder: Path) -> list[Path]:
    """One picture for each axis: time on the left, memory on the right, both axes logarithmic."""
    written = []
    for axis in dict.fromkeys(curve.axis for curve in CURVES):
        curves = [c for c in CURVES if c.axis == axis and points(kept, c)]
        if curves:
            path = folder / f"growth-{axis.replace(' ', '-')}.png"
            figure = _figure(kept, curves)
            figure.savefig(path, dpi=110, metadata={"Software": None})
            written.append(path)
    return written


class _Plain(LogFormatter):
    """Names the ticks that matplotlib would, 0.6 instead of 6e-01."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def _figure(kept: Kept, curves: Sequence[Curve]) -> Figure:
    sides: Sequence[tuple[str, Callable[[Curve], str]]] = (
        ("seconds", lambda curve: curve.seconds),
        ("MB", lambda curve: curve.memory),
    )
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        for axes, (title, name_of) in zip(figure.subplots(1, 2), sides, strict=True):
            for number, curve in enumerate(curves):
                pairs = [(r["size"], r.get(name_of(curve))) for r in points(kept, curve)]
                known = [(size, value) for size, value in pairs if value]
                if known:
                    style = dict(color=f"C{number}", marker="os^Dv"[number % 5], markersize=4)
                    axes.plot(*zip(*known, strict=True), label=curve.label, **style)
            axes.set(xscale="log", yscale="log", xlabel=curves[0].axis, ylabel=title)
            sizes = [row["size"] for row in points(kept, curves[0])]
            if sizes[-1] < 100:
                axes.set_xticks(sizes, list(map(str, sizes)))
                axes.xaxis.set_minor_formatter("")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(_Plain())
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        figure.axes[0].legend(frameon=False, fontsize=8)
        title = f"Time and memory by {curves[0].axis}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, weight="bold")
    return figure
