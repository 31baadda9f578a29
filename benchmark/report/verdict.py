"""The verdict in words: what the best method gains, what it costs, how sure that is."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from benchmark.metrics.intervals import Comparison
from benchmark.report.method_summary import gain_over_source
from benchmark.report.pools import Pool, benchmark_pools
from benchmark.report.results import CellResult


def verdict(results: Iterable[CellResult]) -> list[str]:
    """At most three lines for whoever must decide whether adaptation helps.

    The best method is the one with the largest mean difference in R@1 to the unadapted model, over
    all its cells, among those that are finished wherever another one is.

    Args:
        results: the cells of one run.

    Returns:
        Gain, price, and how far to trust them; no line where no method has a source to compare
        with.
    """
    return verdict_of(benchmark_pools(results))


def verdict_of(whole: Iterable[Pool]) -> list[str]:
    """As ``verdict``, of the ``benchmark_pools`` of a run."""
    by_method: dict[str, list[Pool]] = defaultdict(list)
    for pool in whole:
        by_method[pool.label].append(pool)
    places = max((len(pools) for pools in by_method.values()), default=0)
    found = {
        label: (gain, pools)
        for label, pools in by_method.items()
        if len(pools) == places and all(pool.whole for pool in pools)
        if (gain := gain_over_source(pools)) is not None and math.isfinite(gain.difference)
    }
    if not found:
        return []
    best = max(found, key=lambda label: found[label][0].difference)
    gain, pools = found[best]
    return [_gain_line(best, gain, pools), _price_line(pools), _trust_line(gain, pools, len(found))]


def _gain_line(label: str, gain: Comparison, pools: Sequence[Pool]) -> str:
    pairs = [pair for pool in pools for pair in pool.pairs]
    before, after = (_mean([each[side].record.metrics["R@1"] for each in pairs]) for side in (1, 0))
    better = gain.difference > 0
    text = (
        f"{f'{label} does' if better else f'No method beats doing nothing; {label} comes'} "
        f"{'best' if better else 'closest'}: R@1 {gain.difference:+.1f} points against no "
        f"adaptation (95 % interval {gain.low:+.1f} to {gain.high:+.1f}), from {before:.1f} to "
        f"{after:.1f}"
    )
    if len(pools) > 1:
        ahead = sum(pool.gain("R@1") > 0 for pool in pools)
        text += f"; ahead on {ahead} of {len(pools)} benchmarks"
    return text + "."


def _price_line(pools: Sequence[Pool]) -> str:
    pairs = [pair for pool in pools for pair in pool.pairs]
    ms = [
        [each[side].record.cost.get("ms_per_query", math.nan) for each in pairs] for side in (1, 0)
    ]
    before, after = map(_mean, ms)
    text = "What it takes was not measured"
    if math.isfinite(after) and before > 0:
        times = f"{after / before:.1f} times as long"
        text = f"It takes {after:.1f} ms a query instead of {before:.1f}, {times}"
    forgot = [pool.mean("metrics", "forgetting") for pool in pools]
    if all(map(math.isnan, forgot)):
        return text + "; what it forgets was not measured."
    change = float(np.nanmean(forgot))
    return text + f", and R@1 on clean queries changes by {change:+.1f} points."


def _trust_line(gain: Comparison, pools: Sequence[Pool], methods: int) -> str:
    seeds = {cell.seed for pool in pools for cell in pool.done}
    queries = sum(len(cell.hits) for pool in pools for cell in pool.done if cell.hits is not None)
    basis = f"{queries:,} answers, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}"
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


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
