"""Average ranks, Friedman's test and Nemenyi's critical difference against published values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import friedmanchisquare

from benchmark.metrics.average_ranks import MIN_DATASETS, average_ranks, compare_ranks, nemenyi_q

DEMSAR = [
    [0.763, 0.768, 0.771, 0.798],
    [0.599, 0.591, 0.590, 0.569],
    [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898],
    [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685],
    [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000],
    [0.940, 0.962, 0.965, 0.962],
    [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975],
    [0.957, 0.978, 0.946, 0.970],
]
"""Table 6 of Demsar (2006): AUC of four methods on 14 data sets. Of the two values 0.975, which the
paper ranks 2 and 3, the first is raised a little."""


def test_ranks_of_ties_are_shared() -> None:
    assert average_ranks(np.array([[3.0, 1.0, 2.0]])).tolist() == [1, 3, 2]
    assert average_ranks(np.array([[1.0, 1.0, 0.0, 2.0]])).tolist() == [2.5, 2.5, 4, 1]
    thirds = [100 / 3, 100 / 3, 200 / 3], [200 / 3, 100 / 3, 100 / 3]  # one sum, two roundings
    means = np.array([[sum(thirds[0]) / 3, sum(thirds[1]) / 3, 400 / 9]])
    assert len(set(means[0])) > 1
    assert average_ranks(means).tolist() == [2, 2, 2]


def test_demsars_example() -> None:
    found = compare_ranks(np.array(DEMSAR))
    assert average_ranks(np.array(DEMSAR)) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    # 9.28 in the paper, which does not correct for ties.
    assert found.friedman == pytest.approx(friedmanchisquare(*zip(*DEMSAR, strict=True)).statistic)
    assert 0.01 < found.p < 0.035
    assert found.critical_difference == pytest.approx(1.25, abs=0.01)


def test_quantiles_agree_with_demsars_table() -> None:
    table = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    assert [nemenyi_q(k) for k in range(2, 11)] == pytest.approx(table, abs=1.1e-3)


def test_the_minimum_is_where_a_sign_test_could_first_decide() -> None:
    assert 2 / 2 ** (MIN_DATASETS - 1) > 0.05 >= 2 / 2**MIN_DATASETS
    with pytest.raises(ValueError, match=r"5 independent data sets; .* at least 6: with fewer"):
        compare_ranks(np.array(DEMSAR[:5]))
    assert compare_ranks(np.array(DEMSAR[:6])).critical_difference > 1.25


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two methods"):
        compare_ranks(np.zeros((8, 1)))
    with pytest.raises(ValueError, match="finite"):
        compare_ranks(np.full((8, 3), np.nan))
    assert compare_ranks(np.zeros((8, 3)))[:2] == (0.0, 1.0), "all equal everywhere"


def test_friedmans_p_is_uniform_without_a_difference() -> None:
    generator = np.random.default_rng(0)
    p = [compare_ranks(generator.random((7, 4)), seed=s).p for s in range(60)]
    assert 0.3 < float(np.mean(p)) < 0.7
    assert sum(value <= 0.05 for value in p) <= 9
    assert compare_ranks(np.tile(np.arange(4.0), (7, 1))).p < 0.001
