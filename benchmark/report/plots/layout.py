"""What all figures share: sizes and type, names, the grid of panels, title and legend."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib import rc_params_from_file
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from benchmark.cell import CLEAN
from benchmark.report.pools import Pool, changed_nothing, grouped, labels_of
from benchmark.report.results import NOTHING, Setting, numbered
from benchmark.report.results import place_names as named_places
from benchmark.report.style import LOOKS as LOOKS
from benchmark.report.style import Look as Look
from benchmark.report.style import looks as looks

DPI = 150
WIDTH = 7.0
"""Width of a figure in inches: the text width of a page; half of it is still readable."""

INK = "#222222"
QUIET = "#8a8a8a"
GRID = "#dedede"

RC: Any = dict(
    rc_params_from_file(Path(__file__).with_name("figures.mplstyle"), use_default_template=False)
)
"""Given to ``matplotlib.rc_context``."""

PANELS = 6
"""Panels in one figure. Shifts beyond it go on another page, benchmarks into a denser form."""

MANY = 12
"""Methods that one panel can tell apart as columns, bars or colours; more take a denser form."""

LINES = 8
"""Methods drawn as lines in one panel: those that are always shown, and the best of the others."""

ALWAYS = ("source", "recentre")
"""Methods that every selection keeps: no adaptation, and the simplest one. Of a setting that they
do not have, they are level lines."""


@cache
def _drawable() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def shown(name: str, length: int = 26) -> str:
    """A name as a figure can show it: cut in the middle when long, unknown glyphs as "?".

    A leading underscore, which would hide an entry from matplotlib's legend, gets a space before.
    """
    known = _drawable()
    text = "".join(c if ord(c) in known and c.isprintable() else "?" for c in name)
    if len(text) > length:
        head = (length - 1) * 2 // 3
        text = f"{text[:head]}…{text[-(length - 1 - head) :]}"
    return f" {text}" if text.startswith("_") else text


def place_titles(pools: Sequence[Pool]) -> dict[Setting, str]:
    """A title for each benchmark and stream, in order; says where the shifts changed nothing."""
    titles = place_names(pools)
    for place, name in titles.items():
        if changed_nothing(pool for pool in pools if pool.first.place == place):
            titles[place] = f"{name} ({NOTHING})"
    return titles


def place_names(pools: Sequence[Pool]) -> dict[Setting, str]:
    """A name for each benchmark and stream, in order."""
    first = {pool.first.place: pool.first for pool in pools}
    return named_places(
        {
            place: (cell.benchmark + ("" if cell.stream == "single" else f" {cell.stream}"), cell)
            for place, cell in sorted(first.items())
        }
    )


def place_slugs(pools: Sequence[Pool]) -> dict[Setting, str]:
    """The names as parts of files' names, with a number where two would be one."""
    places = place_names(pools)
    names = [slug(name.replace(" · ", " ")) for name in places.values()]
    return dict(zip(places, numbered(names, "__"), strict=True))


def settings_of(pools: Sequence[Pool]) -> list[Setting]:
    """Settings in order, uncorrupted queries first."""
    found = {pool.first.setting: pool.first.shift for pool in pools}
    return sorted(found, key=lambda s: (s[:6], found[s] != CLEAN, s))


def shift_label(pool: Pool) -> str:
    """The shift (or domains) and severity as a panel or a column names them."""
    if pool.first.shift == CLEAN:
        return "no corruption"
    name = pool.first.shift.replace("_", " ").replace("+", " + ")
    label = shown(f"{name} {pool.first.severities}", 40)
    return f"{label} ({NOTHING})" if pool.changed_nothing else label


def wrapped(text: str, width: int) -> str:
    """Text in lines of about the given number of characters; a number stays with its word."""
    tied = re.sub(r" (\d+)$", "\xa0\\1", shown(text, 60))
    lines = textwrap.wrap(tied, max(8, width), max_lines=4, placeholder="…")
    return "\n".join(lines).replace("\xa0", " ")


def slug(text: str) -> str:
    """A title as part of a file name."""
    return "".join(c if c.isalnum() or c in "-." else "-" for c in text).strip("-")


def panels(
    count: int,
    height: float,
    *,
    room: float = 0.0,
    legend: Sequence[Pool] = (),
    columns: int = 0,
    width: float = 0.0,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """An empty figure with so many panels, by default at most two beside each other.

    Args:
        count: at least one is made.
        height: of a row, in inches.
        room: what is added to the height of all rows.
        legend: pools whose methods a legend names, for which (and for a title) room is added.
        columns: how many panels are beside each other.
        width: of the figure; by default the page's, and 5.2 where panels stand alone.
        sharey: whether the panels share the axis.
    """
    columns = columns or max(1, min(2, count))
    rows = max(1, math.ceil(count / columns))
    width = width or (WIDTH if columns > 1 else 5.2)
    size = rows * height + room
    if legend:
        labels = labels_of(legend)
        lines = math.ceil(len(labels) / _legend_columns(labels, width))
        size = size + 0.18 * lines + 0.55
    figure = Figure(figsize=(width, size), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel())
    for unused in axes[max(1, count) :]:
        unused.set_visible(False)
    return figure, axes


def name_axes(axes: Sequence[Axes], used: int, x: str, y: str) -> None:
    """Names below the lowest panel of each column and left of each row, two panels in each."""
    for axis in axes[max(0, used - 2) : used]:
        axis.set_xlabel(x)
    for axis in axes[::2]:
        axis.set_ylabel(y)


def beside(axis: Axes, text: str, x: float, y: float, away: float = 5, **form: Any) -> None:
    """A text so many points right of a place, at its height."""
    form = {"va": "center", "fontsize": 7.5, "textcoords": "offset points", **form}
    axis.annotate(text, (x, y), (away, 0), **form)


def no_number(axis: Axes, y: int) -> None:
    """Says in the place of a bar that there is none."""
    beside(axis, "no number", 0, y, 4, fontsize=8, color=QUIET)


def name_bars(axes: Sequence[Axes], names: Sequence[str], length: int = 26, **form: Any) -> None:
    """Names left of the horizontal bars of panels in rows, the first at the top; their grid."""
    for axis in axes:
        axis.grid(axis="x")
        axis.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(names)), [shown(name, length) for name in names], **form)
    axes[0].set_ylim(len(names) - 0.4, -0.6)


def log_axis(axis: Axes, low: float, high: float) -> None:
    """A logarithmic axis of numbers from low to high, with as many ticks as can be read."""
    if low == high:  # it would reach over decades around it
        return
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 8 * low else (1.0,)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())


def colour_bar(figure: Figure, image: Any, axes: Any, label: str, **form: Any) -> None:
    form = {"fraction": 0.04, "pad": 0.02, "aspect": 30, **form}
    bar = figure.colorbar(image, ax=axes, **form)
    bar.set_label(label)
    bar.outline.set_visible(False)


def marked(figure: Figure, labels: Sequence[str], pools: Sequence[Pool]) -> list[str]:
    """Names of methods, with a plus, which is said below, where cells are missing."""
    if few := lacking(pools) & set(labels):
        figure.supxlabel("+: some of its cells are missing", fontsize=7.5, color=QUIET)
    return [shown(label) + " +" * (label in few) for label in labels]


def lacking(pools: Sequence[Pool]) -> set[str]:
    """Methods that lack cells which another one of these pools has."""
    own = {
        label: {(c.setting, c.seed) for p in same for c in p.done}
        for label, same in grouped(pools, lambda pool: pool.label).items()
    }
    every = set().union(*own.values())
    return {label for label, cells in own.items() if cells < every}


def set_title(figure: Figure, title: str) -> None:
    """The figure's title, in lines of its width; nothing where it is empty."""
    text = textwrap.fill(shown(title, 70), int(10 * figure.get_figwidth()))
    if title:
        figure.suptitle(text, x=0.01, ha="left", fontsize=10.5, weight="bold")


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """As many columns as the longest name allows at the figure's width in inches."""
    longest = max(len(shown(name)) for name in labels)
    return max(1, min(8, int(width / (0.075 * longest + 0.6))))


def best_of(recall: Mapping[str, float]) -> tuple[list[str], str]:
    """At most ``LINES`` methods for a panel of lines, in the given order, and what to say of it.

    Args:
        recall: label -> mean R@1; NaN is never among the best.
    """
    if len(recall) <= LINES:
        return list(recall), ""
    kept = {label for label in recall if label.split(" [")[0] in ALWAYS}
    others = [label for label in recall if label not in kept]
    ranked = sorted(others, key=lambda label: (math.isnan(recall[label]), -recall[label]))
    kept |= set(ranked[: LINES - len(kept)])
    best = len(kept & set(others))
    always = ", ".join(label for label in recall if label in kept and label not in others)
    said = f"{always} and the {best}" if always else f"the {best}"
    note = f"shown: {said} of {len(recall)} methods with the highest R@1 here"
    return [label for label in recall if label in kept], note


def families(pools: Sequence[Pool]) -> dict[str, list[str]]:
    """Labels in groups with a title: methods that train, then those that never pass backwards."""
    trained = {p.label for p in pools if any(v > 0 for v in p.values("cost", "backward_per_query"))}
    labels = labels_of(pools)
    groups = {
        "methods that train": [label for label in labels if label in trained],
        "training-free methods": [label for label in labels if label not in trained],
    }
    return {title: members for title, members in groups.items() if members}


def line(look: Look) -> dict[str, Any]:
    """How a method's line is drawn."""
    return {"color": look.colour, "linestyle": look.dashes, "marker": look.marker or None}


def point(look: Look) -> dict[str, Any]:
    """How a method's single point is drawn; one without a marker (source) is a ring."""
    face = look.colour if look.marker else "white"
    marker = {"marker": look.marker or "o", "markersize": 7, "markerfacecolor": face}
    edge = {"markeredgecolor": look.colour, "markeredgewidth": 1.4}
    return {"color": look.colour, "linestyle": "", **marker, **edge}


def finish(figure: Figure, title: str, labels: Sequence[str], note: str = "") -> None:
    """Title, and one legend for the methods' lines of all panels, outside of them.

    ``note``: a line above the legend, such as which methods are left out.
    """
    chosen = looks(labels)
    handles = [Line2D([], [], **line(chosen[name])) for name in labels]
    set_title(figure, title)
    columns = _legend_columns(labels, figure.get_figwidth())
    names = [shown(name) for name in labels]
    figure.legend(handles, names, loc="outside lower center", ncols=columns, title=note or None,
                  title_fontsize=7.5)  # fmt: skip
