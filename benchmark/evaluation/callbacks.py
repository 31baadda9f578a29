"""What the runner tells whoever watches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from benchmark.cell import Cell, Record


class Progress(Protocol):
    """Receives news of running cells, always in the process that asked for them.

    With several workers the news of different cells interleave.
    """

    def cell_started(self, cell: Cell, batches: int) -> None:
        """A cell's stream begins; it has this many batches."""

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        """One batch is adapted on and ranked: ``queries``, ``R@1`` and the method's log."""

    def cell_done(self, record: Record) -> None:
        """A cell has ended, well or not, and its record is saved."""


class Silent:
    """Progress that nobody watches."""

    def cell_started(self, cell: Cell, batches: int) -> None:
        """Ignores the news."""

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        """Ignores the news."""

    def cell_done(self, record: Record) -> None:
        """Ignores the news."""
