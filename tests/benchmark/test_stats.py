"""The paired cluster bootstrap: exact cases, determinism and coverage."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import stats
from benchmark.stats import paired_difference


def test_equal_hits_give_a_zero_interval() -> None:
    hits = np.array([1, 0, 1, 1])
    assert paired_difference(hits, hits, np.arange(4)) == (0.0, 0.0, 0.0)


def test_constant_difference_is_certain() -> None:
    assert paired_difference(np.ones(5), np.zeros(5), np.arange(5)) == (100.0, 100.0, 100.0)


def test_one_cluster_cannot_vary() -> None:
    found = paired_difference(np.array([1, 1, 0, 0]), np.zeros(4), np.zeros(4))
    assert found == (50.0, 50.0, 50.0)


def test_interval_agrees_with_the_normal_one_for_many_queries() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.random(2000) < 0.6, generator.random(2000) < 0.5
    delta = a.astype(float) - b
    error = delta.std() / np.sqrt(2000)
    found = paired_difference(a, b, np.arange(2000))
    assert found.difference == pytest.approx(100 * delta.mean())
    assert found.low == pytest.approx(100 * (delta.mean() - 1.96 * error), abs=0.15)
    assert found.high == pytest.approx(100 * (delta.mean() + 1.96 * error), abs=0.15)


def test_repeating_each_query_in_its_cluster_changes_nothing() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.random(200) < 0.6, generator.random(200) < 0.5
    groups = np.arange(200)
    once = paired_difference(a, b, groups)
    five = paired_difference(np.repeat(a, 5), np.repeat(b, 5), np.repeat(groups, 5))
    assert five == pytest.approx(once, abs=1e-9)
    # Taken for independent queries, the interval would be far too narrow.
    naive = paired_difference(np.repeat(a, 5), np.repeat(b, 5), np.arange(1000))
    assert naive.high - naive.low < 0.6 * (five.high - five.low)


def test_seed_decides_and_order_of_queries_does_not() -> None:
    generator = np.random.default_rng(2)
    a, b, groups = generator.random(90), generator.random(90), np.arange(90) // 3
    first = paired_difference(a, b, groups, seed=5)
    assert paired_difference(a, b, groups, seed=5) == first
    assert paired_difference(a, b, groups, seed=6) != first
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    paired_difference(a, b, groups)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_blocks_of_resamples_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    a, b = generator.random(40), generator.random(40)
    whole = paired_difference(a, b, np.arange(40), resamples=500)
    monkeypatch.setattr(stats, "_DRAWS_AT_ONCE", 400)
    assert paired_difference(a, b, np.arange(40), resamples=500) == whole


def test_coverage_on_clustered_queries() -> None:
    generator = np.random.default_rng(4)
    covered, runs = 0, 200
    truth = 100 * (1 - 0.9**2 / 2 - 0.5)  # P(x + y < 1.1) - P(x + y < 1), x and y uniform
    for _ in range(runs):
        # Three queries a cluster share a difficulty: without clusters the interval is too narrow.
        difficulty = np.repeat(generator.random(150), 3)
        noise = generator.random(450)
        a, b = difficulty + noise < 1.1, difficulty + noise < 1.0
        found = paired_difference(a, b, np.repeat(np.arange(150), 3), resamples=400)
        covered += found.low <= truth <= found.high
    # 95 % nominal; three standard errors of 200 runs are 4.6 points.
    assert 0.89 * runs <= covered <= 0.995 * runs


@pytest.mark.parametrize(
    ("a", "b", "groups", "message"),
    [
        ([1, 0], [1], [0, 1], "same length"),
        ([1, 0], [1, 0], [0], "same length"),
        ([], [], [], "same length"),
        ([[1, 0]], [[1, 0]], [[0, 1]], "one-dimensional"),
        ([np.nan, 0], [1, 0], [0, 1], "finite"),
    ],
)
def test_bad_inputs_are_refused(a: list, b: list, groups: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_difference(np.array(a), np.array(b), np.array(groups))
