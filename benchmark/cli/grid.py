"""``queryshift grid``: runs what a grid file asks for and the run's folder does not have yet."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from benchmark.cell import Record, Status
from benchmark.cli.bench import RUNS, run_all, say_reasons
from benchmark.cli.command import INTERRUPTED, OK, Command
from benchmark.config import run as settings

if TYPE_CHECKING:
    from benchmark.planning.grid import Planned
    from benchmark.planning.plan import Plan
    from benchmark.store.run_store import RunStore


class Grid(Command):
    """A whole comparison, from a file."""

    name = "grid"
    summary = "run a grid file: what its folder does not have yet; one table for all benchmarks"
    examples = (
        "  queryshift grid mini --workers 2\n"
        "  queryshift grid my-grid.yaml --data /data --out results/runs/mine\n"
        "  queryshift grid mini --method source,tcr --seed 0-2"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_grid(parser)

    def run(self, args: argparse.Namespace, console: Console) -> int:
        plan = plan_of(args)

        from benchmark.store.run_store import RunStore

        store = RunStore(folder_of(plan))
        skipped = keep_skipped(plan.cells, store)
        if not plan.possible:
            console.print(Text(f"nothing can be run: all {len(skipped)} cells are skipped"))
            say_reasons(console, skipped)
            return OK
        code, records = run_all(plan.possible, store, plan.config, console)
        if code != INTERRUPTED:
            report(plan, [*records, *skipped], store, console)
        return code


def add_grid(parser: argparse.ArgumentParser) -> None:
    """The word and the flags that say which grid."""
    parser.add_argument(
        "grid", metavar="GRID", help="name of a bundled grid (mini), or path of a grid file"
    )
    settings.add_flags(parser)


def plan_of(args: argparse.Namespace) -> Plan:
    """The grid that the command line names, merged with its flags and expanded.

    Raises:
        QueryShiftError: no such grid, or what is wrong in the file, with its line.
    """
    from benchmark.planning.gridfile import grid_path, read_grid
    from benchmark.planning.plan import plan_grid

    return plan_grid(read_grid(grid_path(args.grid)), args)


def folder_of(plan: Plan) -> Path:
    """The folder of a grid's results: the one asked for, or one that bears the grid's name."""
    return Path(plan.config.out) if plan.config.out else RUNS / plan.folder


def keep_skipped(cells: Iterable[Planned], store: RunStore) -> list[Record]:
    """Stores the cells that cannot be run, with the reason; those that are stored already stay."""
    from benchmark.cell import unfinished
    from benchmark.errors import ResultsError
    from benchmark.store.records import read_cell

    records = []
    for planned in cells:
        if planned.reason:
            record = unfinished(planned.cell, "", Status.SKIPPED, planned.reason)
            try:
                read_cell(store.cells / f"{planned.cell.stem(record.key)}.json")
            except ResultsError:  # none is there yet, or no good one
                store.save(record)
            records.append(record)
    return records


def report(plan: Plan, records: Sequence[Record], store: RunStore, console: Console) -> None:
    """Prints the table with a row for each benchmark; writes the files that are out of date."""
    from benchmark.report.leaderboard import write_csv
    from benchmark.report.manifest import up_to_date
    from benchmark.report.suite_table import suite_frame, suite_table
    from benchmark.report.writing import load_results, output_options, write_all

    stored, keys = load_results(store), {record.key for record in records}
    frame = suite_frame([one for one in stored if one.record.key in keys], plan.rows)
    console.print(suite_table(frame.assign(note="")))  # the reasons come below, once each
    console.print(Text("R@1 in percent: mean over shifts and directions; clean: source model"))
    say_reasons(console, records)
    written = [write_csv(frame, store.path / "suite.csv")]
    options = output_options(figures=not plan.config.no_figures)
    if not up_to_date(store.path, [one.record for one in stored], options):
        written += write_all(store, stored, figures=not plan.config.no_figures)
    console.print(Text(f"written: {len(written)} files in {store.path}/"), soft_wrap=True)
