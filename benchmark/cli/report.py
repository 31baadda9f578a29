"""``queryshift report``: tables and figures of a stored run, derived anew."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.cli.bench import RUNS, say_where
from benchmark.cli.command import OK, Command
from benchmark.errors import ResultsError, did_you_mean

if TYPE_CHECKING:
    from benchmark.store import RunStore


class Report(Command):
    """A pure function of the run's folder: running it twice writes the same bytes."""

    name = "report"
    summary = "print the table of a stored run, write its tables and figures anew"
    examples = (
        "  queryshift report results/runs/NAME\n  queryshift report NAME --no-figures --reported"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folder", metavar="RUN", help=f"folder of a run, or its name in {RUNS}")
        parser.add_argument("--no-figures", action="store_true", help="write no PNG figures")
        parser.add_argument(
            "--reported",
            action="store_true",
            help="also set published numbers beside the measured ones that they belong to",
        )

    def run(self, args: argparse.Namespace, console: Console) -> int:
        folder = find_run(args.folder)

        from benchmark.report import load_results, results_table, write_all
        from benchmark.store import RunStore

        store = RunStore(folder)
        written = write_all(store, figures=not args.no_figures)
        console.print(results_table(load_results(store)))
        if args.reported:
            written.append(_beside_reported(store, console))
        say_where(console, written)
        return OK


def _beside_reported(store: RunStore, console: Console) -> Path:
    """Prints and writes ``reported.csv``: published beside measured numbers."""
    from benchmark.report import reported, write_csv

    frame = reported.beside(store.tidy())
    if frame.empty:
        line = "no published number fits a cell of this run (benchmark, backbone, shift, method)"
        console.print(Text(line, style="yellow"), soft_wrap=True)
    else:
        table = Table(title="published beside measured", title_justify="left")
        shown = ("benchmark", "backbone", "shift", "severity", "method", "metric")
        for name in (*shown, "reported", "measured", "reported_difference", "source"):
            table.add_column(name, overflow="fold")
        for row in frame.to_dict("records"):
            names = [Text(str(row[name])) for name in shown]
            names_of_numbers = ("reported", "measured", "reported_difference")
            numbers = [Text(f"{row[name]:.1f}") for name in names_of_numbers]
            table.add_row(*names, *numbers, Text(str(row["source"])))
        console.print(table)
    return write_csv(frame, store.path / "reported.csv")


def find_run(text: str) -> Path:
    """The folder that a path or a run's name means.

    Raises:
        ResultsError: there is none.
    """
    for folder in (Path(text), RUNS / text):
        if (folder / "cells").is_dir():
            return folder
    known = [path.name for path in RUNS.iterdir()] if RUNS.is_dir() else []
    raise ResultsError(
        f"there is no run {text!r}{did_you_mean(Path(text).name, known)}; expected a folder with "
        f"cells/*.json, or its name in {RUNS}"
    )
