"""Comparisons of real size: 25,000 queries, ten methods, all 45 pairs.

Meant to stay below 20 s on one core.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.metrics.average_ranks import compare_ranks
from benchmark.metrics.intervals import all_comparisons

QUERIES, METHODS = 25_000, 10


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
    found = benchmark.pedantic(all_comparisons, (values, groups), rounds=1, iterations=1)
    assert len(found) == METHODS * (METHODS - 1) // 2


def test_all_pairs_over_three_seeds(benchmark) -> None:
    values, groups = hits(1)
    values = np.concatenate([values, values[::-1], np.roll(values, 7, axis=0)])
    seeds = np.repeat([0, 1, 2], QUERIES)
    found = benchmark.pedantic(
        all_comparisons, (values, np.tile(groups, 3)), {"seeds": seeds}, rounds=1, iterations=1
    )
    assert all(pair.low <= pair.difference <= pair.high for pair in found.values())


def test_ranks_of_twenty_data_sets(benchmark) -> None:
    scores = np.random.default_rng(1).random((20, METHODS))
    found = benchmark.pedantic(compare_ranks, (scores,), rounds=1, iterations=1)
    assert found.critical_difference > 0
