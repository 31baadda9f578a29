"""Tidy table: one row per cell and number."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from benchmark.cell import STREAM_OPTIONS, Cell, Record, Status
from benchmark.config.presets import tuned
from benchmark.store.records import cell_from_dict

TIDY_COLUMNS = (
    *("key", "suite", "benchmark", "task", "query_modality", "backbone", "weights", "pretrained"),
    *("transform", "method", "preset", "tuned", "shift", "severity", "variant", "stream"),
    *("batch_size", "stream_options", "domains", "seed", "queries", "gallery", "status", "group"),
    *("name", "value"),
)
"""Columns of the tidy table. ``weights`` is the backbone's fingerprint, ``pretrained`` their tag or
the name of their file, ``tuned`` which options were tuned and on what, ``variant`` the shift's
options as JSON (for a stream of several domains a list, one entry per domain)."""

_GROUPS = {"metric": "metrics", "probe": "probes", "cost": "cost"}


def tidy(records: Iterable[Record]) -> pd.DataFrame:
    """One row per cell and number, in the order of the records.

    A cell without a result has one row, ``R@1`` without a value, so that it is not overlooked.
    """
    rows = [row for record in records for row in _rows(record)]
    return pd.DataFrame(rows, columns=list(TIDY_COLUMNS))


def _variant(cell: Cell) -> str:
    options = [dict(domain.options) for domain in cell.domains]
    if not any(options):
        return ""
    return json.dumps(options if cell.stream.domains else options[0], sort_keys=True)


def _rows(record: Record) -> Iterator[dict[str, Any]]:
    cell, info = cell_from_dict(record.cell), record.info
    shared = {
        "key": record.key,
        "suite": cell.suite,
        "benchmark": cell.benchmark,
        "task": info.get("task", ""),
        "query_modality": info.get("query_modality", ""),
        "backbone": info.get("backbone_name", cell.backbone.model or cell.backbone.loader),
        "weights": info.get("backbone_fingerprint", ""),
        "pretrained": os.path.basename(cell.backbone.pretrained),
        "transform": cell.backbone.transform,
        "method": cell.method.label,
        "preset": cell.method.preset,
        "tuned": tuned(cell.method.options, cell.method.origins),
        "shift": cell.shift.name,
        "severity": cell.shift.severity,
        "variant": _variant(cell),
        "stream": cell.stream.kind,
        "batch_size": cell.stream.batch_size,
        "stream_options": ", ".join(
            f"{name}={getattr(cell.stream, name)}"
            for name in STREAM_OPTIONS.get(cell.stream.kind, ())
            if getattr(cell.stream, name) != ""
        ),
        "domains": ", ".join(domain.label for domain in cell.stream.domains),
        "seed": cell.seed,
        "queries": info.get("queries", ""),
        "gallery": info.get("gallery", ""),
        "status": record.status.value,
    }
    if record.status != Status.DONE:
        yield {**shared, "group": "metric", "name": "R@1", "value": math.nan}
        return
    for group, section in _GROUPS.items():
        for name, value in getattr(record, section).items():
            yield {**shared, "group": group, "name": name, "value": value}
