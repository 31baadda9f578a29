"""How sure a difference between methods is: one model for interval and p (docs/statistics.md).

Values lie between 0 and 1, for example hits (0 or 1) at k; ``groups`` are the clusters of the
queries, whose values are not independent (all captions of one image; one query under several shifts
and seeds); ``seeds`` the seed of each value, negative where a value takes no part in the estimate
of how much seeds differ (None: one seed, or seeds taken as they are). Inputs of different lengths,
empty, not finite or beyond 0 to 1 are a ``ValueError``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

ALPHA = 0.05
"""Chance of an interval that misses the true value, and so of a difference where there is none."""

_VALUES_AT_ONCE = 1 << 21
"""Values of pairs that are compared at once (16 MB), however many queries, shifts and seeds."""

RULE = "the 95 % interval of the paired difference excludes 0 (the same as p < 0.05)"
"""What ``excludes_zero`` decides, in the words that stand under tables and figures."""


def excludes_zero(low: float, high: float) -> bool:
    """The one rule of significance: whether an interval lies on one side of zero.

    All tables, figures, the page and the claims ask it. False where an end is NaN.
    """
    return low > 0 or high < 0


class Interval(NamedTuple):
    """An estimate with its 95 % interval, in percentage points."""

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """A difference of two means with its 95 % interval, times 100, and its two-sided p-value.

    The interval excludes zero exactly where ``p`` is below ``ALPHA``.
    """

    difference: float
    low: float
    high: float
    p: float

    @property
    def significant(self) -> bool:
        """Whether the two differ, by ``excludes_zero``."""
        return excludes_zero(self.low, self.high)


def paired_comparison(
    a: np.ndarray, b: np.ndarray, groups: np.ndarray, *, seeds: np.ndarray | None = None
) -> Comparison:
    """Mean of ``a`` minus mean of ``b`` over the same queries, with interval and p.

    Args:
        a: (Q,) values of the first method.
        b: (Q,) values of the second method for the same queries in the same order.
        groups: (Q,) cluster of each query.
        seeds: (Q,) int seed of each value.
    """
    first, second = np.asarray(a)[:, None], np.asarray(b)[:, None]
    return paired_comparisons(first, second, np.asarray(groups), seeds=seeds)[0]


def all_comparisons(
    values: np.ndarray, groups: np.ndarray, *, seeds: np.ndarray | None = None
) -> dict[tuple[int, int], Comparison]:
    """``paired_comparison`` of every two columns of values (Q, M), a column per method.

    Returns:
        (i, j) with i < j -> column i minus column j.
    """
    table, clusters = np.asarray(values, dtype=np.float64), np.asarray(groups)
    pairs = list(itertools.combinations(range(table.shape[1]), 2))
    found: dict[tuple[int, int], Comparison] = {}
    at_once = max(1, _VALUES_AT_ONCE // max(1, len(table)))
    for start in range(0, len(pairs), at_once):
        some = pairs[start : start + at_once]
        first, second = [i for i, _ in some], [j for _, j in some]
        rows = paired_comparisons(table[:, first], table[:, second], clusters, seeds=seeds)
        found |= zip(some, rows, strict=True)
    return found


def paired_comparisons(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray, *, seeds: np.ndarray | None = None
) -> list[Comparison]:
    """``paired_comparison`` of each column of ``first`` with that of ``second``, both (Q, P)."""
    if first.shape != second.shape or first.ndim != 2 or not first.size:
        raise ValueError(
            "a comparison needs one-dimensional values of the same length, not those of shape "
            f"{first.shape} and {second.shape}, a column each"
        )
    for values in (first, second):
        _check(values, groups, seeds)
    # Hits may come as bool, of which a copy in float64 would take eight times the memory.
    found = _spread(np.subtract(first, second, dtype=np.float64), groups, seeds)
    half = _critical(found, ALPHA) * np.sqrt(found.variance)
    low, high = possible(found.mean - half, found.mean + half, second.mean(axis=0))
    # Rounding must not put the estimate outside; adding zero turns -0.0 into 0.0.
    low, high = np.minimum(low, found.mean) + 0.0, np.maximum(high, found.mean) + 0.0
    columns = (100.0 * found.mean, 100.0 * low, 100.0 * high, _p_values(found))
    return [Comparison(*map(float, row)) for row in zip(*columns, strict=True)]


def possible(
    low: np.ndarray | float, high: np.ndarray | float, second: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """An interval of differences of means from 0 to 1, cut to what can be.

    It ends at -1 and 1; where it is wider than 1, at what is left to lose and to win beside the
    mean ``second`` of the method that is subtracted. Zero and the estimate stay where they are.
    """
    low, high = np.maximum(low, -1.0), np.minimum(high, 1.0)
    wide = high - low > 1.0
    return (
        np.where(wide, np.maximum(low, -second), low),
        np.where(wide, np.minimum(high, 1.0 - second), high),
    )


def mean_interval(
    values: np.ndarray, groups: np.ndarray, *, seeds: np.ndarray | None = None
) -> Interval:
    """Mean of values from 0 to 1, times 100, with its interval, from the model of the comparisons.

    Two clusters of hits and two of misses are added for the interval, which so has a length where
    all values agree (Agresti and Coull, *The American Statistician* 52, 1998).
    """
    column = np.asarray(values, dtype=np.float64)[:, None]
    _check(column, groups, seeds)
    cluster, count = _numbered(groups)
    size = max(1, round(len(column) / count))
    added = np.repeat([1.0, 1.0, 0.0, 0.0], size)[:, None]
    labels = np.concatenate([cluster, count + np.repeat(np.arange(4), size)])
    of_seeds = None if seeds is None else np.concatenate([seeds, np.full(len(added), -1)])
    found = _spread(np.concatenate([column, added]), labels, of_seeds)
    centre, half = float(found.mean[0]), float((_critical(found, ALPHA) * found.variance**0.5)[0])
    mean = float(column.mean())
    low, high = max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half))
    return Interval(100.0 * mean, 100.0 * low, 100.0 * high)


def _check(values: np.ndarray, groups: np.ndarray, seeds: np.ndarray | None) -> None:
    if groups.shape != values.shape[:1]:
        raise ValueError(f"expected a group for each query, not {groups.shape} of {len(values)}")
    if not np.isfinite(values).all():
        raise ValueError("a comparison needs finite values")
    if values.min() < 0 or values.max() > 1:
        raise ValueError(
            f"a comparison needs values from 0 to 1, not {values.min():g} to {values.max():g}"
        )
    if seeds is not None and np.shape(seeds) != groups.shape:
        raise ValueError(f"expected a seed for each of {len(groups)} values, not {np.shape(seeds)}")


class _Spread(NamedTuple):
    """Means (P,) and what is known of their variance.

    Attributes:
        mean: (P,) over all values.
        variance: (P,) of the mean, over other clusters and other seeds.
        weight: (P,) how much of the critical value is that of the seeds, 0 to 1.
        clusters: how many there are.
        seeds: degrees of freedom of the seeds; 0 where there is one.
    """

    mean: np.ndarray
    variance: np.ndarray
    weight: np.ndarray
    clusters: int
    seeds: int


def _spread(values: np.ndarray, groups: np.ndarray, seeds: np.ndarray | None) -> _Spread:
    """Mean and variance of values (Q, P) of the two-way layout of clusters by seeds."""
    cluster, count = _numbered(groups)
    totals = _sums(values, cluster, count)
    sizes = np.bincount(cluster, minlength=count)[:, None]
    del cluster
    mean = totals.sum(axis=0) / sizes.sum()
    of_clusters = _jackknife(totals, sizes) + _step(totals, sizes.sum(), count)
    if seeds is None or len(np.unique(seeds[seeds >= 0])) < 2:
        return _Spread(mean, of_clusters, np.zeros_like(mean), count, 0)
    of_seeds, by_chance, freedom = _over_seeds(values, groups, seeds)
    variance = of_seeds + np.maximum(of_clusters - by_chance, 0.0)
    weight = np.minimum(1.0, (1.0 + freedom**-2) * of_seeds / variance) ** 2
    return _Spread(mean, variance, weight, count, freedom)


def _jackknife(totals: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Variance (P,) of the mean by leaving out one cluster at a time: totals (C, P), sizes (C, 1).

    For clusters of one size it is that of the mean of their means; with unequal sizes it is less
    biased than the linearised one (MacKinnon, Nielsen and Webb, J. Applied Econometrics 38, 2023).
    """
    count = len(totals)
    if count < 2:
        return np.zeros(totals.shape[1])
    whole, size = totals.sum(axis=0), sizes.sum()
    without = (whole - totals) / (size - sizes)
    return (count - 1) / count * ((without - whole / size) ** 2).sum(axis=0)


def _step(totals: np.ndarray, size: float, count: int) -> np.ndarray:
    """Variance (P,) of one more cluster that is not zero: its sum is like those that are not.

    Where few clusters differ, hits are so coarse that the variance is too small without it; the
    kind of Agresti and Min's added pairs (Statistics in Medicine 24, 2005).
    """
    different = (totals != 0).sum(axis=0)
    known = (totals**2).sum(axis=0) / np.maximum(different, 1) / size**2
    return np.where(different > 0, known, 1.0 / count**2)


def _over_seeds(
    values: np.ndarray, groups: np.ndarray, seeds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Variance (P,) of the mean of the seeds' means; the part by chance; degrees of freedom.

    By chance, seeds differ by the interaction of clusters and seeds: a cluster's value changes from
    seed to seed. The values of all clusters change it in each seed by whole steps, hence the
    variance of rounding to a step, which keeps seeds that agree by chance from looking sure.
    """
    # There is a value for every query, shift and seed: no array of that length is kept for long.
    counted = seeds >= 0
    if not counted.all():
        values, groups, seeds = values[counted], groups[counted], seeds[counted]
    place, count = _numbered(groups)
    seed, seed_count = _numbered(seeds)
    place = place.astype(np.min_scalar_type(count * seed_count))
    place *= seed_count
    place += seed
    del seed
    totals = _sums(values, place, count * seed_count)
    sizes = np.bincount(place, minlength=count * seed_count).reshape(count, seed_count, 1)
    size = sizes.sum(axis=0)
    step = _step(totals, float(size.mean()), count)
    totals = totals.reshape(count, seed_count, -1)
    means = totals.sum(axis=0) / size
    parts = (totals - means * sizes) / size
    interaction = parts - parts.mean(axis=1, keepdims=True)
    factor = count / (count - 1) if count > 1 else 0.0
    by_chance = factor * (interaction**2).sum(axis=(0, 1)) / (seed_count - 1)
    variance = means.var(axis=0, ddof=1) + step / 12.0
    return variance / seed_count, by_chance / seed_count, seed_count - 1


def _critical(found: _Spread, alpha: float | np.ndarray) -> np.ndarray:
    """How many standard errors (P,) the interval of level 1 - alpha reaches to either side.

    Between the quantiles of Student's t for clusters and for seeds, by the share that seeds have
    in the variance, after Cochran (Cochran and Cox, *Experimental Designs*, 1957, section 4.14);
    the weight is that of docs/statistics.md. C clusters are no surer than C signs: below
    2 ** (1 - C) there is no limit.
    """
    level = np.broadcast_to(np.asarray(alpha, dtype=np.float64), found.mean.shape)
    if found.clusters < 2:
        return np.full(found.mean.shape, math.inf)
    reach = -stdtrit(float(found.clusters - 1), level / 2)
    if found.seeds:
        reach = reach + found.weight * (-stdtrit(float(found.seeds), level / 2) - reach)
    return np.where(level < 2.0 ** -min(found.clusters - 1, 1000), math.inf, reach)


def _p_values(found: _Spread) -> np.ndarray:
    """The alpha (P,) from which on the interval excludes zero."""
    least = 2.0 ** -min(found.clusters - 1, 1000)
    if found.clusters < 2:
        return np.ones(found.mean.shape)
    size = np.abs(found.mean) / np.sqrt(found.variance)
    p = 2.0 * stdtr(float(found.clusters - 1), -size)
    if found.seeds:
        # The critical value lies between the two quantiles, and so does p: halve on a log scale.
        of_seeds = 2.0 * stdtr(float(found.seeds), -size)
        low = np.log(np.maximum(np.minimum(p, of_seeds), 1e-280))
        high = np.log(np.maximum(np.maximum(p, of_seeds), 1e-280))
        for _ in range(50):
            middle = (low + high) / 2
            beyond = size > _critical(found, np.exp(middle))
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        p = np.exp(high)
    return np.clip(p, least, 1.0)


def _numbered(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Each label as a number from 0 in the order of the labels, and how many there are."""
    if labels.dtype.kind in "iu" and labels.min() >= 0 and labels.max() < 4 * len(labels):
        # The usual case, counted instead of sorted: several times faster.
        number = np.cumsum(np.bincount(labels) > 0) - 1
        count = int(number[-1]) + 1
        return number.astype(np.min_scalar_type(count))[labels], count
    names, numbers = np.unique(labels, return_inverse=True)
    return numbers, len(names)


def _sums(values: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
    """(count, P) sums of the rows of ``values`` (Q, P) that have the same index."""
    return np.stack([np.bincount(index, weights=v, minlength=count) for v in values.T], axis=1)


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment of a family's p-values (Holm, 1979), same order and length.

    Rejecting those at or below 0.05 keeps the chance of any false rejection in the family below
    5 %, whatever the dependence between them. NaN stays NaN and does not count.
    """
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(values.shape, math.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    raised = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return adjusted


class Harm(NamedTuple):
    """How often a method is worse than no adaptation: shares of the cells, 0 to 1.

    ``rate``: the difference is below zero; ``significant``: its interval is, too.
    """

    rate: float
    significant: float


def harm(cells: Sequence[Comparison]) -> Harm:
    """The harm rate of a method from its cells' differences to the source; NaN without cells."""
    if not cells:
        return Harm(math.nan, math.nan)
    below = [cell for cell in cells if cell.difference < 0]
    surely = [cell for cell in below if cell.significant]
    return Harm(len(below) / len(cells), len(surely) / len(cells))
