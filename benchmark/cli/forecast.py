"""Forecast of a run: cells, done already, skipped, time, memory and disk, before anything runs."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from benchmark.cell import Cell
from benchmark.cli.command import OK
from benchmark.report.display import FittedTable, data_table

if TYPE_CHECKING:
    from benchmark.evaluation.resources import Resources
    from benchmark.planning.estimate import Outlook, Rates
    from benchmark.planning.plan import Plan

REASONS_SHOWN = 10


def show_forecast(plan: Plan, folder: Path, args: argparse.Namespace, console: Console) -> int:
    """Prints cells, how many are done, what will be skipped, and the cost of the rest."""
    forecast = Forecast(plan, folder)
    if args.calibrate:
        for reason in forecast.calibrate():
            console.print(Text(f"calibration failed: {reason}", style="red"), soft_wrap=True)
    if args.json:
        console.print(Text(json.dumps(forecast.plain(), indent=1)), soft_wrap=True)
        return OK
    console.print(forecast.table())
    for line in forecast.lines():
        console.print(line, soft_wrap=True)
    return OK


class Forecast:
    """What a plan comes to.

    Args:
        plan: the grid.
        folder: where its results are, or will be.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        from benchmark.evaluation.fingerprints import Fingerprints
        from benchmark.planning.done import DoneCells
        from benchmark.planning.estimate import other_runs, stored_cells

        self.plan, self.folder = plan, folder
        self._own = stored_cells(folder)
        self._others = other_runs(folder)
        fingerprints = Fingerprints(folder / "fingerprints")
        known = DoneCells(self._own, fingerprints, lambda: self._resources(plan.config.cache))
        again = plan.config.if_exists == "always"
        self.skipped = [planned for planned in plan.cells if planned.reason]
        possible = plan.possible
        self.waiting = [cell for cell in possible if again or cell not in known]
        self.done = len(possible) - len(self.waiting)
        self.unverified = known.unverified
        self.rates = self._rates()

    def calibrate(self) -> list[str]:
        """Runs a short cell where nothing was measured; why some have no result, if so."""
        from benchmark.planning.estimate import calibrate, other_runs

        # Without the cache: a warm one would hide what loading and corrupting cost.
        resources = self._resources("off")
        problems = calibrate(self.waiting, self.rates, self.folder, resources)
        self._others = other_runs(self.folder)
        self.rates = self._rates()
        return problems

    def _resources(self, cache: str) -> Resources:
        from benchmark.evaluation.builders import default_resources  # imports torch

        config = self.plan.config
        return default_resources(
            allow_missing=config.allow_missing, ready_made=config.ready_made, cache=cache
        )

    def _rates(self) -> Rates:
        from benchmark.planning.estimate import Rates

        cells = self.plan.cells
        return Rates([*self._own, *self._others], _machine(cells[0].cell.backbone.device))

    @property
    def workers(self) -> int:
        """Cells at the same time."""
        from benchmark.executors.machine import planned_workers

        return planned_workers(self.plan.config, len(self.waiting))

    def outlook(self) -> Outlook:
        """The cost of the cells that are to be run."""
        from benchmark.planning.estimate import outlook

        return outlook(self.waiting, self.rates, self.workers)

    def counts(self) -> dict[tuple[str, str], dict[str, int]]:
        """(row of the benchmark, method) -> number of cells, of those to run, of those skipped."""
        rows = self.plan.rows
        every = Counter((rows[p.cell.benchmark], p.cell.method.name) for p in self.plan.cells)
        skipped = Counter((rows[p.cell.benchmark], p.cell.method.name) for p in self.skipped)
        waiting = Counter((rows[cell.benchmark], cell.method.name) for cell in self.waiting)
        return {
            key: {"cells": count, "to_run": waiting[key], "skipped": skipped[key]}
            for key, count in every.items()
        }

    def plain(self) -> dict[str, Any]:
        """Everything as JSON values; times in seconds."""
        return {
            "grid": self.plan.name,
            "folder": str(self.folder),
            "cells": len(self.plan.cells),
            "done": self.done,
            "unverified": self.unverified,
            "to_run": len(self.waiting),
            "skipped": len(self.skipped),
            "workers": self.workers,
            "estimate": dataclasses.asdict(self.outlook()),
            "by_benchmark": [
                {
                    **{"benchmark": row, "method": method, **counts},
                    "seconds": self._sum(self._groups.get((row, method), [])),
                }
                for (row, method), counts in self.counts().items()
            ],
            "reasons": dict(Counter(planned.reason for planned in self.skipped)),
        }

    @cached_property
    def _groups(self) -> Mapping[tuple[str, str], list[Cell]]:
        """The cells to run, by row and method."""
        groups: dict[tuple[str, str], list[Cell]] = {}
        for cell in self.waiting:
            key = self.plan.rows[cell.benchmark], cell.method.name
            groups.setdefault(key, []).append(cell)
        return groups

    def _sum(self, cells: Sequence[Cell]) -> float | None:
        """Seconds of some cells; None where one of them is unknown."""
        found = [one for one in map(self.rates.of, cells) if one is not None]
        return sum(one.seconds for one in found) if len(found) == len(cells) else None

    def table(self) -> FittedTable:
        """A row for each benchmark, a column for each method: cells to run, of how many."""
        counts = self.counts()
        methods = list(dict.fromkeys(method for _, method in counts))
        table = data_table()
        table.add_column("benchmark", no_wrap=True)
        for method in methods:
            table.add_column(Text(method), justify="right", overflow="fold")
        table.add_column("skipped", justify="right")
        table.add_column("time", justify="right")
        for row in dict.fromkeys(row for row, _ in counts):
            mine = {method: counts[row, method] for method in methods if (row, method) in counts}
            cells = [cell for m in mine for cell in self._groups.get((row, m), [])]
            skipped = sum(found["skipped"] for found in mine.values())
            table.add_row(
                Text(row),
                *(_to_run(mine.get(method)) for method in methods),
                Text(str(skipped or "")),
                Text(_duration(self._sum(cells))),
            )
        return table

    def lines(self) -> list[Text]:
        """What stands below the table."""
        cost, workers = self.outlook(), self.workers
        lines = [
            Text(
                f"{len(self.plan.cells)} cells: {self.done} done in {self.folder}, "
                f"{len(self.waiting)} to run, {len(self.skipped)} skipped"
            )
        ]
        if self.unverified:
            lines.append(
                Text(
                    f"{self.unverified} of the done ones are taken to be of today's data and "
                    "weights; a run checks that",
                    style="yellow",
                )
            )
        reasons = Counter(planned.reason for planned in self.skipped)
        for reason, count in reasons.most_common(REASONS_SHOWN):
            lines.append(Text(f"{count} skipped: {reason}", style="yellow"))
        if len(reasons) > REASONS_SHOWN:
            lines.append(Text(f"and {len(reasons) - REASONS_SHOWN} more reasons (--json)"))
        return lines + _cost_lines(cost, workers)


def _machine(device: str) -> str:
    """What cells on this device say that they ran on."""
    from benchmark.backbones.device import cpu_model

    if not device.startswith("cuda"):
        return cpu_model()
    import torch

    return torch.cuda.get_device_name(device)


def _cost_lines(cost: Outlook, workers: int) -> list[Text]:
    if not cost.cells:
        return [Text("nothing to do", style="green")]
    if cost.seconds is None or cost.peak_mb is None or cost.disk_mb is None:
        return [
            Text(
                "time, memory and disk: unknown, nothing like it was measured here "
                "(--calibrate runs a short cell of each kind)",
                style="yellow",
            )
        ]
    ways = {
        "measured": "measured before",
        "similar": "from another benchmark",
        "ratio": "from the source model's time",
    }
    shown = ", ".join(f"{count} {ways[how]}" for how, count in cost.how.items())
    each = "" if workers == 1 else f", {_duration(cost.seconds_per_worker)} on {workers} workers"
    lines = [
        Text(f"time: {_duration(cost.seconds)}{each} (cells: {shown})"),
        Text(
            f"memory: {_size(cost.peak_mb)} a worker, {_size(cost.peak_mb * workers)} in all; "
            f"disk: {_size(cost.disk_mb)}"
        ),
    ]
    if cost.unknown:
        lines.append(
            Text(
                f"without {cost.unknown} cells of unknown cost (--calibrate runs a short cell of "
                "each kind)",
                style="yellow",
            )
        )
    return lines


def _to_run(counts: Mapping[str, int] | None) -> Text:
    """How many cells are to be run, of how many that can be."""
    if counts is None:
        return Text("-", style="dim")
    possible = counts["cells"] - counts["skipped"]
    if not possible:
        return Text("skipped", style="yellow")
    if not counts["to_run"]:
        return Text("done", style="green")
    whole = counts["to_run"] == possible
    return Text(str(possible) if whole else f"{counts['to_run']} of {possible}")


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
