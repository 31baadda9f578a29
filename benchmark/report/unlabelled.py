"""Tables and words about a query log without labels: what changes, and no recall."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from benchmark.cell import CLEAN, SOURCE, Status
from benchmark.errors import amount
from benchmark.report.display import data_table
from benchmark.report.pools import shift_pools
from benchmark.report.results import SECTIONS, CellResult, Setting, told_apart
from benchmark.report.style import COLUMNS, Column

FEW = 30
"""Below this many queries the numbers are mostly chance."""

JUDGED = 500
"""Queries that are worth judging by hand, as the verdict says."""

_METRICS = (
    *("changed@1", "changed@10", "clean_changed@1", "clean_changed@10"),
    *("shift_changed@1", "shift_changed@10"),
    *("clean_uniformity", "clean_gap", "clean_prediction_entropy"),
)
_PROBES = ("uniformity", "gap", "prediction_entropy", "effective_rank", "hubness")

_SHOWN = (
    *("changed@1", "changed@10", "clean_changed@1", "uniformity", "gap", "prediction_entropy"),
    *("ms_per_query", "expected_gain"),
)
"""Columns on the terminal."""

_NOTE = (
    "Changed: against the unadapted model; the first ten as a set. Entropy of the predictions: "
    "0 sure of one item, 1 all items alike."
)


def unlabelled_frame(results: Iterable[CellResult]) -> pd.DataFrame:
    """One row per benchmark, shift and method variant; the mean over the seeds.

    Returns:
        ``changed@1`` and ``changed@10``: percent of the queries whose first candidate, and whose
        first ten as a set, differ from the unadapted model's; the same of clean queries after the
        stream (``clean_changed@k``), and of the queries before the shift (``shift_changed@k``);
        where the queries lie, and where the clean ones do (``clean_*``); cost; the expected gain
        with its error, or why there is none. Time and gain are against the same seeds' source.
    """
    pools = shift_pools(results)
    own = (cell for pool in pools if pool.is_source for cell in pool.cells)
    sources = {(c.setting, c.seed): c for c in own if c.record.status is Status.DONE}
    rows = [_row(pool.cells, sources) | {"method": pool.label} for pool in pools]
    frame = pd.DataFrame(rows)
    if any(told := told_apart([pool.first for pool in pools], shifts=True)):
        frame["told_apart"] = told
    return frame


def unlabelled_table(results: Iterable[CellResult]) -> RenderableType:
    """What ``make bench`` prints of a query log."""
    frame = unlabelled_frame(results)
    parts: list[RenderableType] = []
    several = frame["backbone"].nunique() > 1
    keys = ["benchmark", "stream", "shift", "backbone", "told_apart"]
    table = frame.assign(told_apart=frame.get("told_apart", ""))
    for names, rows in table.groupby(keys, sort=False):
        told = zip(names, ("", "single", CLEAN, "" if several else names[3], ""), strict=True)
        heading = ", ".join(str(name) for name, usual in told if name != usual)
        first = rows.iloc[0]
        if first.queries:
            heading += f": {amount(int(first.queries), 'query')} without labels"
            heading += f", gallery of {first.gallery:,}"
        parts += [Text(heading, style="bold"), Text(), _table(rows), Text()]
        for _, row in rows.iterrows():
            if row["reason"]:
                parts.append(Text(f"{row['method']} {row['status']}: {row['reason']}", "red"))
    parts += [Text(note, style="dim") for note in (_NOTE, *_gain_notes(frame))]
    return Group(*parts)


def unlabelled_verdict(results: Iterable[CellResult]) -> list[str]:
    """Three lines: how far the queries are from clean ones, what methods change, what is open."""
    frame = unlabelled_frame(results)
    if frame.empty:
        return []
    done = frame[frame["seeds"] > 0]
    source = done[done["method"] == SOURCE]
    if source.empty:
        return []
    return [_shift_line(source), _change_line(done), _open_line(done)]


def _row(
    cells: Sequence[CellResult], sources: Mapping[tuple[Setting, int], CellResult]
) -> dict[str, object]:
    first, done = cells[0], [cell for cell in cells if cell.record.status is Status.DONE]
    paired = [cell for cell in done if (cell.setting, cell.seed) in sources]
    source = [sources[cell.setting, cell.seed] for cell in paired]
    row: dict[str, object] = {
        "benchmark": first.benchmark,
        "backbone": first.backbone,
        "stream": first.stream,
        "shift": first.named_shift,
        "method": first.method,
        "queries": first.queries or 0,
        "gallery": first.gallery or 0,
        "seeds": len({cell.seed for cell in done}),
        "status": "+".join(sorted({cell.record.status.value for cell in cells})),
        "reason": next((cell.record.reason for cell in cells if cell.record.reason), ""),
        "reference": next(
            (str(c.record.info["home"]) for c in done if "clean_gap" in c.record.metrics), ""
        ),
    }
    for section, names in zip(SECTIONS, (_METRICS, _PROBES, ("ms_per_query",)), strict=True):
        row |= {name: _mean(done, section, name) for name in names}
    ours, before = (
        {n: value for n in _PROBES if math.isfinite(value := _mean(of, "probes", n))}
        for of in (paired, source)
    )
    times = [_mean(of, "cost", "ms_per_query") for of in (paired, source)]
    row["ms_per_query_ratio"] = times[0] / times[1]
    asked = paired and first.method != SOURCE
    changed = _mean(paired, "metrics", "changed@1")
    return row | (expected(first.method, ours, before, changed) if asked else Gain())._asdict()


def _mean(cells: Sequence[CellResult], section: str, name: str) -> float:
    found = [getattr(cell.record, section).get(name, math.nan) for cell in cells]
    return float(np.mean(found)) if found else math.nan


def _table(rows: pd.DataFrame) -> RenderableType:
    shown = [COLUMNS[name] for name in _SHOWN if rows[name].notna().any()]
    table = data_table()
    table.add_column("method", overflow="fold")
    for column in shown:
        table.add_column(column.heading, justify="right", no_wrap=True)
    first = rows.iloc[0]
    if math.isfinite(first["clean_uniformity"]):
        cells = [
            _written(first.get(f"clean_{c.key}", math.nan), c) if c.key in _PROBES else ""
            for c in shown
        ]
        table.add_row(Text("clean queries", style="dim"), *cells)
    for _, row in rows.iterrows():
        blank = ("changed@1", "changed@10", "clean_changed@1") if row["method"] == SOURCE else ()
        cells = ["" if c.key in blank else _written(row[c.key], c) for c in shown]
        table.add_row(Text(str(row["method"])), *cells)
    return table


def _written(value: float, column: Column) -> str:
    return f"{value:.{column.digits}f}" if math.isfinite(value) else ""


def _gain_notes(frame: pd.DataFrame) -> list[str]:
    """What the expected gain is worth, or why there is none."""
    known = frame[frame["expected_gain"].notna()]
    notes = []
    if len(known):
        errors = "; ".join(
            f"{method} {rows['expected_gain_error'].iloc[0]:.1f} "
            f"({rows['error_of_mean_gain'].iloc[0]:.1f})"
            for method, rows in known.groupby("method", sort=False)
        )
        notes.append(
            "Expected gain (experimental): points of R@1, predicted from these numbers by a "
            "regression on the embedded benchmarks. Its mean error on data sets left out, and in "
            f"brackets that of the mean gain as a guess: {errors}."
        )
    lacking = frame[(frame["no_expected_gain"] != "") & (frame["method"] != SOURCE)]
    for (method, reason), _ in lacking.groupby(["method", "no_expected_gain"], sort=False):
        notes.append(f"No expected gain of {method}: {reason}.")
    return notes


def _shift_line(source: pd.DataFrame) -> str:
    row = source.iloc[0]
    if not math.isfinite(row["clean_uniformity"]):
        return (
            "How far the queries have shifted cannot be said, as there are no clean ones to "
            "compare with: name the same queries before the shift (--clean TABLE)."
        )
    text = f"{row['shift']}: against" if source["shift"].nunique() > 1 else "Against"
    text += f" the clean queries of {row['reference']}: "
    said = {"uniformity": "uniformity", "gap": "gap", "prediction_entropy": "entropy"}
    text += ", ".join(
        f"{word} {row[name]:.3f} instead of {row[f'clean_{name}']:.3f}"
        for name, word in said.items()
    )
    if math.isfinite(row["shift_changed@1"]):
        text += f"; {row['shift_changed@1']:.1f} % of the queries get another first candidate"
    if row["queries"] < FEW:
        text += f"; {amount(int(row.queries), 'query')}: too few to rely on these numbers"
    return text + "."


def _change_line(done: pd.DataFrame) -> str:
    others = done[done["method"] != SOURCE]
    if others.empty:
        return "No method was run beside the unadapted model."
    parts = [
        f"{method} changes the first candidate of {rows['changed@1'].mean():.1f} % of the queries "
        f"at {rows['ms_per_query_ratio'].mean():.1f} times the time"
        for method, rows in others.groupby("method", sort=False)
    ]
    return "; ".join(parts[:3]) + (f"; and {len(parts) - 3} more" if len(parts) > 3 else "") + "."


def _open_line(done: pd.DataFrame) -> str:
    queries = int(done["queries"].max())
    some = "" if queries <= JUDGED else f"some {JUDGED} of "
    shift = ", with --shift none" if set(done["shift"]) == {CLEAN} else ""  # else a default one
    return (
        f"Whether a change is for the better cannot be said without labels: judge {some}the "
        f"{amount(queries, 'query')} (column relevant, or --qrels), and run without "
        f"--unlabelled{shift}."
    )


# Experimental: the gain of a method predicted from numbers that need no labels. A ridge regression
# for each method on the cells of ``results/tidy.csv``, fitted and judged by ``docs/gain_model.py``.

PREDICTORS = ("uniformity", "gap", "effective_rank", "hubness")
"""Probes of the source model, and how much the method changes each, from which its gain is
predicted; consistency would need labels."""

FITTED = Path(__file__).with_name("gain.json")


class Gain(NamedTuple):
    """A predicted gain in R@1, by column.

    Attributes:
        expected_gain: the prediction, points.
        expected_gain_error: mean absolute error on data sets that were left out.
        error_of_mean_gain: the same of the mean gain as a guess.
        expected_gain_datasets: how many were left out in turn.
        no_expected_gain: why there is none.
    """

    expected_gain: float = math.nan
    expected_gain_error: float = math.nan
    error_of_mean_gain: float = math.nan
    expected_gain_datasets: float = math.nan
    no_expected_gain: str = ""


def expected(
    method: str, ours: Mapping[str, float], source: Mapping[str, float], changed: float = 100.0
) -> Gain:
    """The gain to expect of a method, or why none can be said.

    Args:
        ours: probes of its cell.
        source: probes of the source model's cell.
        changed: percent of the queries with another first candidate; no gain can be larger.
    """
    found = _fitted().get(method)
    if found is None:
        return Gain(no_expected_gain="no stored cells of the method")
    if not found["error"] < found["of_mean"]:
        return Gain(no_expected_gain="no better than the mean gain on data sets left out")
    if any(probe not in ours or probe not in source for probe in PREDICTORS):
        return Gain(no_expected_gain="a number is missing")
    after, before = (np.array([of[probe] for probe in PREDICTORS]) for of in (ours, source))
    values = np.concatenate([before, after - before])
    for name, value, low, high in zip(features(), values, found["low"], found["high"], strict=True):
        if not low <= value <= high:
            probe, _, when = name.rpartition("_")
            said = f"{probe} of the unadapted model" if when == "source" else f"change of {probe}"
            why = f"{said} is {value:.4g}, stored cells have {low:.4g} to {high:.4g}"
            return Gain(no_expected_gain=why)
    points = float(np.clip(model(found)(values[None])[0], -changed, changed))
    return Gain(points, found["error"], found["of_mean"], found["datasets"])


def model(fitted: Mapping[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """(rows, features) -> (rows,) predicted gains, points."""
    mean, spread, slopes = (np.array(fitted[name]) for name in ("mean", "spread", "slopes"))
    return lambda x: ((x - mean) / spread) @ slopes + fitted["centre"]


def features() -> list[str]:
    """Names of what a model predicts from, in order."""
    return [f"{probe}_{when}" for when in ("source", "change") for probe in PREDICTORS]


@cache
def _fitted() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FITTED.read_text(encoding="utf-8"))
    return found
