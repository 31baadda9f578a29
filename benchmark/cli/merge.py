"""``queryshift merge``: joins the run folders of several machines."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.text import Text

from benchmark.cli.command import OK, Command
from benchmark.cli.report import find_run
from benchmark.config.paths import user_path


class Merge(Command):
    """Checks all before it copies any."""

    name = "merge"
    summary = "join run folders; refuses rows that must not stand in one table, and names them"
    examples = (
        "  queryshift merge machine-1/run machine-2/run --out results/runs/both\n"
        "  queryshift report results/runs/both"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folders", metavar="RUN", nargs="+", help="folders of runs")
        parser.add_argument("--out", metavar="NEW", required=True, help="a folder to be created")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        folders = [find_run(text) for text in args.folders]

        from benchmark.store.merge import merge_runs

        merged = merge_runs(folders, user_path(args.out))
        counts = ", ".join(f"{count} {status}" for status, count in sorted(merged.cells.items()))
        console.print(Text(f"{args.out}: {counts}"), soft_wrap=True)
        if merged.duplicates:
            line = f"left out: {merged.duplicates} more of the same cells, with the same results"
            console.print(Text(line), soft_wrap=True)
        console.print(Text(f"tables and figures: queryshift report {args.out}"), soft_wrap=True)
        return OK
