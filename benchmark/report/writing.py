"""Writes all that a run shows: tables, page, figures, and last the manifest with their digests.

Outputs are a pure function of the records, the version and a few options. Where all of these are
those of the manifest and each file is as it was written, there is nothing to write; after a kill, a
full disk or a hand in between there is.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pandas as pd

from benchmark import __version__
from benchmark.cell import Record, Status
from benchmark.config.files import atomic_write, no_formulas, regular
from benchmark.errors import ResultsError
from benchmark.report.pools import Pool, benchmark_pools, prepare, shift_pools
from benchmark.report.problems import problems
from benchmark.report.results import CellResult
from benchmark.store.run_store import RunStore, Shared

logger = logging.getLogger(__name__)

_TIDY_AT_ONCE = 500
"""Cells whose rows of the tidy table are in memory at once."""


def load_results(store: RunStore, *, batches: bool = True) -> list[CellResult]:
    """All good cells of a run with their numbers per query; other files are warned of by name.

    Equal parts of the cells are kept once, so that a hundred thousand cells fit into memory.

    Args:
        batches: False: of each batch keep the angle alone, which is all that figures ask for.
    """
    shared, results = Shared(), []
    for cell in store.stored():
        record = cell.record
        if not batches:
            angles = ({"angle": batch["angle"]} for batch in record.batches if "angle" in batch)
            record = replace(record, batches=tuple(angles))
        found = result_of(shared.record(record), cell.arrays if cell.done else {})
        group, order = map(shared.array, (found.group, found.order))
        results.append(replace(found, group=group, order=order))
    return results


def result_of(record: Record, arrays: Mapping[str, np.ndarray]) -> CellResult:
    """A record with its numbers per query (see ``runner.Arrays``); empty where it is not done."""
    if not arrays or record.info.get("unlabelled"):
        return CellResult(record)
    ranks, group, order = (arrays[name] for name in ("best_rank", "group", "order"))
    small = ranks.astype(np.min_scalar_type(ranks.max()))  # only compared here
    return CellResult(record, small, group, order)


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

    Tables: tidy.csv, leaderboard.csv (and .tex, .md), by_shift.csv, pairwise.csv.gz, ranking.csv;
    of a query log without labels only tidy.csv and unlabelled.csv. The page is leaderboard.html;
    only one in the run's own folder links to the cells' files.

    Each file appears whole or not at all, and outputs.json (see ``outputs``) last. What a reader
    must know (missing source cells, numbers that are NaN) is logged as warnings.

    Args:
        results: ``load_results(store)`` where the caller has them.
        figures: whether to draw; ``each``: the figures of each benchmark too.
        folder: where to write, if not into the run's own folder.
        kinds: of which kinds the figures are.

    Raises:
        ResultsError: the run has no cells, or the folder cannot be written.
    """
    from benchmark.report import frames  # where all is up to date, there is nothing to enter

    results = load_results(store, batches=False) if results is None else results
    if not results:
        raise ResultsError(
            f"no results in {store.path}; expected {store.cells.name}/*.json there "
            "(queryshift bench writes them)"
        )
    records = [result.record for result in results]
    results = prepare(results)  # cells of a query log that failed early are known by it
    _warn(results)
    target = store.path if folder is None else folder
    made = output_options(figures=figures, each=each, kinds=kinds)
    numbers = frames.number_columns(records)
    parts = (records[at : at + _TIDY_AT_ONCE] for at in range(0, len(records), _TIDY_AT_ONCE))
    written = [write_csv((frames.tidy(part, numbers) for part in parts), target / "tidy.csv")]
    if log := [result for result in results if result.unlabelled]:
        from benchmark.report.unlabelled import unlabelled_frame

        written.append(write_csv(unlabelled_frame(log), target / "unlabelled.csv"))
    if results := [result for result in results if not result.unlabelled]:
        pools, whole = shift_pools(results), benchmark_pools(results)
        cells = store.cells if folder is None else None
        written += _write_tables(results, pools, whole, target, cells)
        if figures:
            # matplotlib takes half a second to import, which a run without figures need not spend.
            from benchmark.report import plots

            for name, figure in plots.figures(pools, whole, each=each):
                written += plots.write(figure, target / "figures" / name, kinds)
    return [*written, write_manifest(target, records, made, written)]


def _write_tables(
    results: list[CellResult],
    pools: Sequence[Pool],
    whole: Sequence[Pool],
    target: Path,
    cells: Path | None,
) -> list[Path]:
    from benchmark.report import boards, frames, html  # html imports this package's own names

    pairs = frames.pairwise(whole)
    tables = boards.boards(whole, pairs)
    return [
        write_csv(frames.leaderboard(whole), target / "leaderboard.csv"),
        write_csv(frames.by_shift(pools), target / "by_shift.csv"),
        write_csv(frames.pairwise_frame(whole, pairs), target / "pairwise.csv.gz"),
        write_csv(frames.ranking_frame(frames.rankings(whole)), target / "ranking.csv"),
        write_text(boards.latex(tables), target / "leaderboard.tex"),
        write_text(boards.markdown(tables), target / "leaderboard.md"),
        html.write(results, target / "leaderboard.html", cells=cells, pools=(whole, pools)),
    ]


def output_options(
    *, figures: bool = True, each: bool = True, kinds: Sequence[str] = ("png",)
) -> dict[str, Any]:
    """What the outputs of ``write_all`` depend on besides the records."""
    return {"figures": figures, "each": each, "kinds": list(kinds)}


def _warn(results: list[CellResult]) -> None:
    """One line per problem; unfinished cells are counted, a table gives their reasons."""
    unfinished = Counter(r.record.status.value for r in results if r.record.status != Status.DONE)
    if unfinished:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(unfinished.items()))
        table = "unlabelled.csv" if all(r.unlabelled for r in results) else "by_shift.csv"
        logger.warning("cells without a result: %s; %s gives the reasons", counts, table)
    scored = (r for r in results if r.record.status == Status.DONE and not r.unlabelled)
    for line in problems(list(scored)):
        logger.warning("%s", line)


NAME = "outputs.json"

VERSION = 8
"""Raised when the same records give other tables or figures within a version of the package."""

Options = Mapping[str, Any]


def write_bytes(data: bytes | Callable[[IO[bytes]], None], path: Path) -> Path:
    """Writes a file in one piece; ``data`` may be what writes into it.

    Raises:
        ResultsError: the folder or file cannot be written.
    """
    try:
        return atomic_write(path, data)
    except OSError as error:
        raise ResultsError(
            f"cannot write {path}: {error.strerror or type(error).__name__}; free space, check that"
            " the folder exists and is writable, or choose another one"
        ) from error


def write_text(text: str, path: Path) -> Path:
    """``write_bytes`` of the text as UTF-8."""
    return write_bytes(text.encode("utf-8"), path)


def write_csv(frames: pd.DataFrame | Iterable[pd.DataFrame], path: Path) -> Path:
    """Writes a frame as CSV with five significant digits, in one piece; same frame, same bytes.

    Five digits tell one query of 10,000, and small enough files. The records have all digits. A
    name that ends in ``.gz`` is compressed, which pandas and R read as they are.

    Args:
        frames: it, or parts of it that are written one at a time, one below the other.
    """
    parts = [frames] if isinstance(frames, pd.DataFrame) else frames

    def lines(file: IO[bytes]) -> None:
        for number, frame in enumerate(parts):
            text = (
                no_formulas(frame)
                .to_csv(index=False, header=not number, lineterminator="\n", float_format="%.5g")
                .encode("utf-8")
            )
            # Without a time in it: the same frames, the same bytes.
            file.write(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)

    return write_bytes(lines, path)


def up_to_date(folder: Path, records: Iterable[Record], options: Options) -> bool:
    """Whether the folder's outputs are those of these records and whole."""
    stored = _read(folder)
    if {**stored, "files": None} != {**_made_of(records, options), "files": None}:
        return False
    files = stored["files"]
    return bool(files) and all(_digest(folder / name) == files[name] for name in files)


def write_manifest(
    folder: Path, records: Iterable[Record], options: Options, written: Sequence[Path]
) -> Path:
    """Writes the manifest; removes outputs that the one before named and that are no longer made.

    Only what is still as it was written is removed, and only where the options are the same.

    Args:
        records: what the outputs are made of.
        options: how they were made.
        written: the outputs, all below the folder.

    Raises:
        ResultsError: it cannot be written.
    """
    files = {path.relative_to(folder).as_posix(): _digest(path) for path in sorted(written)}
    before = _read(folder)
    same = before.get("options") == dict(options)
    root = folder.resolve()
    for name, digest in before["files"].items() if same else ():
        path = folder / name
        # A folder from elsewhere could name files outside it.
        if name not in files and path.resolve().is_relative_to(root) and _digest(path) == digest:
            with suppress(OSError):  # a folder that cannot be written is said right below
                path.unlink()
    values = {**_made_of(records, options), "files": files}
    return write_text(f"{json.dumps(values, indent=1)}\n", folder / NAME)


def _made_of(records: Iterable[Record], options: Options) -> dict[str, Any]:
    lines = sorted(f"{record.key} {record.digest}" for record in records)
    return {
        "version": f"{__version__}-{VERSION}",
        "options": dict(options),
        "records": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }


def _read(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        values = json.loads(regular(folder / NAME).read_bytes())
        if isinstance(values, dict) and isinstance(values.get("files"), dict):
            return values
    return {}


def _digest(path: Path) -> str:
    """SHA-256 of a file, "" where there is none."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""
