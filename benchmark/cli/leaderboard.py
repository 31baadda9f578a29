"""``queryshift leaderboard``: the committed table of the embedded default, from its cells."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from benchmark import config as settings
from benchmark.cli.bench import RUNS, run_and_report, say_where
from benchmark.cli.command import INTERRUPTED, Command

RESULTS = Path("results")
SEEDS = (0, 1, 2)


class Leaderboard(Command):
    """All methods on all default shifts of the embedded benchmarks, over three seeds."""

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
        config = settings.resolve(
            args, benchmark=("all",), method=("all",), shift=("all",), seed=SEEDS
        )

        from benchmark.plan import plan
        from benchmark.report import write_all
        from benchmark.store import RunStore

        folder = Path(config.out) if config.out else RUNS / "leaderboard"
        code = run_and_report(plan(config), folder, config, console)
        if code != INTERRUPTED:
            # What is committed says of every failed or missing cell that it is; hiding none.
            written = write_all(RunStore(folder), folder=Path(args.results))
            say_where(console, written)
        return code
