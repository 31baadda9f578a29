"""Progress bars: one over all cells, one for the queries of each cell that is running."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from benchmark.cell import Cell, Record


class Bars(Progress):
    """Shows the events of running cells (a ``benchmark.evaluation.callbacks.Callback``) as bars.

    Use as a context manager. Where the console is no terminal, or ``quiet``, nothing is drawn.
    """

    def __init__(self, console: Console, total: int, *, quiet: bool = False) -> None:
        # markup=False: names of cells come from data and plugins.
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_interactive,
        )
        self._all = self.add_task("all cells", total=total, unit="cells")
        self._running: dict[str, TaskID] = {}

    def cell_started(self, cell: Cell, batches: int) -> None:
        """Adds the cell's bar."""
        self._drop(cell)
        total = batches * cell.stream.batch_size
        if cell.limit is not None:
            total = min(total, cell.limit)
        self._running[label(cell)] = self.add_task(label(cell), total=total, unit="queries")

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        """Moves the cell's bar by the batch's queries."""
        if label(cell) in self._running:
            self.advance(self._running[label(cell)], int(batch_log.get("queries", 0)))

    def cell_done(self, record: Record) -> None:
        """Takes the cell's bar away and moves the one over all cells."""
        from benchmark.store.records import cell_from_dict  # imports NumPy

        self._drop(cell_from_dict(record.cell))
        self.advance(self._all)

    def _drop(self, cell: Cell) -> None:
        if label(cell) in self._running:
            self.remove_task(self._running.pop(label(cell)))


def label(cell: Cell) -> str:
    """What a cell is called beside its bar."""
    kind = "" if cell.stream.kind == "single" else f"{cell.stream.kind} "
    shift = f"{cell.shift.name} {cell.shift.severity}"
    return f"{cell.method.label}, {kind}{shift}, {cell.benchmark}, seed {cell.seed}"
