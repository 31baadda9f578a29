"""``queryshift leaderboard``: the committed tables of the embedded default, from their cells."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmark.cli.bench import Preset, say_where
from benchmark.config.paths import user_path

if TYPE_CHECKING:
    from benchmark.cell import Record
    from benchmark.planning.plan import Plan
    from benchmark.store.run_store import RunStore

RESULTS = Path("results")


class Leaderboard(Preset):
    """All methods on all embedded benchmarks, as the bundled grid says."""

    name = "leaderboard"
    grid = "leaderboard"
    summary = "regenerate results/leaderboard.csv and its figures (embedded default, all methods)"
    examples = "  queryshift leaderboard --workers 2\n  queryshift leaderboard --seed 0 --limit 200"
    leave_out = (
        *("suite", "model", "pretrained", "data", "transform", "preset", "option"),
        *("stream", "stream_option", "allow_missing", "no_figures"),
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--results",
            default=str(RESULTS),
            metavar="DIR",
            help="where to write (default: results)",
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
        written = [
            write_csv(frame, results / "suite.csv"),
            *write_all(store, stored, folder=results, each=False),
        ]
        say_where(console, written)
