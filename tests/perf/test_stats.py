"""Bootstrap of real size: 25,000 queries, ten methods, 10,000 resamples, all 45 pairs.

Meant to stay below 20 s on one core. What is asserted is memory: no queries x resamples matrix.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from benchmark.average_ranks import compare_ranks
from benchmark.stats import all_comparisons

QUERIES, METHODS, RESAMPLES = 25_000, 10, 10_000


def hits(per_cluster: int) -> tuple[np.ndarray, np.ndarray]:
    """Hits (queries, methods) that share a difficulty in a cluster, and the clusters."""
    generator = np.random.default_rng(0)
    hardness = np.repeat(generator.random(QUERIES // per_cluster), per_cluster)[:, None]
    noise = generator.random((QUERIES, METHODS))
    return (hardness + noise < np.linspace(0.9, 1.1, METHODS)).astype(float), np.arange(
        QUERIES
    ) // per_cluster


@pytest.mark.parametrize("per_cluster", [1, 5])
def test_all_pairs(benchmark, per_cluster) -> None:
    values, groups = hits(per_cluster)
    found = benchmark.pedantic(
        all_comparisons, (values, groups), {"resamples": RESAMPLES}, rounds=1, iterations=1
    )
    assert len(found) == METHODS * (METHODS - 1) // 2


def test_all_pairs_over_three_seeds(benchmark) -> None:
    """Values that hardly repeat, so that clusters are drawn one by one: the slow case."""
    values, groups = hits(1)
    values = np.concatenate([values, values[::-1], np.roll(values, 7, axis=0)])
    seeds = np.repeat([0, 1, 2], QUERIES)
    found = benchmark.pedantic(
        all_comparisons,
        (values, np.tile(groups, 3)),
        {"resamples": RESAMPLES, "seeds": seeds},
        rounds=1,
        iterations=1,
    )
    assert all(pair.low <= pair.difference <= pair.high for pair in found.values())


def test_memory_stays_bounded(benchmark) -> None:
    """Of values that never repeat, so that clusters are drawn one by one."""
    values, groups = np.random.default_rng(2).random((QUERIES, 2)), np.arange(QUERIES)
    tracemalloc.start()
    try:
        benchmark.pedantic(
            all_comparisons, (values, groups), {"resamples": 2000}, rounds=1, iterations=1
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * 8 * QUERIES * 2000


def test_ranks_of_twenty_data_sets(benchmark) -> None:
    scores = np.random.default_rng(1).random((20, METHODS))
    found = benchmark.pedantic(compare_ranks, (scores,), rounds=1, iterations=1)
    assert found.critical_difference > 0
