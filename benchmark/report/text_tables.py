"""The leaderboard as LaTeX (booktabs) and Markdown: benchmarks by methods, and what it costs.

Every name comes from data, so it is escaped for its language: it is shown, not obeyed.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmark.metrics.intervals import ALPHA, RULE, harm
from benchmark.report.pools import Pool, changed_nothing, labels_of, note
from benchmark.report.ranking_tables import Pairs, Ranking, as_pools, pairwise, rankings
from benchmark.report.results import CellResult, Setting, told_apart
from benchmark.report.table import NOTES, plain, seed_notes, tuned_notes


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
        rows: (benchmark, an entry per method).
        changed: for each row the percent of the queries that its shifts changed, as text; empty
            where nothing was shifted.
        summary: (what it is, a text per method).
        notes: sentences that must stand under the table, as plain text.
    """

    suite: str
    stream: str
    methods: tuple[str, ...]
    rows: tuple[tuple[str, tuple[MarkedValue, ...]], ...]
    summary: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]
    changed: tuple[str, ...] = ()


def boards(
    results: Iterable[CellResult] | Sequence[Pool], pairs: Pairs | None = None
) -> list[Board]:
    """One table for each suite and kind of stream.

    Args:
        results: cells, or what ``benchmark_pools`` makes of them.
        pairs: ``ranking_tables.pairwise`` of the same, where it is there already.
    """
    pools = as_pools(results)
    pairs = pairwise(pools) if pairs is None else pairs
    ranked = {(ranking.suite, ranking.stream): ranking for ranking in rankings(pools)}
    groups: dict[tuple[str, str], list[Pool]] = defaultdict(list)
    for pool in pools:
        groups[pool.first.suite, pool.first.stream].append(pool)
    return [_board(here, group, pairs, ranked[here]) for here, group in sorted(groups.items())]


def _board(
    here: tuple[str, str],
    pools: Sequence[Pool],
    pairs: Pairs,
    ranking: Ranking,
) -> Board:
    methods = tuple(labels_of(pools))
    rows, changed = [], []
    for place, name in _titles(pools).items():
        of_method = {pool.label: pool for pool in pools if pool.first.place == place}
        rows.append((name, _entries(place, methods, of_method, pairs)))
        changed.append(_changed(list(of_method.values())))
        for metric in dict.fromkeys(m for pool in of_method.values() for m in pool.headline):
            rows.append((f"{name}, {metric}", _headline_entries(metric, methods, of_method)))
            changed.append("")
    return Board(
        *here,
        methods,
        tuple(rows),
        _summary(methods, pools, ranking),
        (*_notes(rows, pools, ranking), *_shift_notes(pools)),
        tuple(changed) if any(changed) else (),
    )


def _changed(pools: Sequence[Pool]) -> str:
    if changed_nothing(pools):
        return "nothing"
    return _text(_mean([pool.mean("probes", "coverage") for pool in pools if pool.done]), 1)


def _shift_notes(pools: Sequence[Pool]) -> Iterator[str]:
    """What the shifts of each benchmark failed to do."""
    if any(pool.values("probes", "coverage") for pool in pools):
        yield "Changed: percent of the queries that the shifts changed, as the encoder gets them."
    for place, name in _titles(pools).items():
        found = dict.fromkeys(note(pool) for pool in pools if pool.first.place == place)
        yield from (f"{name}: {text}." for text in found if text)


def _titles(pools: Sequence[Pool]) -> dict[Setting, str]:
    """The benchmark of each place."""
    first = {pool.first.place: pool.first for pool in pools}
    return told_apart({place: (cell.benchmark, cell) for place, cell in first.items()})


def _entries(
    place: Setting,
    methods: Sequence[str],
    pools: Mapping[str, Pool],
    pairs: Pairs,
) -> tuple[MarkedValue, ...]:
    values = {
        label: pool.mean("metrics", "R@1")
        for label, pool in pools.items()
        if pool.done and not pool.missing
    }
    known = {label: value for label, value in values.items() if math.isfinite(value)}
    highest = max(known.values(), default=math.nan)
    best = [label for label, value in known.items() if value == highest]
    entries = []
    for label in methods:
        pool = pools.get(label)
        if pool is None or not pool.done:
            entries.append(MarkedValue(math.nan))
            continue
        near = label in known and label not in best and _near(place, best[0], label, pairs)
        entries.append(
            MarkedValue(
                pool.mean("metrics", "R@1"),
                pool.comparison.difference if pool.comparison else math.nan,
                best=label in best,
                near=near,
                significant=pool.comparison is not None and pool.comparison.significant,
                incomplete=pool.missing > 0,
            )
        )
    return tuple(entries)


def _headline_entries(
    metric: str, methods: Sequence[str], pools: Mapping[str, Pool]
) -> tuple[MarkedValue, ...]:
    """A row of another metric than R@1: best and difference; nothing is tested on it."""
    whole = [pool for pool in pools.values() if pool.done and not pool.missing]
    highest = max((pool.mean("metrics", metric) for pool in whole), default=math.nan)
    entries = []
    for label in methods:
        pool = pools.get(label)
        if pool is None or not pool.done:
            entries.append(MarkedValue(math.nan))
            continue
        value, missing = pool.mean("metrics", metric), pool.missing > 0
        best = value == highest and not missing
        entries.append(MarkedValue(value, pool.gain(metric), best=best, incomplete=missing))
    return tuple(entries)


def _near(place: Setting, best: str, label: str, pairs: Pairs) -> bool:
    found = pairs.get((place, best, label)) or pairs.get((place, label, best))
    return found is not None and not found[0].significant


def _summary(
    methods: Sequence[str], pools: Sequence[Pool], ranking: Ranking
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What stands under the benchmarks: one text per method."""
    of_method = {label: [pool for pool in pools if pool.label == label] for label in methods}
    rates = {
        label: harm([cell for pool in found for cell in pool.by_cell])
        for label, found in of_method.items()
    }
    forgetting = {
        label: [pool.mean("metrics", "forgetting") for pool in found if pool.done]
        for label, found in of_method.items()
    }
    costs = {
        label: [pool.ms_ratio for pool in found if pool.done] for label, found in of_method.items()
    }
    count = f"{ranking.datasets} data set{'s' if ranking.datasets != 1 else ''}"
    return (
        (f"average rank ({count})", tuple(_text(ranking.average.get(m), 2) for m in methods)),
        ("worse than source, % of cells", tuple(_text(100 * rates[m].rate, 0) for m in methods)),
        ("surely worse, % of cells", tuple(_text(100 * rates[m].significant, 0) for m in methods)),
        ("forgetting, points", tuple(_text(_mean(forgetting[m]), 1) for m in methods)),
        ("ms per query, times source", tuple(_text(_mean(costs[m]), 1) for m in methods)),
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _text(value: float | None, digits: int) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:.{digits}f}".replace("-0.0", "0.0") if value > -0.05 else f"{value:.{digits}f}"


def _notes(
    rows: Sequence[tuple[str, tuple[MarkedValue, ...]]], pools: Sequence[Pool], ranking: Ranking
) -> tuple[str, ...]:
    entries = [entry for _, row in rows for entry in row]
    notes = [
        "R@1 in percent, mean over shifts and seeds; in brackets the difference to source in "
        "points. Bold: the best; underlined: does not differ from the best; *: differs from "
        f"source. Two differ where {RULE}, each comparison for itself.",
        *_by_chance(sum(pool.comparison is not None for pool in pools)),
        *seed_notes(pools),
        *tuned_notes(pools),
    ]
    if any(entry.incomplete for entry in entries):
        notes.append("+: cells are missing that other methods have; not comparable.")
    if ranking.critical_difference is not None and ranking.p is not None:
        notes.append(
            f"Average ranks further apart than {ranking.critical_difference:.2f} differ (Nemenyi, "
            f"5 %; Friedman p = {ranking.p:.2g})."
        )
    elif ranking.reason:
        notes.append(f"No critical difference of ranks: {ranking.reason}.")
    notes += [f"{name} has no rank: {reason}." for name, reason in ranking.left_out.items()]
    methods = {pool.first.method for pool in pools}
    notes += [f"{note}." for name, note in NOTES.items() if name in methods]
    return tuple(notes)


def _by_chance(comparisons: int) -> list[str]:
    """How many stars chance alone would give, where that is at least one."""
    expected = round(ALPHA * comparisons)
    if not expected:
        return []
    stars = "about one star" if expected == 1 else f"about {expected} stars"
    return [
        f"If no method changed anything, chance would give the {comparisons} comparisons with "
        f"source {stars}; p_holm in leaderboard.csv is corrected for their number."
    ]


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


_LATEX = _Language(
    latex_escape,
    lambda text: text.replace("-", "$-$"),
    r"\textbf{%s}",
    r"\underline{%s}",
    r" {\scriptsize(%s)}",
    "*",
    "$^{%s}$",  # all marks in one superscript: LaTeX refuses two on one base
    "%s",
)
_MARKDOWN = _Language(markdown_escape, str, "**%s**", "<u>%s</u>", " (%s)", r"\*", "%s", "*%s*")

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
