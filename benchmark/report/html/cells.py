"""What the page shows of a single cell: configuration, recall along the stream, ranks."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from benchmark.report.results import CellResult
from benchmark.store.records import cell_from_dict

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
    rounded = float(f"{float(value):.5g}")
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
    """Number of queries by the rank of their best relevant item, in ``RANK_BINS``.

    Empty bins at the end are left out.
    """
    if cell.ranks is None or not len(cell.ranks):
        return []
    places = np.searchsorted(RANK_BINS, cell.ranks, side="right") - 1
    return np.bincount(places).tolist()


def linker(cells: Path | None, page: Path) -> Callable[[CellResult], str]:
    """Cell -> address of its JSON file relative to the page; "" where no folder is given."""
    if cells is None:
        return lambda cell: ""
    # Symbolic links stay as they are: the folder may be moved together with the page.
    folder = os.path.relpath(os.path.abspath(cells), os.path.abspath(page.parent))

    def link(cell: CellResult) -> str:
        stem = cell_from_dict(cell.record.cell).stem(cell.record.key)
        # A name with a colon in it must not pass for a scheme.
        return quote(f"./{Path(folder).as_posix()}/{stem}.json")

    return link


def configuration(cell: CellResult) -> dict[str, str]:
    """Parts of the configuration -> their text, most of which many cells share.

    Of a path on the machine that ran the cell only its last part stays: pages are passed on.
    """
    spec, environment = cell.record.cell, dict(cell.record.environment)
    started = str(environment.pop("started", ""))
    facts = {name: cell.record.info[name] for name in _FACTS if name in cell.record.info}
    facts |= {"limit": spec["limit"]} if spec.get("limit") is not None else {}
    return {
        "method": pretty(spec["method"]),
        "shift": pretty(spec["shift"]),
        "stream": pretty(spec.get("stream", {})),
        "backbone": pretty(spec["backbone"]),
        "data and weights": pretty(facts),
        "environment": pretty(environment),
        "started": started,
    }


def pretty(value: Mapping[str, Any]) -> str:
    """Indented JSON in the order in which it is stored, without folders."""
    return _indented(json.dumps(value, default=str))


@lru_cache(maxsize=1024)  # cells share most parts, and indenting is what takes time
def _indented(text: str) -> str:
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
