"""One cell after another in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmark.cell import Cell, Record, Status
from benchmark.progress import Progress, Silent
from benchmark.resources import Resources
from benchmark.runner import run_cell, unfinished


class SerialExecutor:
    """Runs cells in this process, with its torch settings as they are.

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
        watcher = progress or Silent()
        records = []
        for cell in cells:
            try:
                record, arrays = run_cell(cell, self.resources, progress=watcher)
            except KeyboardInterrupt:
                save(self._interrupted(cell), {})
                raise
            save(record, arrays)
            watcher.cell_done(record)
            records.append(record)
        return records

    def _interrupted(self, cell: Cell) -> Record:
        # The key needs data and weights; the interrupt may have come while they were loading.
        key = self.resources.known_key(cell)
        return unfinished(cell, key, Status.INTERRUPTED, "stopped by the user")
