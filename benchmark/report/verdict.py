"""What a run says in words: what its methods gain and cost, and what a reader must know of it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmark.cell import TRAIN
from benchmark.errors import amount
from benchmark.metrics.average_ranks import TIE
from benchmark.metrics.intervals import Comparison, harm
from benchmark.report.display import plain
from benchmark.report.pools import Pool, compared, finite_mean, grouped, labels_of, stacked

if TYPE_CHECKING:
    from benchmark.report.frames import Ranking

NOTES = {"rest": "rest: our reading of the paper's abstract and figure, see docs/methods.md"}
"""What must stand under a table in which the method appears."""

MANY = 5
"""From so many seeds on, what they leave open about other seeds hardly widens an interval."""

_FEW_ANSWERS = 6
"""More different answers than these do not fit into a sentence."""


def verdict(whole: Sequence[Pool]) -> list[str]:
    """At most three lines for whoever must decide whether adaptation helps.

    The best method is the one with the largest mean difference in R@1 to the unadapted model, over
    all its cells, among those that are finished wherever another one is. Benchmarks without a
    source cell do not count. Gain, time and forgetting are means over the queries of all cells.

    Args:
        whole: ``benchmark_pools`` of one run.

    Returns:
        Gain, price, and how far to trust them; why there is none; no line where no method has a
        source to compare with.
    """
    places = {pool.first.place for pool in whole if pool.pairs and not pool.is_source}
    counted = (pool for pool in whole if pool.whole and pool.first.place in places)
    by_method = grouped(counted, lambda pool: pool.label)
    found = {
        label: (gain, pools)
        for label, pools in by_method.items()
        if len(pools) == len(places)
        if (gain := gain_over_source(pools)) is not None and math.isfinite(gain.difference)
    }
    if not found:
        nothing = "No verdict: no method is finished, with the same options, on every benchmark."
        return [nothing] if places else []
    best = max(found, key=lambda label: found[label][0].difference)
    gain, pools = found[best]
    return [_gain_line(best, gain, pools), _price_line(pools), _trust_line(gain, pools, len(found))]


def _gain_line(label: str, gain: Comparison, pools: Sequence[Pool]) -> str:
    pairs = [pair for pool in pools for pair in pool.pairs]
    before, after = (100 * stacked([each[side] for each in pairs])[0].mean() for side in (1, 0))
    better = gain.difference > 0
    text = (
        f"{f'{label} does' if better else f'No method beats doing nothing; {label} comes'} "
        f"{'best' if better else 'closest'}: R@1 {gain.difference:+.1f} points against no "
        f"adaptation (95 % interval {gain.low:+.1f} to {gain.high:+.1f}), from {before:.1f} to "
        f"{after:.1f}"
    )
    if len(pools) > 1:
        ahead = sum(pool.gain("R@1") > TIE for pool in pools)
        names = {pool.first.benchmark for pool in pools}
        text += f" over all queries; ahead on {ahead} of {len(pools)} "
        text += "benchmarks" if len(names) == len(pools) else "rows of leaderboard.csv"
        found = (pool.comparison for pool in pools)
        text += f", surely on {sum(one is not None and one.low > 0 for one in found)}"
    return text + "."


def _price_line(pools: Sequence[Pool]) -> str:
    pairs = [pair for pool in pools for pair in pool.pairs]
    own, before = np.array(
        [[cell.record.cost.get("ms_per_query", math.nan) for cell in pair] for pair in pairs]
    ).T
    # Made once for all methods here, the source model's pass is every query's where it is used.
    passes = np.array(
        ["seconds_source" in c.record.cost and c.options.get("bank") != TRAIN for c, _ in pairs]
    )
    queries = np.array([len(cell.ranks) for cell, _ in pairs])
    after, base = (np.average(ms, weights=queries) for ms in (own + before * passes, before))
    text = "What it takes was not measured"
    if math.isfinite(after) and base > 0:
        said = ", with the source model's pass that it needs," if passes.any() else ""
        times = f"{after / base:.1f} times as long"
        text = f"It takes {after:.1f} ms a query{said} instead of {base:.1f}, {times}"
    forgot = np.array([cell.record.metrics.get("forgetting", math.nan) for cell, _ in pairs])
    if not (known := np.isfinite(forgot)).any():
        return text + "; what it forgets was not measured."
    change = float(np.average(forgot[known], weights=queries[known]))
    return text + f", and R@1 on clean queries changes by {change:+.1f} points."


def _trust_line(gain: Comparison, pools: Sequence[Pool], methods: int) -> str:
    cells = [cell for pool in pools for cell, _ in pool.pairs]  # no others are compared
    seeds, queries = {cell.seed for cell in cells}, sum(len(cell.ranks) for cell in cells)
    basis = f"{amount(queries, 'answer')}, {amount(len(seeds), 'seed')}"
    if not gain.significant:
        return (
            f"The evidence does not suffice to call it a gain: the interval includes 0 ({basis}). "
            "More queries or seeds make it narrower."
        )
    if gain.difference < 0:
        return (
            f"The evidence suffices to say that no method helps here: the best one harms ({basis})."
        )
    text = f"The evidence suffices to call it a gain ({basis})"
    if methods > 1:
        text += f"; as the best of {methods} it may look better here than it is"
    return text + "."


class MethodSummary(NamedTuple):
    """What one method does over the benchmarks of a suite under one kind of stream.

    Attributes:
        pools: its cells, a pool per benchmark.
        gain: R@1 against the source over all paired cells; None for the source itself.
        average_rank: over independent data sets, from 1; None where it has none.
        harm_rate: share of its cells that are worse than source, 0 to 1.
        harm_rate_significant: share of those that surely are.
        forgetting: clean R@1 after the stream minus before, points, mean over benchmarks.
        ms_per_query_ratio: time as a multiple of the source's, mean over benchmarks.
        peak_mb_ratio: peak memory, likewise.
        cells_missing: that another method has finished and this one has not.
    """

    pools: Sequence[Pool]
    gain: Comparison | None
    average_rank: float | None
    harm_rate: float
    harm_rate_significant: float
    forgetting: float
    ms_per_query_ratio: float
    peak_mb_ratio: float
    cells_missing: int


def summaries_of(ranking: Ranking) -> list[MethodSummary]:
    """The summaries of one suite and kind of stream, in the order of ``labels_of``."""
    expected = sum({pool.first.place: pool.expected for pool in ranking.pools}.values())
    rows = []
    for label in labels_of(ranking.pools):
        own = [pool for pool in ranking.pools if pool.label == label]
        done = [pool for pool in own if pool.done]
        rows.append(
            MethodSummary(
                own,
                gain_over_source([pool for pool in own if pool.pairs]),
                ranking.average.get(label),
                *harm([cell for pool in own for cell in pool.by_cell]),
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
    if not pools or any(pool.is_source or not pool.pairs for pool in pools):
        return None
    return compared([pair for pool in pools for pair in pool.pairs])[0]


def seed_notes(pools: Iterable[Pool]) -> list[str]:
    """What few seeds mean for the intervals of the comparisons, as one sentence or none."""
    fewest = min((len({c.seed for c, _ in p.pairs}) for p in pools if p.comparison), default=MANY)
    if fewest == 1:
        return ["With one seed an interval is about that seed: it says nothing of another one."]
    if fewest == 2:
        return [
            "Two seeds say next to nothing about others: where results differ from seed to seed, a "
            "third one makes the interval a quarter to a third as wide."
        ]
    if fewest < MANY:
        return [f"{fewest} seeds say little about others: intervals get narrower with more seeds."]
    return []


def tuned_by_method(pools: Iterable[Pool]) -> list[tuple[str, str]]:
    """Names of methods, and which of their options were tuned and on what."""
    said: dict[str, dict[str, None]] = defaultdict(dict)
    for pool in pools:
        if pool.first.tuned:
            said[plain(pool.first.tuned)][plain(pool.label)] = None
    return [(", ".join(labels), how) for how, labels in said.items()]


def tuned_notes(pools: Iterable[Pool]) -> list[str]:
    """``tuned_by_method`` as one sentence, or none; of many answers only that they are many."""
    answers = tuned_by_method(pools)
    if len(answers) > _FEW_ANSWERS:
        untuned = ", ".join(labels for labels, how in answers if how.startswith("untuned"))
        but = f"; not tuned: {untuned}" if untuned else ""
        return [f"Options tuned: in column 'tuned' of leaderboard.csv, by method{but}."]
    return [f"Options tuned: {'; '.join(map(': '.join, answers))}."] if answers else []
