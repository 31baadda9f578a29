"""What a run would do, before anything runs: ``bench --dry-run`` and ``bench --settings``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from benchmark.cli.command import OK, say, table
from benchmark.cli.names import phrase
from benchmark.config import run as settings
from benchmark.config.run import Traced
from benchmark.report.display import FittedTable, data_table

if TYPE_CHECKING:
    from benchmark.planning.plan import Plan

REASONS_SHOWN = 10
WAYS = {"measured": "measured before", "similar": "from another benchmark"}


def show_forecast(plan: Plan, folder: Path, console: Console) -> int:
    """Prints cells, how many are done, what will be skipped, and the cost of the rest."""
    from benchmark.planning.estimate import forecast

    found = forecast(plan, folder)
    console.print(_table(found["by_benchmark"]))
    for line, style in (*_counts(found), *_cost(found["estimate"], found["workers"])):
        say(console, line, style)
    return OK


def _table(found: Sequence[Mapping[str, Any]]) -> FittedTable:
    """A row for each benchmark, a column for each method: cells to run, of how many."""
    methods = list(dict.fromkeys(one["method"] for one in found))
    rows: dict[str, dict[str, Mapping[str, Any]]] = {}
    for one in found:
        rows.setdefault(one["benchmark"], {})[one["method"]] = one
    lines = []
    for name, mine in rows.items():
        skipped = sum(one["skipped"] for one in mine.values())
        seconds = [one["seconds"] for one in mine.values()]
        time = _duration(None if None in seconds else sum(seconds))
        lines.append((name, *(_to_run(mine.get(m)) for m in methods), skipped or "", time))
    columns = ("benchmark", *methods, "skipped", "time")
    return table(columns, lines, numbers=columns[1:], make=data_table)


def _to_run(counts: Mapping[str, Any] | None) -> Text:
    """How many cells are to be run, of how many that can be."""
    if counts is None:
        return Text("-", style="dim")
    possible, waiting = counts["cells"] - counts["skipped"], counts["to_run"]
    if not possible:
        return Text("skipped", style="yellow")
    if not waiting:
        return Text("done", style="green")
    return Text(str(possible) if waiting == possible else f"{waiting} of {possible}")


def _counts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield (
        f"{found['cells']} cells: {found['done']} done in {found['folder']}, "
        f"{found['to_run']} to run, {found['skipped']} skipped",
        "",
    )
    if found["unverified"]:
        yield (
            f"{found['unverified']} of the done ones are taken to be of today's data and weights; "
            "a run checks that",
            "yellow",
        )
    reasons = list(found["reasons"].items())
    for reason, count in reasons[:REASONS_SHOWN]:
        yield f"{count} skipped: {reason}", "yellow"
    if len(reasons) > REASONS_SHOWN:
        yield f"and {len(reasons) - REASONS_SHOWN} more reasons", ""


def _cost(cost: Mapping[str, Any], workers: int) -> Iterator[tuple[str, str]]:
    if not cost["cells"]:
        yield "nothing to do", "green"
        return
    if cost["seconds"] is None:
        yield "time, memory and disk: unknown, nothing like it was measured here", "yellow"
        return
    shown = ", ".join(f"{count} {WAYS[how]}" for how, count in cost["how"].items())
    each = f", {_duration(cost['seconds_per_worker'])} on {workers} workers" if workers > 1 else ""
    yield f"time: {_duration(cost['seconds'])}{each} (cells: {shown})", ""
    memory = f"{_size(cost['peak_mb'])} a worker, {_size(cost['peak_mb'] * workers)} in all"
    yield f"memory: {memory}; disk: {_size(cost['disk_mb'])}", ""
    if cost["unknown"]:
        yield f"without {cost['unknown']} cells of unknown cost", "yellow"


def _duration(seconds: float | None) -> str:
    """A time as a person says it.

    >>> _duration(42.3), _duration(5000), _duration(200_000), _duration(None)
    ('42 s', '1 h 23 min', '2 d 8 h', 'unknown')
    """
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


def _size(megabytes: float) -> str:
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GB"


def show_settings(args: argparse.Namespace, console: Console) -> int:
    """Prints every setting of a run or grid, its value and where that comes from."""
    rows = (
        [Text(text, style="dim" if row[2] == "default" else "") for text in row]
        for row in _rows(args)
    )
    console.print(table(("setting", "value", "from"), rows, make=data_table))
    return OK


def _rows(args: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    flags = settings.from_flags(args)
    if args.grid is None:
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
