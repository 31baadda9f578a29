"""What a reader sees of a run: tables on the terminal, CSV files and figures in its folder.

Everything here is a pure function of the stored cells: writing it again gives the same bytes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from benchmark.cell import Record, Status
from benchmark.errors import ResultsError
from benchmark.report.leaderboard import by_shift, leaderboard, write_bytes, write_csv
from benchmark.report.pairs import CellResult, benchmark_pools, problems, shift_pools
from benchmark.report.ranking_tables import pairwise, pairwise_frame, ranking_frame, rankings
from benchmark.report.table import results_table
from benchmark.report.text_tables import boards, latex, markdown
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
    without numbers. A record whose fields are of the wrong type is warned of and left out.
    """
    results = []
    for record in store.records():
        wrong = _wrong(record)
        if wrong:
            logger.warning("the record of cell %s is ignored: %s", record.key, wrong)
        else:
            results.append(with_arrays(store, record))
    return results


def _wrong(record: Record) -> str:
    """What a record that could be read has of the wrong type, or an empty string."""
    cell, info = record.cell, record.info
    for name in ("queries", "gallery"):
        if not isinstance(info.get(name), int | None):
            return f"'{name}' is {info[name]!r}, not a whole number"
    for name, value in (("seed", cell["seed"]), ("severity", cell["shift"]["severity"])):
        if not isinstance(value, int):
            return f"'{name}' is {value!r}, not a whole number"
    names = (cell["suite"], cell["benchmark"], cell["method"]["name"], cell["shift"]["name"])
    if not all(isinstance(name, str) for name in names):
        return f"one of its names is not a text: {', '.join(map(repr, names))}"
    if not isinstance(cell["method"].get("options", {}), Mapping):
        return f"the method's options are {cell['method']['options']!r}, not an object"
    return ""


def with_arrays(store: RunStore, record: Record) -> CellResult:
    """A record with its numbers per query; without, and with a warning, where they are damaged."""
    if record.status != Status.DONE:
        return CellResult(record)
    try:
        arrays = store.arrays_of(record)
        ranks, group, order = (arrays[name] for name in ("best_rank", "group", "order"))
        if ranks.ndim != 1 or not ranks.size or not ranks.shape == group.shape == order.shape:
            raise ResultsError(
                f"cell {record.key}: its numbers per query are damaged (shapes {ranks.shape}, "
                f"{group.shape} and {order.shape}); delete it to run it again"
            )
        if not np.array_equal(np.sort(order), np.arange(len(order))):
            raise ResultsError(
                f"cell {record.key}: the order of its stream does not name each query once; delete "
                "it to run it again"
            )
        return CellResult(record, (ranks == 1).astype(np.float64), group, order, ranks)
    except ResultsError as error:
        logger.warning("%s", error)
    except KeyError as error:
        logger.warning("cell %s has no array %s beside it", record.key, error)
    return CellResult(record)


def write_all(
    store: RunStore,
    results: list[CellResult] | None = None,
    *,
    figures: bool = True,
    each: bool = True,
    folder: Path | None = None,
    kinds: Sequence[Literal["png", "pdf"]] = ("png",),
) -> list[Path]:
    """Writes the tables, one page with all of it and, unless switched off, the figures.

    Tables: tidy.csv, leaderboard.csv (and .tex, .md), by_shift.csv, pairwise.csv, ranking.csv. The
    page is leaderboard.html; only one in the run's own folder links to the cells' files.

    Each file appears whole or not at all. What a reader must know (missing source cells, numbers
    that are NaN) is logged as warnings.

    Args:
        store: the run.
        results: ``load_results(store)`` where the caller has them.
        figures: whether to draw.
        each: whether to draw the figures of each benchmark too.
        folder: where to write, if not into the run's own folder.
        kinds: of which kinds the figures are.

    Returns:
        The files written.

    Raises:
        ResultsError: the run has no cells, or the folder cannot be written.
    """
    from benchmark.report import html  # it imports this package's own names

    results = load_results(store) if results is None else results
    if not results:
        raise ResultsError(
            f"no results in {store.path}; expected {store.cells.name}/*.json there "
            "(queryshift bench writes them)"
        )
    _warn(results)
    target = store.path if folder is None else folder
    pools, whole = shift_pools(results), benchmark_pools(results)
    pairs = pairwise(whole)
    tables = boards(whole, pairs)
    written = [
        store.write_tidy(target / "tidy.csv"),
        write_csv(leaderboard(whole), target / "leaderboard.csv"),
        write_csv(by_shift(pools), target / "by_shift.csv"),
        write_csv(pairwise_frame(whole, pairs), target / "pairwise.csv"),
        write_csv(ranking_frame(rankings(whole)), target / "ranking.csv"),
        write_bytes(latex(tables).encode("utf-8"), target / "leaderboard.tex"),
        write_bytes(markdown(tables).encode("utf-8"), target / "leaderboard.md"),
        html.write(
            results,
            target / "leaderboard.html",
            cells=store.cells if folder is None else None,
            pools=(whole, pools),
        ),
    ]
    if figures:
        # matplotlib takes half a second to import, which a run without figures need not spend.
        from benchmark.report import plots

        for name, figure in plots.figures(pools, whole, each=each):
            written += plots.write(figure, target / "figures" / name, kinds)
    return written


def _warn(results: list[CellResult]) -> None:
    """One line per problem; unfinished cells are counted, by_shift.csv gives their reasons."""
    unfinished = Counter(r.record.status.value for r in results if r.record.status != Status.DONE)
    if unfinished:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(unfinished.items()))
        logger.warning("cells without a result: %s; by_shift.csv gives the reasons", counts)
    for line in problems([r for r in results if r.record.status == Status.DONE]):
        logger.warning("%s", line)
