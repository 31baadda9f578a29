"""``queryshift report``: tables and figures of a stored run, derived anew."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from benchmark.cli.bench import RUNS, say_where
from benchmark.cli.command import OK, Command
from benchmark.errors import ResultsError, did_you_mean


class Report(Command):
    """A pure function of the run's folder: running it twice writes the same bytes."""

    name = "report"
    summary = "print the table of a stored run, write its tables and figures anew"
    examples = "  queryshift report results/runs/NAME\n  queryshift report NAME --no-figures"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folder", metavar="RUN", help=f"folder of a run, or its name in {RUNS}")
        parser.add_argument("--no-figures", action="store_true", help="write no PNG figures")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        folder = find_run(args.folder)

        from benchmark.report import load_results, results_table, write_all
        from benchmark.store import RunStore

        store = RunStore(folder)
        written = write_all(store, figures=not args.no_figures)
        console.print(results_table(load_results(store)))
        say_where(console, written)
        return OK


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
