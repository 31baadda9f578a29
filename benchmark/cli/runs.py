"""Stored and planned runs: ``queryshift report``, ``verify``, ``merge``; forecasts and settings."""

from __future__ import annotations

import argparse
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.text import Text

from benchmark.cli.bench import say_where
from benchmark.cli.main import FAILED, OK, RUNS, Command, say, table
from benchmark.cli.names import phrase
from benchmark.cli.progress import duration
from benchmark.config import run as settings
from benchmark.config.files import user_path
from benchmark.config.run import BenchConfig
from benchmark.errors import ConfigError, ResultsError, amount, did_you_mean
from benchmark.report.display import FittedTable, data_table

if TYPE_CHECKING:
    from benchmark.executors.rerun import Check
    from benchmark.planning.plan import Plan
    from benchmark.store.run_store import RunStore


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

        from benchmark.report.pools import prepare
        from benchmark.report.table import results_table
        from benchmark.report.unlabelled import unlabelled_table
        from benchmark.report.writing import load_results, write_all
        from benchmark.store.run_store import RunStore

        store = RunStore(folder)
        kinds: Sequence[Literal["png", "pdf"]] = ("png", "pdf") if args.pdf else ("png",)
        results = load_results(store, batches=False)
        shown = prepare(results)
        if log := [one for one in shown if one.unlabelled]:
            console.print(unlabelled_table(log))
        if scored := [one for one in shown if not one.unlabelled]:
            console.print(results_table(scored))
        # Last: a folder that others wrote may be closed to this user.
        written = write_all(store, results, figures=not args.no_figures, kinds=kinds)
        if args.reported:
            written += _beside_reported(store, console)
        say_where(console, written)
        return OK


def _beside_reported(store: RunStore, console: Console) -> list[Path]:
    """Prints and writes ``reported.csv``: published beside measured numbers."""
    from benchmark.report import reported
    from benchmark.report.frames import tidy
    from benchmark.report.writing import write_csv

    frame, unlike = reported.beside(tidy(store.records()))
    for (name, differs), rows in unlike.groupby(["benchmark", "differs"], sort=False):
        line = f"not set beside {amount(len(rows), 'published number')} of {name}: {differs}"
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
    name = "verify"
    summary = "repeat a random sample of a run's cells and compare query by query"
    examples = (
        "  queryshift verify results/runs/NAME --sample 0.05\n"
        "  queryshift verify NAME --sample 1 --data /data"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add = functools.partial(parser.add_argument, default=argparse.SUPPRESS)
        parser.add_argument("folder", metavar="RUN", help=f"folder of a run, or its name in {RUNS}")
        share = "share of the finished cells to repeat (default: 0.05)"
        add("--sample", type=float, default=0.05, metavar="SHARE", help=share)
        add("--seed", metavar="INT", help="seed of the sample (default: 0)")
        places = ("data", "gallery", "qrels", "clean", "pretrained", "ready_made")
        settings.add_flags(parser, only=(*places, "allow_missing"))
        add("--device", default="cpu", metavar="NAME", help="cpu (default), cuda, cuda:N or auto")
        add("--threads", metavar="N", help="torch threads (default: as stored with each cell)")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        given = settings.from_flags(args)
        config = BenchConfig(**{name: traced.value for name, traced in given.items()})
        if len(config.seed) > 1:
            raise ConfigError(f"--seed: expected one whole number, not {args.seed!r}")
        folder = find_run(args.folder)

        from benchmark.evaluation.builders import default_resources
        from benchmark.executors.rerun import draw, verify
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
        sample, device = draw(cells, args.sample, config.seed[0]), device_name(config.device)
        # Everything anew: what an earlier run has left in the cache is what is to be checked.
        resources = default_resources(replace(config, cache="off"))
        finished = amount(sum(c.done for c in cells), "finished cell")
        say(console, f"running {len(sample)} of {finished} again")
        checks = []
        for check in verify(sample, resources, config, device):
            checks.append(check)
            style = "" if check.good else "red"
            say(console, f"{check.stored.name}: {check.verdict.value}", style)
            for detail in () if check.good else check.details:
                say(console, f"  {detail}", style)
        _say_environment(checks, console)
        counts = Counter(check.verdict.value for check in checks)
        line = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        if problems:
            line += f"; {amount(len(problems), 'file')} without a good record"
        good = all(check.good for check in checks) and not problems
        say(console, line, "green" if good else "red")
        return OK if good else FAILED


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

        cells, duplicates = merge_runs(folders, user_path(args.out))
        counts = ", ".join(f"{count} {status}" for status, count in sorted(cells.items()))
        say(console, f"{args.out}: {counts}")
        if duplicates:
            same = "more of the same cells, with the same results"
            say(console, f"left out: {duplicates} {same}")
        say(console, f"tables and figures: queryshift report {args.out}")
        return OK


# What a run would do, before anything runs: ``bench --dry-run`` and ``bench --settings``

REASONS_SHOWN = 10
WAYS = {"measured": "measured before", "similar": "from another benchmark"}


def show_forecast(plan: Plan, folder: Path, console: Console) -> int:
    """Prints cells, how many are done, what will be skipped, and the cost of the rest."""
    from benchmark.planning.estimate import forecast

    found = forecast(plan, folder)
    cost, workers, reasons = found["estimate"], found["workers"], found["reasons"]
    console.print(_forecast_table(found["rows"]))
    done, waiting = f"{found['done']} done in {found['folder']}", f"{found['to_run']} to run"
    say(console, f"{amount(found['cells'], 'cell')}: {done}, {waiting}, {reasons.total()} skipped")
    if found["unverified"]:
        line = (
            f"{found['unverified']} of the done ones are taken to be of today's data and weights; "
            "a run checks that"
        )
        say(console, line, "yellow")
    for reason, count in reasons.most_common(REASONS_SHOWN):
        say(console, f"{count} skipped: {reason}", "yellow")
    if (more := len(reasons) - REASONS_SHOWN) > 0:
        say(console, f"and {amount(more, 'more reason')}")
    if not cost["cells"]:
        say(console, "nothing to do", "green")
    elif cost["seconds"] is None:
        line = "time, memory and disk: unknown, nothing like it was measured here"
        say(console, line, "yellow")
    else:
        ways = ", ".join(f"{count} {WAYS[how]}" for how, count in cost["how"].items())
        each = f", {duration(cost['seconds_per_worker'])} on {workers} workers"
        time = duration(cost["seconds"]) + (each if workers > 1 else "")
        say(console, f"time: {time} (cells: {ways})")
        memory = f"{_size(cost['peak_mb'])} a worker, {_size(cost['peak_mb'] * workers)} in all"
        say(console, f"memory: {memory}; disk: {_size(cost['disk_mb'])}")
        if cost["unknown"]:
            say(console, f"without {amount(cost['unknown'], 'cell')} of unknown cost", "yellow")
    return OK


def _forecast_table(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> FittedTable:
    """A row for each benchmark, a column for each method: cells to run, of how many."""
    methods = list(dict.fromkeys(method for row in rows.values() for method in row))
    lines = []
    for name, row in rows.items():
        skipped = sum(counts["skipped"] for counts in row.values())
        seconds = [counts["seconds"] for counts in row.values()]
        time = duration(None if None in seconds else sum(seconds))
        lines.append((name, *(_to_run(row.get(m)) for m in methods), skipped or "", time))
    columns = ("benchmark", *methods, "skipped", "time")
    return table(columns, lines, numbers=columns[1:], make=data_table)


def _to_run(counts: Mapping[str, Any] | None) -> Text:
    """How many cells are to be run, of how many that can be."""
    if counts is None:
        return Text("-", style="dim")
    possible, waiting = counts["possible"], counts["to_run"]
    if not possible:
        return Text("skipped", style="yellow")
    if not waiting:
        return Text("done", style="green")
    return Text(str(possible) if waiting == possible else f"{waiting} of {possible}")


def _size(megabytes: float) -> str:
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GB"


def show_settings(args: argparse.Namespace, console: Console) -> int:
    """Prints every setting of a run or grid, its value and where that comes from."""
    from benchmark.planning.gridfile import grid_path, read_grid, settings_of
    from benchmark.planning.specs import given

    found = [("", settings.defaults() | given(args))]
    if args.grid is not None:
        grid = read_grid(grid_path(args.grid))
        found = [("", settings_of(grid, args))]
        for number, include in enumerate(grid.includes, start=1):
            kept = {name: traced for name, traced in include.items() if name not in args}
            found.append((f"include {number}: ", kept))
        for number, rule in enumerate(grid.exclude, start=1):
            each = "; ".join(f"{axis} {phrase(named)}" for axis, named in rule.value.items())
            found.append(("", {f"exclude {number}": replace(rule, value=each)}))
    rows = [
        (before + name, phrase(traced.value) or "-", traced.origin)
        for before, block in found
        for name, traced in block.items()
    ]
    styled = ([Text(t, style="dim" if row[2] == "default" else "") for t in row] for row in rows)
    console.print(table(("setting", "value", "from"), styled, make=data_table))
    return OK
