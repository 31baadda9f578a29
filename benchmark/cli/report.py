"""``queryshift report``: tables and figures of a stored run, derived anew."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.text import Text

from benchmark.cli.bench import RUNS, say_where
from benchmark.cli.command import OK, Command
from benchmark.config.paths import user_path
from benchmark.errors import ConfigError, ResultsError, did_you_mean
from benchmark.report.display import FittedTable

if TYPE_CHECKING:
    from benchmark.cell import Record
    from benchmark.store.run_store import RunStore

Kinds = Sequence[Literal["png", "pdf"]]


class Report(Command):
    """A pure function of the run's folder: running it twice writes the same bytes."""

    name = "report"
    summary = "print the table of a stored run, write its tables and figures anew"
    examples = (
        "  queryshift report results/runs/NAME --pdf\n"
        "  queryshift report NAME --no-figures --reported\n"
        "  queryshift report NAME --no-figures --map 0f1e2d3c4b5a6978"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folder", metavar="RUN", help=f"folder of a run, or its name in {RUNS}")
        parser.add_argument("--no-figures", action="store_true", help="write no PNG figures")
        parser.add_argument(
            "--reported",
            action="store_true",
            help="also set published numbers beside the measured ones that they belong to",
        )
        parser.add_argument("--pdf", action="store_true", help="write each figure as PDF too")
        parser.add_argument(
            "--map",
            metavar="KEY",
            help="run this cell once more and draw its queries and gallery before and after "
            "adaptation",
        )

    def run(self, args: argparse.Namespace, console: Console) -> int:
        if args.pdf and args.no_figures and not (args.map or args.reported):
            raise ConfigError("--pdf has no effect with --no-figures; leave one of them out")
        folder = find_run(args.folder)

        from benchmark.report.table import results_table
        from benchmark.report.writing import load_results, write_all
        from benchmark.store.run_store import RunStore

        store = RunStore(folder)
        mapped = _record(store, args.map) if args.map else None  # a wrong key is said at once
        kinds: Kinds = ("png", "pdf") if args.pdf else ("png",)
        results = load_results(store)
        written = write_all(store, results, figures=not args.no_figures, kinds=kinds)
        console.print(results_table(results))
        if args.reported:
            written += _beside_reported(store, console, kinds)
        if mapped is not None:
            written += _map(store, mapped, kinds)
        say_where(console, written)
        return OK


def _record(store: RunStore, key: str) -> Record:
    if not (key.isascii() and key.isalnum()):  # it becomes a pattern of file names
        raise ResultsError(f"{key!r} is no cell's key; expected 16 hex digits, as in tidy.csv")
    return store.load(key)


def _map(store: RunStore, record: Record, kinds: Kinds) -> list[Path]:
    """Draws ``figures/map_<key>.png``; runs the cell again, since records keep no embeddings."""
    from benchmark.evaluation.builders import default_resources
    from benchmark.executors.rerun import embeddings_of, title_of
    from benchmark.report import plots
    from benchmark.store.records import cell_from_dict

    cell = cell_from_dict(record.cell)
    found = embeddings_of(record, default_resources())
    figure = plots.embedding_map(found, title_of(cell), cell.method.name)
    return plots.write(figure, store.path / "figures" / f"map_{record.key}.png", kinds)


def _beside_reported(store: RunStore, console: Console, kinds: Kinds) -> list[Path]:
    """Prints and writes ``reported.csv``: published beside measured numbers; draws them."""
    from benchmark.report import plots, reported
    from benchmark.report.leaderboard import write_csv
    from benchmark.report.tidy import tidy

    measured = tidy(store.records())
    frame, unlike = reported.beside(measured), reported.apart(measured)
    for (name, differs), rows in unlike.groupby(["benchmark", "differs"], sort=False):
        line = f"not set beside {len(rows)} published numbers of {name}: {differs}"
        console.print(Text(line, style="yellow"), soft_wrap=True)
    if frame.empty:
        line = (
            "no published number fits a cell of this run (benchmark, backbone, shift, method, "
            "settings)"
        )
        console.print(Text(line, style="yellow"), soft_wrap=True)
    else:
        table = FittedTable(title="published beside measured", title_justify="left")
        shown = ("benchmark", "backbone", "shift", "severity", "method", "metric")
        for name in (*shown, "reported", "measured", "reported_difference", "source"):
            number = name in ("reported", "measured", "reported_difference")
            table.add_column(name, justify="right" if number else "left", overflow="fold")
        for row in frame.to_dict("records"):
            names = [Text(str(row[name])) for name in shown]
            names_of_numbers = ("reported", "measured", "reported_difference")
            numbers = [Text(f"{row[name]:.1f}") for name in names_of_numbers]
            table.add_row(*names, *numbers, Text(str(row["source"])))
        console.print(table)
    written = [write_csv(frame, store.path / "reported.csv")]
    if (frame["metric"] == "R@1").any():
        figure = plots.reported_and_measured(frame)
        written += plots.write(figure, store.path / "figures" / "reported.png", kinds)
    return written


def find_run(text: str) -> Path:
    """The folder that a path or a run's name means.

    Raises:
        ResultsError: there is none.
    """
    for folder in (user_path(text), RUNS / text):
        if (folder / "cells").is_dir():
            return folder
    known = [path.name for path in RUNS.iterdir()] if RUNS.is_dir() else []
    raise ResultsError(
        f"there is no run {text!r}{did_you_mean(Path(text).name, known)}; expected a folder with "
        f"cells/*.json, or its name in {RUNS}"
    )
