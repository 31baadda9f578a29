"""``queryshift suite``: every benchmark of a suite, and one table with a row for each."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.text import Text

from benchmark.cli.bench import RUNS, run_all
from benchmark.cli.command import INTERRUPTED, Command
from benchmark.config import run as settings


class Suite(Command):
    """All benchmarks under their own default shifts."""

    name = "suite"
    summary = "run methods on every benchmark of a suite under its default shifts; one table"
    examples = (
        "  queryshift suite --suite mini --method rest --workers 2\n"
        "  queryshift suite --suite paper --data /data --method all --allow-missing"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        settings.add_flags(parser, leave_out=("stream", "stream_option", "ready_made"))

    def run(self, args: argparse.Namespace, console: Console) -> int:
        config = settings.resolve(args, benchmark=("all",), shift=("all",), suite="mini")

        from benchmark.data.suite import load_suite
        from benchmark.planning.plan import plan, run_name
        from benchmark.report.leaderboard import write_csv
        from benchmark.report.pools import benchmark_pools
        from benchmark.report.suite_table import suite_frame, suite_table
        from benchmark.report.table import tuned_notes
        from benchmark.report.writing import load_results, write_all
        from benchmark.store.run_store import RunStore

        cells = plan(config, {**settings.from_file(args), **settings.from_flags(args)})
        folder = Path(config.out) if config.out else RUNS / run_name(cells)
        store = RunStore(folder)
        code, records = run_all(cells, store, config, console)
        if code == INTERRUPTED:
            return code
        rows = {card.id: card.row for card in load_suite(config.suite).benchmarks}
        stored, keys = load_results(store), {record.key for record in records}
        results = [one for one in stored if one.record.key in keys]
        frame = suite_frame(results, rows)
        console.print(suite_table(frame))
        console.print(Text("R@1 in percent: mean over shifts and directions; clean: source model"))
        for line in tuned_notes(benchmark_pools(results)):
            console.print(Text(line), soft_wrap=True)
        written = [
            *write_all(store, stored, figures=not config.no_figures),
            write_csv(frame, folder / "suite.csv"),
        ]
        console.print(Text(f"written: {len(written)} files in {folder}/"), soft_wrap=True)
        return code
