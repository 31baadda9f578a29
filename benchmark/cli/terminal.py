"""Consoles over whatever standard output and error are, and the progress that they show."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO, cast

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
from benchmark.report.display import SafeConsole

PIPED_WIDTH = 160
"""Columns where the output is no terminal: wide enough for the result table's columns."""

NARROWEST, WIDEST = 20, 1000
"""Columns that tables are laid out for at least and at most, whatever the terminal says."""

_USUAL_WIDTH, _USUAL_HEIGHT = 80, 25


class Output:
    """A text stream over another one that may be missing, closed, full or narrow in its characters.

    What the encoding lacks is written as "?". The first failure is kept in ``problem``; after it
    nothing more is written, so that what is being run goes on.

    Args:
        stream: what to write to: ``sys.stdout``, a program's own object with at least ``write``,
            or None (no output is wanted).
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        standard = {id(sys.__stdout__): "__stdout__", id(sys.__stderr__): "__stderr__"}
        self._name = standard.get(id(stream), "") if stream is not None else ""
        self.problem: BaseException | None = None
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Writes as much as can be; gives the number of characters, as streams do."""
        if self._stream is not None and self.problem is None:
            if self._name and getattr(self._stream, "closed", False):
                self._stream = getattr(sys, self._name)  # a plugin closed it, and it was reopened
            try:
                shown = text.encode(self.encoding, "replace").decode(self.encoding)
            except LookupError:  # an encoding that Python does not know
                shown = text.encode("ascii", "replace").decode("ascii")
            try:
                self._stream.write(shown)
            except Exception as error:  # of a program's own object, any
                self.problem = error
        return len(text)

    def flush(self) -> None:
        """Hands over what is buffered."""
        if self._stream is not None and self.problem is None and hasattr(self._stream, "flush"):
            try:
                self._stream.flush()
            except Exception as error:
                self.problem = error

    def isatty(self) -> bool:
        """Whether a person sits in front of it."""
        try:
            return bool(self._stream.isatty())
        except Exception:  # None, an object without the method, a closed stream
            return False

    def fileno(self) -> int:
        """The descriptor, as streams give it.

        Raises:
            OSError: there is none.
        """
        try:
            return int(self._stream.fileno())
        except Exception:
            raise OSError("the output has no descriptor") from None

    def finish(self) -> BaseException | None:
        """Flushes, and keeps Python from complaining about the same failure at its own end.

        Returns:
            What has gone wrong; None where all was written or the reader of a pipe (head, less)
            went away, which is its right.
        """
        self.flush()
        if self.problem is None:
            return None
        if self._stream in (sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.fileno())
                os.close(nowhere)
        return None if isinstance(self.problem, BrokenPipeError) else self.problem


def console_over(output: Output) -> SafeConsole:
    """A console that prints to this output, as wide as it is or as ``COLUMNS`` says."""
    terminal = output.isatty()
    width, height = _size(output) if terminal else (PIPED_WIDTH, _USUAL_HEIGHT)
    width = _positive("COLUMNS") or width
    return SafeConsole(
        file=cast(TextIO, output),
        width=max(NARROWEST, min(width, WIDEST)),
        height=_positive("LINES") or height,
        # Colours may be forced upon a pipe (FORCE_COLOR), moving bars may not.
        force_interactive=terminal and os.environ.get("TERM") not in ("dumb", "unknown"),
        highlight=False,
    )


def _size(output: Output) -> tuple[int, int]:
    try:
        width, height = os.get_terminal_size(output.fileno())
    except OSError:
        width = height = 0
    return width or _USUAL_WIDTH, height or _USUAL_HEIGHT


def _positive(name: str) -> int | None:
    """A whole number above 0 from the environment; None where it is anything else."""
    text = os.environ.get(name, "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    return number or None


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
        """Adds the cell's bar."""
        self._drop(cell)
        name = label(cell)
        self._running[name] = self.add_task(name, total=queries, unit="queries")

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
        """Notes how many queries the cell has."""
        self._running[label(cell)] = [0, queries]
        self._say()

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        """Counts the batch's queries."""
        if label(cell) in self._running:
            self._running[label(cell)][0] += int(batch_log.get("queries", 0))
        self._say()

    def cell_done(self, record: Record) -> None:
        """Counts the cell."""
        from benchmark.store.records import cell_from_dict  # imports NumPy

        self._running.pop(label(cell_from_dict(record.cell)), None)
        self._done += 1
        self._say()

    def _say(self) -> None:
        now = self._clock()
        if now - self._said < EVERY:
            return
        self._said = now
        passed = now - self._begun
        part = sum(done / max(total, 1) for done, total in self._running.values())
        share = (self._done + part) / max(self._total, 1)
        left = f", about {_span(passed * (1 / share - 1))} left" if 0 < share < 1 else ""
        running = "".join(
            f"; {name}: {done} of {total} queries" for name, (done, total) in self._running.items()
        )
        line = f"{self._done} of {self._total} cells in {_span(passed)}{left}{running}"
        self._console.print(Text(line), soft_wrap=True)


def _span(seconds: float) -> str:
    """A time as a person says it: "50 s", "3 min", "2 h 5 min"."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
