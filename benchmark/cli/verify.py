"""``queryshift verify``: runs a random sample of a run's finished cells again and compares."""

from __future__ import annotations

import argparse
import functools
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from benchmark.cli.command import FAILED, OK, Command
from benchmark.cli.report import find_run
from benchmark.config.readers import read_path, reading

if TYPE_CHECKING:
    from benchmark.executors.rerun import Check


class Verify(Command):
    """Says of each cell of the sample whether it comes out again."""

    name = "verify"
    summary = "run a random sample of a run's finished cells again and compare query by query"
    examples = (
        "  queryshift verify results/runs/NAME --sample 0.05\n"
        "  queryshift verify NAME --sample 1 --data /data"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("folder", metavar="RUN", help="folder of a run, or its name in results/runs")
        add("--sample", type=float, default=0.05, metavar="SHARE", help="default: 0.05")
        add("--seed", type=int, default=0, metavar="INT", help="of the sample (default: 0)")
        add("--data", default="", metavar="DIR", help="where the data sets lie here")
        add("--pretrained", default="", metavar="FILE", help="where the weights lie here")
        add("--ready-made", default="", metavar="DIR", help="ready-made corrupted queries")
        add("--allow-missing", action="store_true", help="the run was on incomplete data")
        add("--device", default="cpu", metavar="NAME", help="cpu (default), cuda, cuda:N or auto")
        add("--threads", type=int, metavar="N", help="default: as many as a cell was stored with")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        folder = find_run(args.folder)

        from benchmark.config.run import Traced
        from benchmark.errors import ConfigError, ResultsError
        from benchmark.evaluation.builders import default_resources
        from benchmark.executors.rerun import draw, placed, verify
        from benchmark.planning.inert import check_effects
        from benchmark.planning.specs import device_name
        from benchmark.store.merge import read_run

        for name, lowest in (("threads", 1), ("seed", 0)):
            value = getattr(args, name)
            if value is not None and value < lowest:
                raise ConfigError(f"--{name} must be at least {lowest}, not {value}")
        cells, problems = read_run(folder)
        for problem in problems:
            console.print(Text(problem, style="red"), soft_wrap=True)
        if not cells:
            raise ResultsError(f"{folder} holds no readable record; name the folder of a run")
        names = ("data", "pretrained", "ready_made", "allow_missing")
        given = {name: Traced(getattr(args, name), f"--{name.replace('_', '-')}") for name in names}
        check_effects(given, [stored.cell for stored in cells])
        if args.sample == 1 and args.seed:
            raise ConfigError("--seed has no effect with --sample 1: all cells are run again")
        sample = draw(cells, args.sample, args.seed)
        # Everything anew: what an earlier run has left in the cache is what is to be checked.
        resources = default_resources(
            allow_missing=args.allow_missing,
            ready_made=reading(read_path, args.ready_made, "--ready-made"),
            cache="off",
        )
        place = functools.partial(
            placed,
            data=reading(read_path, args.data, "--data"),
            pretrained=reading(read_path, args.pretrained, "--pretrained"),
            device=device_name(args.device),
        )
        done = sum(cell.done for cell in cells)
        console.print(Text(f"running {len(sample)} of {done} finished cells again"))
        checks = []
        for check in verify(sample, resources, place=place, threads=args.threads):
            _say(check, console)
            checks.append(check)
        _say_environment(checks, console)
        counts = Counter(check.verdict.value for check in checks)
        line = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        if problems:
            line += f"; {len(problems)} files are no good records"
        good = all(check.good for check in checks) and not problems
        console.print(Text(line, style="green" if good else "red"), soft_wrap=True)
        return OK if good else FAILED


def _say(check: Check, console: Console) -> None:
    style = "" if check.good else "red"
    console.print(Text(f"{check.stored.name}: {check.verdict.value}", style=style), soft_wrap=True)
    if not check.good:
        for detail in check.details:
            console.print(Text(f"  {detail}", style=style), soft_wrap=True)


def _say_environment(checks: list[Check], console: Console) -> None:
    """What differs from the machine that stored the cells, each difference once."""
    seen: dict[str, tuple[Any, Any]] = {}
    for check in checks:
        facts: Mapping[str, tuple[Any, Any]] = check.environment
        for name, (before, now) in facts.items():
            seen.setdefault(f"{name}: stored with {before}, now {now}", (before, now))
    if seen:
        console.print(Text("another environment, hence a tolerance instead of the same bytes:"))
    for line in seen:
        console.print(Text(f"  {line}"), soft_wrap=True)
