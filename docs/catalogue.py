"""Writes docs/catalogue.md from the cards and options in the code: ``python -m docs.catalogue``.

A test compares the page with what this module makes, so the cards stay the one source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from benchmark.data.card import load_suite
from benchmark.data.datasets.folders import LAYOUTS
from benchmark.registry import METHODS, SHIFTS
from methods import BUILTINS as BUILTIN_METHODS
from shifts.base import ShiftCard
from shifts.builtin import names_of

PAGE = Path(__file__).parent / "catalogue.md"
FORMULAS = Path(__file__).parent / "methods.md"
HEAD = """# Catalogue

Made from the cards in the code by `python -m docs.catalogue`; do not edit. `queryshift show NAME`
prints a whole card.
"""
METHODS_NOTE = """
In brackets: forward (f) and backward (b) passes per query. Then come the paper and the main
departures from it or its code. Each name leads to what the method computes.

A *port* is a method brought to retrieval as in TCR's code. If it trains, it trains LayerNorm with
AdamW, three steps a batch, unless said otherwise. Where a method has a bank, queries of the stream
by default take the place of its paper's training set.
"""
SHIFTS_NOTE = """
Images, audio, video and composed queries have severities 1 to 5; text has 1 to 7, or only 1 where
whole sentences change. (a): an approximation. (n): a higher severity may be milder. Every image
shift also exists for clips, as `video_<name>` ([shifts-av.md](shifts-av.md#video)).
"""
BENCHMARKS_NOTE = """
The suite `paper`, by who names the benchmark; `queryshift list benchmarks` describes each. Those
with `-c` have corrupted queries and a model tuned on the data set (QS), the others neither (QGS).
`i2t` means image queries and a gallery of texts. Each has a [synthetic twin](mini.md) in the suite
`mini`, with `mini-` before its id.
"""
LAYOUTS_NOTE = """
Where to get the data; `queryshift data layout NAME` prints the files that are needed.
"""


_OF_EVERY_PORT = r"(?:LayerNorm(?: instead of BatchNorm)?, )?AdamW, 3 steps"
_OF_EVERY_BANK = "by default the bank is the stream's queries, not a training set"


def page() -> str:
    """The page as Markdown."""
    parts = [HEAD, "\n## Methods\n", METHODS_NOTE, "\n", *_methods(), "\n## Shifts\n", SHIFTS_NOTE]
    parts += ["\n", *map(_shifts, ("image", "text", "audio", "video", "composed"))]
    parts += ["\n## Benchmarks\n", BENCHMARKS_NOTE, "\n", _benchmarks()]
    parts += ["\n## Layouts of the published data sets\n", LAYOUTS_NOTE, "\n", *_layouts()]
    return "".join(parts)


def _methods() -> Iterator[str]:
    heads = re.findall(r"^## (.*)$", FORMULAS.read_text(encoding="utf-8"), re.MULTILINE)
    sections = {head.partition(":")[0]: re.sub(r"[^\w -]", "", head.lower()) for head in heads}
    for name in BUILTIN_METHODS:
        card = METHODS.get(name).card
        passes = card.passes.partition(" (")[0]
        said = (_paper(card.paper) or card.summary, _departures(card.approximate))
        link = f"[`{name}`](methods.md#{sections[name].replace(' ', '-')})"
        yield f"* {link} ({passes}): {'. '.join(filter(None, said))}.\n"


def _paper(reference: str) -> str:
    """First author, venue and year of a whole reference; "" where a card has none."""
    found = re.search(r"^(\w+ et al\.), .*?, ([A-Z][\w ]* 20\d\d)", reference)
    return ", ".join(found.groups()) if found else ""


def _departures(text: str) -> str:
    """The first two of those that a card lists, without what the page says of all of a kind."""
    first = "; ".join(text.partition(". ")[0].split("; ")[:2]) if text != "none" else ""
    said = re.sub(r"^(online )?retrieval port(?: after TCR's)?", r"\1port", first)
    said = re.sub(rf"^port: {_OF_EVERY_PORT}", "port", said)
    said = re.sub(rf"^{_OF_EVERY_BANK}(?:; )?", "", said).replace("while it ", "while the bank ")
    return said[:1].upper() + said[1:]


def _shifts(modality: str) -> str:
    """One line of names."""
    names = [name for name in names_of(modality) if modality != "video" or _own_video(name)]
    said = ", ".join(f"`{name}`{_remarks(SHIFTS.get(name).card)}" for name in names)
    return f"* **{modality.capitalize()}**: {said}\n"


def _own_video(name: str) -> bool:
    return name.removeprefix("video_") not in names_of("image")


def _remarks(card: ShiftCard) -> str:
    said = {"a": not card.exact, "n": not card.monotone}
    found = ", ".join(word for word, true in said.items() if true)
    return f" ({found})" if found else ""


def _benchmarks() -> str:
    """A line for each who names benchmarks."""
    found: dict[str, list[str]] = {}
    for card in load_suite("paper").benchmarks:
        found.setdefault(card.named_by, []).append(f"`{card.id}`")
    return "".join(f"* **{who}**: {', '.join(ids)}\n" for who, ids in found.items())


def _layouts() -> Iterator[str]:
    found: dict[str, list[str]] = {}
    for name, layout in LAYOUTS.items():
        found.setdefault(layout.access, []).append(f"`{name}`")
    for access, names in found.items():
        yield f"* {', '.join(names)}: {access}\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
