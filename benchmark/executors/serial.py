"""Serial executor: one cell after another in this process."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.cell import Cell, Record
from benchmark.evaluation.callbacks import Callback
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from benchmark.executors.work_queue import Save, WorkQueue


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
        save: Save,
        *,
        progress: Callback | None = None,
    ) -> list[Record]:
        """See ``Executor.run``."""
        queue = WorkQueue(cells, save, progress=progress)
        while (index := queue.take()) is not None:
            try:
                record, arrays = run_cell(cells[index], self.resources, progress=queue.progress)
            except KeyboardInterrupt:
                # The key needs data and weights; they may have been loading.
                queue.interrupt(index, self.resources.known_key(cells[index]))
                raise
            queue.finish(index, record, arrays)
        return queue.results
