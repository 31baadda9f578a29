"""How sure a difference between two methods is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Difference(NamedTuple):
    """A difference with its confidence interval, in the unit of the inputs times 100."""

    difference: float
    low: float
    high: float


_DRAWS_AT_ONCE = 1 << 22


def paired_difference(
    a: np.ndarray,
    b: np.ndarray,
    groups: np.ndarray,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Difference of two means over the same queries with a cluster-bootstrap interval.

    Clusters (all captions of one image) are drawn with replacement, since their queries are not
    independent; the interval is the percentile interval (Efron and Tibshirani, 1993, ch. 13).
    A resampled mean depends on a cluster only through its sum and its size, so clusters that agree
    in both are drawn together, as one category of a multinomial: the same distribution, less work.

    Args:
        a: (Q,) values of the first method, for example hits (0 or 1) at k.
        b: (Q,) values of the second method for the same queries in the same order.
        groups: (Q,) cluster of each query.
        resamples: number of bootstrap resamples.
        seed: of the resampling; the same seed gives the same interval.
        level: coverage asked for.

    Returns:
        Mean of ``a`` minus mean of ``b`` and the interval's ends, times 100 (percentage points
        for hits).

    Raises:
        ValueError: inputs of different lengths, empty or not finite.
    """
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
    _, cluster = np.unique(clusters, return_inverse=True)
    totals = np.stack([np.bincount(cluster, weights=delta), np.bincount(cluster)], axis=1)
    kinds, count = np.unique(totals, axis=0, return_counts=True)

    generator = np.random.default_rng(seed)
    share = count / count.sum()
    means = np.empty(resamples)
    rows = max(1, _DRAWS_AT_ONCE // len(kinds))
    for start in range(0, resamples, rows):
        stop = min(resamples, start + rows)
        drawn = generator.multinomial(count.sum(), share, size=stop - start) @ kinds
        means[start:stop] = drawn[:, 0] / drawn[:, 1]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Difference(100.0 * float(delta.mean()), 100.0 * float(low), 100.0 * float(high))
