"""``queryshift leaderboard``, ``claims``, ``tune``: bundled runs that have a report of their own.

They resume like any run: what their folder has is not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from benchmark.cell import Record, Status
from benchmark.cli.bench import Bench, execute, say_reasons, say_where
from benchmark.cli.command import FAILED, OK, Command, say, table
from benchmark.config.kinds import COUNT
from benchmark.config.paths import user_path
from benchmark.config.presets import is_file, read_preset
from benchmark.config.run import BenchConfig, from_flag
from benchmark.config.validate import check
from benchmark.errors import ConfigError
from benchmark.registry import METHODS
from benchmark.report.display import FittedTable

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.planning.plan import Plan
    from benchmark.store.run_store import RunStore


class Leaderboard(Bench):
    """All methods on all embedded benchmarks: the committed tables."""

    name = "leaderboard"
    summary = "regenerate results/leaderboard.csv and its figures (embedded default, all methods)"
    examples = "  queryshift leaderboard --workers 2\n  queryshift leaderboard --seed 0 --limit 200"
    leave_out = (
        *("suite", "model", "pretrained", "data", "transform", "preset", "option"),
        *("stream", "stream_option", "allow_missing", "no_figures"),
    )

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(grid=self.name)
        parser.add_argument(
            "--results", default="results", metavar="DIR", help="where to write (default: results)"
        )

    def report(
        self,
        plan: Plan,
        records: Sequence[Record],
        store: RunStore,
        args: argparse.Namespace,
        console: Console,
    ) -> None:
        """What is committed says of every failed or missing cell that it is; hiding none."""
        from benchmark.report.outputs import write_csv
        from benchmark.report.suite_table import suite_frame, suite_table
        from benchmark.report.writing import load_results, write_all

        stored = load_results(store)
        frame = suite_frame(stored, plan.rows)
        console.print(suite_table(frame))
        results = user_path(args.results)
        written = [write_csv(frame, results / "suite.csv")]
        say_where(console, written + write_all(store, stored, folder=results, each=False))


class ClaimsPage(Bench):
    """What REST's abstract and figure claim, with a verdict for each."""

    name = "claims"
    summary = "test the claims of REST's abstract and figure on the embedded default"
    examples = (
        "  queryshift claims --workers 2 --results results\n"
        "  queryshift claims --limit 64 --benchmark mini-coco-c-image --out try\n"
        "  queryshift plan claims"
    )
    leave_out = (
        *("suite", "method", "shift", "stream", "severity", "shift_option", "stream_option"),
        *("model", "pretrained", "transform", "data", "ready_made", "preset", "option"),
        *("allow_missing", "no_figures", "shard"),
    )

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(grid=self.name)
        parser.add_argument(
            "--results", metavar="DIR", help="write claims.csv and claims.md here as well"
        )

    def report(
        self,
        plan: Plan,
        records: Sequence[Record],
        store: RunStore,
        args: argparse.Namespace,
        console: Console,
    ) -> None:
        """Prints the verdicts and writes them to the run's folder, and where else is asked for."""
        from benchmark.report.claims import claims, claims_table, write_claims
        from benchmark.report.writing import results_of

        found = claims(results_of(store, records))
        console.print(claims_table(found))
        say_reasons(console, records)
        for folder in (store.path, *([user_path(args.results)] if args.results else [])):
            say_where(console, write_claims(found, folder))


class Tune(Command):
    """The same small search for every method, on the validation part only."""

    name = "tune"
    summary = "tune method options for the embedded default on its validation split"
    examples = (
        "  queryshift tune --method mine && queryshift bench --method mine "
        "--preset queryshift-preset.yaml\n"
        "  queryshift tune --method tcr,rest --workers 2"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--method", default="all", metavar="NAMES", help="methods, or 'all'")
        parser.add_argument("--workers", default="1", metavar="N", help="trials to run in parallel")
        parser.add_argument(
            "--out", metavar="FILE", help="your preset file (default: queryshift-preset.yaml)"
        )

    def run(self, args: argparse.Namespace, console: Console) -> int:
        """Runs the trials (finished ones are reused), prints and writes what they say."""
        names = from_flag("method", args.method)
        workers = check(COUNT, args.workers, "--workers")
        named = None if "all" in names else [METHODS.resolve(name) for name in names]
        if args.out and not is_file(args.out):
            raise ConfigError(f"--out: expected a name that ends in .yaml, not {args.out!r}")

        from benchmark.planning import tune
        from benchmark.store.run_store import RunStore

        target = user_path(args.out) if args.out else tune.PRESET
        methods = tune.tunable(named)
        kept = read_preset(target) if target.exists() else {}
        cells = tune.trials(methods)
        counted = f"{len(cells)} validation cells, {len(methods)} methods"
        say(console, f"{counted}, the same trials for each")
        records, _ = execute(cells, RunStore(tune.RUN), BenchConfig(workers=workers), console)
        failed = [record for record in records if record.status is not Status.DONE]
        for record in failed:
            say(console, f"failed: {record.cell['method']['name']}: {record.reason}")
        if failed:
            return FAILED
        table = tune.results_of(records)
        written = tune.write_preset(target, kept, table)
        console.print(_chosen(tune.best_of(table)))
        say(console, f"wrote {target} and {written}")
        if not tune.is_shipped(target):
            say(console, f"use it with --preset {target}")
        return OK


def _chosen(best: pd.DataFrame) -> FittedTable:
    numbers = ("lr", "temperature", "mean R@1")
    rows = (
        (row["query"], row["method"], row["lr"], row["temperature"], f"{row['mean']:.1f}")
        for row in best.to_dict("records")
    )
    columns = ("query", "method", *numbers)
    return table(columns, rows, title="chosen on validation data", numbers=numbers)
