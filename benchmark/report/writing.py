"""Writes all that a run shows: tables, page, figures, and the manifest last."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmark.cell import Record, Status
from benchmark.errors import ResultsError
from benchmark.report.boards import boards
from benchmark.report.leaderboard import by_shift, leaderboard
from benchmark.report.outputs import write_csv, write_csvs, write_manifest, write_text
from benchmark.report.pools import Pool, benchmark_pools, problems, shift_pools
from benchmark.report.ranking_tables import pairwise, pairwise_frame, ranking_frame, rankings
from benchmark.report.results import CellResult
from benchmark.report.text_tables import latex, markdown
from benchmark.report.tidy import number_columns, tidy
from benchmark.report.unlabelled import unlabelled_frame
from benchmark.store.records import StoredCell
from benchmark.store.run_store import RunStore
from benchmark.store.sharing import Shared

logger = logging.getLogger(__name__)

_TIDY_AT_ONCE = 500
"""Cells whose rows of the tidy table are in memory at once."""


def load_results(store: RunStore, *, batches: bool = True) -> list[CellResult]:
    """All good cells of a run with their numbers per query; other files are warned of by name.

    Equal parts of the cells are kept once, so that a hundred thousand cells fit into memory.

    Args:
        store: the run.
        batches: False: of each batch keep the angle alone, which is all that figures ask for.
    """
    shared = Shared()
    return [_compact(cell, shared, batches) for cell in store.stored()]


def _compact(cell: StoredCell, shared: Shared, batches: bool) -> CellResult:
    record = cell.record
    if not batches:
        angles = ({"angle": batch["angle"]} for batch in record.batches if "angle" in batch)
        record = replace(record, batches=tuple(angles))
    found = result_of(shared.record(record), cell.arrays if cell.done else {})
    if found.group is None or found.order is None:
        return found
    return replace(found, group=shared.array(found.group), order=shared.array(found.order))


def result_of(record: Record, arrays: Mapping[str, np.ndarray]) -> CellResult:
    """A record with its numbers per query (see ``runner.Arrays``); empty where it is not done."""
    if not arrays or record.info.get("unlabelled"):
        return CellResult(record)
    ranks, group, order = (arrays[name] for name in ("best_rank", "group", "order"))
    small = ranks.astype(np.min_scalar_type(ranks.max()))
    return CellResult(record, ranks == 1, group, order, small)


def results_of(store: RunStore, records: Iterable[Record]) -> list[CellResult]:
    """The stored cells that these records are of, in the order of the records."""
    stored = {result.record.key: result for result in load_results(store)}
    return [stored[record.key] for record in records if record.key in stored]


def write_all(
    store: RunStore,
    results: list[CellResult] | None = None,
    *,
    figures: bool = True,
    each: bool = True,
    folder: Path | None = None,
    kinds: Sequence[Literal["png", "pdf"]] = ("png",),
) -> list[Path]:
    """Writes the tables, one page with all of it and the figures; gives the files written.

    Tables: tidy.csv, leaderboard.csv (and .tex, .md), by_shift.csv, pairwise.csv, ranking.csv; of
    a query log without labels only tidy.csv and unlabelled.csv. The page is leaderboard.html; only
    one in the run's own folder links to the cells' files.

    Each file appears whole or not at all, and outputs.json (see ``outputs``) last. What a reader
    must know (missing source cells, numbers that are NaN) is logged as warnings.

    Args:
        store: the run.
        results: ``load_results(store)`` where the caller has them.
        figures: whether to draw; ``each``: the figures of each benchmark too.
        folder: where to write, if not into the run's own folder.
        kinds: of which kinds the figures are.

    Raises:
        ResultsError: the run has no cells, or the folder cannot be written.
    """
    from benchmark.report import html  # it imports this package's own names

    results = load_results(store, batches=False) if results is None else results
    if not results:
        raise ResultsError(
            f"no results in {store.path}; expected {store.cells.name}/*.json there "
            "(queryshift bench writes them)"
        )
    _warn(results)
    target = store.path if folder is None else folder
    records = [result.record for result in results]
    made = output_options(figures=figures, each=each, kinds=kinds)
    numbers = number_columns(records)
    parts = (records[at : at + _TIDY_AT_ONCE] for at in range(0, len(records), _TIDY_AT_ONCE))
    written = [write_csvs((tidy(part, numbers) for part in parts), target / "tidy.csv")]
    if any(result.unlabelled for result in results):
        log = [result for result in results if not result.done]
        written.append(write_csv(unlabelled_frame(log), target / "unlabelled.csv"))
        results = [result for result in results if result.done]
    if not results:
        return [*written, write_manifest(target, records, made, written)]
    pools, whole = shift_pools(results), benchmark_pools(results)
    pairs = pairwise(whole)
    tables = boards(whole, pairs)
    written += [
        write_csv(leaderboard(whole), target / "leaderboard.csv"),
        write_csv(by_shift(pools), target / "by_shift.csv"),
        write_csv(pairwise_frame(whole, pairs), target / "pairwise.csv"),
        write_csv(ranking_frame(rankings(whole)), target / "ranking.csv"),
        write_text(latex(tables), target / "leaderboard.tex"),
        write_text(markdown(tables), target / "leaderboard.md"),
        html.write(
            results,
            target / "leaderboard.html",
            cells=store.cells if folder is None else None,
            pools=(whole, pools),
        ),
    ]
    if figures:
        written += _draw(target / "figures", pools, whole, each, kinds)
    return [*written, write_manifest(target, records, made, written)]


def _draw(
    folder: Path,
    pools: Sequence[Pool],
    whole: Sequence[Pool],
    each: bool,
    kinds: Sequence[Literal["png", "pdf"]],
) -> list[Path]:
    # matplotlib takes half a second to import, which a run without figures need not spend.
    from benchmark.report import plots

    return [
        path
        for name, figure in plots.figures(pools, whole, each=each)
        for path in plots.write(figure, folder / name, kinds)
    ]


def output_options(
    *, figures: bool = True, each: bool = True, kinds: Sequence[str] = ("png",)
) -> dict[str, Any]:
    """What the outputs of ``write_all`` depend on besides the records."""
    return {"figures": figures, "each": each, "kinds": list(kinds)}


def _warn(results: list[CellResult]) -> None:
    """One line per problem; unfinished cells are counted, by_shift.csv gives their reasons."""
    unfinished = Counter(r.record.status.value for r in results if r.record.status != Status.DONE)
    if unfinished:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(unfinished.items()))
        logger.warning("cells without a result: %s; by_shift.csv gives the reasons", counts)
    scored = (r for r in results if r.record.status == Status.DONE and not r.unlabelled)
    for line in problems(list(scored)):
        logger.warning("%s", line)
