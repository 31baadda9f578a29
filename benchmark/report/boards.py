"""Boards: R@1 of every method on every benchmark of a suite, with marks, summary and notes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.metrics.intervals import ALPHA, RULE, harm
from benchmark.report.pools import Pool, changed_nothing, labels_of, note
from benchmark.report.ranking_tables import Pairs, Ranking, as_pools, pairwise, rankings
from benchmark.report.results import CellResult, Setting, told_apart
from benchmark.report.table import NOTES, seed_notes, tuned_notes


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
        rows: (benchmark, an value per method).
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
        rows.append((name, _marked("R@1", place, methods, of_method, pairs)))
        changed.append(_changed(list(of_method.values())))
        for metric in dict.fromkeys(m for pool in of_method.values() for m in pool.headline):
            row = _marked(metric, place, methods, of_method, pairs)
            rows.append((f"{name}, {metric}", row))
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


def _marked(
    metric: str, place: Setting, methods: Sequence[str], pools: Mapping[str, Pool], pairs: Pairs
) -> tuple[MarkedValue, ...]:
    """A row of the board; nothing is tested on another metric than R@1."""
    tested = metric == "R@1"
    values = {label: pool.mean("metrics", metric) for label, pool in pools.items() if pool.whole}
    known = {label: value for label, value in values.items() if math.isfinite(value)}
    highest = max(known.values(), default=math.nan)
    best = [label for label, value in known.items() if value == highest]
    row = []
    for label in methods:
        pool = pools.get(label)
        if pool is None or not pool.done:
            row.append(MarkedValue(math.nan))
            continue
        found, behind = pool.comparison, tested and label in known and label not in best
        of_source = found.difference if found else math.nan
        row.append(
            MarkedValue(
                pool.mean("metrics", metric),
                of_source if tested else pool.gain(metric),
                best=label in best,
                near=behind and _near(place, best[0], label, pairs),
                significant=tested and found is not None and found.significant,
                incomplete=pool.missing > 0,
            )
        )
    return tuple(row)


def _near(place: Setting, best: str, label: str, pairs: Pairs) -> bool:
    found = pairs.get((place, best, label)) or pairs.get((place, label, best))
    return found is not None and not found[0].significant


def _summary(
    methods: Sequence[str], pools: Sequence[Pool], ranking: Ranking
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What stands under the benchmarks: one text per method."""
    names = (
        f"average rank ({ranking.datasets} data set{'s' if ranking.datasets != 1 else ''})",
        "worse than source, % of cells",
        "surely worse, % of cells",
        "forgetting, points",
        "ms per query, times source",
    )
    columns = []
    for label in methods:
        found = [pool for pool in pools if pool.label == label]
        done = [pool for pool in found if pool.done]
        rates = harm([cell for pool in found for cell in pool.by_cell])
        columns.append(
            (
                _text(ranking.average.get(label), 2),
                _text(100 * rates.rate, 0),
                _text(100 * rates.significant, 0),
                _text(_mean([pool.mean("metrics", "forgetting") for pool in done]), 1),
                _text(_mean([pool.ratio("cost", "ms_per_query") for pool in done]), 1),
            )
        )
    return tuple(zip(names, zip(*columns, strict=True), strict=True))


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
    values = [value for _, row in rows for value in row]
    notes = [
        "R@1 in percent, mean over shifts and seeds; in brackets the difference to source in "
        "points. Bold: the best; underlined: does not differ from the best; *: differs from "
        f"source. Two differ where {RULE}, each comparison for itself.",
        *_by_chance(sum(pool.comparison is not None for pool in pools)),
        *seed_notes(pools),
        *tuned_notes(pools),
    ]
    if any(value.incomplete for value in values):
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
