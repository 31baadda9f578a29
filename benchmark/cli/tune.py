"""``queryshift tune``: chooses options for the embedded default (see ``planning.tune``)."""

from __future__ import annotations

import argparse
import functools
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from benchmark.cli.command import Command
from benchmark.cli.progress import Bars
from benchmark.config.paths import user_path
from benchmark.config.presets import is_file
from benchmark.config.run import read_count, read_names, reading
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
        names = reading(read_names, args.method, "--method")
        workers = reading(read_count, args.workers, "--workers")
        chosen = None if "all" in names else tuple(METHODS.resolve(name) for name in names)

        if args.out and not is_file(args.out):
            raise ConfigError(f"--out: expected a name that ends in .yaml, not {args.out!r}")
        from benchmark.planning import tune

        return int(
            tune.run(
                methods=chosen,
                workers=workers,
                out=user_path(args.out) if args.out else None,
                say=lambda line: console.print(Text(line), soft_wrap=True),
                show=lambda best: console.print(_chosen(best)),
                bars=functools.partial(Bars, console),
            )
        )


def _chosen(best: pd.DataFrame) -> FittedTable:
    table = FittedTable(title="chosen on validation data")
    for column in ("query", "method", "lr", "temperature", "mean R@1"):
        table.add_column(column, justify="left" if column in ("query", "method") else "right")
    for row in best.to_dict("records"):
        cells = (row["query"], row["method"], row["lr"], row["temperature"])
        table.add_row(*(Text(str(value)) for value in cells), Text(f"{row['mean']:.1f}"))
    return table
