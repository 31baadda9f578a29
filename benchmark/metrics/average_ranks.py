"""Average ranks over data sets, and how far apart two must be (docs/statistics.md)."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from benchmark.errors import amount

MIN_DATASETS = 6
"""Data sets that a critical difference needs: with five, a method that is better on every one is
not yet significantly better by a two-sided sign test (2 / 2**5 = 0.0625)."""

TIE = 1e-9
"""Means of percentages that differ by no more are equal: rounding parts the means of (0, 100) and
(50, 50) no further, one hit among all answers of a run does."""

_PERMUTATIONS = 10_000
_NUMBERS_AT_ONCE = 1 << 22


class RankTest(NamedTuple):
    """Friedman's statistic (corrected for ties) and p; the critical difference of two ranks."""

    friedman: float
    p: float
    critical_difference: float


def average_ranks(scores: np.ndarray) -> np.ndarray:
    """(M,) mean over data sets of each method's rank; 1 is the best, ties share the mean rank.

    Args:
        scores: (N, M) a row per data set, a column per method; higher is better.
    """
    return _ranks(np.asarray(scores, dtype=np.float64)).mean(axis=0)


def _ranks(scores: np.ndarray) -> np.ndarray:
    ahead = scores[:, None, :] - scores[:, :, None]
    return 1.0 + (ahead > TIE).sum(axis=2) + ((abs(ahead) <= TIE).sum(axis=2) - 1) / 2


def compare_ranks(scores: np.ndarray, *, seed: int = 0) -> RankTest:
    """Friedman's test and Nemenyi's critical difference (Demsar, JMLR 2006, section 3.2.2).

    Friedman's p comes from permutations of each data set's ranks, so it holds for few data sets,
    where the chi-square approximation does not.

    Args:
        scores: (N, M) a row per independent data set, a column per method; higher is better.

    Raises:
        ValueError: fewer than ``MIN_DATASETS`` data sets or two methods, or numbers that are not
            finite; says which.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError("a ranking needs at least two methods")
    if not np.isfinite(table).all():
        raise ValueError("a ranking needs a finite number of every method on every data set")
    count, methods = table.shape
    if count < MIN_DATASETS:
        raise ValueError(
            f"{amount(count, 'independent data set')}; a critical difference needs "
            f"at least {MIN_DATASETS}: with fewer, even a method that is better on all of them is "
            "not significantly better by a sign test"
        )
    away = _ranks(table) - (methods + 1) / 2
    scale = count**2 * (methods - 1) / ((away**2).sum() or 1.0)  # without ties 12 N / (k (k + 1))
    statistic = float(scale * (away.mean(axis=0) ** 2).sum())
    generator = np.random.default_rng(seed)
    beyond, block = 0, max(1, _NUMBERS_AT_ONCE // away.size)
    for start in range(0, _PERMUTATIONS, block):
        height = min(block, _PERMUTATIONS - start)
        copies = np.broadcast_to(away, (height, *away.shape))
        means = generator.permuted(copies, axis=2).mean(axis=1)
        found = scale * (means**2).sum(axis=1)
        beyond += int((found >= statistic - 1e-9).sum())
    p = (1 + beyond) / (1 + _PERMUTATIONS)
    difference = nemenyi_q(methods) * math.sqrt(methods * (methods + 1) / (6 * count))
    return RankTest(statistic, p, difference)


@functools.cache
def nemenyi_q(methods: int) -> float:
    """95 % quantile of the studentised range of k means, infinite freedom, divided by sqrt(2).

    Agrees with table 5 of Demsar (2006), which stops at ten methods.
    """
    from scipy.stats import studentized_range  # its import takes a second

    return float(studentized_range.ppf(0.95, methods, math.inf)) / math.sqrt(2)
