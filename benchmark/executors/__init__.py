"""Executors: serial, processes, Ray, Slurm. The records are the same whoever runs the cells."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.cell import Cell, Record, Status, reason_of, unfinished
from benchmark.errors import DataError, QueryShiftError
from benchmark.evaluation.callbacks import Callback
from benchmark.evaluation.fingerprints import Fingerprints
from benchmark.evaluation.resources import Resources
from benchmark.executors.base import Executor, SerialExecutor
from benchmark.store.run_store import RunStore, as_filed

__all__ = [
    "Executor",
    "Identified",
    "Outcome",
    "SerialExecutor",
    "identify",
    "run_cells",
]


@dataclass(frozen=True)
class Outcome:
    """What came of a list of cells.

    Attributes:
        records: one per cell, in their order, reused ones included.
        reused: how many were finished before.
    """

    records: list[Record]
    reused: int


@dataclass(frozen=True)
class Identified:
    """The keys of a list of cells, and what is known of these cells already.

    Attributes:
        keys: one per cell, in their order.
        finished: the stored results that need not be computed again, by key.
        failed: the records of cells whose data or weights cannot be loaded, by key.
    """

    keys: list[str]
    finished: dict[str, Record]
    failed: dict[str, Record]

    @property
    def waiting(self) -> int:
        """How many cells there are to run."""
        return len(set(self.keys) - set(self.finished) - set(self.failed))


def identify(
    cells: Sequence[Cell], store: RunStore, resources: Resources, *, again: bool = False
) -> Identified:
    """The keys of all cells, and which of them need not be run.

    Data and weights are loaded for their fingerprints, but for cells that are done and whose
    fingerprints the run's folder holds (see ``Fingerprints``).

    Args:
        cells: what is to be run.
        store: where results are kept; checked for writing.
        resources: loads data and weights.
        again: finished cells are to be run again.

    Raises:
        QueryShiftError: results that cannot be written; data or weights that cannot be loaded for
            any of the cells.
    """
    memo = Fingerprints(store.path / "fingerprints")
    keys = [memo.key(cell, resources) for cell in cells]
    finished = {} if again else store.finished(set(keys))
    failed: dict[str, Record] = {}
    problem: QueryShiftError | None = None
    loaded: set[str] = set()
    for index, cell in enumerate(cells):
        if keys[index] in finished:
            continue
        try:
            keys[index] = resources.key(cell)
        # A loader may raise what ends a process, which is not the user's wish.
        except (QueryShiftError, SystemExit, GeneratorExit, CancelledError) as error:
            problem = error if isinstance(error, QueryShiftError) else DataError(reason_of(error))
            record = unfinished(cell, "", Status.FAILED, reason_of(error))
            keys[index], failed[record.key] = record.key, record
            continue
        if not loaded:  # nothing is written before it is known that something can be run
            store.check_writable()
        loaded.add(keys[index])
        memo.remember(cell, resources)
    if problem is not None and len(failed) == len(set(keys)):
        raise problem
    if not again:
        finished |= store.finished(loaded)
    return Identified(keys, finished, failed)


def run_cells(
    cells: Sequence[Cell],
    store: RunStore,
    executor: Executor,
    *,
    resources: Resources,
    progress: Callback | None = None,
    again: bool = False,
    found: Identified | None = None,
) -> Outcome:
    """Runs the cells that the store has no finished result of, and stores them as they end.

    Args:
        cells: what to run.
        store: where results are kept; checked for writing first.
        executor: who runs them.
        resources: for the fingerprints of data and weights, which a cell's key needs.
        progress: told of the cells that are run.
        again: run finished cells again.
        found: what ``identify`` has said of these cells, where it has been asked already.

    Raises:
        QueryShiftError: results that cannot be written; data or weights that cannot be loaded for
            any of the cells (where only some cannot, those cells fail and the others are run).
    """
    known = found or identify(cells, store, resources, again=again)
    for record in known.failed.values():
        store.save(record)
    records = {**known.finished, **known.failed}
    both = list(zip(known.keys, cells, strict=True))
    if known.finished:
        store.drop_unfinished({key: cell for key, cell in both if key in known.finished})
    missing = {key: cell for key, cell in both if key not in records}
    keys = {cell.unfinished_key: key for key, cell in missing.items()}

    def save(record: Record, arrays: Mapping[str, np.ndarray]) -> None:
        # A cell without a result is not to replace the result that is there under its real key.
        store.save(replace(record, key=keys.get(record.key, record.key)), arrays)

    ran = executor.run(list(missing.values()), save, progress=progress) if missing else []
    records |= {key: as_filed(record) for key, record in zip(missing, ran, strict=True)}
    reused = sum(key in known.finished for key in known.keys)
    return Outcome([records[key] for key in known.keys], reused)
