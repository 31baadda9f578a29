"""The numbers behind the page: a pure function of the cells."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from benchmark.report.frames import leaderboard, numbers_of, rankings
from benchmark.report.pools import Pool, changed_nothing, grouped, labels_of
from benchmark.report.results import (
    NOTHING,
    SECTIONS,
    CellResult,
    canonical,
    method_rank,
    place_facts,
    tell_apart,
    told_apart,
)
from benchmark.report.style import (
    COLUMNS,
    FOLDED,
    IDENTITY,
    VIEWS,
    Column,
    against_source,
    extent,
    looks,
)
from benchmark.report.verdict import NOTES, summaries_of

_ALWAYS = ("benchmark", "method", "R@1", "R@1_difference")
_TROUBLES = ("cells_missing", "cells_failed")
_SYNTHETIC = (
    "Benchmarks whose id starts with mini- are synthetic: their numbers say nothing about COCO "
    "or other photographs."
)

_LEFT_OUT = (
    "The {:,} single cells are too many for a page and are left out; tidy.csv and the cells' files "
    "have them."
)

MOST_CELLS = 20_000
"""Single cells are left out of a page of more: each takes 1 kB of it, and a browser must read all
before it shows anything."""

Row = dict[str, Any]
Strings = Callable[[object], int]
"""Number of a text in ``strings``: many cells share one."""


def page_data(
    benchmarks: Sequence[Pool],
    shifts: Sequence[Pool],
    *,
    warnings: Sequence[str] = (),
    link: Callable[[CellResult], str] = lambda cell: "",
) -> dict[str, Any]:
    """What the page's script reads, as JSON values; texts are numbers into ``strings``.

    Args:
        benchmarks: ``benchmark_pools(results)``; ``shifts``: ``shift_pools(results)``.
        warnings: ``problems(results)``.
        link: address of a cell's JSON file.

    Returns:
        ``tables``: for each view its columns and rows, numbers rounded as they are shown; a row has
        the numbers of the rows that it is made of (``members``: cells; of a method its
        benchmarks) and, by benchmark and by shift, of its place among ``heads``. ``cells``:
        details of each cell, in the order of the rows of the view "cell"; none where there are
        more than ``MOST_CELLS``.
    """
    texts: dict[str, int] = {}

    def strings(text: object) -> int:
        return texts.setdefault(str(text), len(texts))

    cells = [cell for pool in shifts for cell in pool.cells]
    many = len(cells) > MOST_CELLS
    singles = [] if many else [single for pool in shifts for single in pool.singles]
    places = {single.first.record.key: at for at, single in enumerate(singles)}
    of_benchmarks = leaderboard(benchmarks).to_dict("records")
    of_cells = [
        _numbers(single, "cell") | {"note": NOTHING * (single.first.coverage == 0)}
        for single in singles
    ]
    rows = {
        "method": _of_methods(benchmarks),
        "benchmark": _rows(benchmarks, of_benchmarks, places, "place"),
        "shift": _rows(shifts, [_numbers(p, "shift") for p in shifts], places, "setting"),
        "cell": _rows(singles, of_cells, places),
    }
    names = sorted({cell.method for cell in cells}, key=method_rank)
    labels = labels_of((*shifts, *benchmarks))
    chosen = looks(labels)
    return {
        "tables": {view: _table(view, found, strings) for view, found in rows.items()},
        "heads": _heads(benchmarks, shifts),
        "methods": [strings(label) for label in labels],
        "colours": [chosen[label].colour for label in labels],
        "cells": [detail(single, places, link(single.first), strings) for single in singles],
        "bins": list(RANK_BINS),
        "notes": [
            *([_SYNTHETIC] if any(c.benchmark.startswith("mini-") for c in cells) else []),
            *(NOTES[name] for name in names if name in NOTES),
        ],
        "warnings": [*([_LEFT_OUT.format(len(cells))] if many else []), *warnings],
        "strings": list(texts),
    }


def _numbers(pool: Pool, view: str) -> Row:
    compared = against_source(pool.comparison) if pool.comparison else {}
    return numbers_of(pool, VIEWS[view]) | compared


def _rows(
    pools: Sequence[Pool],
    numbers: Iterable[Mapping[Any, Any]],
    places: Mapping[str, int],
    head: str = "",
) -> list[Row]:
    """The numbers of each pool with its cells and, where ``head`` says which, its heading."""
    heads: dict[Any, int] = {}
    rows = []
    told = told_apart([pool.first for pool in pools], shifts=head != "place")
    for pool, of_pool, apart in zip(pools, numbers, told, strict=True):
        keys = [cell.record.key for cell in pool.cells if cell.record.key in places]
        row: Row = {"task": pool.first.task, "headline_metrics": pool.headline}
        row["told_apart"] = apart
        row["members"] = [places[key] for key in keys]
        if head:
            row["head"] = heads.setdefault(getattr(pool.first, head), len(heads))
        rows.append({**of_pool, **row})
    return rows


def _of_methods(benchmarks: Sequence[Pool]) -> list[Row]:
    """The numbers of each method over all benchmarks, the best rank first; the rows of these."""
    places = {(pool.first.place, pool.label): at for at, pool in enumerate(benchmarks)}
    return [
        {
            **found._asdict(),
            **against_source(found.gain),
            "suite": ranking.suite,
            "stream": ranking.stream,
            "method": found.pools[0].label,
            "benchmarks": sum(bool(pool.done) for pool in found.pools),
            "cells": sum(len(pool.done) for pool in found.pools),
            "cells_failed": sum(len(pool.undone) for pool in found.pools),
            "members": [places[pool.first.place, pool.label] for pool in found.pools],
        }
        for ranking in rankings(benchmarks)
        for found in sorted(summaries_of(ranking), key=lambda row: row.average_rank or math.inf)
    ]


def _table(view: str, rows: Sequence[Row], strings: Strings) -> dict[str, Any]:
    """Columns that say something, and the rows' values in their order, rounded as shown."""
    columns = [
        column
        for column in (*(COLUMNS[name] for name in VIEWS[view]), *_headline_columns(rows))
        if _says_something(column, [_value(row.get(column.key), column) for row in rows])
    ]
    # The bounds of an interval are shown with its value. Whether the difference is one was
    # decided with them; the script asks for it.
    bounds = {
        f"{column.key}_{end}": column._replace(kind="number")
        for column in columns
        if any(f"{column.key}_low" in row for row in rows)
        for end in ("low", "high")
    }
    told = {column.key: column for column in columns} | bounds
    told["significant"] = COLUMNS["significant"]

    def packed(row: Row) -> list[Any]:
        values = (_value(row.get(name), column) for name, column in told.items())
        return [strings(value) if isinstance(value, str) else value for value in values]

    return {
        "columns": [
            {
                **{"key": c.key, "label": c.title, "kind": c.kind, "digits": c.digits},
                **{"note": c.note, "folded": c.key in FOLDED},
            }
            for c in columns
        ],
        "names": list(told),
        "kinds": [column.kind for column in told.values()],
        "rows": [packed(row) for row in rows],
        "members": [row["members"] for row in rows],
        "heads": [row["head"] for row in rows if "head" in row],
        "extents": _extents(rows, [c.key for c in columns if c.kind == "difference"]),
    }


def _says_something(column: Column, values: Sequence[Any]) -> bool:
    """Whether a column has values, and not the same one where it only names what is compared."""
    told = {value for value in values if value not in (None, "")}
    if column.key in _ALWAYS:
        return True
    if column.key in _TROUBLES:
        return bool(told - {0})
    return len(told) > 1 if column.key in IDENTITY else bool(told)


def _extents(rows: Sequence[Row], names: Sequence[str]) -> dict[str, float]:
    """How far the colours reach; one for all differences to the source, as in the figures."""
    found: dict[str, float] = {}
    for alone in (False, True):
        group = [name for name in names if (name == "forgetting") is alone]
        values = (number(row.get(name)) for row in rows for name in group)
        found |= dict.fromkeys(group, extent(value for value in values if value is not None))
    return found


def _headline_columns(rows: Sequence[Row]) -> list[Column]:
    """Columns for the headline metrics that the tables have none for."""
    names = dict.fromkeys(name for row in rows for name in row.get("headline_metrics", ()))
    columns = []
    for name in names:
        note = "headline metric of some benchmarks"
        columns.append(Column(name, "metrics", name, note=note))
        key, label = f"{name}_difference", f"{name} against source"
        columns.append(Column(key, "table", label, "difference", note="points"))
    return columns


def _value(value: Any, column: Column) -> Any:
    """A text, or a number with the digits that tables and figures show; None where none is.

    The page shows a p below 0.001 as that, and its CSV file has the value.
    """
    if column.kind == "text":
        return "" if value is None else str(value)
    return number(value, ".3g" if column.kind == "p" else f".{column.digits}f")


def _heads(benchmarks: Sequence[Pool], shifts: Sequence[Pool]) -> dict[str, list[list[str]]]:
    """Headings of the heat map: [benchmark] for each place, [benchmark, shift] for each setting."""
    here = grouped(shifts, lambda pool: pool.first.place)
    firsts = {pool.first.place: pool.first for pool in (*benchmarks, *shifts)}
    kind = {"single": ""}
    parts = [[c.benchmark, kind.get(c.stream, c.stream), *place_facts(c)] for c in firsts.values()]
    places = tell_apart(parts, 2)
    names = {
        place: f"{name} ({NOTHING})" if changed_nothing(here.get(place, ())) else name
        for place, name in zip(firsts, places, strict=True)
    }
    settings = {pool.first.setting: pool for pool in shifts}
    labels = tell_apart(
        [
            [names[pool.first.place], _shift(pool), canonical(setting[-1])]
            for setting, pool in settings.items()
        ],
        2,
    )
    return {
        "benchmark": [[names[place]] for place in dict.fromkeys(p.first.place for p in benchmarks)],
        "shift": [
            [names[pool.first.place], label.removeprefix(f"{names[pool.first.place]} · ")]
            for pool, label in zip(settings.values(), labels, strict=True)
        ],
    }


def _shift(pool: Pool) -> str:
    name = pool.first.named_shift
    return f"{name} ({NOTHING})" if pool.changed_nothing else name


# What the page shows of each cell: its curve, its ranks, all its numbers, its configuration.


def detail(single: Pool, places: Mapping[str, int], link: str, strings: Strings) -> dict[str, Any]:
    """What the page shows of a cell; ``places``: number of each by key, ``link``: its file."""
    cell, record = single.first, single.first.record
    sources = [] if single.is_source else [source.record.key for _, source in single.pairs]
    numbers = {f"{s}.{name}": value for s in SECTIONS for name, value in getattr(record, s).items()}
    return {
        "key": record.key,
        "reason": record.reason,
        "link": link,
        "source": places.get(sources[0], -1) if sources else -1,
        "queries": len(cell.ranks),
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


def number(value: Any, form: str = ".5g") -> float | int | None:
    """A number as the page needs it, by default of five digits; None where there is none."""
    if value is None or isinstance(value, str) or not np.isfinite(value):
        return None
    rounded = float(f"{float(value):{form}}")
    return int(rounded) if rounded.is_integer() else rounded


def curve(cell: CellResult) -> list[float]:
    """R@1 (percent) over the queries seen so far, at ``CURVE_POINTS`` equally spaced places.

    Point i of n is after ``(i + 1) * queries // n`` queries. Empty where nothing is stored.
    """
    count = len(cell.ranks)
    points = min(CURVE_POINTS, count)
    seen = np.arange(1, points + 1) * count // points
    recall = 100.0 * np.cumsum(cell.hits[cell.order])[seen - 1] / seen
    return [float(value) for value in recall.round(2)]


def histogram(cell: CellResult) -> list[int]:
    """Queries by the rank of their best relevant item: a count for each of ``RANK_BINS`` in use."""
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
