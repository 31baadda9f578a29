"""Writes docs/catalogue.md from the cards and options in the code: ``python -m docs.catalogue``.

A test compares the page with what this module makes, so the cards stay the one source.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmark.data.datasets.layout import LAYOUTS
from benchmark.data.suite import load_suite
from benchmark.registry import METHODS, SHIFTS
from docs.marks import table
from methods import BUILTINS as BUILTIN_METHODS
from methods.adapt import AdaptOptions
from shifts.base import ShiftCard
from shifts.builtin import names_of

PAGE = Path(__file__).parent / "catalogue.md"
HEAD = """# Catalogue

Made from the cards in the code by `python -m docs.catalogue`; do not edit. `queryshift show NAME`
adds papers, licences, and the meaning of each option.
"""
METHODS_NOTE = """
*Passes* are forward (f) and backward (b) passes of the query tower per query. For options that all
trained methods share see [methods.md](methods.md#the-common-protocol).
"""
SHIFTS_NOTE = """
Severities are 1 to 5 unless the remarks say otherwise. *Not monotone*: a higher severity may be
milder. Every image shift also exists frame by frame as `video_<name>`
([shifts-av.md](shifts-av.md#video)).
"""
PAPER_NOTE = """
Benchmarks with shifts are QS: the model is tuned on the data set. The others are QGS: it is not,
and nothing is corrupted.
"""
MINI_NOTE = """
The synthetic twins of these benchmarks ([mini.md](mini.md)).
"""
LAYOUTS_NOTE = """
Paths start below the folder given as `--data`. In a path, `....` stands for the rest of a name and
`<...>` for what the annotations say. `queryshift data layout NAME` prints one layout.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [HEAD, "\n## Methods\n", METHODS_NOTE, "\n", *_methods(), "\n## Shifts\n", SHIFTS_NOTE]
    for modality in ("image", "text", "audio", "video", "composed"):
        parts += [f"\n### {modality.capitalize()}\n\n", *_shifts(modality)]
    for suite, note in (("paper", PAPER_NOTE), ("mini", MINI_NOTE)):
        parts += [f"\n## Benchmarks of the suite {suite}\n{note}\n", *_benchmarks(suite)]
    parts += ["\n## Layouts of the published data sets\n", LAYOUTS_NOTE, *_layouts()]
    return "".join(parts)


def _table(head: str, rows: Iterable[tuple[str, ...]]) -> str:
    return table(head.split(" | "), [[cell.replace("|", "/") for cell in row] for row in rows])


def _options(options: type, shared: frozenset[str] = frozenset()) -> str:
    """Names and defaults of the options that are not among the shared ones."""
    own = [field for field in dataclasses.fields(options) if field.name not in shared]
    return ", ".join(f"`{field.name}={_plain(field.default)}`" for field in own)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "..." if isinstance(value, tuple) else str(value)


def _methods() -> Iterator[str]:
    shared = frozenset(field.name for field in dataclasses.fields(AdaptOptions))
    yield _table(
        "name | what it does | passes | own options",
        (
            (f"`{name}`", kind.card.summary, kind.card.passes, _options(kind.Options, shared))
            for name in BUILTIN_METHODS
            for kind in [METHODS.get(name)]
        ),
    )
    yield "\n### Departures from papers and official code\n\n"
    for name in BUILTIN_METHODS:
        said = METHODS.get(name).card.approximate
        yield f"* `{name}`: {said}\n" if said != "none" else ""


def _shifts(modality: str) -> Iterator[str]:
    names = [name for name in names_of(modality) if modality != "video" or _own_video(name)]
    yield _table(
        "name | what it does | remarks",
        (
            (f"`{name}`", kind.card.summary, _remarks(kind.card))
            for name in names
            for kind in [SHIFTS.get(name)]
        ),
    )


def _own_video(name: str) -> bool:
    return name.removeprefix("video_") not in names_of("image")


def _remarks(card: ShiftCard) -> str:
    first, last = card.severities[0], card.severities[-1]
    said = {
        f"severity {first}" if first == last else f"severity {first}-{last}": last != 5,
        "approximation": not card.exact,
        "not monotone": not card.monotone,
    }
    return ", ".join(word for word, true in said.items() if true)


def _benchmarks(suite: str) -> Iterator[str]:
    """A row for each benchmark, or for both directions of one that is described alike."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for card in load_suite(suite).benchmarks:
        shifts = ", ".join(card.shifts) if len(card.shifts) < 5 else f"{len(card.shifts)} types"
        said = (card.summary, shifts, *([card.named_by] if suite == "paper" else []))
        rows.setdefault(said, []).append(f"`{card.id}`")
    named = " | named by" if suite == "paper" else ""
    yield _table(
        f"id | what it is | default shifts{named}",
        ((", ".join(ids), *said) for said, ids in rows.items()),
    )


def _layouts() -> Iterator[str]:
    last = ("", "")
    for name, layout in LAYOUTS.items():
        yield f"\n### {name}\n\n{layout.title}\n\n```\n{layout.tree}\n```\n\n"
        if (layout.note, layout.access) == last:
            yield "Note and access: as above.\n"
            continue
        yield f"{layout.note}\n\n" if layout.note else ""
        yield f"Access: {layout.access}.\n"
        last = (layout.note, layout.access)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
