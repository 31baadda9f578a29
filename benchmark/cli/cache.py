"""``queryshift cache``: what the disk cache holds, and emptying it."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal as shown_size

from benchmark.cli.command import FAILED, OK, Command, UsageError, say, table
from benchmark.errors import did_you_mean

if TYPE_CHECKING:
    from benchmark.evaluation.cache import DiskCache


class Cache(Command):
    name = "cache"
    summary = "show or empty the disk cache of embeddings and shifted queries"
    examples = "  queryshift cache info\n  queryshift cache clear --cache /scratch/queryshift"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "action",
            metavar="ACTION",
            help="info (what is there) or clear (remove all of it)",
        )
        parser.add_argument(
            "--cache",
            metavar="DIR",
            default="",
            help="the cache's folder (default: QUERYSHIFT_CACHE, else ~/.cache/queryshift)",
        )

    def run(self, args: argparse.Namespace, console: Console) -> int:
        actions = {"info": _info, "clear": _clear}
        if args.action not in actions:
            raise UsageError(
                f"cache can do {' or '.join(actions)}, not {args.action!r}"
                f"{did_you_mean(args.action, actions)}"
            )
        from benchmark.evaluation.cache import disk_cache  # imports torch

        cache = disk_cache(args.cache)
        if cache is None:
            raise UsageError(
                "the disk cache is off (QUERYSHIFT_CACHE or QUERYSHIFT_CACHE_BYTES says so); name "
                "its folder with --cache DIR"
            )
        return actions[args.action](cache, console)


def _info(cache: DiskCache, console: Console) -> int:
    from benchmark.evaluation.cache_entry import KINDS, PARTIAL  # imports torch

    entries, unfinished = cache.entries(), cache.entries(PARTIAL)
    say(console, f"cache:   {cache.folder}")
    used = sum(stored.size for stored in (*entries, *unfinished))
    say(console, f"used:    {shown_size(used)} of at most {shown_size(cache.max_bytes)}")
    if unfinished:
        say(console, f"writing: {_count(len(unfinished))} unfinished")
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


def _clear(cache: DiskCache, console: Console) -> int:
    from benchmark.evaluation.cache_entry import PARTIAL, SUFFIX  # imports torch

    count, size = cache.clear()
    say(console, f"removed {_count(count)}, {shown_size(size)}, from {cache.folder}")
    left = len(cache.entries(SUFFIX, PARTIAL))
    if left:
        say(console, f"{_count(left)} could not be removed: the folder is not writable")
    return FAILED if left else OK


def _count(number: int) -> str:
    return f"{number} entr{'y' if number == 1 else 'ies'}"
