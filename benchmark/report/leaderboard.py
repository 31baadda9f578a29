"""The leaderboard and the table by shift, as data frames: pure functions of the stored cells."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.config.atomic import atomic_write
from benchmark.errors import ResultsError
from benchmark.metrics.intervals import Comparison, harm, holm
from benchmark.report.pools import Pool, note
from benchmark.report.ranking_tables import as_pools, rankings
from benchmark.report.results import CellResult
from benchmark.store.csv_text import no_formulas

_NUMBERS = ("R@1_difference", "R@1_difference_low", "R@1_difference_high", "p")
_DIFFERENCE = (*_NUMBERS, "significant", "p_holm")
_HARM = ("harm_rate", "harm_rate_significant")

LEADERBOARD_NUMBERS = {
    "mean_recall": ("metrics", "mean_recall"),
    "coverage": ("probes", "coverage"),
    "change_size": ("probes", "change_size"),
    "clean_R@1_before": ("metrics", "clean_R@1_before"),
    "clean_R@1_after": ("metrics", "clean_R@1_after"),
    "forgetting": ("metrics", "forgetting"),
    "uniformity": ("probes", "uniformity"),
    "effective_rank": ("probes", "effective_rank"),
    "hubness": ("probes", "hubness"),
    "ms_per_query": ("cost", "ms_per_query"),
    "peak_mb": ("cost", "peak_mb"),
    "forward_per_query": ("cost", "forward_per_query"),
    "backward_per_query": ("cost", "backward_per_query"),
}
"""Column of ``leaderboard.csv`` -> section and name of the stored number that it is a mean of."""

LEADERBOARD_COLUMNS = (
    "suite",
    "benchmark",
    "stream",
    "method",
    "preset",
    "tuned",
    "R@1",
    "R@1_low",
    "R@1_high",
    "R@1_sd_over_seeds",
    *_DIFFERENCE,
    "average_rank",
    "rank_datasets",
    *_HARM,
    *LEADERBOARD_NUMBERS,
    "ms_per_query_ratio",
    "peak_mb_ratio",
    "shifts",
    "seeds",
    "cells",
    "cells_missing",
    "cells_failed",
    "note",
    "headline",
    "backbone",
    "weights",
    "queries",
    "gallery",
)
"""Columns of ``leaderboard.csv``; docs/output.md says what each means."""

BY_SHIFT_NUMBERS = {
    "R@1": ("metrics", "R@1"),
    "R@5": ("metrics", "R@5"),
    "R@10": ("metrics", "R@10"),
    "mean_recall": ("metrics", "mean_recall"),
    "mAP": ("metrics", "mAP"),
    "coverage": ("probes", "coverage"),
    "coverage_image": ("probes", "coverage_image"),
    "coverage_text": ("probes", "coverage_text"),
    "change_size": ("probes", "change_size"),
    "uniformity": ("probes", "uniformity"),
    "gap": ("probes", "gap"),
    "consistency": ("probes", "consistency"),
    "effective_rank": ("probes", "effective_rank"),
    "hubness": ("probes", "hubness"),
    "angle": ("probes", "angle"),
    "clean_R@1_before": ("metrics", "clean_R@1_before"),
    "clean_R@1_after": ("metrics", "clean_R@1_after"),
    "forgetting": ("metrics", "forgetting"),
    "first_domain_R@1_before": ("metrics", "first_domain_R@1_before"),
    "first_domain_R@1_during": ("metrics", "first_domain_R@1_during"),
    "first_domain_R@1_after": ("metrics", "first_domain_R@1_after"),
    "ms_per_query": ("cost", "ms_per_query"),
    "peak_mb": ("cost", "peak_mb"),
    "forward_per_query": ("cost", "forward_per_query"),
    "backward_per_query": ("cost", "backward_per_query"),
}
"""Column of ``by_shift.csv`` -> section and name of the stored number."""


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
        Columns ``LEADERBOARD_COLUMNS``; percentages in percent, differences in points; NaN where
        a number does not apply.
    """
    pools = as_pools(results)
    ranks = {
        (ranking.suite, ranking.stream, method): (rank, ranking.datasets)
        for ranking in rankings(pools)
        for method, rank in ranking.average.items()
    }
    rows = []
    for pool in pools:
        row = _leaderboard_row(pool)
        place = (row["suite"], row["stream"], row["method"])
        row["average_rank"], row["rank_datasets"] = ranks.get(place, (math.nan, None))
        rows.append(row)
    return _frame(_corrected(rows), [*LEADERBOARD_COLUMNS, *headline_columns(pools)])


def by_shift(pools: Sequence[Pool]) -> pd.DataFrame:
    """One row per benchmark, shift, severity and method; seeds pooled.

    Cells that did not finish have a row too, with blank numbers, ``status`` and ``reason``.
    ``p_holm`` is corrected over all rows of the suite.

    Args:
        pools: ``shift_pools(results)``.
    """
    columns = [*_by_shift_columns(), *headline_columns(pools)]
    return _frame(_corrected([_shift_row(pool) for pool in pools]), list(dict.fromkeys(columns)))


def headline_columns(pools: Sequence[Pool]) -> list[str]:
    """Columns for the headline metrics of these benchmarks, each followed by its difference."""
    names = dict.fromkeys(name for pool in pools for name in pool.headline)
    return [column for name in names for column in (name, f"{name}_difference")]


def _headline(pool: Pool) -> dict[str, Any]:
    found: dict[str, Any] = {"headline": ", ".join(pool.headline or ("R@1",))}
    for name in pool.headline:
        found |= {name: pool.mean("metrics", name), f"{name}_difference": pool.gain(name)}
    return found


def _corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds ``p_holm``: the family is every comparison with the source in a suite's table."""
    for suite in {row["suite"] for row in rows}:
        family = [row for row in rows if row["suite"] == suite]
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = float(p)
    return rows


def _frame(rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    """Counts that a failed cell may lack stay whole numbers ("Int64" knows missing ones)."""
    frame = pd.DataFrame(rows, columns=columns)
    whole = [name for name in ("queries", "gallery", "rank_datasets") if name in columns]
    return frame.astype(dict.fromkeys(whole, "Int64"))


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


def _identity(pool: Pool) -> dict[str, Any]:
    cell, info = pool.first.record.cell, pool.first.record.info
    return {
        "suite": cell["suite"],
        "benchmark": pool.first.benchmark,
        "stream": pool.first.stream,
        "method": pool.label,
        "preset": pool.first.preset,
        "tuned": pool.first.tuned,
        "backbone": info.get("backbone_name") or cell["backbone"]["loader"],
        "weights": info.get("backbone_fingerprint", ""),
        "queries": info.get("queries"),
        "gallery": info.get("gallery"),
    }


def against_source(found: Comparison | None) -> dict[str, Any]:
    """A comparison with the source by column, with the decision; blank where there is none."""
    if found is None:
        return {**dict.fromkeys(_NUMBERS, math.nan), "significant": None}
    return {**dict(zip(_NUMBERS, found, strict=True)), "significant": found.significant}


def _against_source(pool: Pool) -> dict[str, Any]:
    """Difference, interval, p and harm rate; NaN for the source itself and without its cells."""
    rates = harm(pool.by_cell)
    return {
        **against_source(pool.comparison),
        "harm_rate": rates.rate,
        "harm_rate_significant": rates.significant,
        "ms_per_query_ratio": pool.ratio("cost", "ms_per_query"),
        "peak_mb_ratio": pool.ratio("cost", "peak_mb"),
        "R@1_sd_over_seeds": spread_over_seeds(pool),
    }


def _leaderboard_row(pool: Pool) -> dict[str, Any]:
    _, low, high = pool.recall or (math.nan, math.nan, math.nan)
    return {
        **_identity(pool),
        **_against_source(pool),
        "R@1": pool.mean("metrics", "R@1"),
        "R@1_low": low,
        "R@1_high": high,
        **{name: pool.mean(*place) for name, place in LEADERBOARD_NUMBERS.items()},
        "shifts": len({cell.setting for cell in pool.done}),
        "seeds": len({cell.seed for cell in pool.done}),
        "cells": len(pool.done),
        "cells_missing": pool.missing,
        "cells_failed": len(pool.undone),
        "note": note(pool),
        **_headline(pool),
    }


def spread_over_seeds(pool: Pool) -> float:
    """Standard deviation (n - 1) over seeds of the mean R@1 over shifts, in points.

    Only shifts that every seed has take part, so that a missing cell does not pass for spread.
    NaN with fewer than two seeds or without a common shift.
    """
    recall: dict[tuple[str, ...], dict[int, float]] = defaultdict(dict)
    for cell in pool.done:
        recall[cell.setting][cell.seed] = float(cell.record.metrics.get("R@1", math.nan))
    seeds = sorted({cell.seed for cell in pool.done})
    common = [by_seed for by_seed in recall.values() if len(by_seed) == len(seeds)]
    if len(seeds) < 2 or not common:
        return math.nan
    means = [sum(by_seed[seed] for by_seed in common) / len(common) for seed in seeds]
    return float(pd.Series(means).std(ddof=1, skipna=False))


def _by_shift_columns() -> list[str]:
    identity = ["suite", "benchmark", "stream", "shift", "severity", "method"]
    identity += ["preset", "tuned"]
    numbers = list(BY_SHIFT_NUMBERS)
    difference = ["R@1_sd_over_seeds", *_DIFFERENCE, *_HARM]
    facts = [
        "seeds",
        "cells",
        "status",
        "reason",
        "note",
        "headline",
        "backbone",
        "weights",
        "queries",
        "gallery",
    ]
    ratios = ["ms_per_query_ratio", "peak_mb_ratio"]
    return [*identity, *numbers[:5], *difference, *numbers[5:], *ratios, *facts]


def _shift_row(pool: Pool) -> dict[str, Any]:
    statuses = sorted({cell.record.status.value for cell in (*pool.done, *pool.undone)})
    reasons = [f"seed {cell.seed}: {cell.record.reason}" for cell in pool.undone]
    return {
        **_identity(pool),
        **_against_source(pool),
        **{name: pool.mean(*place) for name, place in BY_SHIFT_NUMBERS.items()},
        "shift": pool.first.shift,
        "severity": pool.first.severity,
        "seeds": len({cell.seed for cell in pool.done}),
        "cells": len(pool.done),
        "status": "+".join(statuses),
        "reason": "; ".join(reasons),
        "note": note(pool),
        **_headline(pool),
    }
