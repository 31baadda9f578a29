"""The leaderboard as LaTeX (booktabs) and Markdown: benchmarks by methods, and what it costs.

Every name comes from data, so it is escaped for its language: it is shown, not obeyed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from benchmark.report.boards import Board, MarkedValue
from benchmark.report.table import plain

_LATEX_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    # In braces: after the end of a row, LaTeX would read these as an option of the line break.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
}


def latex_escape(text: str) -> str:
    """Text as LaTeX shows it; what cannot be printed becomes a question mark."""
    return "".join(_LATEX_SIGNS.get(character, character) for character in plain(text))


def markdown_escape(text: str) -> str:
    """Text as GitHub's Markdown shows it, also in a table; no markup, no HTML, no links."""
    safe = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    safe = re.sub(r"([\\`*_\[\]|#!~$])", r"\\\1", safe)
    # Addresses and names become links of themselves unless they are broken up; "R@1" does not.
    safe = re.sub(r"(?i)(www)\.", r"\1&#46;", safe.replace("://", "&#58;//"))
    safe = re.sub(r"(?<!\bR)@|@(?!\d+\b(?!\.\w))", "&#64;", safe)
    return safe


class _Language(NamedTuple):
    """How a language writes texts, numbers and marks; a mark has "%s" for what is marked."""

    escape: Callable[[str], str]
    number: Callable[[str], str]
    bold: str
    underline: str
    difference: str
    star: str
    marks: str
    summary: str


# fmt: off
_LATEX = _Language(
    latex_escape, lambda text: text.replace("-", "$-$"), bold=r"\textbf{%s}",
    underline=r"\underline{%s}", difference=r" {\scriptsize(%s)}", star="*",
    marks="$^{%s}$",  # all of them in one superscript: LaTeX refuses two on one base
    summary="%s",
)
_MARKDOWN = _Language(
    markdown_escape, str, bold="**%s**", underline="<u>%s</u>", difference=" (%s)", star=r"\*",
    marks="%s", summary="*%s*",
)
# fmt: on

_Rows = list[list[str]]


def _texts(board: Board, language: _Language) -> tuple[str, list[str], _Rows, _Rows]:
    """Title, heading, a row for each benchmark, and what stands under them."""
    changed = [[text] for text in board.changed] or [[]] * len(board.rows)
    head, blank = (["changed, %"], [""]) if board.changed else ([], [])
    rows = [
        [language.escape(name), *more, *(_marked(value, language) for value in values)]
        for (name, values), more in zip(board.rows, changed, strict=True)
    ]
    summary = [
        [language.summary % language.escape(name), *blank, *map(language.number, texts)]
        for name, texts in board.summary
    ]
    title = f"Suite {board.suite}" + ("" if board.stream == "single" else f", {board.stream}")
    return (
        title,
        [language.escape(name) for name in ("benchmark", *head, *board.methods)],
        rows,
        summary,
    )


def _marked(found: MarkedValue, language: _Language) -> str:
    if not math.isfinite(found.value):
        return "--"
    text = f"{found.value:.1f}"
    text = language.bold % text if found.best else language.underline % text if found.near else text
    if not pd.isna(found.difference):
        text += language.difference % language.number(f"{found.difference:+.1f}")
    marks = language.star * found.significant + "+" * found.incomplete
    return text + (language.marks % marks if marks else "")


def latex(tables: Sequence[Board]) -> str:
    """The tables for ``\\usepackage{booktabs}``; the same tables give the same text."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join(map(_latex_table, tables))


def _latex_table(board: Board) -> str:
    title, head, rows, summary = _texts(board, _LATEX)
    caption = " ".join(map(latex_escape, (f"{title}.", *board.notes)))
    lines = [
        r"\begin{table}[t]",
        r"\centering\small",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        _latex_row(head),
        r"\midrule",
        *map(_latex_row, rows),
        r"\midrule",
        *map(_latex_row, summary),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def markdown(tables: Sequence[Board]) -> str:
    """The tables in GitHub's Markdown; the same tables give the same text."""
    return "\n".join(map(_markdown_table, tables))


def _markdown_table(board: Board) -> str:
    title, head, rows, summary = _texts(board, _MARKDOWN)
    lines = [
        f"## {markdown_escape(title)}",
        "",
        markdown_row(head),
        markdown_row(["---", *["---:"] * (len(head) - 1)]),
        *map(markdown_row, rows),
        *map(markdown_row, summary),
        "",
        *[markdown_escape(note) + "  " for note in board.notes],
    ]
    return "\n".join(lines).rstrip() + "\n"


def markdown_row(cells: Iterable[str]) -> str:
    """A row of a table in GitHub's Markdown, of texts that are escaped already."""
    return "| " + " | ".join(cells) + " |"
