"""``queryshift leaderboard``: the committed tables of the embedded default, from their cells."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from benchmark.cli.bench import run_all, say_where
from benchmark.cli.command import INTERRUPTED, Command
from benchmark.cli.grid import folder_of, plan_of
from benchmark.config import run as settings
from benchmark.config.paths import user_path

RESULTS = Path("results")
GRID = "leaderboard"
"""The bundled grid that says what is compared."""


class Leaderboard(Command):
    """All methods on all embedded benchmarks, as the bundled grid says."""

    name = "leaderboard"
    summary = "regenerate results/leaderboard.csv and its figures (embedded default, all methods)"
    examples = "  queryshift leaderboard --workers 2\n  queryshift leaderboard --seed 0 --limit 200"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        fixed = ("suite", "model", "pretrained", "data", "transform", "preset", "option")
        streams = ("stream", "stream_option")
        settings.add_flags(parser, leave_out=(*fixed, *streams, "allow_missing", "no_figures"))
        parser.add_argument(
            "--results",
            default=str(RESULTS),
            metavar="DIR",
            help="where to write (default: results)",
        )

    def run(self, args: argparse.Namespace, console: Console) -> int:
        args.grid = GRID
        plan = plan_of(args)

        from benchmark.report.leaderboard import write_csv
        from benchmark.report.suite_table import suite_frame, suite_table
        from benchmark.report.writing import load_results, write_all
        from benchmark.store.run_store import RunStore

        store = RunStore(folder_of(plan))
        code, _ = run_all(plan.possible, store, plan.config, console)
        if code == INTERRUPTED:
            return code
        # What is committed says of every failed or missing cell that it is; hiding none.
        stored = load_results(store)
        frame = suite_frame(stored, plan.rows)
        console.print(suite_table(frame))
        results = user_path(args.results)
        written = [
            write_csv(frame, results / "suite.csv"),
            *write_all(store, stored, folder=results, each=False),
        ]
        say_where(console, written)
        return code
