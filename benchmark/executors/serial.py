"""Serial executor: one cell after another in this process."""

from __future__ import annotations

from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from benchmark.executors.base import Executor, WorkQueue


class SerialExecutor(Executor):
    """Runs cells in this process, with its torch settings as they are.

    A cell that hangs cannot be stopped from within: for a time limit use ``ProcessExecutor`` with
    one worker.

    Args:
        resources: kept from cell to cell.
    """

    def __init__(self, resources: Resources) -> None:
        self.resources = resources

    def work(self, queue: WorkQueue) -> None:
        for index, cell in enumerate(queue.cells):
            try:
                record, arrays = run_cell(cell, self.resources, progress=queue.progress)
            except KeyboardInterrupt:
                queue.interrupt(index)
                raise
            queue.finish(index, record, arrays)
