"""Progress of a run: bars on a terminal, one in a notebook, lines elsewhere."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import Any

from rich.console import Console

from benchmark.cell import Cell, Record
from benchmark.cli.progress import Bars, Lines, label
from benchmark.evaluation.callbacks import Callback, CallbackList


@contextmanager
def shown(total: int, *, quiet: bool) -> Iterator[Callback]:
    """Gives the callback that shows the progress of so many cells within the block."""
    if not quiet and (display := _notebook_display()) is not None:
        bar = _NotebookBar(total, display)
        yield bar
        bar.close()
        return
    console = Console(stderr=True)
    if quiet or not console.is_interactive:
        yield CallbackList() if quiet else Lines(console, total)
        return
    with Bars(console, total) as bars:
        yield bars


def _notebook_display() -> Any:
    """``IPython.display`` where a notebook shows what it is given; None elsewhere."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if type(shell).__name__ != "ZMQInteractiveShell":
        return None
    return importlib.import_module("IPython.display")


class _NotebookBar:
    """A bar of plain HTML, which needs no extension of the notebook.

    Args:
        total: cells.
        display: the module ``IPython.display``.
    """

    def __init__(self, total: int, display: Any) -> None:
        self._html = display.HTML
        self._total, self._done = total, 0
        self._handle = display.display(self._html(""), display_id=True)

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
        self._show(label(cell))

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        """Bars are for cells here."""

    def cell_done(self, record: Record) -> None:
        self._done += 1
        self._show("")

    def close(self) -> None:
        """Takes the bar away."""
        self._handle.update(self._html(""))

    def _show(self, text: str) -> None:
        bar = f'<progress value="{self._done}" max="{self._total}"></progress>'
        self._handle.update(self._html(f"{bar} {self._done}/{self._total} {escape(text)}"))
