"""``queryshift data`` and ``cache``: the user's own data, and what the disk cache holds."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal as shown_size
from rich.progress import track
from rich.text import Text

from benchmark.cli.main import FAILED, OK, Command, UsageError, say, table
from benchmark.config import run as settings
from benchmark.config import validate
from benchmark.config.files import user_path
from benchmark.data.card import BenchmarkCard, load_suite
from benchmark.data.datasets.folders import layout_of
from benchmark.data.own.source import is_own, refuse_other_files
from benchmark.errors import ConfigError, UnknownNameError, amount, did_you_mean

if TYPE_CHECKING:
    from benchmark.data.check import Track
    from benchmark.evaluation.cache import DiskCache

SUITE = "paper"
"""The suite whose benchmarks run on the user's own data."""

OWN = tuple(name for name in settings.OF_TABLES if name != "clean")


class Data(Command):
    name = "data"
    summary = "check your own copies of the data sets: what is found, what is missing, the layout"
    examples = (
        "  queryshift data check --data /data\n"
        "  queryshift data check --data /data --decode coco-c-image base2nocaps-in\n"
        "  queryshift data check --data pairs.csv\n"
        "  queryshift data layout flickr30k"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        what = "look for the files of each benchmark; exit code 1 if any are missing"
        check = actions.add_parser("check", help=what, allow_abbrev=False)
        what = "folder with the data sets, or a table of your own"
        check.add_argument("--data", metavar="PLACE", required=True, help=what)
        settings.add_flags(check, only=OWN)
        what = "also decode every file (takes minutes)"
        check.add_argument("--decode", action="store_true", help=what)
        what = "show the expected folder layout"
        layout = actions.add_parser("layout", help=what, allow_abbrev=False)
        what = f"benchmarks or data sets (default: all of the suite {SUITE})"
        for action in (check, layout):
            action.add_argument("benchmarks", metavar="BENCH", nargs="*", help=what)

    def run(self, args: argparse.Namespace, console: Console) -> int:
        if args.action == "layout":
            for dataset in dict.fromkeys(card.dataset for card in _chosen(args.benchmarks)):
                _print_layout(dataset, console)
            return OK
        shown = functools.partial(
            track, console=console, transient=True, disable=not console.is_interactive
        )
        if not args.data:
            raise UsageError("--data is empty; expected a table, or the folder of the data sets")
        if is_own(args.data) and not args.benchmarks:
            return _check_own(args, console, shown)
        return _check(_chosen(args.benchmarks), user_path(args.data), console, args, shown)


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


def _check_own(args: argparse.Namespace, console: Console, shown: Track) -> int:
    from benchmark.data.check import check_own
    from benchmark.planning.own_data import source_of

    given = {name: traced.value for name, traced in settings.from_flags(args).items()}
    report = check_own(source_of(settings.BenchConfig(**given)), shown)
    facts = report.facts.items()
    console.print(table(("", " "), facts, title=args.data, show_header=False))
    for problem in report.problems:
        say(console, f"- {problem}")
    if not report.problems:
        say(console, "nothing is missing, broken or duplicated", "green")
    return FAILED if report.problems else OK


def _check(
    cards: Sequence[BenchmarkCard],
    root: Path,
    console: Console,
    args: argparse.Namespace,
    shown: Track,
) -> int:
    if not args.benchmarks and not root.is_dir():
        refuse_other_files(str(root))
    if not root.is_dir():
        raise ConfigError(
            f"the data folder {root} does not exist or is not a folder; --data names the folder "
            "that holds the data sets (queryshift data layout)"
        )
    if any(name in args for name in OWN):
        refuse_other_files(str(root), own=not args.benchmarks)
        raise ConfigError(f"{root} is no table of your own, so --columns and the like mean nothing")
    # NumPy and the libraries of the data: not before they are needed.
    from benchmark.data.check import check_data

    groups: dict[tuple[str, str], list[BenchmarkCard]] = {}
    for card in cards:
        groups.setdefault((card.dataset, card.split), []).append(card)
    findings = [
        check_data(group, root, track=shown if args.decode else None) for group in groups.values()
    ]
    if not args.benchmarks and not any(finding.found for finding in findings):
        refuse_other_files(str(root))
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
    console.print(table(columns, rows, title=f"data in {root}"))
    absent = [one for one in findings if not (args.benchmarks or one.found)]
    for finding in (finding for finding in findings if not finding.complete):
        say(console, f"\n{finding.dataset}, {finding.split}", "bold")
        for problem in finding.problems:
            say(console, f"- {problem}")
        if finding not in absent:
            _print_layout(finding.dataset, console)
    if absent:
        line = "\nqueryshift data layout NAME shows where the files of a data set are expected"
        say(console, line)
    return OK if all(finding.complete for finding in findings) else FAILED


def _print_layout(dataset: str, console: Console) -> None:
    if (layout := layout_of(dataset)) is not None:
        say(console, f"layout of {layout.title}, below the data folder:")
        for line in layout.tree.splitlines():
            say(console, f"  {line}")
        say(console, f"where to get it: {layout.access}")
        if layout.note:
            say(console, f"note: {layout.note}")


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


class Cache(Command):
    name = "cache"
    summary = "show or empty the disk cache of embeddings and shifted queries"
    examples = "  queryshift cache info\n  queryshift cache clear --cache /scratch/queryshift"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        what = "info (what is there) or clear (remove all of it)"
        parser.add_argument("action", metavar="ACTION", choices=_ACTIONS, help=what)
        what = "the cache's folder (default: QUERYSHIFT_CACHE, else ~/.cache/queryshift)"
        parser.add_argument("--cache", metavar="DIR", default="", help=what)

    def run(self, args: argparse.Namespace, console: Console) -> int:
        from benchmark.evaluation.builders import disk_cache  # imports torch

        cache = disk_cache(validate.check(settings.CACHE, args.cache, "--cache"))
        if cache is None:
            raise UsageError(
                "the disk cache is off (QUERYSHIFT_CACHE or QUERYSHIFT_CACHE_BYTES says so); name "
                "its folder with --cache DIR"
            )
        return _ACTIONS[args.action](cache, console)


def _cache_info(cache: DiskCache, console: Console) -> int:
    from benchmark.evaluation.cache import KINDS, PARTIAL  # imports torch

    entries, unfinished = cache.entries(), cache.entries(PARTIAL)
    say(console, f"cache:   {cache.folder}")
    used = sum(stored.size for stored in (*entries, *unfinished))
    say(console, f"used:    {shown_size(used)} of at most {shown_size(cache.max_bytes)}")
    if unfinished:
        say(console, f"writing: {amount(len(unfinished), 'entry')} unfinished")
    if not entries:
        say(console, "it is empty")
        return OK
    rows = []
    for kind, meaning in KINDS.items():
        found = [stored for stored in entries if stored.kind == kind]
        if found:
            size = shown_size(sum(stored.size for stored in found))
            last = datetime.fromtimestamp(max(stored.used for stored in found))
            rows.append((meaning, len(found), size, f"{last:%Y-%m-%d %H:%M}"))
    columns = ("what", "entries", "size", "last used")
    console.print(table(columns, rows, numbers=columns[1:]))
    return OK


def _clear_cache(cache: DiskCache, console: Console) -> int:
    from benchmark.evaluation.cache import PARTIAL, SUFFIX  # imports torch

    count, size = cache.clear()
    say(console, f"removed {amount(count, 'entry')}, {shown_size(size)}, from {cache.folder}")
    left = len(cache.entries(SUFFIX, PARTIAL))
    if left:
        say(console, f"{amount(left, 'entry')} could not be removed: the folder is not writable")
    return FAILED if left else OK


_ACTIONS = {"info": _cache_info, "clear": _clear_cache}
