"""How hard the pages are to read: ``python -m docs.reading`` prints the grades that are too high.

The grade is Flesch and Kincaid's: the years of school that a text asks for, from the length of its
sentences and words (Kincaid et al., 1975). Only prose counts: no code, table, heading or link.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import textstat
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
PAGE_LIMIT = 8.0
"""Highest grade of a page."""
PARAGRAPH_LIMIT = 15.0
"""Highest grade of one paragraph or list item, which a page's mean would hide."""
LEAST_WORDS = 12
"""Shorter paragraphs have no grade of their own: one long name would decide it."""


def pages() -> list[Path]:
    """Every page but the changelog, which has entries, and the catalogue, which has cards."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("results/*.md")]
    left_out = ("CHANGELOG.md", "catalogue.md", "leaderboard.md")
    return sorted(path for path in found if path.name not in left_out)


def paragraphs(page: str) -> list[str]:
    """The prose of a page in Markdown, a paragraph or list item each.

    Code within a line counts as one word. Rows of links (with · between them) and names of classes
    for mkdocstrings (:::) are no prose.
    """
    tokens = MarkdownIt("commonmark").enable("table").parse(page)
    return [
        text for text in map(_text, _prose(tokens)) if re.search(r"^(?!:::|.* · ).*[a-z]", text)
    ]


def _prose(tokens: Sequence[Token]) -> Iterator[Token]:
    """The lines of text that are no heading and in no table."""
    outside = True
    for token in tokens:
        if token.type in ("heading_open", "table_open"):
            outside = False
        elif token.type in ("heading_close", "table_close"):
            outside = True
        elif token.type == "inline" and outside:
            yield token


def _text(inline: Token) -> str:
    """One paragraph as sentences, of which the last has an end too."""
    words = {"code_inline": "code", "softbreak": " ", "hardbreak": " "}
    pieces = [
        child.content if child.type == "text" else words.get(child.type, "")
        for child in inline.children or ()
    ]
    text = re.sub(r"(?<=\w)[.](?=\w)|(?<=\bal)[.]", "", "".join(pieces))  # 0.5, et al.
    return f"{text.strip().rstrip('.:;')}."


def grade(texts: Sequence[str]) -> float:
    """The grade of paragraphs that are read one after the other; 0 for none."""
    return float(textstat.flesch_kincaid_grade(" ".join(texts))) if texts else 0.0


def too_hard(page: str) -> list[str]:
    """What is above the limits in a page's Markdown, a line each; empty where nothing is."""
    found = paragraphs(page)
    whole = grade(found)
    said = [f"grade {whole:.1f}, at most {PAGE_LIMIT:g}"] if whole > PAGE_LIMIT else []
    for text in found:
        if len(text.split()) >= LEAST_WORDS and grade([text]) > PARAGRAPH_LIMIT:
            said.append(f"grade {grade([text]):.1f}, at most {PARAGRAPH_LIMIT:g}: {text}")
    return said


def main() -> int:
    """Prints the paragraphs and pages above the limits; 1 where there are any."""
    hard = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in pages()
        for line in too_hard(path.read_text(encoding="utf-8"))
    ]
    if hard:
        print("too hard to read (shorter sentences and words help):", *hard, sep="\n")
    return int(bool(hard))


if __name__ == "__main__":
    sys.exit(main())
