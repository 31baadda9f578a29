"""Boards: R@1 of every method on every benchmark of a suite, with marks; LaTeX and Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from benchmark.errors import amount
from benchmark.metrics.average_ranks import TIE
from benchmark.metrics.intervals import ALPHA, RULE
from benchmark.report.display import plain
from benchmark.report.frames import Pairs, Ranking, pairwise, rankings
from benchmark.report.pools import (
    Pool,
    changed_nothing,
    finite_mean,
    grouped,
    labels_of,
    metrics_of,
    note,
)
from benchmark.report.results import Setting, place_names
from benchmark.report.verdict import NOTES, seed_notes, summaries_of, tuned_notes


@dataclass(frozen=True)
class MarkedValue:
    """A metric of a method on a benchmark, percent, and how it stands out among the methods.

    Attributes:
        value: mean over shifts and seeds; NaN where there is no number.
        difference: to the source, in points; NaN for the source and without its cells.
        best: whether it is the highest of its row.
        near: whether it does not differ from the highest (not for the highest itself).
        significant: whether it differs from the source.
        incomplete: whether cells are missing that other methods have.
    """

    value: float
    difference: float = math.nan
    best: bool = False
    near: bool = False
    significant: bool = False
    incomplete: bool = False


@dataclass(frozen=True)
class Board:
    """One suite under one kind of stream.

    Attributes:
        suite: name of the suite.
        stream: kind of the stream.
        methods: labels of the columns.
        rows: (benchmark, a value per method, percent of the queries that its shifts changed, as
            text, or "").
        summary: what stands under the benchmarks -> a text per method.
        notes: sentences that must stand under the table, as plain text.
    """

    suite: str
    stream: str
    methods: tuple[str, ...]
    rows: tuple[tuple[str, tuple[MarkedValue, ...], str], ...]
    summary: Mapping[str, Sequence[str]]
    notes: tuple[str, ...]


def boards(pools: Sequence[Pool], pairs: Pairs | None = None) -> list[Board]:
    """One table for each suite and kind of stream; ``pairs``: ``pairwise(pools)``, if known."""
    pairs = pairwise(pools) if pairs is None else pairs
    return [_board(ranking, pairs) for ranking in rankings(pools)]


def _board(ranking: Ranking, pairs: Pairs) -> Board:
    pools, rows = ranking.pools, []
    methods = tuple(labels_of(pools))
    places = grouped(pools, lambda pool: pool.first.place)
    firsts = {place: here[0].first for place, here in places.items()}
    titles = place_names({place: (cell.benchmark, cell) for place, cell in firsts.items()})
    for place, name in titles.items():
        of_method = {pool.label: pool for pool in places[place]}
        done = [pool.mean("probes", "coverage") for pool in of_method.values() if pool.done]
        share = "nothing" if changed_nothing(of_method.values()) else _text(finite_mean(done), 1)
        for metric in metrics_of(of_method.values()):
            row = tuple(_row(metric, place, methods, of_method, pairs))
            named = (name, row, share) if metric == "R@1" else (f"{name}, {metric}", row, "")
            rows.append(named)
    sets = amount(ranking.datasets, "data set")
    found = summaries_of(ranking)
    summary = {
        f"average rank ({sets})": [_text(row.average_rank, 2) for row in found],
        "worse than source, % of cells": [_text(100 * row.harm_rate, 0) for row in found],
        "clearly worse, % of cells": [_text(100 * row.harm_rate_significant, 0) for row in found],
        "forgetting, points": [_text(row.forgetting, 1) for row in found],
        "ms per query, times source": [_text(row.ms_per_query_ratio, 1) for row in found],
    }
    notes = _notes(rows, ranking, titles)
    return Board(ranking.suite, ranking.stream, methods, tuple(rows), summary, notes)


def _row(
    metric: str, place: Setting, methods: Sequence[str], pools: Mapping[str, Pool], pairs: Pairs
) -> Iterator[MarkedValue]:
    """The methods' numbers on a benchmark; nothing is tested on another metric than R@1."""
    values = {name: one.mean("metrics", metric) for name, one in pools.items() if one.done}
    whole = {name: value for name, value in values.items() if pools[name].whole}
    highest = max(filter(math.isfinite, whole.values()), default=math.nan)
    best = [name for name, value in whole.items() if value >= highest - TIE]
    for label in methods:
        if label not in values:
            yield MarkedValue(math.nan)
            continue
        difference, found, other = pools[label].gain(metric), None, None
        if metric == "R@1":
            found = pools[label].comparison
            difference = found.difference if found else math.nan
            if math.isfinite(whole.get(label, math.nan)) and label not in best:
                other = pairs.get((place, best[0], label), pairs.get((place, label, best[0])))
        yield MarkedValue(
            values[label],
            difference,
            best=label in best,
            near=other is not None and not other[0].significant,
            significant=found is not None and found.significant,
            incomplete=pools[label].missing > 0,
        )


def _text(value: float | None, digits: int) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:z.{digits}f}"


def _notes(
    rows: Sequence[tuple[str, tuple[MarkedValue, ...], str]],
    ranking: Ranking,
    titles: Mapping[Setting, str],
) -> tuple[str, ...]:
    pools = ranking.pools
    notes = [
        "R@1 in percent, mean over shifts and seeds; in brackets the difference to source in "
        "points. Bold: the best; underlined: does not differ from the best; *: differs from "
        f"source. Two differ where {RULE}, not corrected for several comparisons."
    ]
    comparisons = sum(pool.comparison is not None for pool in pools)
    by_chance = round(ALPHA * comparisons)
    if by_chance:
        notes.append(
            f"If no method changed anything, chance would give the {comparisons} comparisons with "
            f"source about {amount(by_chance, 'star')}; p_holm in leaderboard.csv is "
            "corrected for their number."
        )
    notes += [*seed_notes(pools), *tuned_notes(pools)]
    if any(value.incomplete for _, row, _ in rows for value in row):
        notes.append("+: cells are missing that other methods have; not comparable.")
    if tested := ranking.tested:
        notes.append(
            f"Average ranks further apart than {tested.critical_difference:.2f} differ (Nemenyi, "
            f"5 %; Friedman p = {tested.p:.2g})."
        )
    elif ranking.reason:
        notes.append(f"No critical difference of ranks: {ranking.reason}.")
    notes += [f"{name} has no rank: {reason}." for name, reason in ranking.left_out.items()]
    methods = {pool.first.method for pool in pools}
    notes += [f"{text}." for name, text in NOTES.items() if name in methods]
    if any(pool.values("probes", "coverage") for pool in pools):
        notes.append(
            "Changed: percent of the queries that the shifts changed, as the encoder gets them."
        )
    for place, name in titles.items():
        found = dict.fromkeys(note(pool) for pool in pools if pool.first.place == place)
        notes += [f"{name}: {text}." for text in found if text]
    return tuple(notes)


# The boards as LaTeX (booktabs) and Markdown. Every name comes from data, so it is escaped for its
# language: it is shown, not obeyed.

_LATEX_WORDS = {
    **{"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater"},
    **{"|": "bar", '"': "quotedbl", "`": "asciigrave"},
}
_LATEX_SIGNS = str.maketrans(
    {
        **{sign: rf"\text{word}{{}}" for sign, word in _LATEX_WORDS.items()},
        **{sign: rf"\{sign}" for sign in "{}$&#_%"},
        # After the end of a row, LaTeX would read these as an option of the line break.
        **{sign: f"{{{sign}}}" for sign in "[]*"},
    }
)


def latex_escape(text: str) -> str:
    """Text as LaTeX shows it; what cannot be printed becomes a question mark."""
    return plain(text).translate(_LATEX_SIGNS)


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
    head, blank = (["changed, %"], [""]) if any(text for *_, text in board.rows) else ([], [])
    rows = [
        [language.escape(name), *[changed] * len(head), *(_written(v, language) for v in values)]
        for name, values, changed in board.rows
    ]
    summary = [
        [language.summary % language.escape(name), *blank, *map(language.number, texts)]
        for name, texts in board.summary.items()
    ]
    title = f"Suite {board.suite}" + ("" if board.stream == "single" else f", {board.stream}")
    return (
        title,
        [language.escape(name) for name in ("benchmark", *head, *board.methods)],
        rows,
        summary,
    )


def _written(found: MarkedValue, language: _Language) -> str:
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
