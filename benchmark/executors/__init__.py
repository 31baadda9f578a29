"""Who runs the cells: this process, or several. The cells and their numbers are the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmark.cell import Cell, Record, Status
from benchmark.errors import QueryShiftError
from benchmark.executors.processes import ProcessExecutor
from benchmark.executors.serial import SerialExecutor
from benchmark.progress import Progress
from benchmark.resources import Resources
from benchmark.runner import unfinished
from benchmark.store import RunStore

__all__ = ["Executor", "Outcome", "ProcessExecutor", "SerialExecutor", "run_cells"]

Save = Callable[[Record, Mapping[str, np.ndarray]], None]


class Executor(Protocol):
    """Runs cells."""

    def run(
        self, cells: Sequence[Cell], save: Save, *, progress: Progress | None = None
    ) -> list[Record]:
        """Runs all cells, whatever becomes of each.

        Args:
            cells: neighbours share data and streams (see ``Grid.cells``).
            save: called in this process with each record and its numbers per query as soon as the
                cell has ended.
            progress: told in this process; ``cell_done`` after ``save``.

        Returns:
            One record per cell, in the order of ``cells``.

        Raises:
            KeyboardInterrupt: after the cells under way were saved as interrupted.
        """


@dataclass(frozen=True)
class Outcome:
    """What came of a list of cells.

    Attributes:
        records: one per cell, in their order, reused ones included.
        reused: how many were finished before.
    """

    records: list[Record]
    reused: int


def run_cells(
    cells: Sequence[Cell],
    store: RunStore,
    executor: Executor,
    *,
    resources: Resources,
    progress: Progress | None = None,
    again: bool = False,
) -> Outcome:
    """Runs the cells that the store has no finished result of, and stores them as they end.

    Args:
        cells: what to run.
        store: where results are kept; checked for writing first.
        executor: who runs them.
        resources: for the fingerprints of data and weights, which a cell's key needs.
        progress: told of the cells that are run.
        again: run finished cells again.

    Raises:
        QueryShiftError: results that cannot be written; data or weights that cannot be loaded for
            any of the cells (where only some cannot, those cells fail and the others are run).
    """
    store.check_writable()
    keys, failed = _identify(cells, resources)
    reused: dict[str, Record] = {}
    if not again:
        reused = {key: store.load(key) for key in set(keys) - set(failed) if store.done(key)}
    for record in failed.values():
        store.save(record)
    known = {**reused, **failed}
    missing = {key: cell for key, cell in zip(keys, cells, strict=True) if key not in known}
    ran = executor.run(list(missing.values()), store.save, progress=progress) if missing else []
    known |= dict(zip(missing, ran, strict=True))
    return Outcome([known[key] for key in keys], sum(key in reused for key in keys))


def _identify(cells: Sequence[Cell], resources: Resources) -> tuple[list[str], dict[str, Record]]:
    """The keys of all cells, and the records of those whose data or weights cannot be loaded."""
    keys: list[str] = []
    failed: dict[str, Record] = {}
    problem: QueryShiftError | None = None
    for cell in cells:
        try:
            keys.append(resources.key(cell))
        except QueryShiftError as error:
            problem = error
            reason = f"{type(error).__name__}: {error}"
            record = unfinished(cell, "", Status.FAILED, reason)
            keys.append(record.key)
            failed[record.key] = record
    if problem is not None and len(failed) == len(set(keys)):
        raise problem
    return keys, failed
