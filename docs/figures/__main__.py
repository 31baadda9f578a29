"""Draws the pictures of the docs: ``python -m docs.figures [NAME ...]``, all or those named."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from docs.figures import mini_clips, mini_composed, mini_worlds, shift_sheets, streams

DOCS = Path(__file__).parents[1]


def _worlds() -> None:
    mini_worlds.sheet(DOCS / "images" / "mini-worlds.jpg")
    print(mini_worlds.table(mini_worlds.Survey()))


FIGURES: dict[str, Callable[[], object]] = {
    "sheets": lambda: shift_sheets.write_sheets(DOCS / "sheets"),
    "streams": lambda: streams.write(DOCS / "streams"),
    "worlds": _worlds,
    "clips": lambda: mini_clips.write(DOCS / "images" / "mini-clips.png"),
    "composed": lambda: mini_composed.write(DOCS / "images" / "mini-composed.png"),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m docs.figures", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)}")
    names = parser.parse_args().names
    unknown = sorted(set(names) - set(FIGURES))
    if unknown:
        parser.error(f"no figure {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    for name in names or FIGURES:
        FIGURES[name]()
