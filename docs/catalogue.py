"""Writes docs/catalogue.md from the cards and options in the code: ``python -m docs.catalogue``.

A test compares the page with what this module makes, so the cards stay the one source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmark.data.datasets.layout import LAYOUTS
from benchmark.data.suite import load_suite
from benchmark.registry import METHODS, SHIFTS
from docs.marks import table
from methods import BUILTINS as BUILTIN_METHODS
from shifts.base import ShiftCard
from shifts.builtin import names_of

PAGE = Path(__file__).parent / "catalogue.md"
HEAD = """# Catalogue

Made from the cards in the code by `python -m docs.catalogue`; do not edit. `queryshift show NAME`
prints the whole card: paper, code, licence, every option and every departure.
"""
METHODS_NOTE = """
*Passes* are forward (f) and backward (b) passes of the query tower per query. *Port*: adapted to
retrieval as in TCR's code, with AdamW and three updates a batch. How the methods work:
[methods.md](methods.md).
"""
SHIFTS_NOTE = """
Severities are 1 to 5 unless a remark says otherwise. *Not monotone*: a higher severity may be
milder. Every image shift also exists for clips, as `video_<name>`
([shifts-av.md](shifts-av.md#video)).
"""
BENCHMARKS_NOTE = """
Each benchmark of the suite `paper` has a synthetic twin in the suite `mini`, with `mini-` before
its id ([mini.md](mini.md)). Benchmarks with default shifts use a model tuned on the data set (QS);
for the others (QGS) it is not tuned, and nothing is corrupted.
"""
LAYOUTS_NOTE = """
`queryshift data layout NAME` prints the files that a data set needs below the folder given as
`--data`.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [HEAD, "\n## Methods\n", METHODS_NOTE, "\n", _methods(), "\n## Shifts\n", SHIFTS_NOTE]
    for modality in ("image", "text", "audio", "video", "composed"):
        parts += [f"\n### {modality.capitalize()}\n\n", *_shifts(modality)]
    parts += ["\n## Benchmarks\n", BENCHMARKS_NOTE, "\n", _benchmarks()]
    parts += ["\n## Layouts of the published data sets\n", LAYOUTS_NOTE, "\n", *_layouts()]
    return "".join(parts)


def _table(head: str, rows: Iterable[tuple[str, ...]]) -> str:
    return table(head.split(" | "), [[cell.replace("|", "/") for cell in row] for row in rows])


def _methods() -> str:
    return _table(
        "name | what it does | passes | departures",
        (
            (f"`{name}`", card.summary, card.passes, _first_sentence(card.approximate))
            for name in BUILTIN_METHODS
            for card in [METHODS.get(name).card]
        ),
    )


def _first_sentence(text: str) -> str:
    """The start of what a card says, with the long name of a port cut short."""
    first = text.partition(". ")[0] if text != "none" else ""
    for long in ("retrieval port after TCR's", "online retrieval port after TCR's"):
        first = first.replace(long, "port")
    return first


def _shifts(modality: str) -> Iterator[str]:
    for name in names_of(modality):
        if modality != "video" or _own_video(name):
            card = SHIFTS.get(name).card
            remarks = _remarks(card)
            yield f"* `{name}`: {card.summary}{f' ({remarks})' if remarks else ''}\n"


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


def _benchmarks() -> str:
    """A row for each benchmark, or for both directions of one that is described alike."""
    twins = {card.id: card.summary for card in load_suite("mini").benchmarks}
    rows: dict[tuple[str, ...], list[str]] = {}
    for card in load_suite("paper").benchmarks:
        shifts = ", ".join(card.shifts) if len(card.shifts) < 5 else f"{len(card.shifts)} types"
        said = (card.summary, shifts, card.named_by, twins[f"mini-{card.id}"])
        rows.setdefault(said, []).append(f"`{card.id}`")
    return _table(
        "id | what it is | default shifts | named by | its twin",
        ((", ".join(ids), *said) for said, ids in rows.items()),
    )


def _layouts() -> Iterator[str]:
    for name, layout in LAYOUTS.items():
        yield f"* `{name}` ({layout.title}): {layout.access}\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
