"""``queryshift check``: does a method or a shift keep the contract that the built-in ones keep?"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.text import Text

from benchmark.cli.command import FAILED, OK, Command, UsageError
from benchmark.cli.show import find
from benchmark.registry import METHODS, SHIFTS, Registry
from benchmark.report.display import FittedTable


class Check(Command):
    """Runs the shipped contract on anything installed."""

    name = "check"
    summary = "run the contract of methods or shifts on an installed one"
    examples = "  queryshift check rest\n  queryshift check shift/gaussian_noise"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="a method or a shift, or KIND/NAME")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        found = [(r, n) for r, n in find(args.name) if r in (METHODS, SHIFTS)]
        if not found:
            kind = find(args.name)[0][0].kind
            raise UsageError(f"{args.name!r} is a {kind}; contracts exist for methods and shifts")
        sound = [_check(registry, name, console) for registry, name in found]
        return OK if all(sound) else FAILED


class CheckShift(Command):
    """The same for shifts alone, so that a shift may have a method's name."""

    name = "check-shift"
    summary = "run the contract of shifts on an installed one"
    examples = "  queryshift check-shift gaussian_noise"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="a shift")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        return OK if _check(SHIFTS, SHIFTS.resolve(args.name), console) else FAILED


def _check(registry: Registry, name: str, console: Console) -> bool:
    thing = registry.get(name)
    with console.status(Text(f"checking {registry.kind} {name}")):
        results = _method_results(thing) if registry is METHODS else _shift_results(thing)
    table = FittedTable(title=Text(f"{registry.kind} {name}"), title_justify="left")
    table.add_column("check", no_wrap=True)
    table.add_column("")
    table.add_column("what it means, or what is wrong")
    for check, good, note in results:
        verdict = Text("ok", style="green") if good else Text("FAILED", style="red")
        table.add_row(Text(check), verdict, Text(note))
    console.print(table)
    return all(good for _, good, _ in results)


def _method_results(method_class: type) -> list[tuple[str, bool, str]]:
    from methods.testing import run_contract

    return run_contract(method_class)


def _shift_results(shift_class: type) -> list[tuple[str, bool, str]]:
    from shifts.testing import run_contract

    return [(r.check, r.passed, r.problem) for r in run_contract(shift_class)]
