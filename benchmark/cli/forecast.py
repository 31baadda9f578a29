"""What a dry run prints: cells, done already, skipped, time, memory and disk."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from benchmark.cli.command import OK, say
from benchmark.report.display import FittedTable, data_table

if TYPE_CHECKING:
    from benchmark.planning.plan import Plan

REASONS_SHOWN = 10
CALIBRATE = "(--calibrate runs a short cell of each kind)"
WAYS = {"measured": "measured before", "similar": "from another benchmark"}


def show_forecast(plan: Plan, folder: Path, args: argparse.Namespace, console: Console) -> int:
    """Prints cells, how many are done, what will be skipped, and the cost of the rest."""
    from benchmark.planning.estimate import forecast

    found = forecast(plan, folder, calibration=args.calibrate)
    if args.json:
        say(console, json.dumps(found, indent=1))
        return OK
    for reason in found["calibration_failed"]:
        say(console, f"calibration failed: {reason}", "red")
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
    table = data_table()
    table.add_column("benchmark", no_wrap=True)
    for heading in (*methods, "skipped", "time"):
        table.add_column(Text(heading), justify="right", overflow="fold")
    for name, mine in rows.items():
        skipped = sum(one["skipped"] for one in mine.values())
        seconds = [one["seconds"] for one in mine.values()]
        table.add_row(
            Text(name),
            *(_to_run(mine.get(method)) for method in methods),
            Text(str(skipped or "")),
            Text(_duration(None if None in seconds else sum(seconds))),
        )
    return table


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
        yield f"and {len(reasons) - REASONS_SHOWN} more reasons (--json)", ""


def _cost(cost: Mapping[str, Any], workers: int) -> Iterator[tuple[str, str]]:
    if not cost["cells"]:
        yield "nothing to do", "green"
        return
    if cost["seconds"] is None:
        yield (
            f"time, memory and disk: unknown, nothing like it was measured here {CALIBRATE}",
            "yellow",
        )
        return
    shown = ", ".join(f"{count} {WAYS[how]}" for how, count in cost["how"].items())
    each = f", {_duration(cost['seconds_per_worker'])} on {workers} workers" if workers > 1 else ""
    yield f"time: {_duration(cost['seconds'])}{each} (cells: {shown})", ""
    memory = f"{_size(cost['peak_mb'])} a worker, {_size(cost['peak_mb'] * workers)} in all"
    yield f"memory: {memory}; disk: {_size(cost['disk_mb'])}", ""
    if cost["unknown"]:
        yield f"without {cost['unknown']} cells of unknown cost {CALIBRATE}", "yellow"


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
