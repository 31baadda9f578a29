"""``queryshift leaderboard`` and ``claims``: bundled grids that have a report of their own.

Both resume like any run: what their folder has is not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from benchmark.cli.bench import Bench, say_reasons, say_where
from benchmark.config.paths import user_path

if TYPE_CHECKING:
    from benchmark.cell import Record
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
        from benchmark.report.leaderboard import write_csv
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
    summary = "test what REST's abstract and figure claim on the embedded default"
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
