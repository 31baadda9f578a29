"""What the page shows of each cell: its curve, its ranks, all its numbers, its configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from benchmark.report.results import CellResult

_SECTIONS = ("metrics", "probes", "cost")

Strings = Callable[[object], int]
"""Number of a text in ``strings``: many cells share one."""


def detail(cell: CellResult, source: int, link: str, strings: Strings) -> dict[str, Any]:
    """What the page shows of a cell; ``source``: number of its source cell, ``link``: its file."""
    record = cell.record
    numbers = {
        f"{s}.{name}": value for s in _SECTIONS for name, value in getattr(record, s).items()
    }
    return {
        "key": record.key,
        "reason": record.reason,
        "link": link,
        "source": source,
        "queries": 0 if cell.hits is None else len(cell.hits),
        "curve": curve(cell),
        "ranks": histogram(cell),
        "names": strings("\n".join(numbers)),
        "values": [number(value) for value in numbers.values()],
        "config": {name: strings(text) for name, text in configuration(cell).items()},
    }


CURVE_POINTS = 48
RANK_BINS = (1, 2, 3, 6, 11, 21, 51, 101, 201, 501, 1001, 2001, 5001, 10001, 100001)
"""First rank of each bin of the histogram; the last one is open."""

_FACTS = (
    *("task", "queries", "gallery", "backbone_name", "backbone_fingerprint", "data_fingerprint"),
    *("embed_dim", "shift_files", "ready_made"),
)


def number(value: Any) -> float | int | None:
    """A number as the page needs it, five significant digits; None where there is none."""
    if value is None or isinstance(value, str) or not np.isfinite(value):
        return None
    return rounded(value, ".5g")


def rounded(value: Any, form: str) -> float | int:
    rounded = float(f"{float(value):{form}}")
    return int(rounded) if rounded.is_integer() else rounded


def curve(cell: CellResult) -> list[float]:
    """R@1 (percent) over the queries seen so far, at ``CURVE_POINTS`` equally spaced places.

    Point i of n is after ``(i + 1) * queries // n`` queries. Empty where nothing is stored.
    """
    if cell.hits is None or cell.order is None or not len(cell.hits):
        return []
    count = len(cell.hits)
    points = min(CURVE_POINTS, count)
    seen = np.arange(1, points + 1) * count // points
    recall = 100.0 * np.cumsum(cell.hits[cell.order])[seen - 1] / seen
    return [float(value) for value in recall.round(2)]


def histogram(cell: CellResult) -> list[int]:
    """Queries by the rank of their best relevant item: a count for each of ``RANK_BINS`` in use."""
    if cell.ranks is None or not len(cell.ranks):
        return []
    places = np.searchsorted(RANK_BINS, cell.ranks, side="right") - 1
    return np.bincount(places).tolist()


def configuration(cell: CellResult) -> dict[str, str]:
    """Parts of the configuration -> their text, most of which many cells share.

    Of a path on the machine that ran the cell only its last part stays: pages are passed on.
    """
    spec, environment = cell.record.cell, dict(cell.record.environment)
    started = str(environment.pop("started", ""))
    facts = {name: cell.record.info[name] for name in _FACTS if name in cell.record.info}
    facts |= {"limit": spec["limit"]} if spec.get("limit") is not None else {}
    parts = {name: spec.get(name, {}) for name in ("method", "shift", "stream", "backbone")}
    parts |= {"data and weights": facts, "environment": environment}
    texts = {name: _indented(json.dumps(part, default=str)) for name, part in parts.items()}
    return {**texts, "started": started}


@lru_cache(maxsize=1024)  # cells share most parts, and indenting is what takes time
def _indented(text: str) -> str:
    """Indented JSON in the order in which it is stored, without folders."""
    return json.dumps(_without_folders(json.loads(text)), indent=1, ensure_ascii=False)


def _without_folders(value: Any) -> Any:
    """The last part of each path; a tag or a hub's name ("org/model") stays as it is."""
    if isinstance(value, Mapping):
        return {name: _without_folders(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(part) for part in value]
    if isinstance(value, str) and re.match(r"[/~.]|\w:\\", value):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value
