"""Parts of pages that a program writes, between ``<!-- NAME: begin -->`` and its end; tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.report.boards import markdown_row


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: bool = False) -> str:
    """A table in Markdown, its texts as they are; ``numbers``: all columns but the first."""
    rule = ["---", *["---:" if numbers else "---"] * (len(head) - 1)]
    return "".join(f"{markdown_row(map(str, row))}\n" for row in (head, rule, *rows))


def filled(text: str, name: str, made: str) -> str:
    """The page's text with what was made between the marks of that name.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        raise ValueError(f"the page has no marks {begin.strip()} and {end.strip()}")
    return f"{before}{begin}{made}{end}{after}"
