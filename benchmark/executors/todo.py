"""What is left of a run: cells that wait, cells that others have, and what came of the rest."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Literal, Protocol

import numpy as np

from benchmark.cell import Cell, Record, Status
from benchmark.failures import unfinished
from benchmark.progress import Progress, Silent

POLL_SECONDS = 2.0
"""How long to wait before asking again for cells that other runs have."""

Save = Callable[[Record, Mapping[str, np.ndarray]], None]

Entry = Record | Literal["mine", "taken"]
"""A cell is ours to run, or somebody else is at it, or it has ended elsewhere (its record)."""


class Gate(Protocol):
    """Says whether a cell may be run here, where several runs share one folder (``Claims``)."""

    def enter(self, cell: Cell) -> Entry:
        """Asks for a cell that is about to be run; what was given must be given back."""

    def leave(self, cell: Cell) -> None:
        """Gives back a cell whose record is saved."""


class Open:
    """A gate that lets every cell in: nobody else works on this folder."""

    def enter(self, cell: Cell) -> Entry:
        """Always ours."""
        return "mine"

    def leave(self, cell: Cell) -> None:
        """Nothing to give back."""


class Todo:
    """The cells of one run, handed out one by one; keeps and saves what came of them.

    Args:
        cells: neighbours share data and streams.
        save: called with each record and its numbers per query.
        gate: asked before a cell is handed out.
        progress: told of each cell's end, after ``save``.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        save: Save,
        *,
        gate: Gate | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.cells = cells
        self.progress: Progress = progress or Silent()
        self._save = save
        self._gate: Gate = gate or Open()
        self._streams = [stream_of(cell) for cell in cells]
        self._again: list[int] = []  # ours already, to be run once more
        self._pending = list(range(len(cells)))
        self._elsewhere: list[int] = []
        self._records: dict[int, Record] = {}

    def __len__(self) -> int:
        """How many cells are neither ended nor handed out."""
        return len(self._again) + len(self._pending) + len(self._elsewhere)

    @property
    def ended(self) -> bool:
        """Whether there is a record of every cell."""
        return len(self._records) == len(self.cells)

    @property
    def results(self) -> list[Record]:
        """One record per cell, in their order; once ``ended``."""
        return [self._records[index] for index in range(len(self.cells))]

    def stream(self, index: int) -> Hashable:
        """What a cell shares with its neighbours in a worker's caches."""
        return self._streams[index]

    def take(self, own: Hashable = None, busy: frozenset[Hashable] = frozenset()) -> int | None:
        """Index of a cell to run now, or None: nothing is left, or others have all that is left.

        Args:
            own: the stream that the asking worker's caches hold; preferred.
            busy: streams that other workers hold; avoided where there is a choice.
        """
        if self._again:
            return self._again.pop(0)
        while self._pending:
            index = self._choose(own, busy)
            self._pending.remove(index)
            if self._enter(index):
                return index
        others, self._elsewhere = self._elsewhere, []
        for place, index in enumerate(others):
            if self._enter(index):
                self._elsewhere += others[place + 1 :]
                return index
        return None

    def _choose(self, own: Hashable, busy: frozenset[Hashable]) -> int:
        """The first of the worker's own stream, else of one that nobody works on, else at all."""
        mine = (i for i in self._pending if own is not None and self._streams[i] == own)
        free = (i for i in self._pending if self._streams[i] not in busy)
        return next(mine, next(free, self._pending[0]))

    def _enter(self, index: int) -> bool:
        entry = self._gate.enter(self.cells[index])
        if entry == "mine":
            return True
        if isinstance(entry, Record):
            self._records[index] = entry
            self.progress.cell_done(entry)
        else:
            self._elsewhere.append(index)
        return False

    def put_back(self, index: int) -> None:
        """A cell that was handed out and lost without its fault: it comes next."""
        self._again.append(index)

    def finish(self, index: int, record: Record, arrays: Mapping[str, np.ndarray]) -> None:
        """Saves what came of a cell, then tells of it and gives the cell back."""
        self._save(record, arrays)
        self._records[index] = record
        self.progress.cell_done(record)
        self._gate.leave(self.cells[index])

    def fail(self, index: int, key: str, status: Status, reason: str) -> None:
        """Saves a cell that ended without a result."""
        self.finish(index, unfinished(self.cells[index], key, status, reason), {})

    def interrupt(self, index: int, key: str) -> None:
        """Saves a cell that the user stopped."""
        cell = self.cells[index]
        self._save(unfinished(cell, key, Status.INTERRUPTED, "stopped by the user"), {})
        self._gate.leave(cell)


def stream_of(cell: Cell) -> Hashable:
    """What neighbouring cells share in a worker's caches."""
    return cell.benchmark, cell.backbone, cell.stream.kind, cell.shift.label, cell.seed
