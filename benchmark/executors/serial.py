"""One cell after another in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmark.cell import Cell, Record
from benchmark.evaluation.callbacks import Progress
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from benchmark.executors.todo import Todo


class SerialExecutor:
    """Runs cells in this process, with its torch settings as they are.

    A cell that hangs cannot be stopped from within: for a time limit use ``ProcessExecutor`` with
    one worker.

    Args:
        resources: kept from cell to cell.
    """

    def __init__(self, resources: Resources) -> None:
        self.resources = resources

    def run(
        self,
        cells: Sequence[Cell],
        save: Callable[[Record, Mapping[str, np.ndarray]], None],
        *,
        progress: Progress | None = None,
    ) -> list[Record]:
        """See ``Executor.run``."""
        todo = Todo(cells, save, progress=progress)
        while (index := todo.take()) is not None:
            try:
                record, arrays = run_cell(cells[index], self.resources, progress=todo.progress)
            except KeyboardInterrupt:
                # The key needs data and weights; they may have been loading.
                todo.interrupt(index, self.resources.known_key(cells[index]))
                raise
            todo.finish(index, record, arrays)
        return todo.results
