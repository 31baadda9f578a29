"""Published numbers, kept in ``results/reported/*.csv``, to be set beside measured ones.

They never enter a measured column: ``beside`` returns tables of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmark.cell import SOURCE
from benchmark.data.card import benchmark_cards
from benchmark.errors import ResultsError
from benchmark.report.frames import TIDY_COLUMNS

FOLDER = Path(__file__).parents[2] / "results" / "reported"
"""Where the committed tables lie."""

COLUMNS = (
    *("source", "table", "benchmark", "backbone", "method", "shift", "severity", "direction"),
    *("metric", "value", "status", "caution"),
)
"""Columns of the files; results/reported/README.md says what each means."""

_MATCHED = ("benchmark", "shift", "severity", "method", "metric")
_MEASURED_KEYS = (
    *("suite", "benchmark", "backbone", "weights", "pretrained", "transform", "method", "preset"),
    *("tuned", "shift", "severity", "variant", "batch_size", "queries", "gallery"),
)

BESIDE_COLUMNS = (
    *_MEASURED_KEYS,
    *("metric", "measured", "seeds", "reported", "reported_difference", "source", "table"),
    *("reported_status", "caution"),
)
"""Columns of ``beside``. ``measured`` is the mean over seeds, ``reported_difference`` is measured
minus reported, in percentage points."""


def read(folder: Path = FOLDER) -> pd.DataFrame:
    """All tables of published numbers, which a test checks row by row.

    Returns:
        ``COLUMNS``, in the order of file names and lines. ``severity`` is Int64 (missing where the
        source does not say), ``value`` float64 as printed (recalls in percent).

    Raises:
        ResultsError: no table there, as in a copy that was installed without ``results``.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise ResultsError(f"no published numbers in {folder}; expected *.csv there")
    kinds = {**dict.fromkeys(COLUMNS, "str"), "severity": "Int64", "value": "float64"}
    blank = {"severity": [""]}
    tables = (pd.read_csv(f, dtype=kinds, keep_default_na=False, na_values=blank) for f in files)
    return pd.concat(tables, ignore_index=True)


def beside(
    measured: pd.DataFrame, reported: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sets published numbers beside the measured cells that they stand for.

    A number stands for a cell if benchmark (with its direction), backbone, shift, severity, method
    and metric are the same, and the settings too, as far as they are known (``settings.yaml``, and
    the number of queries of the benchmark). Backbones match by name, without regard to case. A
    number without severity stands for no cell; streams of several domains are not looked at.

    Args:
        measured: the tidy table of a run (``report.tidy``).
        reported: as ``read`` returns it; read anew by default.

    Returns:
        ``BESIDE_COLUMNS``, one row per measured cell and published number, seeds pooled, in the
        order of the tidy table. Then the numbers that are not set beside a cell because settings
        differ; a further column, ``differs``, says which.

    Raises:
        ResultsError: ``read`` fails.
    """
    numbers = (read() if reported is None else reported).dropna(subset=["severity"])
    cells = _pooled(measured)
    left = cells.assign(_backbone=cells["backbone"].astype(str).str.casefold())
    right = numbers.assign(
        _backbone=numbers["backbone"].str.casefold(), severity=numbers["severity"].astype("int64")
    ).rename(columns={"value": "reported", "status": "reported_status"})
    right = right.drop(columns=["backbone", "direction"])
    found = left.merge(right, on=[*_MATCHED, "_backbone"], how="inner")
    found["reported_difference"] = found["measured"] - found["reported"]
    known = yaml.safe_load((FOLDER / "settings.yaml").read_text(encoding="utf-8"))
    rows = found.to_dict("records")
    found["differs"] = [_differs(row, known.get(str(row["source"]), {})) for row in rows]
    found = found[[*BESIDE_COLUMNS, "differs"]]
    same = found["differs"] == ""
    fitting = found[same].drop(columns="differs")
    return fitting.reset_index(drop=True), found[~same].reset_index(drop=True)


def _differs(row: Mapping[Any, Any], published: Mapping[str, Any]) -> str:
    """Which settings of a measured row are not the published ones, or ""."""
    wanted = {name: published[name] for name in ("transform",) if name in published}
    if row["method"] != SOURCE and published:
        wanted |= {name: published[name] for name in ("preset", "batch_size")}
    tag = published.get("pretrained", {}).get(row["backbone"])
    if tag is not None:
        wanted["pretrained"] = tag
    found = dict(row)
    options = json.loads(row["variant"]) if row["variant"] else {}
    if "variant" in published and "variant" in options:
        wanted["variant"], found["variant"] = published["variant"], options["variant"]
    card = benchmark_cards().get(str(row["benchmark"]))
    of_side = {"image": "images", "text": "captions", "composed": "queries"}
    queries = None if card is None else card.counts.get(of_side.get(card.query, "clips"))
    if queries is not None:  # of the whole benchmark
        wanted["queries"] = queries
    return "; ".join(
        f"{name} is {found[name] or 'not given'}, not {value}"
        for name, value in wanted.items()
        if str(found[name]) != str(value)
    )


def _pooled(measured: pd.DataFrame) -> pd.DataFrame:
    """Finished cells of single-shift streams: the mean of each number over the seeds."""
    rows = measured[(measured["status"] == "done") & (measured["stream"] == "single")]
    numbers = [name for name in measured.columns if name not in TIDY_COLUMNS]
    long = rows.astype({"severity": "int64"}).melt(
        [*_MEASURED_KEYS, "seed"], numbers, var_name="metric", ignore_index=False
    )
    # In the order of the cells, not of the numbers.
    long = long.astype({"value": "float64"}).dropna(subset=["value"]).sort_index(kind="stable")
    grouped = long.groupby([*_MEASURED_KEYS, "metric"], sort=False, dropna=False)
    return grouped.agg(measured=("value", "mean"), seeds=("seed", "nunique")).reset_index()
