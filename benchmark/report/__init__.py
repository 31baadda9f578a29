"""What a reader sees of a run: tables on the terminal, CSV files and figures in its folder.

Everything here is a pure function of the stored cells: writing it again gives the same bytes.
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np

from benchmark.cell import Record, Status
from benchmark.errors import ResultsError
from benchmark.report.leaderboard import by_shift, leaderboard, write_bytes, write_csv
from benchmark.report.pairs import CellResult, problems, shift_pools
from benchmark.report.table import results_table
from benchmark.store import RunStore

__all__ = [
    "CellResult",
    "by_shift",
    "leaderboard",
    "load_results",
    "results_table",
    "shift_pools",
    "with_arrays",
    "write_all",
    "write_csv",
]

logger = logging.getLogger(__name__)


def load_results(store: RunStore) -> list[CellResult]:
    """All cells of a run with their numbers per query.

    A finished cell whose numbers per query are missing or damaged is warned of; it is shown
    without numbers.
    """
    return [with_arrays(store, record) for record in store.records()]


def with_arrays(store: RunStore, record: Record) -> CellResult:
    """A record with its numbers per query; without, and with a warning, where they are damaged."""
    if record.status != Status.DONE:
        return CellResult(record)
    try:
        arrays = store.arrays_of(record)
        hits = (arrays["best_rank"] == 1).astype(np.float64)
        return CellResult(record, hits, arrays["group"], arrays["order"])
    except ResultsError as error:
        logger.warning("%s", error)
    except KeyError as error:
        logger.warning("cell %s has no array %s beside it", record.key, error)
    return CellResult(record)


def write_all(store: RunStore, *, figures: bool = True, folder: Path | None = None) -> list[Path]:
    """Writes tidy.csv, leaderboard.csv, by_shift.csv and, unless switched off, figures/*.png.

    Each file appears whole or not at all. What a reader must know (missing source cells, numbers
    that are NaN) is logged as warnings.

    Args:
        store: the run.
        figures: whether to draw.
        folder: where to write, if not into the run's own folder.

    Returns:
        The files written.

    Raises:
        ResultsError: the run has no cells, or the folder cannot be written.
    """
    results = load_results(store)
    if not results:
        raise ResultsError(
            f"no results in {store.path}; expected {store.cells.name}/*.json there "
            "(queryshift bench writes them)"
        )
    _warn(results)
    target = store.path if folder is None else folder
    pools = shift_pools(results)
    written = [
        store.write_tidy(target / "tidy.csv"),
        write_csv(leaderboard(results), target / "leaderboard.csv"),
        write_csv(by_shift(pools), target / "by_shift.csv"),
    ]
    if figures:
        # matplotlib takes half a second to import, which a run without figures need not spend.
        from benchmark.report import plots

        for name, figure in plots.figures(pools):
            written.append(write_bytes(plots.render(figure), target / "figures" / name))
    return written


def _warn(results: list[CellResult]) -> None:
    """One line per problem; unfinished cells are counted, by_shift.csv gives their reasons."""
    unfinished = Counter(r.record.status.value for r in results if r.record.status != Status.DONE)
    if unfinished:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(unfinished.items()))
        logger.warning("cells without a result: %s; by_shift.csv gives the reasons", counts)
    for line in problems([r for r in results if r.record.status == Status.DONE]):
        logger.warning("%s", line)
