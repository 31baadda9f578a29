"""What a grid will cost, from the cells that this machine has measured already.

A cell's time is taken from the nearest that was measured, in this order: the same benchmark,
backbone and method; the same backbone, method and kind of query on another benchmark; the source
model there, times how much longer the method took than the source elsewhere. Where none of them
exists the cost is unknown, and said to be.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from benchmark.cell import SOURCE, BackboneSpec, Cell, Status
from benchmark.data.interleave import SEPARATOR
from benchmark.registry import BENCHMARKS
from benchmark.store.records import StoredCell
from benchmark.store.run_store import RunStore

if TYPE_CHECKING:
    from benchmark.evaluation.resources import Resources

OTHER_RECORDS = 500
"""Records of other runs that are looked at, newest runs first."""

CALIBRATION_QUERIES = 128
"""Queries of a cell that is run to learn its cost."""

CALIBRATION = "calibration"
"""Folder of such cells, in the run's folder."""

Model = tuple[str, str, str]
"""Loader, model and transform: what tells backbones apart where weights do not count."""

_COUNTED_AS = {"image": "images", "text": "captions", "composed": "queries"}
_FIXED = ("seconds_gallery", "seconds_setup")


@dataclass(frozen=True, slots=True)
class Stored:
    """What planning needs of a stored cell that is done.

    Attributes:
        cell: the cell, as it is stored.
        data: fingerprint of its data.
        weights: fingerprint of its backbone.
        files: fingerprint of the files that its shifts work with, "" for none.
        machine: processor or GPU that it ran on.
        modality: of its queries.
        queries: how many it used.
        cost: see ``benchmark.cell.Record``.
        size: bytes of its two files.
    """

    cell: Mapping[str, Any]
    data: str
    weights: str
    files: str
    machine: str
    modality: str
    queries: int
    cost: Mapping[str, float]
    size: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one cell will cost.

    Attributes:
        seconds: from start to end, one worker.
        peak_mb: memory of its process.
        size: bytes on disk.
        how: "measured", "similar" (another benchmark) or "ratio" (from the source model).
    """

    seconds: float
    peak_mb: float
    size: float
    how: str


def stored_cells(folder: Path, most: int | None = None) -> list[Stored]:
    """The finished cells of a run's folder, whose cost is known.

    Args:
        folder: the run's folder.
        most: read so many records at most, of a run that is none of the user's business here: no
            warnings of files that are no good records.
    """
    store = RunStore(folder)
    cells = store.stored() if most is None else store.read(most)[0]
    return [_stored(cell) for cell in cells if cell.done and "seconds" in cell.record.cost]


def _stored(cell: StoredCell) -> Stored:
    record, path = cell.record, cell.path
    return Stored(
        cell=record.cell,
        data=str(record.info.get("data_fingerprint", "")),
        weights=str(record.info.get("backbone_fingerprint", "")),
        files=str(record.info.get("shift_files", "")),
        machine=str(record.environment.get("device_name", "")),
        modality=str(record.info.get("query_modality", "")),
        queries=len(cell.arrays["query"]),
        cost={name: value for name, value in record.cost.items() if math.isfinite(value)},
        size=path.stat().st_size + path.with_suffix(".npz").stat().st_size,
    )


def other_runs(folder: Path) -> list[Stored]:
    """Finished cells of the runs beside this one, and of its calibration: for their cost."""
    found = stored_cells(folder / CALIBRATION)
    try:
        beside = [run for run in folder.parent.iterdir() if run != folder and run.is_dir()]
        beside.sort(key=lambda run: run.stat().st_mtime, reverse=True)
    except OSError:
        return found
    for run in beside:
        found += stored_cells(run, max(0, OTHER_RECORDS - len(found)))
    return found


def model_of(backbone: BackboneSpec) -> Model:
    """What tells a backbone apart where weights do not count."""
    return backbone.loader, backbone.model_name, backbone.transform


class Rates:
    """What cells cost on this machine.

    Args:
        measured: finished cells; those of another processor or GPU are left out.
        machine: this machine's processor, and its GPU's name for cells that run there.
    """

    def __init__(self, measured: Iterable[Stored], machine: str) -> None:
        self._near: dict[tuple[str, Model, str], list[Stored]] = defaultdict(list)
        self._similar: dict[tuple[Model, str, str], list[Stored]] = defaultdict(list)
        self._queries: dict[str, int] = {}
        for one in measured:
            if one.machine != machine or "seconds" not in one.cost or one.queries < 1:
                continue
            cell = one.cell
            model = model_of(BackboneSpec(**cell["backbone"]))
            method = cell["method"]["name"]
            self._near[cell["benchmark"], model, method].append(one)
            self._similar[model, one.modality, method].append(one)
            if cell["limit"] is None:
                self._queries[cell["benchmark"]] = one.queries
        self._ratios = self._against_source()
        self._told: dict[Hashable, Estimate | None] = {}

    def of(self, cell: Cell) -> Estimate | None:
        """The cost of a cell, or None where nothing like it was measured."""
        kind = cell.benchmark, model_of(cell.backbone), cell.method.name, cell.limit
        if kind not in self._told:
            self._told[kind] = self._of(cell)
        return self._told[kind]

    def _of(self, cell: Cell) -> Estimate | None:
        model, name = model_of(cell.backbone), cell.method.name
        queries, modality = self.queries(cell), _modality(cell)
        near = self._near.get((cell.benchmark, model, name))
        if near:
            return _estimate(near, queries, "measured")
        similar = self._similar.get((model, modality, name))
        if similar:
            return _estimate(similar, queries, "similar")
        source = self._similar.get((model, modality, SOURCE))
        if source and name in self._ratios:
            plain = _estimate(source, queries, "ratio")
            return replace(plain, seconds=plain.seconds * self._ratios[name])
        return None

    def queries(self, cell: Cell) -> int:
        """How many queries a cell has: as counted in a stored one, else by its card."""
        count = self._queries.get(cell.benchmark) or sum(
            _counted(name) for name in cell.benchmark.split(SEPARATOR)
        )
        return count if cell.limit is None else min(count, cell.limit)

    def knows(self, cell: Cell) -> bool:
        """Whether the method was measured on this backbone and kind of query."""
        return (model_of(cell.backbone), _modality(cell), cell.method.name) in self._similar

    def _against_source(self) -> dict[str, float]:
        """How many times the source's time a method takes: the median over where both ran."""
        found: dict[str, list[float]] = defaultdict(list)
        for (model, modality, name), cells in self._similar.items():
            source = self._similar.get((model, modality, SOURCE))
            if source and _rate(source) > 0:
                found[name].append(_rate(cells) / _rate(source))
        return {name: median(ratios) for name, ratios in found.items()}


def _modality(cell: Cell) -> str:
    return str(BENCHMARKS.get(cell.benchmark.split(SEPARATOR)[0]).query)


def _counted(benchmark: str) -> int:
    card = BENCHMARKS.get(benchmark)
    return int(card.counts.get(_COUNTED_AS.get(card.query, "clips"), max(card.counts.values())))


def _fixed(cell: Stored) -> float:
    """Seconds that do not grow with the number of queries."""
    return sum(cell.cost.get(name, 0.0) for name in _FIXED)


def _rate(cells: Sequence[Stored]) -> float:
    """Seconds per query."""
    return median((cell.cost["seconds"] - _fixed(cell)) / cell.queries for cell in cells)


def _estimate(cells: Sequence[Stored], queries: int, how: str) -> Estimate:
    return Estimate(
        # The mean of the fixed part: most cells find the gallery encoded, the first does not.
        seconds=_rate(cells) * queries + fmean(map(_fixed, cells)),
        peak_mb=max(cell.cost.get("peak_mb", 0.0) for cell in cells),
        size=fmean(cell.size / cell.queries for cell in cells) * queries,
        how=how,
    )


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a list of cells will cost in all; None where not a single cell's cost is known.

    Attributes:
        cells: how many.
        unknown: of how many nothing is known; the numbers are without them.
        seconds: one worker, one cell after the other.
        seconds_per_worker: with all workers, if they share the work evenly.
        peak_mb: memory of the largest worker.
        disk_mb: results.
        how: ways of estimating -> number of cells.
    """

    cells: int
    unknown: int
    seconds: float | None
    seconds_per_worker: float | None
    peak_mb: float | None
    disk_mb: float | None
    how: Mapping[str, int]


def outlook(cells: Sequence[Cell], rates: Rates, workers: int) -> Outlook:
    """Adds the estimates of some cells up."""
    known = [found for found in map(rates.of, cells) if found is not None]
    unknown = len(cells) - len(known)
    if cells and not known:
        return Outlook(len(cells), unknown, None, None, None, None, {})
    seconds = sum(one.seconds for one in known)
    longest = max((one.seconds for one in known), default=0.0)
    how: dict[str, int] = defaultdict(int)
    for one in known:
        how[one.how] += 1
    return Outlook(
        cells=len(cells),
        unknown=unknown,
        seconds=seconds,
        seconds_per_worker=max(seconds / workers, longest),
        peak_mb=max((one.peak_mb for one in known), default=0.0),
        disk_mb=sum(one.size for one in known) / 2**20,
        how=dict(how),
    )


def calibration_cells(cells: Iterable[Cell], rates: Rates) -> Iterator[Cell]:
    """Short cells that tell what is unknown: each method once per backbone and kind of query."""
    seen: set[Hashable] = set()
    for cell in cells:
        kind = model_of(cell.backbone), _modality(cell), cell.method.name
        if kind not in seen and not rates.knows(cell):
            seen.add(kind)
            queries = min(CALIBRATION_QUERIES, cell.limit or CALIBRATION_QUERIES)
            yield replace(cell, limit=queries)


def calibrate(cells: Iterable[Cell], rates: Rates, folder: Path, resources: Resources) -> list[str]:
    """Runs a short cell for each that is unknown and keeps it in the run's calibration folder.

    Returns:
        Why some of them have no result, if so.
    """
    from benchmark.executors import SerialExecutor, run_cells

    short = list(calibration_cells(cells, rates))
    if not short:
        return []
    store = RunStore(folder / CALIBRATION)
    outcome = run_cells(short, store, SerialExecutor(resources), resources=resources)
    reasons = (r.reason for r in outcome.records if r.status is not Status.DONE)
    return list(dict.fromkeys(reasons))
