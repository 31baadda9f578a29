"""The leaderboard and the table by shift, as data frames: pure functions of the stored cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.config.atomic import atomic_write
from benchmark.errors import ResultsError
from benchmark.metrics.intervals import holm
from benchmark.report.columns import BY_SHIFT, COLUMNS, LEADERBOARD
from benchmark.report.pools import Pool
from benchmark.report.ranking_tables import as_pools, rankings
from benchmark.report.results import CellResult
from benchmark.store.csv_text import no_formulas


def leaderboard(results: Iterable[CellResult] | Sequence[Pool]) -> pd.DataFrame:
    """One row per method and benchmark, over all shifts and seeds that were run.

    Uncorrupted cells (shift "none") do not enter the means, except on benchmarks that have no
    others. The difference to the source and its
    interval use the cells that have a source cell. ``cells_missing`` counts the (shift, seed)
    pairs that another method has on this benchmark and this one has not: rows with different
    numbers of cells are not comparable. ``p_holm`` is corrected over all rows of the suite.

    Args:
        results: cells, or what ``benchmark_pools`` makes of them.

    Returns:
        Columns ``columns.LEADERBOARD`` and the headline metrics; percentages in percent,
        differences in points; NaN where a number does not apply.
    """
    pools = as_pools(results)
    ranks = {
        (ranking.suite, ranking.stream, method): (rank, ranking.datasets)
        for ranking in rankings(pools)
        for method, rank in ranking.average.items()
    }
    rows = []
    for pool in pools:
        row = _row(pool, LEADERBOARD)
        place = (row["suite"], row["stream"], row["method"])
        row["average_rank"], row["rank_datasets"] = ranks.get(place, (math.nan, None))
        rows.append(row)
    return _frame(pools, rows, LEADERBOARD)


def by_shift(pools: Sequence[Pool]) -> pd.DataFrame:
    """One row per benchmark, shift, severity and method; seeds pooled.

    Cells that did not finish have a row too, with blank numbers, ``status`` and ``reason``.
    ``p_holm`` is corrected over all rows of the suite.

    Args:
        pools: ``shift_pools(results)``.

    Returns:
        Columns ``columns.BY_SHIFT``, as for ``leaderboard``.
    """
    return _frame(pools, [_row(pool, BY_SHIFT) for pool in pools], BY_SHIFT)


def _row(pool: Pool, names: Iterable[str]) -> dict[str, Any]:
    row = {name: COLUMNS[name].of(pool) for name in names}
    for name in pool.headline:
        row |= {name: pool.mean("metrics", name), f"{name}_difference": pool.gain(name)}
    return row


def _frame(pools: Sequence[Pool], rows: list[dict[str, Any]], names: Sequence[str]) -> pd.DataFrame:
    """The rows with ``p_holm``, and columns for the headline metrics and their differences.

    Counts that a failed cell may lack stay whole numbers ("Int64" knows missing ones).
    """
    metrics = dict.fromkeys(name for pool in pools for name in pool.headline)
    headline = [column for name in metrics for column in (name, f"{name}_difference")]
    columns = list(dict.fromkeys([*names, *headline]))
    whole = [name for name in ("queries", "gallery", "rank_datasets") if name in columns]
    frame = pd.DataFrame(_corrected(rows), columns=columns)
    return frame.astype(dict.fromkeys(whole, "Int64"))


def _corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds ``p_holm``: the family is every comparison with the source in a suite's table."""
    for suite in {row["suite"] for row in rows}:
        family = [row for row in rows if row["suite"] == suite]
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = float(p)
    return rows


def write_csv(frame: pd.DataFrame, path: Path) -> Path:
    """Writes a frame as CSV in full precision and in one piece; same frame, same bytes.

    Raises:
        ResultsError: the folder or file cannot be written.
    """
    text = no_formulas(frame).to_csv(index=False, lineterminator="\n", na_rep="")
    return write_bytes(text.encode("utf-8"), path)


def write_bytes(data: bytes, path: Path) -> Path:
    """Writes a file in one piece.

    Raises:
        ResultsError: the folder or file cannot be written.
    """
    try:
        return atomic_write(path, data)
    except OSError as error:
        raise ResultsError(
            f"cannot write {path}: {error.strerror or error}; "
            "check that the folder exists and is writable, or choose another one"
        ) from error
