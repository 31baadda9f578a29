"""The leaderboard and the table by shift, as data frames: pure functions of the stored cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from benchmark.metrics.intervals import holm
from benchmark.report.columns import BY_SHIFT, COLUMNS, LEADERBOARD
from benchmark.report.pools import Pool
from benchmark.report.ranking_tables import as_pools, rankings
from benchmark.report.results import CellResult


def leaderboard(results: Iterable[CellResult] | Sequence[Pool]) -> pd.DataFrame:
    """One row per method and benchmark, over all shifts and seeds that were run.

    Uncorrupted cells (shift "none") do not enter the means, except on benchmarks that have no
    others. The difference to the source and its interval use the cells that have a source cell.
    ``cells_missing`` counts the (shift, seed) pairs that another method has on this benchmark and
    this one has not: rows with different numbers of cells are not comparable. ``p_holm`` is
    corrected over all rows of the suite.

    Returns:
        Columns ``columns.LEADERBOARD`` and the headline metrics; percentages in percent,
        differences in points; NaN where a number does not apply.
    """
    pools = as_pools(results)
    frame = _frame(pools, LEADERBOARD)
    ranks = {
        (ranking.suite, ranking.stream, method): (rank, ranking.datasets)
        for ranking in rankings(pools)
        for method, rank in ranking.average.items()
    }
    keys = zip(frame["suite"], frame["stream"], frame["method"], strict=True)
    found = [ranks.get(key, (math.nan, None)) for key in keys]
    frame["average_rank"] = [rank for rank, _ in found]
    frame["rank_datasets"] = pd.array([count for _, count in found], dtype="Int64")
    return frame


def by_shift(pools: Sequence[Pool]) -> pd.DataFrame:
    """One row per benchmark, shift, severity and method; seeds pooled.

    Cells that did not finish have a row too, with blank numbers, ``status`` and ``reason``.

    Returns:
        Columns ``columns.BY_SHIFT``, as for ``leaderboard``.
    """
    return _frame(pools, BY_SHIFT)


def numbers_of(pool: Pool, names: Iterable[str]) -> dict[str, Any]:
    """Column -> value, those of the headline metrics and their differences too."""
    row = {name: COLUMNS[name].of(pool) for name in names}
    for name in pool.headline:
        row |= {name: pool.mean("metrics", name), f"{name}_difference": pool.gain(name)}
    return row


def _frame(pools: Sequence[Pool], names: Sequence[str]) -> pd.DataFrame:
    """A row per pool; the family of ``p_holm`` is every comparison with the source in a suite."""
    headline = dict.fromkeys(name for pool in pools for name in pool.headline)
    more = [column for name in headline for column in (name, f"{name}_difference")]
    rows = [numbers_of(pool, names) for pool in pools]
    frame = pd.DataFrame(rows, columns=list(dict.fromkeys([*names, *more])))
    for _, p in frame.groupby("suite")["p"]:
        frame.loc[p.index, "p_holm"] = holm(p.to_numpy())
    # Counts that a failed cell may lack stay whole numbers ("Int64" knows missing ones).
    return frame.astype({"queries": "Int64", "gallery": "Int64"})
