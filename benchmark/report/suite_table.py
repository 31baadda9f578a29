"""One row per benchmark: R@1 of every method, and why a row has none."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.text import Text

from benchmark.cell import CLEAN, SOURCE
from benchmark.report.display import FittedTable, data_table
from benchmark.report.pools import Pool, benchmark_pools, labels_of
from benchmark.report.results import CellResult
from benchmark.report.table import plain, tuned_by_method
from benchmark.report.unshifted import NOTHING

FACTS = ("row", "directions", "shifts", "queries", "gallery", "clean", "tuned", "note")
"""Columns of the frame beside the methods' own."""


def suite_frame(results: Iterable[CellResult], rows: Mapping[str, str]) -> pd.DataFrame:
    """One row per benchmark, the mean over its directions and, within each, over its shifts.

    Args:
        results: cells with their numbers per query, in any order.
        rows: benchmark id -> name of its row; others stand for themselves. Rows come in the order
            of this mapping.

    Returns:
        ``FACTS`` (``queries`` and ``gallery`` as the largest direction's; ``clean``: R@1 of the
        source model on clean queries, percent; ``tuned``: which options of which method were tuned
        and on what; ``note``: why cells have no result) and one column of R@1 (percent) per method,
        NaN where a direction has no number. Below a benchmark that is known by other metrics it has
        a row for each of them.
    """
    pools: dict[str, list[Pool]] = defaultdict(list)
    for pool in benchmark_pools(results):
        pools[rows.get(pool.first.benchmark, pool.first.benchmark)].append(pool)
    order = list(dict.fromkeys([*rows.values(), *pools]))
    listed = [
        _row(name, pools[name], metric)
        for name in order
        if name in pools
        for metric in dict.fromkeys(["R@1", *(m for pool in pools[name] for m in pool.headline)])
    ]
    columns = labels_of(pool for row in pools.values() for pool in row)
    return pd.DataFrame(listed, columns=[*FACTS[:-1], *columns, FACTS[-1]])


def _row(name: str, pools: Sequence[Pool], metric: str) -> dict[str, Any]:
    cells = [cell for pool in pools for cell in pool.cells]
    directions = {cell.benchmark for cell in cells}
    values: dict[str, list[float]] = defaultdict(list)
    for pool in pools:
        values[pool.label].append(pool.mean("metrics", metric) if pool.done else math.nan)
    means = {
        label: sum(found) / len(found) if len(found) == len(directions) else math.nan
        for label, found in values.items()
    }
    source = [pool for pool in pools if pool.first.method == SOURCE and pool.done]
    clean = [_clean(pool) for pool in source]
    shifts = [
        f"{c.shift}-{c.severities}" + f" ({NOTHING})" * (c.coverage == 0)
        for c in cells
        if c.shift != CLEAN
    ]
    shifts += [
        f"{name.replace(' ', '-')} ({NOTHING}, left out)" for p in pools for name in p.left_out
    ]
    return {
        "row": name if metric == "R@1" else f"{name}, {metric}",
        "directions": len(directions),
        "shifts": ", ".join(dict.fromkeys(shifts)) or "none",
        "queries": max((c.queries for c in cells if c.queries is not None), default=None),
        "gallery": max((c.gallery for c in cells if c.gallery is not None), default=None),
        "clean": sum(clean) / len(clean) if clean and metric == "R@1" else math.nan,
        "tuned": "; ".join(tuned_by_method(pools)),
        "note": _note(pools) if metric == "R@1" else "",
        **means,
    }


def _clean(pool: Pool) -> float:
    """R@1 of the source model on the benchmark's own queries uncorrupted; NaN if not measured."""
    if pool.first.shift == CLEAN:
        return pool.mean("metrics", "R@1")
    own = pool.first.record.info.get("home", pool.first.benchmark) == pool.first.benchmark
    return pool.mean("metrics", "clean_R@1_before") if own else math.nan


def _note(pools: Sequence[Pool]) -> str:
    reasons = dict.fromkeys(
        f"{cell.method} {cell.record.status.value}: {cell.record.reason or 'no reason stored'}"
        for pool in pools
        for cell in pool.undone
    )
    return "; ".join(reasons)


def suite_table(frame: pd.DataFrame) -> FittedTable:
    """The frame for a terminal: R@1 without marks, since a row's directions have no common test."""
    table = data_table()
    table.add_column("benchmark", no_wrap=True)
    table.add_column("shifts", overflow="fold", max_width=34)
    for heading in ("queries", "gallery", "clean"):
        table.add_column(heading, justify="right", no_wrap=True)
    methods = [name for name in frame.columns if name not in FACTS]
    for method in methods:
        table.add_column(Text(plain(method)), justify="right", overflow="fold")
    if frame["note"].any():
        table.add_column("without a result", overflow="fold")
    for row in frame.to_dict("records"):
        facts = [Text(plain(row["row"])), Text(plain(row["shifts"]))]
        facts += [Text("" if pd.isna(row[key]) else f"{row[key]:.0f}") for key in FACTS[3:5]]
        facts.append(_percent(row["clean"]))
        values = [_percent(row[method]) for method in methods]
        note = [Text(plain(row["note"]), style="red")] if frame["note"].any() else []
        table.add_row(*facts, *values, *note)
    return table


def _percent(value: float) -> Text:
    return Text(f"{value:.1f}") if math.isfinite(value) else Text("-", style="dim")
