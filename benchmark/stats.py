"""How sure a difference between methods is: bootstrap, Holm, harm rate (docs/statistics.md)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Difference(NamedTuple):
    """A difference with its confidence interval, in the unit of the inputs times 100."""

    difference: float
    low: float
    high: float


class Comparison(NamedTuple):
    """A difference, its confidence interval (times 100, as ``Difference``) and its p-value.

    ``p`` is two-sided, against no difference; NaN where nothing can be said (a single cluster).
    """

    difference: float
    low: float
    high: float
    p: float


_DRAWS_AT_ONCE = 1 << 22
_FEW_KINDS = 16
"""Drawing a kind's count costs about as much as drawing this many clusters one by one."""


def paired_difference(
    a: np.ndarray,
    b: np.ndarray,
    groups: np.ndarray,
    *,
    seeds: np.ndarray | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """``paired_comparison`` without its p-value."""
    return Difference(
        *paired_comparison(a, b, groups, seeds=seeds, resamples=resamples, seed=seed, level=level)[
            :3
        ]
    )


def paired_comparison(
    a: np.ndarray,
    b: np.ndarray,
    groups: np.ndarray,
    *,
    seeds: np.ndarray | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Difference of two means over the same queries, its interval and its p-value.

    Clusters (all captions of one image; one query under several shifts and seeds) are drawn with
    replacement, since their values are not independent; the interval is the percentile interval
    (Efron and Tibshirani, 1993, ch. 13). Where there are several seeds, each resample also draws an
    effect of the seeds, as large as their means differ beyond what the queries explain.

    Args:
        a: (Q,) values of the first method, for example hits (0 or 1) at k.
        b: (Q,) values of the second method for the same queries in the same order.
        groups: (Q,) cluster of each query.
        seeds: (Q,) int seed of each value; negative where a value takes no part in the estimate of
            how much seeds differ. None: one seed, or seeds taken as they are.
        resamples: number of bootstrap resamples.
        seed: of the resampling; the same seed gives the same interval.
        level: coverage asked for.

    Returns:
        Mean of ``a`` minus mean of ``b``, the interval's ends, times 100 (percentage points for
        hits), and the p-value of the cluster-robust t statistic.

    Raises:
        ValueError: inputs of different lengths, empty or not finite.
    """
    delta, clusters = _paired(a, b, groups)
    return _estimate(delta, np.ones((1, 1)), clusters, seeds, (resamples, seed, level))[0]


class PairedTest(NamedTuple):
    """A difference (times 100) and its two-sided p-value, as in ``Comparison``."""

    difference: float
    p: float


def paired_test(a: np.ndarray, b: np.ndarray, groups: np.ndarray) -> PairedTest:
    """``paired_comparison`` without the interval, which is what takes time; for one seed.

    Raises:
        ValueError: inputs of different lengths, empty or not finite.
    """
    delta, clusters = _paired(a, b, groups)
    totals, sizes = _clustered(delta, clusters)
    mean, within = _mean_and_variance(totals, sizes, np.ones((1, 1)))
    p = _p_values(mean, (within, len(sizes) - 1), (np.zeros(1), 0))
    return PairedTest(100.0 * float(mean[0]), float(p[0]))


def _paired(a: np.ndarray, b: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The differences as a column (Q, 1), and the clusters."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    clusters = np.asarray(groups)
    if not first.shape == second.shape == clusters.shape or first.ndim != 1 or not first.size:
        raise ValueError(
            "a paired difference needs three one-dimensional arrays of the same length, not "
            f"{first.shape}, {second.shape} and {clusters.shape}"
        )
    delta = first - second
    if not np.isfinite(delta).all():
        raise ValueError("a paired difference needs finite values")
    return delta[:, None], clusters


def all_comparisons(
    values: np.ndarray,
    groups: np.ndarray,
    *,
    seeds: np.ndarray | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[tuple[int, int], Comparison]:
    """Every two methods compared on the same queries, from the same resamples.

    Args:
        values: (Q, M) a column per method, for example hits (0 or 1) at k.
        groups: as for ``paired_comparison``; ``seeds``, ``resamples``, ``seed``, ``level`` too.

    Returns:
        (i, j) with i < j -> column i minus column j, as ``paired_comparison`` gives it.

    Raises:
        ValueError: inputs of different lengths, empty or not finite.
    """
    table, clusters = np.asarray(values, dtype=np.float64), np.asarray(groups)
    if table.ndim != 2 or not table.size or clusters.shape != table.shape[:1]:
        raise ValueError(
            "comparisons need values of shape (queries, methods) and a group for each query, not "
            f"{table.shape} and {clusters.shape}"
        )
    if not np.isfinite(table).all():
        raise ValueError("a paired difference needs finite values")
    pairs = list(itertools.combinations(range(table.shape[1]), 2))
    contrasts = np.zeros((table.shape[1], len(pairs)))
    for column, (i, j) in enumerate(pairs):
        contrasts[i, column], contrasts[j, column] = 1.0, -1.0
    found = _estimate(table, contrasts, clusters, seeds, (resamples, seed, level))
    return dict(zip(pairs, found, strict=True))


def _estimate(
    values: np.ndarray,
    contrasts: np.ndarray,
    groups: np.ndarray,
    seeds: np.ndarray | None,
    sampling: tuple[int, int, float],
) -> list[Comparison]:
    """Estimates of ``mean(values) @ contrasts``: values (Q, M), contrasts (M, P)."""
    if seeds is not None and np.shape(seeds) != groups.shape:
        raise ValueError(f"expected a seed for each of {len(groups)} values, not {np.shape(seeds)}")
    resamples, seed, level = sampling
    totals, sizes = _clustered(values, groups)
    estimate, within = _mean_and_variance(totals, sizes, contrasts)
    between, seed_count = np.zeros(contrasts.shape[1]), 0
    if seeds is not None and len(np.unique(seeds[seeds >= 0])) > 1:
        between, seed_count = _between_seeds(values @ contrasts, groups, seeds)
    generator = np.random.default_rng(seed)
    drawn = _resampled(totals, sizes, resamples, generator) @ contrasts
    if between.any():
        # The variance is estimated from few seeds, hence draws of t and not of the normal.
        effect = generator.standard_t(seed_count - 1, size=(resamples, 1))
        drawn += effect * np.sqrt(between)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    p = _p_values(estimate, (within, len(sizes) - 1), (between, seed_count - 1))
    columns = (100.0 * estimate, 100.0 * low, 100.0 * high, p)
    return [Comparison(*map(float, row)) for row in zip(*columns, strict=True)]


def _clustered(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums (C, M) and sizes (C,) of the clusters of values (Q, M)."""
    cluster, count = _numbered(groups)
    return _sums(values, cluster, count), np.bincount(cluster, minlength=count)


def _mean_and_variance(
    totals: np.ndarray, sizes: np.ndarray, contrasts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means @ contrasts, (P,), and their linearised variance over clusters."""
    size, count = sizes.sum(), len(sizes)
    means = totals.sum(axis=0) / size
    spread = ((totals - means * sizes[:, None]) / size) @ contrasts
    factor = count / (count - 1) if count > 1 else math.nan
    return means @ contrasts, (spread**2).sum(axis=0) * factor


def _numbered(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Each label as a number from 0 in the order of the labels, and how many there are."""
    if labels.dtype.kind in "iu" and labels.min() >= 0 and labels.max() < 4 * len(labels):
        # The usual case, counted instead of sorted: several times faster.
        number = np.cumsum(np.bincount(labels) > 0) - 1
        return number[labels], int(number[-1]) + 1
    names, numbers = np.unique(labels, return_inverse=True)
    return numbers, len(names)


def _sums(values: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
    """(count, M) sums of the rows of ``values`` (Q, M) that have the same index."""
    return np.stack([np.bincount(index, weights=v, minlength=count) for v in values.T], axis=1)


def _between_seeds(
    values: np.ndarray, groups: np.ndarray, seeds: np.ndarray
) -> tuple[np.ndarray, int]:
    """Variance of the mean over seeds that queries do not explain, (P,), and the number of seeds.

    The random-effects estimate of a two-way layout (clusters by seeds): the variance of the seeds'
    means, less what the interaction of clusters and seeds lets them vary by chance, at least 0;
    divided by the number of seeds, since it is the mean over them that is estimated.
    """
    counted = seeds >= 0
    seed, seed_count = _numbered(seeds[counted])
    cluster, count = _numbered(groups[counted])
    values = values[counted]
    place = cluster * seed_count + seed
    shape = (count, seed_count, values.shape[1])
    totals = _sums(values, place, count * seed_count).reshape(shape)
    sizes = np.bincount(place, minlength=count * seed_count).reshape(count, seed_count, 1)
    size = sizes.sum(axis=0)
    means = totals.sum(axis=0) / size
    parts = (totals - means * sizes) / size
    interaction = parts - parts.mean(axis=1, keepdims=True)
    factor = count / (count - 1) if count > 1 else 0.0
    by_chance = factor * (interaction**2).sum(axis=(0, 1)) / (seed_count - 1)
    excess = np.maximum(means.var(axis=0, ddof=1) - by_chance, 0.0)
    excess[excess < 1e-24] = 0.0  # what rounding leaves of equal means
    return excess / seed_count, seed_count


def _resampled(
    totals: np.ndarray, sizes: np.ndarray, resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """Means (resamples, M) over clusters drawn with replacement, the same draw for all columns.

    A mean depends on a cluster only through its sums and its size. Where few clusters differ in
    these, those that agree are drawn together, as one category of a multinomial: the same
    distribution, less work. Otherwise clusters are drawn one by one, in blocks of bounded memory.
    """
    table = np.column_stack([totals, sizes]).astype(np.float64)
    kinds, count = _kinds(table)
    together = len(kinds) * _FEW_KINDS <= len(table)
    rows_of = kinds if together else table
    block = max(1, _DRAWS_AT_ONCE // len(rows_of))
    means = np.empty((resamples, totals.shape[1]))
    share = count / count.sum()
    for rows in _blocks(resamples, block):
        height = rows.stop - rows.start
        if together:
            times = generator.multinomial(count.sum(), share, size=height)
        else:
            times = _times_drawn(height, len(table), generator)
        drawn = times.astype(np.float64) @ rows_of
        means[rows] = drawn[:, :-1] / drawn[:, -1:]
    return means


def _blocks(length: int, block: int) -> Iterator[slice]:
    return (slice(start, min(length, start + block)) for start in range(0, length, block))


def _times_drawn(height: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """(height, count) how often each of ``count`` clusters is among as many draws of them."""
    drawn = generator.integers(0, count, size=(height, count), dtype=np.int32).astype(np.int64)
    drawn += count * np.arange(height)[:, None]
    return np.bincount(drawn.ravel(), minlength=height * count).reshape(height, count)


def _kinds(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows of a table and how many there are of each, in a fixed order.

    Column by column: many times faster than ``np.unique`` over rows.
    """
    code = np.zeros(len(table), dtype=np.int64)
    for column in table.T:
        values, number = np.unique(column, return_inverse=True)
        _, code = np.unique(code * len(values) + number, return_inverse=True)
    _, first, count = np.unique(code, return_index=True, return_counts=True)
    return table[first], count


def _p_values(
    estimate: np.ndarray, within: tuple[np.ndarray, int], between: tuple[np.ndarray, int]
) -> np.ndarray:
    """Two-sided p-values (P,) from the same model as the intervals, without drawing.

    Counting resamples beyond zero could not give values below 2 / resamples, which is too coarse
    for a correction over hundreds of comparisons. No paired comparison of C clusters can be surer
    than that of the signs of C differences: values below 2 ** (1 - C) are raised to it.

    Args:
        estimate: (P,) differences.
        within: (P,) variance of clusters and its degrees of freedom; ``between``: of seeds.
    """
    if within[1] < 1:
        return np.full(len(estimate), math.nan)
    p = np.ones(len(estimate))
    for place in np.flatnonzero(estimate):
        size, error = abs(float(estimate[place])), math.sqrt(within[0][place])
        of_seeds = math.sqrt(between[0][place])
        if of_seeds:
            p[place] = _sum_tails(size, error, of_seeds, between[1])
        else:
            p[place] = t_tails(size / error, within[1]) if error else 0.0
    return np.maximum(p, 2.0 ** -min(within[1], 1000))


def _sum_tails(size: float, error: float, of_seeds: float, freedom: int) -> float:
    """P(|error * N + of_seeds * T| > size) for a normal N and Student's T, both independent."""
    angle = _NODES * math.pi / 2
    density = _WEIGHTS * np.cos(angle) ** (freedom - 1)
    left = size - of_seeds * math.sqrt(freedom) * np.tan(angle)
    beyond = 1.0 - _normal(left / error) if error else (left < 0).astype(np.float64)
    return min(1.0, 2.0 * float(density @ beyond / density.sum()))


def _normal(x: np.ndarray) -> np.ndarray:
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in x])


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


def t_tails(t: float, freedom: float) -> float:
    """P(|T| > |t|) of Student's t distribution.

    With T = sqrt(freedom) tan(x) the density becomes cos(x) ** (freedom - 1), integrated here by
    Gauss and Legendre's rule from x(t) to as far as it is above 1e-16 of its start.

    Args:
        t: any finite number.
        freedom: degrees of freedom, at least 1, not necessarily whole.
    """
    start = math.atan(abs(t) / math.sqrt(freedom))
    if freedom <= 1:
        return 1.0 - start / (math.pi / 2)
    # cos(end) = cos(start) * 1e-16 ** (1 / (freedom - 1))
    end = math.acos(math.cos(start) * 10 ** (-16 / (freedom - 1)))
    x = start + (end - start) * (_NODES + 1) / 2
    area = float(_WEIGHTS @ np.cos(x) ** (freedom - 1)) * (end - start) / 2
    log_whole = math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2) + math.log(math.pi) / 2
    return min(1.0, 2.0 * area * math.exp(-log_whole))


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

    ``rate``: the difference is below zero; ``significant``: and its p below 0.05.
    """

    rate: float
    significant: float


def harm(cells: Sequence[PairedTest | Comparison]) -> Harm:
    """The harm rate of a method from its cells' differences to the source; NaN without cells."""
    if not cells:
        return Harm(math.nan, math.nan)
    below = [cell for cell in cells if cell.difference < 0]
    surely = [cell for cell in below if cell.p < 0.05]
    return Harm(len(below) / len(cells), len(surely) / len(cells))
