"""One row per method: rank, gain, harm, forgetting and cost over all benchmarks of a suite."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from benchmark.metrics.intervals import Comparison, Harm, harm, paired_comparison
from benchmark.report.pools import Pool, finite_mean, labels_of, stacked
from benchmark.report.ranking_tables import Ranking, as_pools, rankings
from benchmark.report.results import CellResult


class MethodSummary(NamedTuple):
    """What one method does over the benchmarks of a suite under one kind of stream.

    Attributes:
        pools: its cells, a pool per benchmark.
        rank: average rank over independent data sets, from 1; None where it has none.
        gain: R@1 against the source over all paired cells; None for the source itself.
        harm: share of its cells that are worse than source, 0 to 1.
        forgetting: clean R@1 after the stream minus before, points, mean over benchmarks.
        time: milliseconds per query as multiples of the source's, mean over benchmarks.
        memory: peak memory, likewise.
        missing: cells that another method has finished or tried and this one has not finished.
    """

    pools: Sequence[Pool]
    rank: float | None
    gain: Comparison | None
    harm: Harm
    forgetting: float
    time: float
    memory: float
    missing: int


def method_summaries(results: Iterable[CellResult] | Sequence[Pool]) -> list[MethodSummary]:
    """A summary per suite, kind of stream and method; the best rank first within each."""
    pools = as_pools(results)
    groups: dict[tuple[str, str], list[Pool]] = defaultdict(list)
    for pool in pools:
        groups[pool.first.suite, pool.first.stream].append(pool)
    ranked = {(ranking.suite, ranking.stream): ranking for ranking in rankings(pools)}
    found = []
    for here, group in sorted(groups.items()):
        rows = summaries_of(group, ranked[here])
        found += sorted(rows, key=lambda row: math.inf if row.rank is None else row.rank)
    return found


def summaries_of(pools: Sequence[Pool], ranking: Ranking) -> list[MethodSummary]:
    """The summaries of one suite and kind of stream, in the order of ``labels_of``."""
    expected = sum({pool.first.place: pool.expected for pool in pools}.values())
    rows = []
    for label in labels_of(pools):
        own = [pool for pool in pools if pool.label == label]
        done = [pool for pool in own if pool.done]
        rows.append(
            MethodSummary(
                own,
                ranking.average.get(label),
                gain_over_source([pool for pool in own if pool.pairs]),
                harm([cell for pool in own for cell in pool.by_cell]),
                finite_mean([pool.mean("metrics", "forgetting") for pool in done]),
                finite_mean([pool.ratio("cost", "ms_per_query") for pool in done]),
                finite_mean([pool.ratio("cost", "peak_mb") for pool in done]),
                expected - sum(pool.expected - pool.missing for pool in own),
            )
        )
    return rows


def gain_over_source(pools: Sequence[Pool]) -> Comparison | None:
    """R@1 against the source over the paired cells of several benchmarks.

    None where there are no pools, for the source itself and where a pool has no paired cells.
    """
    parts: list[tuple[np.ndarray, ...]] = []
    last = 0
    for pool in pools:
        if pool.is_source or not pool.pairs:
            return None
        ours, groups, seeds = stacked([cell for cell, _ in pool.pairs])
        theirs = stacked([partner for _, partner in pool.pairs])[0]
        parts.append((ours, theirs, groups + last, seeds))  # clusters do not reach over benchmarks
        last = int(parts[-1][2].max()) + 1
    if not parts:
        return None
    ours, theirs, groups, seeds = map(np.concatenate, zip(*parts, strict=True))
    parts.clear()  # a value for every query, shift and seed: not twice
    return paired_comparison(ours, theirs, groups, seeds=seeds)
