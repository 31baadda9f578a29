"""``queryshift report``, ``verify`` and ``merge``: commands on the folders of stored runs."""

from __future__ import annotations

import argparse
import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from benchmark.cli.bench import say_where
from benchmark.cli.command import FAILED, OK, RUNS, Command, say, table
from benchmark.config import run as settings
from benchmark.config.files import user_path
from benchmark.config.run import BenchConfig
from benchmark.errors import ConfigError, ResultsError, did_you_mean

if TYPE_CHECKING:
    from benchmark.executors.rerun import Check
    from benchmark.store.run_store import RunStore

Kinds = Sequence[Literal["png", "pdf"]]


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


class Report(Command):
    """A pure function of the run's folder: running it twice writes the same bytes."""

    name = "report"
    summary = "print the table of a stored run; rewrite its tables and figures"
    examples = (
        "  queryshift report results/runs/NAME --pdf\n"
        "  queryshift report NAME --no-figures --reported"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("folder", metavar="RUN", help=f"folder of a run, or its name in {RUNS}")
        add("--no-figures", action="store_true", help="write no PNG figures")
        reported = "also show published numbers beside the matching measured ones"
        add("--reported", action="store_true", help=reported)
        add("--pdf", action="store_true", help="write each figure as PDF too")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        if args.pdf and args.no_figures:
            raise ConfigError("--pdf has no effect with --no-figures; leave one of them out")
        folder = find_run(args.folder)

        from benchmark.report.table import results_table
        from benchmark.report.unlabelled import unlabelled_table
        from benchmark.report.writing import load_results, write_all
        from benchmark.store.run_store import RunStore

        store = RunStore(folder)
        kinds: Kinds = ("png", "pdf") if args.pdf else ("png",)
        results = load_results(store, batches=False)
        written = write_all(store, results, figures=not args.no_figures, kinds=kinds)
        log = [one for one in results if one.unlabelled]
        if log:
            console.print(unlabelled_table(log))
        if len(log) < len(results):
            console.print(results_table([one for one in results if not one.unlabelled]))
        if args.reported:
            written += _beside_reported(store, console)
        say_where(console, written)
        return OK


def _beside_reported(store: RunStore, console: Console) -> list[Path]:
    """Prints and writes ``reported.csv``: published beside measured numbers."""
    from benchmark.report import reported
    from benchmark.report.frames import tidy
    from benchmark.report.writing import write_csv

    measured = tidy(store.records())
    frame, unlike = reported.beside(measured), reported.apart(measured)
    for (name, differs), rows in unlike.groupby(["benchmark", "differs"], sort=False):
        line = f"not set beside {len(rows)} published numbers of {name}: {differs}"
        say(console, line, "yellow")
    if frame.empty:
        line = (
            "no published number fits a cell of this run (benchmark, backbone, shift, method, "
            "settings)"
        )
        say(console, line, "yellow")
    else:
        numbers = ("reported", "measured", "reported_difference")
        names = ("benchmark", "backbone", "shift", "severity", "method", "metric")
        columns = [*names, *numbers, "source"]
        lines = (
            [f"{value:.1f}" if name in numbers else value for name, value in row.items()]
            for row in frame[columns].to_dict("records")
        )
        console.print(table(columns, lines, title="published beside measured", numbers=numbers))
    return [write_csv(frame, store.path / "reported.csv")]


class Verify(Command):
    """Says of each cell of the sample whether it comes out again."""

    name = "verify"
    summary = "repeat a random sample of a run's cells and compare query by query"
    examples = (
        "  queryshift verify results/runs/NAME --sample 0.05\n"
        "  queryshift verify NAME --sample 1 --data /data"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add = functools.partial(parser.add_argument, default=argparse.SUPPRESS)
        parser.add_argument("folder", metavar="RUN", help=f"folder of a run, or its name in {RUNS}")
        add(
            "--sample",
            type=float,
            default=0.05,
            metavar="SHARE",
            help="share of the finished cells to repeat (default: 0.05)",
        )
        add("--seed", metavar="INT", help="seed of the sample (default: 0)")
        add("--data", metavar="DIR", help="folder with the data sets on this machine")
        add("--pretrained", metavar="FILE", help="weights file on this machine")
        add("--ready-made", metavar="DIR", help="folder with ready-made corrupted queries")
        add("--allow-missing", action="store_true", help="the run used incomplete data")
        add("--device", default="cpu", metavar="NAME", help="cpu (default), cuda, cuda:N or auto")
        add("--threads", metavar="N", help="torch threads (default: as stored with each cell)")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        given = settings.from_flags(args)
        config = BenchConfig(**{name: traced.value for name, traced in given.items()})
        if len(config.seed) > 1:
            raise ConfigError(f"--seed: expected one whole number, not {args.seed!r}")
        folder = find_run(args.folder)

        from benchmark.evaluation.builders import default_resources
        from benchmark.executors.rerun import draw, placed, verify
        from benchmark.planning.compatibility import check_effects
        from benchmark.planning.specs import device_name
        from benchmark.store.run_store import RunStore

        cells, problems = RunStore(folder).read()
        for problem in problems:
            say(console, problem, "red")
        if not cells:
            raise ResultsError(f"{folder} holds no readable record; name the folder of a run")
        check_effects(given, [stored.cell for stored in cells])
        if args.sample == 1 and config.seed != (0,):
            raise ConfigError("--seed has no effect with --sample 1: all cells are run again")
        sample = draw(cells, args.sample, config.seed[0])
        # Everything anew: what an earlier run has left in the cache is what is to be checked.
        resources = default_resources(replace(config, cache="off"))
        place = functools.partial(
            placed,
            data=config.data,
            pretrained=config.pretrained,
            device=device_name(config.device),
        )
        say(console, f"running {len(sample)} of {sum(c.done for c in cells)} finished cells again")
        checks = []
        for check in verify(sample, resources, place=place, threads=config.threads):
            _say_check(check, console)
            checks.append(check)
        _say_environment(checks, console)
        counts = Counter(check.verdict.value for check in checks)
        line = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        if problems:
            line += f"; {len(problems)} files are no good records"
        good = all(check.good for check in checks) and not problems
        say(console, line, "green" if good else "red")
        return OK if good else FAILED


def _say_check(check: Check, console: Console) -> None:
    style = "" if check.good else "red"
    say(console, f"{check.stored.name}: {check.verdict.value}", style)
    for detail in () if check.good else check.details:
        say(console, f"  {detail}", style)


def _say_environment(checks: Sequence[Check], console: Console) -> None:
    """What differs from the machine that stored the cells, each difference once."""
    lines = dict.fromkeys(
        f"  {name}: stored with {before}, now {now}"
        for check in checks
        for name, (before, now) in check.environment.items()
    )
    if lines:
        say(console, "another environment, hence a tolerance instead of the same bytes:")
    for line in lines:
        say(console, line)


class Merge(Command):
    """Joins the run folders of several machines; checks all before it copies any."""

    name = "merge"
    summary = "join run folders; refuses results that do not belong in one table"
    examples = (
        "  queryshift merge machine-1/run machine-2/run --out results/runs/both\n"
        "  queryshift report results/runs/both"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folders", metavar="RUN", nargs="+", help="folders of runs")
        parser.add_argument("--out", metavar="NEW", required=True, help="folder to create")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        folders = [find_run(text) for text in args.folders]

        from benchmark.store.merge import merge_runs

        merged = merge_runs(folders, user_path(args.out))
        counts = ", ".join(f"{count} {status}" for status, count in sorted(merged.cells.items()))
        say(console, f"{args.out}: {counts}")
        if merged.duplicates:
            same = "more of the same cells, with the same results"
            say(console, f"left out: {merged.duplicates} {same}")
        say(console, f"tables and figures: queryshift report {args.out}")
        return OK
