"""Progress: bars over all cells and the running ones' queries; lines where no bar can be drawn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

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
from rich.text import Text

from benchmark.cell import Cell, Record
from benchmark.errors import amount

EVERY = 10.0
"""Seconds between two lines of progress."""


class Bars(Progress):
    """Shows the events of running cells (a ``benchmark.evaluation.callbacks.Callback``) as bars.

    Use as a context manager.
    """

    def __init__(self, console: Console, total: int) -> None:
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
        )
        self._all = self.add_task("all cells", total=total, unit="cells")
        self._running: dict[str, TaskID] = {}

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
        self._drop(cell)
        name = label(cell)
        self._running[name] = self.add_task(name, total=queries, unit="queries")

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        if label(cell) in self._running:
            self.advance(self._running[label(cell)], int(batch_log.get("queries", 0)))

    def cell_done(self, record: Record) -> None:
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


class Lines:
    """Progress where there is no terminal: one line at most every ``EVERY`` seconds.

    A callback (``benchmark.evaluation.callbacks.Callback``).

    Args:
        console: over standard error.
        total: how many cells will run.
        clock: seconds that pass.
    """

    def __init__(
        self, console: Console, total: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._total, self._clock = console, total, clock
        self._begun = self._said = clock()
        self._done = 0
        self._running: dict[str, list[int]] = {}

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
        self._running[label(cell)] = [0, queries]
        self._say()

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        if label(cell) in self._running:
            self._running[label(cell)][0] += int(batch_log.get("queries", 0))
        self._say()

    def cell_done(self, record: Record) -> None:
        from benchmark.store.records import cell_from_dict  # imports NumPy

        self._running.pop(label(cell_from_dict(record.cell)), None)
        self._done += 1
        self._say()

    def _say(self) -> None:
        now = self._clock()
        if now - self._said < EVERY:
            return
        self._said, passed = now, now - self._begun
        part = sum(done / max(total, 1) for done, total in self._running.values())
        share = (self._done + part) / max(self._total, 1)
        left = f", about {duration(passed * (1 / share - 1))} left" if 0 < share < 1 else ""
        running = "".join(
            f"; {name}: {done} of {amount(total, 'query')}"
            for name, (done, total) in self._running.items()
        )
        line = f"{self._done} of {amount(self._total, 'cell')} in {duration(passed)}{left}{running}"
        self._console.print(Text(line), soft_wrap=True)


def duration(seconds: float | None) -> str:
    """A time as a person says it.

    >>> duration(42.3), duration(5000), duration(200_000), duration(None)
    ('42 s', '83 min', '2 d 8 h', 'unknown')
    """
    if seconds is None:
        return "unknown"
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"
