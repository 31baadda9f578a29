"""Progress bars: one over all cells, one for the queries of each cell that is running."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

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


class Bars:
    """Shows the events of running cells (a ``benchmark.evaluation.callbacks.Callback``) as bars.

    Use as a context manager. Where the console is no terminal, or ``quiet``, nothing is drawn.
    """

    def __init__(self, console: Console, total: int, *, quiet: bool = False) -> None:
        # markup=False: names of cells come from data and plugins.
        self._progress = Progress(
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
        self._cells = self._progress.add_task("all cells", total=total, unit="cells")
        self._running: dict[str, TaskID] = {}
        self._queries: dict[str, int] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def cell_started(self, cell: Cell, batches: int) -> None:
        """Adds the cell's bar."""
        name = label(cell)
        self._drop(name)
        total = batches * cell.stream.batch_size
        if cell.limit is not None:
            total = min(total, cell.limit)
        self._running[name] = self._progress.add_task(name, total=total, unit="queries")
        self._queries[name] = 0

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        """Moves the cell's bar by the batch's queries."""
        name = label(cell)
        if name in self._running:
            self._queries[name] += int(batch_log.get("queries", 0))
            self._progress.update(self._running[name], completed=self._queries[name])

    def cell_done(self, record: Record) -> None:
        """Takes the cell's bar away and moves the one over all cells."""
        spec = record.cell
        self._drop(
            _label(
                spec["method"]["name"],
                spec["shift"],
                spec["stream"]["kind"],
                spec["benchmark"],
                spec["seed"],
            )
        )
        self._progress.advance(self._cells)

    def _drop(self, name: str) -> None:
        if name in self._running:
            self._progress.remove_task(self._running.pop(name))


def label(cell: Cell) -> str:
    """What a cell is called beside its bar."""
    shift = {"name": cell.shift.name, "severity": cell.shift.severity}
    return _label(cell.method.label, shift, cell.stream.kind, cell.benchmark, cell.seed)


def _label(method: str, shift: Mapping[str, object], stream: str, benchmark: str, seed: int) -> str:
    kind = "" if stream == "single" else f"{stream} "
    return f"{method}, {kind}{shift['name']} {shift['severity']}, {benchmark}, seed {seed}"
