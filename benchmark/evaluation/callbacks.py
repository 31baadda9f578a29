"""Callbacks: what the runner tells of running cells, and the list that passes events on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from benchmark.cell import Cell, Record

logger = logging.getLogger(__name__)


class Callback(Protocol):
    """Receives the events of running cells, always in the process that asked for them.

    With several workers the events of different cells interleave.
    """

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
        """A cell's stream begins; it has so many batches of so many queries in all."""

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        """One batch is adapted on and ranked: ``queries``, ``R@1`` and the method's log."""

    def cell_done(self, record: Record) -> None:
        """A cell has ended, well or not, and its record is saved."""


class Logger(Callback, Protocol):
    """A callback that holds something open until the run ends."""

    def close(self) -> None:
        """Writes what is left and lets go of files and connections."""


class CallbackList:
    """Passes each event on to callbacks and to loggers; empty, to nobody.

    Args:
        loggers: name -> logger. They never change a run: one that raises is warned of, closed and
            told nothing more, since a full disk or a server that went away must not cost the run.
    """

    def __init__(self, loggers: Mapping[str, Logger] | None = None) -> None:
        self._callbacks: list[Callback] = []
        self.loggers = dict(loggers or {})

    def add(self, callback: Callback) -> None:
        """Adds a callback that is told before the loggers and whose errors are the program's."""
        self._callbacks.append(callback)

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
        self._tell(lambda callback: callback.cell_started(cell, batches, queries))

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        self._tell(lambda callback: callback.batch_done(cell, batch_log))

    def cell_done(self, record: Record) -> None:
        self._tell(lambda callback: callback.cell_done(record))

    def close(self) -> None:
        for name in list(self.loggers):
            self._drop(name)

    def _tell(self, event: Callable[[Callback], None]) -> None:
        for callback in self._callbacks:
            event(callback)
        for name, one in list(self.loggers.items()):
            try:
                event(one)
            except Exception as error:  # whatever a foreign library raises
                logger.warning(
                    "the log %s is given up (%s: %s); the run goes on without it",
                    name,
                    type(error).__name__,
                    error,
                )
                self._drop(name, quiet=True)

    def _drop(self, name: str, *, quiet: bool = False) -> None:
        try:
            self.loggers.pop(name).close()
        except Exception as error:  # as above; a file on a full disk fails once more on closing
            if not quiet:
                logger.warning("the log %s may lack its end: %s", name, error)
