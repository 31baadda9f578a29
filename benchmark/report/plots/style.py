"""One look for all figures: sizes and type; the methods' colours are those of ``report.looks``."""

from __future__ import annotations

from functools import cache
from typing import Any

from matplotlib.font_manager import findfont, get_font

from benchmark.report.looks import LOOKS, Look, looks

__all__ = ["DPI", "GRID", "INK", "LOOKS", "QUIET", "RC", "WIDTH", "Look", "label", "looks"]

DPI = 150
WIDTH = 7.0
"""Width of a figure in inches: the text width of a page; half of it is still readable."""

INK = "#222222"
QUIET = "#8a8a8a"
GRID = "#dedede"

RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "text.color": INK,
    "text.parse_math": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
"""Given to ``matplotlib.rc_context``; "$" in a name is a dollar, not mathematics."""


@cache
def _drawable() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def label(name: str, length: int = 26) -> str:
    """A name as a figure can show it: cut in the middle when long, unknown glyphs as "?".

    A leading underscore, which would hide an entry from matplotlib's legend, gets a space before.
    """
    known = _drawable()
    text = "".join(c if ord(c) in known and c.isprintable() else "?" for c in name)
    if len(text) > length:
        head = (length - 1) * 2 // 3
        text = f"{text[:head]}…{text[-(length - 1 - head) :]}"
    return f" {text}" if text.startswith("_") else text
