"""``queryshift config show``: every setting, its value, and where the value comes from."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.text import Text

from benchmark.cli.command import OK, Command, UsageError
from benchmark.cli.names import phrase
from benchmark.config import run as settings
from benchmark.config.run import Traced
from benchmark.report.display import data_table


class Config(Command):
    """The settings of a run or of a grid, after everything was merged."""

    name = "config"
    summary = "config show: as bench --settings, every setting and where its value comes from"
    examples = (
        "  queryshift config show --config my.yaml --seed 0-2\n"
        "  queryshift config show --grid mini --workers 2"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("what", metavar="show", help="the word show")
        parser.add_argument(
            "--grid", metavar="GRID", help="the settings of this grid, by name or path"
        )
        settings.add_flags(parser)

    def run(self, args: argparse.Namespace, console: Console) -> int:
        if args.what != "show":
            raise UsageError(f"expected 'config show', not {args.what!r}")
        return show_settings(args, console)


def show_settings(args: argparse.Namespace, console: Console) -> int:
    """Prints every setting of a run or grid, its value and where that comes from."""
    table = data_table()
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    for name, value, origin in _rows(args):
        style = "dim" if origin == "default" else ""
        table.add_row(Text(name), Text(value), Text(origin), style=style)
    console.print(table)
    return OK


def _rows(args: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    flags = settings.from_flags(args)
    if not args.grid:
        yield from _listed(settings.defaults() | settings.from_file(args) | flags)
        return
    from benchmark.planning.gridfile import grid_path, read_grid
    from benchmark.planning.plan import settings_of

    grid = read_grid(grid_path(args.grid))
    yield from _listed(settings_of(grid, args))
    for number, include in enumerate(grid.includes, start=1):
        kept = {name: traced for name, traced in include.items() if name not in flags}
        yield from _listed(kept, f"include {number}: ")
    for number, rule in enumerate(grid.exclude, start=1):
        said = "; ".join(f"{axis} {phrase(patterns)}" for axis, patterns in rule.patterns.items())
        yield f"exclude {number}", said, rule.where


def _listed(found: Mapping[str, Traced], before: str = "") -> Iterator[tuple[str, str, str]]:
    for name, traced in found.items():
        yield before + name, phrase(traced.value) or "-", traced.origin
