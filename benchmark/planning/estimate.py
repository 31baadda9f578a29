"""Forecast: which cells of a plan are done, and what the others will cost, from stored records.

A cell takes the median seconds per query of the larger finished cells of this machine with its
benchmark, backbone and method; where there are none, of those with its backbone, method and kind of
query.
Where there are none either, its cost is unknown, and said to be.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

from benchmark.cell import Cell, PartTexts
from benchmark.data.card import SEPARATOR, BenchmarkCard
from benchmark.evaluation.builders import default_resources
from benchmark.evaluation.environment import processor
from benchmark.evaluation.fingerprints import Fingerprints, data_here, weights_here
from benchmark.evaluation.resources import Resources
from benchmark.executors import check_settings, part_of, pool_size
from benchmark.planning.plan import Plan
from benchmark.registry import BENCHMARKS
from benchmark.store.records import StoredCell
from benchmark.store.run_store import RunStore

OTHER_RECORDS = 500
"""Records of other runs that are looked at, newest runs first."""

_COUNTED_AS = {"image": "images", "text": "captions", "composed": "queries"}


def forecast(plan: Plan, folder: Path) -> dict[str, Any]:
    """What a plan comes to; times in seconds.

    Args:
        plan: the cells; of those of its shard, where its settings name one.
        folder: where their results are, or will be.
    """
    config = plan.config
    check_settings(config)
    part = set(map(id, part_of(plan.possible, config)))
    plan = replace(plan, cells=tuple(p for p in plan.cells if p.reason or id(p.cell) in part))
    own, waiting, unverified = stored_cells(folder), plan.possible, 0
    if config.if_exists != "always":
        prints = Fingerprints(folder / "fingerprints")
        waiting, unverified = to_run(waiting, own, prints, default_resources(config))
    machine = processor(plan.cells[0].cell.backbone.device)
    rates = Rates([*own, *other_runs(folder)], machine)
    workers, _ = pool_size(config, len(waiting))
    # Row -> method -> counts of cells, and seconds of those to run (None: unknown).
    rows: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    to_do = set(map(id, waiting))
    for one in plan.cells:
        cell, row = one.cell, rows[one.row]
        new = {"possible": 0, "to_run": 0, "skipped": 0, "seconds": 0.0}
        counts = row.setdefault(cell.method.name, new)
        counts["skipped" if one.reason else "possible"] += 1
        if id(cell) in to_do:
            counts["to_run"] += 1
            cost, known = rates.of(cell), counts["seconds"]
            counts["seconds"] = None if known is None or cost is None else known + cost.seconds
    return {
        "folder": str(folder),
        "cells": len(plan.cells),
        "done": len(plan.possible) - len(waiting),
        "unverified": unverified,
        "to_run": len(waiting),
        "workers": workers,
        "estimate": outlook(waiting, rates, workers),
        "rows": rows,
        "reasons": Counter(one.reason for one in plan.cells if one.reason),
    }


def stored_cells(folder: Path, most: int | None = None) -> list[StoredCell]:
    """The finished cells of a run's folder, whose cost is known.

    Args:
        most: read so many records at most, of a run that is none of the user's business here: no
            warnings of files that are no good records.
    """
    store = RunStore(folder)
    cells = store.stored() if most is None else store.read(most)[0]
    # Without the numbers per query, which are most of the memory and say nothing about cost.
    known = (cell for cell in cells if cell.done and "seconds" in cell.record.cost)
    return [replace(cell, arrays={}) for cell in known]


def other_runs(folder: Path) -> list[StoredCell]:
    """Finished cells of the runs beside this one: for their cost."""
    found: list[StoredCell] = []
    beside = [run for run in folder.parent.glob("*/") if run != folder]
    for run in sorted(beside, key=lambda run: run.stat().st_mtime, reverse=True):
        found += stored_cells(run, max(0, OTHER_RECORDS - len(found)))
    return found


def to_run(
    cells: Iterable[Cell], stored: Iterable[StoredCell], known: Fingerprints, resources: Resources
) -> tuple[list[Cell], int]:
    """The cells that a run would run, and how many of the others could not be checked.

    A stored cell counts as done if it is the planned one and its data, weights and files of shifts
    are today's. What the folder's fingerprints do not know is loaded, where it lies on this
    machine; what lies elsewhere is taken to be unchanged.

    Args:
        stored: the finished cells of the run's folder.
    """
    texts = PartTexts()

    def identity(cell: Cell) -> Hashable:
        """What a stored and a planned cell share, wherever their data and weights lie."""
        named = replace(cell.backbone, model=cell.backbone.model_name, pretrained="", device="cpu")
        return texts.identity(replace(cell, backbone=named))

    keys: dict[Hashable, set[str]] = defaultdict(set)
    for one in stored:
        keys[identity(one.cell)].add(one.record.key)
    waiting, unchecked = [], 0
    for cell in cells:
        found = keys.get(identity(cell)) if keys else None
        key = _key_today(cell, known, resources) if found else ""
        if key is None:
            unchecked += 1
        elif not found or key not in found:
            waiting.append(cell)
    return waiting, unchecked


def _key_today(cell: Cell, known: Fingerprints, resources: Resources) -> str | None:
    """The cell's key with today's data and weights; None where nothing here can tell."""
    try:
        if key := known.key(cell, resources):
            return key
        here = data_here(cell) and weights_here(cell.backbone)
        return resources.key(cell) if here else None
    except Exception:  # whatever is wrong with them: a run would not reuse the cell
        return ""


class Estimate(NamedTuple):
    """What one cell will cost: one worker's ``seconds`` and memory, and bytes on disk.

    ``how`` is "measured", or "similar" (on another benchmark).
    """

    seconds: float
    peak_mb: float
    size: float
    how: str


class Rates:
    """What cells cost on this machine.

    Args:
        measured: finished cells; those of another processor or GPU are left out.
        machine: this machine's processor, and its GPU's name for cells that run there.
    """

    def __init__(self, measured: Iterable[StoredCell], machine: str) -> None:
        costs: dict[Hashable, list[tuple[float, ...]]] = defaultdict(list)
        self._counts: dict[str, int] = {}
        for one in measured:
            info, cost = one.record.info, one.record.cost
            if one.record.environment.get("device_name") != machine or not info.get("queries"):
                continue
            # What does not grow with the queries: most cells find it done, the first does not.
            once = cost.get("seconds_gallery", 0.0) + cost.get("seconds_setup", 0.0)
            each, count = cost["seconds"] - once, info["queries"]
            size = sum(p.stat().st_size for p in (one.path, one.path.with_suffix(".npz")))
            for kind in _kinds(one.cell, info.get("query_modality", "")):
                numbers = (count, each / count, once, cost.get("peak_mb", 0.0), size / count)
                costs[kind].append(numbers)
            if one.cell.limit is None:
                self._counts[one.cell.benchmark] = count
        self._rates = {}
        for like, found in costs.items():
            # Of few queries the seconds are mostly what a cell takes anyway.
            most = max(found)[0]
            large = [row for row in found if 2 * row[0] >= most]
            _, rates, others, peaks, sizes = zip(*large, strict=True)
            self._rates[like] = median(rates), fmean(others), max(peaks), fmean(sizes)

    def of(self, cell: Cell) -> Estimate | None:
        """The cost of a cell, or None where nothing like it was measured."""
        cards = [BENCHMARKS.get(name) for name in cell.benchmark.split(SEPARATOR)]
        for kind in _kinds(cell, cards[0].query):
            if kind in self._rates:
                each, once, peak, size = self._rates[kind]
                # As counted in a stored cell, else by its card.
                count = self._counts.get(cell.benchmark) or sum(map(_counted, cards))
                count = count if cell.limit is None else min(count, cell.limit)
                return Estimate(each * count + once, peak, size * count, kind[0])
        return None


def _kinds(cell: Cell, modality: str) -> Iterator[tuple[str, ...]]:
    """What cells of about the same cost share, the nearest first; begins with ``Estimate.how``."""
    backbone = cell.backbone
    model = backbone.loader, backbone.model_name, backbone.transform, cell.method.name
    yield "measured", cell.benchmark, *model
    yield "similar", modality, *model


_UNCOUNTED = 1000
"""Queries that own data are taken to have before they are read."""


def _counted(card: BenchmarkCard) -> int:
    largest = max(card.counts.values(), default=_UNCOUNTED)
    return card.counts.get(_COUNTED_AS.get(card.query, "clips"), largest)


def outlook(cells: Sequence[Cell], rates: Rates, workers: int) -> dict[str, Any]:
    """What a list of cells will cost in all; None where not a single cell's cost is known.

    Returns:
        Of how many ``cells`` nothing is known (``unknown``; the numbers are without them),
        ``seconds`` one after the other, ``seconds_per_worker`` if all workers share the work
        evenly, ``peak_mb`` of the largest worker, ``disk_mb`` of results, and ``how`` many cells
        were estimated in which way.
    """
    known = [one for one in map(rates.of, cells) if one is not None]
    seconds = [one.seconds for one in known]
    totals = {
        "seconds": sum(seconds),
        "seconds_per_worker": max(sum(seconds) / workers, max(seconds, default=0.0)),
        "peak_mb": max((one.peak_mb for one in known), default=0.0),
        "disk_mb": sum(one.size for one in known) / 2**20,
    }
    return {
        "cells": len(cells),
        "unknown": len(cells) - len(known),
        **(totals if known or not cells else dict.fromkeys(totals)),
        "how": dict(Counter(one.how for one in known)),
    }
