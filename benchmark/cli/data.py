"""``queryshift data``: is the user's own data complete, and how must it be laid out?"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track
from rich.text import Text

from benchmark.cli.command import FAILED, OK, Command, Parser, UsageError, say, table
from benchmark.config.files import expanded, user_path
from benchmark.data.datasets.folders import layout_of
from benchmark.data.own.source import is_own, refuse_other_files
from benchmark.data.suite import BenchmarkCard, load_suite
from benchmark.errors import ConfigError, UnknownNameError, did_you_mean
from benchmark.report.display import FittedTable

if TYPE_CHECKING:
    from benchmark.data.check import Finding, Track

SUITE = "paper"
"""The suite whose benchmarks run on the user's own data."""


_OWN_FLAGS = (
    ("columns", "OURS=YOURS", "own table: its columns, such as image=path,caption=text"),
    ("gallery", "TABLE", "own table: table of the gallery"),
    ("qrels", "FILE", "own table: relevance in TREC format"),
    ("split", "NAME", "own table: split to use"),
)


class Data(Command):
    """Checks the user's folder of data sets, or says what it must look like."""

    name = "data"
    summary = "check your own copies of the data sets: what is found, what is missing, the layout"
    examples = (
        "  queryshift data check --data /data\n"
        "  queryshift data check --data /data --decode coco-c-image base2nocaps-in\n"
        "  queryshift data check --data pairs.csv\n"
        "  queryshift data layout flickr30k"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(
            dest="action", metavar="ACTION", required=True, parser_class=_ActionParser
        )
        check = actions.add_parser(
            "check",
            help="look for the files of each benchmark; exit code 1 if any are missing",
            allow_abbrev=False,
        )
        check.add_argument(
            "--data",
            metavar="PLACE",
            required=True,
            help="folder with the data sets, or a table of your own",
        )
        for flag, metavar, what in _OWN_FLAGS:
            check.add_argument(f"--{flag}", metavar=metavar, default="", help=what)
        check.add_argument(
            "--unlabelled", action="store_true", help="own table: a query log without relevance"
        )
        check.add_argument(
            "--decode", action="store_true", help="also decode every file (takes minutes)"
        )
        layout = actions.add_parser(
            "layout", help="show the expected folder layout", allow_abbrev=False
        )
        for action in (check, layout):
            action.add_argument(
                "benchmarks",
                metavar="BENCH",
                nargs="*",
                help=f"benchmarks or data sets (default: all of the suite {SUITE})",
            )

    def run(self, args: argparse.Namespace, console: Console) -> int:
        if args.action == "check" and is_own(args.data) and not args.benchmarks:
            return _check_own(args, console)
        chosen = _chosen(args.benchmarks)
        if args.action == "layout":
            for dataset in dict.fromkeys(card.dataset for card in chosen):
                _print_layout(dataset, console)
            return OK
        return _check(chosen, user_path(args.data), console, args)


class _ActionParser(Parser):
    """Refuses what it does not know itself, with its own flags as suggestions."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            known = [flag for action in self._actions for flag in action.option_strings]
            near = did_you_mean(unknown[0], known)
            raise UsageError(f"{self.prog} does not know {unknown[0]!r}{near} ({self.prog} --help)")
        return parsed, unknown


def _chosen(names: Sequence[str]) -> list[BenchmarkCard]:
    """The cards of that id, row or data set; all of the suite where none is named.

    Raises:
        UnknownNameError: neither the suite nor a plugin has anything of that name.
    """
    from benchmark.planning.compatibility import plugin_cards

    cards = load_suite(SUITE).benchmarks
    if names:  # what others bring is checked where it is asked for
        cards = (*cards, *plugin_cards())
    chosen: dict[str, BenchmarkCard] = {}
    for name in names:
        hits = {card.id: card for card in cards if name in (card.id, card.row, card.dataset)}
        if not hits:
            known = dict.fromkeys(n for card in cards for n in (card.row or card.id, card.dataset))
            raise UnknownNameError(
                f"no benchmark or data set of the suite {SUITE!r} or of a plugin is called {name!r}"
                f"{did_you_mean(name, known)}; known: {', '.join(known)}"
            )
        chosen |= hits
    return list(chosen.values()) if names else list(cards)


def _check_own(args: argparse.Namespace, console: Console) -> int:
    from benchmark.config.run import BenchConfig, from_flag
    from benchmark.data.check import check_own
    from benchmark.planning.own_data import source_of

    config = BenchConfig(
        data=expanded(args.data),
        columns=from_flag("columns", args.columns) if args.columns else (),
        gallery=args.gallery,
        qrels=args.qrels,
        split=args.split,
        unlabelled=args.unlabelled,
    )
    report = check_own(source_of(config), _tracked(console))
    facts = report.facts.items()
    console.print(table(("", " "), facts, title=args.data, show_header=False))
    for problem in report.problems:
        say(console, f"- {problem}")
    if not report.problems:
        say(console, "nothing is missing, broken or duplicated", "green")
    return FAILED if report.problems else OK


def _tracked(console: Console) -> Track:
    return functools.partial(
        track, console=console, transient=True, disable=not console.is_interactive
    )


def _check(
    cards: Sequence[BenchmarkCard], root: Path, console: Console, args: argparse.Namespace
) -> int:
    if not args.benchmarks and not root.is_dir():
        refuse_other_files(str(root))
    if not root.is_dir():
        raise ConfigError(
            f"the data folder {root} does not exist or is not a folder; --data names the folder "
            "that holds the data sets (queryshift data layout)"
        )
    if any(getattr(args, flag) for flag in ("unlabelled", *(name for name, *_ in _OWN_FLAGS))):
        raise ConfigError(f"{root} is no table of your own, so --columns and the like mean nothing")
    # NumPy and the libraries of the data: not before they are needed.
    from benchmark.data.check import check_data

    shown = _tracked(console)
    groups: dict[tuple[str, str], list[BenchmarkCard]] = {}
    for card in cards:
        groups.setdefault((card.dataset, card.split), []).append(card)
    findings = [
        check_data(group, root, track=shown if args.decode else None) for group in groups.values()
    ]
    if not args.benchmarks and not any(finding.found for finding in findings):
        refuse_other_files(str(root))
    console.print(_table(findings, root))
    absent = [one for one in findings if not (args.benchmarks or one.found)]
    for finding in findings:
        if not finding.complete:
            _print_problems(finding, console, layout=finding not in absent)
    if absent:
        say(
            console,
            "\nqueryshift data layout NAME shows where the files of a data set are expected",
        )
    return OK if all(finding.complete for finding in findings) else FAILED


def _table(findings: Sequence[Finding], root: Path) -> FittedTable:
    rows = []
    for finding in findings:
        if finding.complete:
            verdict = Text("complete", style="green")
        elif finding.found:
            verdict = Text("INCOMPLETE", style="yellow")
        else:
            verdict = Text("NOT USABLE", style="red")
        found, expected = _listed(finding.found) or "nothing", _listed(finding.expected)
        named = ", ".join(finding.benchmarks)
        rows.append((finding.dataset, finding.split, verdict, found, expected, named))
    columns = ("data set", "split", "", "found", "expected", "benchmarks")
    return table(columns, rows, title=f"data in {root}")


def _print_problems(finding: Finding, console: Console, *, layout: bool) -> None:
    say(console, f"\n{finding.dataset}, {finding.split}", "bold")
    for problem in finding.problems:
        say(console, f"- {problem}")
    if layout:
        _print_layout(finding.dataset, console)


def _print_layout(dataset: str, console: Console) -> None:
    layout = layout_of(dataset)
    if layout is None:
        return
    say(console, f"layout of {layout.title}, below the data folder:")
    for line in layout.tree.splitlines():
        say(console, f"  {line}")
    say(console, f"where to get it: {layout.access}")
    if layout.note:
        say(console, f"note: {layout.note}")


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
