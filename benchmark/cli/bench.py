"""``queryshift bench``: runs cells, prints their table, writes tables and figures."""

from __future__ import annotations

import argparse
import functools
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from benchmark.cell import Cell, Record, Status
from benchmark.cli.command import FAILED, INTERRUPTED, OK, Command
from benchmark.cli.progress import Bars
from benchmark.config import run as settings
from benchmark.config.run import BenchConfig

if TYPE_CHECKING:
    from benchmark.store.run_store import RunStore

RUNS = Path("results") / "runs"
"""Where runs are stored when nothing else is said; relative to the current folder."""


class Bench(Command):
    """The main job."""

    name = "bench"
    summary = "run methods under query shift, beside the source model; print a table, draw figures"
    examples = (
        "  queryshift bench --method rest --shift gaussian\n"
        "  queryshift bench --method all --shift all --seed 0-2 --workers 2\n"
        "  queryshift bench --benchmark flickr-c-image --data /data --method tcr --shift contrast\n"
        "  queryshift bench --method tcr --option steps=1 --option lr=1e-4\n"
        "  queryshift bench --stream diverse --shift gaussian,contrast,jpeg_compression"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        settings.add_flags(parser)

    def run(self, args: argparse.Namespace, console: Console) -> int:
        config = settings.resolve(args)
        # torch, pandas and the libraries of the data take seconds: not before they are needed.
        from benchmark.planning.plan import plan, run_name

        cells = plan(config, {**settings.from_file(args), **settings.from_flags(args)})
        folder = Path(config.out) if config.out else RUNS / run_name(cells)
        return run_and_report(cells, folder, config, console)


def run_and_report(
    cells: Sequence[Cell], folder: Path, config: BenchConfig, console: Console
) -> int:
    """Runs what the folder does not have yet, prints the table, writes tables and figures.

    Returns:
        Exit code: 0, 1 where a cell has failed, 130 where the user stopped the run.
    """
    from benchmark.report.table import results_table
    from benchmark.report.writing import load_results, write_all
    from benchmark.store.run_store import RunStore

    store = RunStore(folder)
    code, records = run_all(cells, store, config, console)
    if code == INTERRUPTED:
        return code
    keys, results = {record.key for record in records}, load_results(store)
    console.print(results_table(r for r in results if r.record.key in keys))
    say_reasons(console, records)
    say_where(console, write_all(store, results, figures=not config.no_figures))
    return code


def run_all(
    cells: Sequence[Cell], store: RunStore, config: BenchConfig, console: Console
) -> tuple[int, list[Record]]:
    """Runs what the store does not have yet, and says how much of it was there.

    Returns:
        Exit code (0, 1 where a cell has failed, 130 where the user stopped the run) and the
        records of all cells (none where the run was stopped).
    """
    say_untuned(console, cells)
    try:
        records, reused = execute(cells, store, config, console)
    except KeyboardInterrupt:
        console.print(
            Text(
                f"interrupted; the finished cells in {store.path} are valid, and the same command "
                "goes on from there",
                style="yellow",
            ),
            soft_wrap=True,
        )
        return INTERRUPTED, []
    if reused:
        note = f"reused {reused} finished cell{'s' if reused > 1 else ''}"
        ran = len(records) - reused
        note += f", ran {ran}" if ran else "; nothing to do"
        console.print(Text(note))
    failed = any(r.status in (Status.FAILED, Status.TIMEOUT) for r in records)
    return FAILED if failed else OK, records


def say_untuned(console: Console, cells: Sequence[Cell]) -> None:
    """One line where a method runs untuned on the embedded default, whose other methods are not."""
    from benchmark.config.presets import USER_FILE
    from benchmark.planning.specs import untuned

    names = untuned(cells)
    if names:
        listed = ",".join(names)
        line = (
            f"untuned on the embedded default: {', '.join(names)}; to tune: queryshift tune "
            f"--method {listed}, then add --preset {USER_FILE}"
        )
        console.print(Text(line, style="yellow"), soft_wrap=True)


def say_reasons(console: Console, records: Sequence[Record]) -> None:
    """Each reason why cells have no result, once and in full: the table has to cut long ones."""
    cells = Counter((r.status.value, r.reason) for r in records if r.status is not Status.DONE)
    for (status, reason), count in cells.items():
        line = f"{count} cell{'s' if count > 1 else ''} {status}: {reason}"
        console.print(Text(line, style="red"), soft_wrap=True)


def say_where(console: Console, written: Sequence[Path]) -> None:
    """The closing lines: what was written."""
    tables = [path for path in written if path.suffix not in (".png", ".pdf")]
    figures = [path for path in written if path.suffix == ".png"]
    if tables:
        names = ", ".join(path.name for path in tables)
        console.print(Text(f"tables:  {tables[0].parent}/ ({names})"), soft_wrap=True)
    if figures:
        names = ", ".join(path.name for path in figures)
        console.print(Text(f"figures: {figures[0].parent}/ ({names})"), soft_wrap=True)


def execute(
    cells: Sequence[Cell], store: RunStore, config: BenchConfig, console: Console
) -> tuple[list[Record], int]:
    """Runs the cells that the store does not have; gives all records and how many were there.

    With ``config.shard`` only those of the shard.
    """
    from benchmark.evaluation.builders import default_resources
    from benchmark.evaluation.loggers import opened
    from benchmark.executors import identify, run_cells
    from benchmark.executors.choose import check_settings, make_executor, part_of

    check_settings(config)
    cells = part_of(cells, config)
    factory = functools.partial(
        default_resources,
        allow_missing=config.allow_missing,
        ready_made=config.ready_made,
        cache=config.cache,
    )
    resources = factory()
    again = config.if_exists == "always"
    with ExitStack() as stack:
        logs = stack.enter_context(opened(config.log))
        still = config.quiet or not console.is_interactive
        with nullcontext() if still else console.status("loading data and weights"):
            found = identify(cells, store, resources, again=again)
        executor = make_executor(
            config,
            factory,
            resources,
            waiting=found.waiting,
            device=next((cell.backbone.device for cell in cells), "cpu"),
            folder=store.path,
        )
        bars = stack.enter_context(Bars(console, found.waiting, quiet=config.quiet))
        watcher = logs.beside(bars)
        outcome = run_cells(
            cells, store, executor, resources=resources, progress=watcher, found=found
        )
    return outcome.records, outcome.reused
