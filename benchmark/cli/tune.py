"""``queryshift tune``: chooses options for the embedded default (see ``planning.tune``)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from benchmark.cell import Status
from benchmark.cli.bench import execute
from benchmark.cli.command import FAILED, OK, Command, say
from benchmark.config.paths import user_path
from benchmark.config.presets import is_file, read_preset
from benchmark.config.run import BenchConfig, read_count, read_names, reading
from benchmark.errors import ConfigError
from benchmark.registry import METHODS
from benchmark.report.display import FittedTable

if TYPE_CHECKING:
    import pandas as pd


class Tune(Command):
    """The same small search for every method, on the validation part only."""

    name = "tune"
    summary = "choose the methods' options for the embedded default on its validation part"
    examples = (
        "  queryshift tune --method mine && queryshift bench --method mine "
        "--preset queryshift-preset.yaml\n"
        "  queryshift tune --method tcr,rest --workers 2"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--method", default="all", metavar="NAMES", help="methods, or 'all'")
        parser.add_argument("--workers", default="1", metavar="N", help="trials at the same time")
        parser.add_argument(
            "--out", metavar="FILE", help="your preset file (default: queryshift-preset.yaml)"
        )

    def run(self, args: argparse.Namespace, console: Console) -> int:
        """Runs the trials (finished ones are reused), prints and writes what they say."""
        names = reading(read_names, args.method, "--method")
        workers = reading(read_count, args.workers, "--workers")
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
    table = FittedTable(title="chosen on validation data")
    for column in ("query", "method", "lr", "temperature", "mean R@1"):
        table.add_column(column, justify="left" if column in ("query", "method") else "right")
    for row in best.to_dict("records"):
        cells = (row["query"], row["method"], row["lr"], row["temperature"])
        table.add_row(*(Text(str(value)) for value in cells), Text(f"{row['mean']:.1f}"))
    return table
