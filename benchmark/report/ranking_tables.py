"""Methods against each other: average ranks over data sets, and every two on each benchmark.

``results`` are cells, or what ``benchmark_pools`` makes of them.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from benchmark.data.interleave import SEPARATOR
from benchmark.data.suite import benchmark_card
from benchmark.errors import UnknownNameError
from benchmark.metrics.average_ranks import average_ranks, compare_ranks
from benchmark.metrics.intervals import Comparison, all_comparisons, holm
from benchmark.report.columns import against_source
from benchmark.report.pools import Pool, benchmark_pools, fits, stacked
from benchmark.report.results import CellResult, Setting

RANKING_COLUMNS = (
    *("suite", "stream", "method", "average_rank", "datasets", "friedman", "friedman_p"),
    *("critical_difference", "reason"),
)
"""Columns of ``ranking.csv``; ``reason`` says why a number is blank."""

PAIRWISE_COLUMNS = (
    *("suite", "benchmark", "stream", "method", "other", "R@1_difference", "R@1_difference_low"),
    *("R@1_difference_high", "p", "p_holm", "cells", "backbone", "weights"),
)
"""Columns of ``pairwise.csv``: ``method`` minus ``other`` over the ``cells`` that both have.

``backbone`` and ``weights`` are left out where each benchmark has one of them."""


_FACTS = ("suite", "benchmark", "stream", "backbone", "weights")


@dataclass(frozen=True)
class Ranking:
    """Average ranks of a suite's methods under one kind of stream.

    Attributes:
        suite: name of the suite.
        stream: kind of the stream.
        average: method -> mean rank over the data sets; 1 is the best.
        datasets: number of independent data sets ranked on.
        left_out: method -> why it has no rank.
        critical_difference: average ranks further apart differ at 5 %; None where refused.
        friedman: Friedman's statistic, and ``p`` its p-value; None where refused.
        reason: why there is no critical difference, or an empty string.
    """

    suite: str
    stream: str
    average: Mapping[str, float]
    datasets: int
    left_out: Mapping[str, str]
    critical_difference: float | None = None
    friedman: float | None = None
    p: float | None = None
    reason: str = ""


def as_pools(results: Iterable[CellResult] | Sequence[Pool]) -> list[Pool]:
    """``benchmark_pools`` of cells; pools are handed through."""
    given = list(results)
    pools = [item for item in given if isinstance(item, Pool)]
    if len(pools) == len(given):
        return pools
    return benchmark_pools([item for item in given if isinstance(item, CellResult)])


def rankings(results: Iterable[CellResult] | Sequence[Pool]) -> list[Ranking]:
    """One ranking for each suite and kind of stream, by R@1 over shifts and seeds.

    Benchmarks that share a data set (its two directions, or base2coco and coco-c) are not
    independent: a method's numbers on them are averaged before it is ranked there. Benchmarks whose
    shifts changed nothing are left out, unless there are no others. A method is
    ranked if it has a number wherever another one has; others are named in ``left_out``.
    """
    groups: dict[tuple[str, str], list[Pool]] = defaultdict(list)
    for pool in as_pools(results):
        groups[pool.first.suite, pool.first.stream].append(pool)
    return [_ranking(suite, stream, pools) for (suite, stream), pools in groups.items()]


def _ranking(suite: str, stream: str, pools: Sequence[Pool]) -> Ranking:
    empty = {pool.first.place for pool in pools if pool.changed_nothing}
    pools = [pool for pool in pools if pool.first.place not in empty] or pools
    recall: dict[str, dict[Setting, float]] = defaultdict(dict)
    for pool in pools:
        # A cell that is missing would make the mean one over other shifts than its neighbours'.
        if pool.whole and not math.isnan(number := pool.mean("metrics", "R@1")):
            recall[pool.label][pool.first.place] = number
    benchmarks = {pool.first.place: pool.first.benchmark for pool in pools}
    left_out = {}
    for label in dict.fromkeys(pool.label for pool in pools):
        lacking = [name for place, name in benchmarks.items() if place not in recall[label]]
        if lacking:
            left_out[label] = f"no complete number on {', '.join(dict.fromkeys(lacking))}"
    methods = [label for label in recall if label not in left_out]
    parts = _independent(sorted(set(benchmarks.values())))
    scores = np.empty((len(parts), len(methods)))
    for row, part in enumerate(parts):
        here = [place for place, name in benchmarks.items() if name in part]
        scores[row] = [np.mean([recall[method][place] for place in here]) for method in methods]
    average = dict(zip(methods, map(float, average_ranks(scores)), strict=True)) if methods else {}
    found = Ranking(suite, stream, average, len(parts), left_out)
    try:
        tested = compare_ranks(scores)
    except ValueError as error:
        return replace(found, reason=str(error))
    return replace(
        found,
        critical_difference=tested.critical_difference,
        friedman=tested.friedman,
        p=tested.p,
    )


def _independent(benchmarks: Sequence[str]) -> list[set[str]]:
    """Benchmarks in parts that share no data set."""
    parts: list[tuple[set[str], set[str]]] = []
    for name in benchmarks:
        names, data = {name}, {_dataset(part) for part in name.split(SEPARATOR)}
        for other in [part for part in parts if part[1] & data]:
            parts.remove(other)
            names, data = names | other[0], data | other[1]
        parts.append((names, data))
    return [names for names, _ in parts]


def _dataset(benchmark: str) -> str:
    """The data set of a benchmark's card; a benchmark of no known suite stands for itself."""
    try:
        return benchmark_card(benchmark).dataset
    except UnknownNameError:
        return f"benchmark {benchmark}"


def ranking_frame(found: Sequence[Ranking]) -> pd.DataFrame:
    """Columns ``RANKING_COLUMNS``, a row per method, the best first, then those without a rank."""
    rows: list[dict[str, Any]] = []
    for ranking in found:
        shared = {
            name: getattr(ranking, name) for name in RANKING_COLUMNS if hasattr(ranking, name)
        }
        shared["friedman_p"] = ranking.p
        for method, rank in sorted(ranking.average.items(), key=lambda item: item[1]):
            rows.append(shared | {"method": method, "average_rank": rank})
        for method, reason in ranking.left_out.items():
            rows.append(shared | {"method": method, "reason": reason})
    frame = pd.DataFrame(rows, columns=list(RANKING_COLUMNS))
    numbers = ("average_rank", "friedman", "friedman_p", "critical_difference")
    return frame.astype(dict.fromkeys(numbers, "float64"))


Pairs = dict[tuple[Setting, str, str], tuple[Comparison, int]]
"""(place, method, other) -> their comparison and the number of cells that it rests on."""


def pairwise(results: Iterable[CellResult] | Sequence[Pool]) -> Pairs:
    """Every two methods on each benchmark, over the (shift, seed) pairs that both have."""
    places: dict[Setting, list[Pool]] = defaultdict(list)
    for pool in as_pools(results):
        if pool.done:
            places[pool.first.place].append(pool)
    found: Pairs = {}
    for place, pools in places.items():
        cells = [{(c.setting, c.seed): c for c in pool.done} for pool in pools]
        # Pairs that have the same cells with the same queries are compared at once.
        blocks: dict[tuple[tuple[Setting, int], ...], list[tuple[int, int]]] = defaultdict(list)
        for i, j in itertools.combinations(range(len(pools)), 2):
            both = sorted(cells[i].keys() & cells[j].keys())
            fitting = tuple(key for key in both if fits(cells[i][key], cells[j][key]))
            if fitting:
                blocks[fitting].append((i, j))
        for common, pairs in blocks.items():
            members = sorted({index for pair in pairs for index in pair})
            columns = [stacked([cells[m][key] for key in common]) for m in members]
            values = np.stack([hits for hits, _, _ in columns], axis=1)
            _, groups, seeds = columns[0]
            compared = all_comparisons(values, groups, seeds=seeds)
            for i, j in pairs:
                one = compared[members.index(i), members.index(j)]
                found[place, pools[i].label, pools[j].label] = one, len(common)
    return found


def pairwise_frame(
    results: Iterable[CellResult] | Sequence[Pool], found: Pairs | None = None
) -> pd.DataFrame:
    """Columns of ``PAIRWISE_COLUMNS``; ``p_holm`` is corrected over the pairs of a benchmark.

    ``found``: ``pairwise(results)``, where it is there already.
    """
    pools = as_pools(results)
    first = {pool.first.place: pool.first for pool in pools}
    pairs = pairwise(pools) if found is None else found
    rows: list[dict[str, Any]] = []
    for place, cell in first.items():
        here = {key: value for key, value in pairs.items() if key[0] == place}
        adjusted = holm([comparison.p for comparison, _ in here.values()])
        for ((_, method, other), (comparison, cells)), p in zip(
            here.items(), adjusted, strict=True
        ):
            rows.append(
                {
                    **{name: getattr(cell, name) for name in _FACTS},
                    **against_source(comparison),
                    "method": method,
                    "other": other,
                    "p_holm": float(p),
                    "cells": cells,
                }
            )
    # With many methods this is the longest table: what leaderboard.csv says once is not repeated.
    names = [(cell.suite, cell.benchmark, cell.stream) for cell in first.values()]
    repeated = () if len(set(names)) < len(names) else ("backbone", "weights")
    return pd.DataFrame(rows, columns=[c for c in PAIRWISE_COLUMNS if c not in repeated])
