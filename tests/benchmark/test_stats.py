"""The paired cluster bootstrap: exact cases, determinism and coverage."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import stats
from benchmark.stats import (
    PairedTest,
    all_comparisons,
    harm,
    holm,
    paired_comparison,
    paired_difference,
    paired_test,
    t_tails,
)


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


def simulated_ranks(
    generator: np.random.Generator, clusters: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ranks of two methods on the same queries, and the queries' clusters.

    Queries of a cluster share a difficulty. The first is right (rank 1) where difficulty + noise
    is below 1.1, the second where it is below 1, both uniform: a difference of 9.5 points.
    """
    hardness = np.repeat(generator.random(clusters), size) + generator.random(clusters * size)
    ranks = [1 + np.floor(np.maximum(hardness - bar, -0.5) * 20 + 1) for bar in (1.1, 1.0)]
    ranks = [np.where(hardness < bar, 1, r) for bar, r in zip((1.1, 1.0), ranks, strict=True)]
    return ranks[0], ranks[1], np.repeat(np.arange(clusters), size)


TRUTH = 100 * (1 - 0.9**2 / 2 - 0.5)


@pytest.mark.parametrize(("clusters", "size"), [(300, 1), (120, 3)])
def test_intervals_cover_the_true_difference_95_times_in_100(clusters: int, size: int) -> None:
    generator = np.random.default_rng(4)
    covered, trials = 0, 2000
    for _ in range(trials):
        first, second, groups = simulated_ranks(generator, clusters, size)
        found = paired_difference(first == 1, second == 1, groups, resamples=400)
        covered += found.low <= TRUTH <= found.high
    assert abs(covered / trials - 0.95) <= 0.015


def simulated_seeds(
    generator: np.random.Generator, *, seeds: int, queries: int, effect: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Differences (true mean 0) with effects of queries, seeds and both; groups and seeds."""
    values = (
        generator.normal(0, 0.3, queries)
        + generator.normal(0, effect, (seeds, 1))
        + generator.normal(0, 0.3, (seeds, queries))
    )
    groups = np.tile(np.arange(queries), seeds)
    return values.ravel(), groups, np.repeat(np.arange(seeds), queries)


@pytest.mark.parametrize(
    ("seeds", "effect", "lowest", "highest"),
    [(3, 0.0, 0.94, 0.98), (3, 0.01, 0.94, 0.98), (3, 0.1, 0.93, 0.97), (5, 0.03, 0.93, 0.97)],
)
def test_seeds_are_covered_too(seeds: int, effect: float, lowest: float, highest: float) -> None:
    generator, covered, rejected, trials = np.random.default_rng(5), 0, 0, 400
    for _ in range(trials):
        values, groups, labels = simulated_seeds(generator, seeds=seeds, queries=150, effect=effect)
        found = paired_comparison(values, 0 * values, groups, seeds=labels, resamples=300)
        covered += found.low <= 0 <= found.high
        rejected += found.p < 0.05
    assert lowest <= covered / trials <= highest
    # p comes from the same model, without drawing.
    assert abs((1 - rejected / trials) - covered / trials) <= 0.02


def test_seeds_taken_for_more_queries_would_not_cover() -> None:
    generator, covered = np.random.default_rng(6), 0
    for _ in range(200):
        values, groups, _ = simulated_seeds(generator, seeds=3, queries=150, effect=0.1)
        found = paired_difference(values, 0 * values, groups, resamples=300)
        covered += found.low <= 0 <= found.high
    assert covered < 0.7 * 200


def test_one_seed_and_seeds_that_agree_change_nothing() -> None:
    generator = np.random.default_rng(7)
    values, groups = generator.normal(0.1, 1, 200), np.arange(200)
    alone = paired_comparison(values, 0 * values, groups)
    same = paired_comparison(values, 0 * values, groups, seeds=np.zeros(200, dtype=int))
    assert same == alone
    twice, labels = np.tile(values, 2), np.repeat([0, 1], 200)
    pooled = paired_comparison(twice, 0 * twice, np.tile(groups, 2), seeds=labels)
    assert pooled == pytest.approx(alone, abs=1e-9)


def test_values_without_a_seed_do_not_enter_the_spread_of_seeds() -> None:
    # The cells of seed 1 alone are 100 points better, because they are of another shift.
    generator = np.random.default_rng(8)
    both = np.tile(generator.random(100) < 0.5, 2).astype(float)
    values = np.concatenate([both, np.ones(100)])
    groups, labels = np.tile(np.arange(100), 3), np.repeat([0, 1, -1], 100)
    found = paired_comparison(values, 0 * values, groups, seeds=labels)
    plain = paired_comparison(values, 0 * values, groups)
    assert found == plain
    wrong = paired_comparison(values, 0 * values, groups, seeds=np.repeat([0, 1, 1], 100))
    assert wrong.high - wrong.low > 3 * (plain.high - plain.low)


def test_p_of_one_cluster_per_query_is_that_of_the_t_test() -> None:
    # t = 1.5 / (sqrt(5 / 3) / 2) = 2.3238 with 3 degrees; R's pt gives 0.1027.
    values = np.array([0.0, 1.0, 2.0, 3.0])
    found = paired_comparison(values, np.zeros(4), np.arange(4))
    assert found.p == pytest.approx(max(2**-3, 0.1027), abs=1e-4)
    assert paired_test(values, np.zeros(4), np.arange(4)) == (found.difference, found.p)


def test_p_of_no_difference_a_sure_one_and_a_single_cluster() -> None:
    hits = np.ones(12)
    assert paired_comparison(hits, hits, np.arange(12)).p == 1.0
    # No test of 12 pairs can say more than that of 12 signs.
    assert paired_comparison(hits, 0 * hits, np.arange(12)).p == 2.0**-11
    assert np.isnan(paired_comparison(hits, 0 * hits, np.zeros(12)).p)


@pytest.mark.parametrize(
    ("t", "freedom", "expected"),
    [
        (12.7062, 1, 0.05),
        (4.30265, 2, 0.05),
        (-2.22814, 10, 0.05),
        (1.96009, 10_000, 0.05),
        (5.0, 1e7, 5.733e-7),
        (0.0, 4, 1.0),
    ],
)
def test_tails_of_students_t(t: float, freedom: float, expected: float) -> None:
    assert t_tails(t, freedom) == pytest.approx(expected, rel=1e-3)


def test_all_pairs_agree_with_each_alone() -> None:
    generator = np.random.default_rng(9)
    values = (generator.random((400, 3)) < [0.5, 0.55, 0.7]).astype(float)
    groups = np.arange(400) // 2
    found = all_comparisons(values, groups, resamples=4000)
    assert list(found) == [(0, 1), (0, 2), (1, 2)]
    for (i, j), pair in found.items():
        alone = paired_comparison(values[:, i], values[:, j], groups, resamples=4000)
        assert (pair.difference, pair.p) == pytest.approx((alone.difference, alone.p))
        # Not the same resamples, hence ends that differ by the noise of drawing.
        assert (pair.low, pair.high) == pytest.approx((alone.low, alone.high), abs=0.4)


def test_drawing_one_by_one_and_by_kind_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(10)
    a, b = generator.random(600) < 0.6, generator.random(600) < 0.5
    groups = np.arange(600) * 2 // 3  # of one and of two queries
    by_kind = paired_difference(a, b, groups, resamples=20_000)
    monkeypatch.setattr(stats, "_FEW_KINDS", 10_000)
    one_by_one = paired_difference(a, b, groups, resamples=20_000)
    assert one_by_one != by_kind
    assert one_by_one == pytest.approx(by_kind, abs=0.25)
    monkeypatch.setattr(stats, "_DRAWS_AT_ONCE", 5000)
    assert paired_difference(a, b, groups, resamples=20_000) == one_by_one


def test_group_labels_of_any_kind_give_the_same() -> None:
    generator = np.random.default_rng(11)
    a, b, groups = generator.random(60), generator.random(60), np.arange(60) // 2
    expected = paired_difference(a, b, groups)
    assert paired_difference(a, b, groups * 10**9 - 7) == expected
    assert (
        paired_difference(a, b, np.char.add("g", np.char.zfill(groups.astype(str), 3))) == expected
    )


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, never falling.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    found = holm([0.02, np.nan, 0.03])
    assert np.isnan(found[1])
    assert found[[0, 2]] == pytest.approx([0.04, 0.04])
    assert len(holm([])) == 0


def test_holm_keeps_the_chance_of_any_false_rejection() -> None:
    generator = np.random.default_rng(12)
    false = sum(holm(generator.random(20)).min() <= 0.05 for _ in range(2000))
    assert 0.03 <= false / 2000 <= 0.065


def test_harm_rate_by_hand() -> None:
    cells = [PairedTest(*c) for c in ((1.0, 0.01), (-1.0, 0.2), (-2.0, 0.01), (0.0, 1.0))]
    assert harm(cells) == (0.5, 0.25)
    assert all(np.isnan(harm([])))


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


def test_bad_inputs_of_all_comparisons_are_refused() -> None:
    with pytest.raises(ValueError, match="a group for each query"):
        all_comparisons(np.zeros((4, 2)), np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        all_comparisons(np.full((4, 2), np.nan), np.zeros(4))
    with pytest.raises(ValueError, match="expected a seed for each of 4 values"):
        all_comparisons(np.zeros((4, 2)), np.zeros(4), seeds=np.zeros(3))
