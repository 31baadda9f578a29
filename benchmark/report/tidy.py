"""Tidy table: one row per cell, one column per number."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark.cell import STREAM_OPTIONS, Cell, Record, Status
from benchmark.config.presets import tuned
from benchmark.report.columns import COLUMNS
from benchmark.store.records import cell_from_dict

TIDY_COLUMNS = (
    *("key", "suite", "benchmark", "task", "query_modality", "backbone", "weights", "pretrained"),
    *("transform", "method", "preset", "tuned", "shift", "severity", "variant", "stream"),
    *("batch_size", "stream_options", "domains", "seed", "queries", "gallery", "status"),
)
"""First columns of the tidy table. ``weights`` is the backbone's fingerprint, ``pretrained`` their
tag or the name of their file, ``tuned`` which options were tuned and on what, ``variant`` the
shift's options as JSON (for a stream of several domains a list, one entry per domain)."""

_SECTIONS = ("metrics", "probes", "cost")
_PROBES = ("conflict", *(name for name, column in COLUMNS.items() if column.source == "probes"))
_PROBES_OF_PARTS = ("coverage_", "change_size_")


Numbers = Mapping[tuple[str, str], str]
"""Section of a record and name of a number -> its column."""


def tidy(records: Iterable[Record], numbers: Numbers | None = None) -> pd.DataFrame:
    """One row per cell, in the order of the records: ``TIDY_COLUMNS``, then the numbers.

    A cell without a result has no number.

    Args:
        records: of the cells.
        numbers: their ``number_columns``, or those of more records; by default found here.
    """
    given = list(records)
    names = number_columns(given) if numbers is None else numbers
    rows = [_identity(record) | _numbers(record, names) for record in given]
    return pd.DataFrame(rows, columns=[*TIDY_COLUMNS, *names.values()])


def number_columns(records: Sequence[Record]) -> Numbers:
    """The metrics, probes and costs that any cell has, each with a column of its name.

    A name that is taken has its section in front (``cost_seed``). What a method logs (losses,
    counts) and how the seconds divide stay in the records.
    """
    names: dict[tuple[str, str], str] = {}
    for section in _SECTIONS:
        for record in records:
            for name in getattr(record, section) if record.status == Status.DONE else ():
                if (section, name) not in names and _shown(section, name):
                    free = name not in TIDY_COLUMNS and name not in names.values()
                    names[section, name] = name if free else f"{section}_{name}"
    return names


def _shown(section: str, name: str) -> bool:
    if section == "probes":
        return name in _PROBES or name.startswith(_PROBES_OF_PARTS)
    return not name.startswith("seconds_")


def _numbers(record: Record, names: Numbers) -> dict[str, float]:
    if record.status != Status.DONE:
        return dict.fromkeys(names.values(), math.nan)
    return {
        column: getattr(record, section).get(name, math.nan)
        for (section, name), column in names.items()
    }


def _variant(cell: Cell) -> str:
    options = [dict(domain.options) for domain in cell.domains]
    if not any(options):
        return ""
    return json.dumps(options if cell.stream.domains else options[0], sort_keys=True)


def _identity(record: Record) -> dict[str, Any]:
    cell, info = cell_from_dict(record.cell), record.info
    return {
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
