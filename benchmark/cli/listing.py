"""``queryshift list``: the names that exist, without importing what they stand for."""

from __future__ import annotations

import argparse
import dataclasses
import json

from rich.console import Console
from rich.text import Text

from benchmark.cli.command import OK, Command, UsageError
from benchmark.errors import did_you_mean
from benchmark.registry import REGISTRIES, Info, Registry
from benchmark.report.display import FittedTable


class List(Command):
    """Lists methods, shifts, benchmarks or backbones."""

    name = "list"
    summary = "names of the methods, shifts, benchmarks or backbones that can be used"
    examples = "  queryshift list methods\n  queryshift list shifts --json"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("kind", metavar="KIND", help=", ".join(REGISTRIES))
        parser.add_argument("--json", action="store_true", help="machine-readable, to stdout")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        registry = _registry(args.kind)
        infos = [registry.described(name) for name in registry.names()]
        if args.json:
            # Not through rich, which would wrap and style it.
            json.dump([_plain(info) for info in infos], console.file, indent=2, default=str)
            console.file.write("\n")
        else:
            console.print(_table(registry, infos))
        return OK


def _registry(kind: str) -> Registry:
    singular = {registry.kind: registry for registry in REGISTRIES.values()}
    registry = REGISTRIES.get(kind) or singular.get(kind)
    if registry is None:
        raise UsageError(
            f"unknown kind {kind!r}{did_you_mean(kind, REGISTRIES)}; known: {', '.join(REGISTRIES)}"
        )
    return registry


def _plain(info: Info) -> dict[str, object]:
    return {**dataclasses.asdict(info), "facts": dict(info.facts)}


def _table(registry: Registry, infos: list[Info]) -> FittedTable:
    table = FittedTable(title=Text(registry.plural), title_justify="left")
    table.add_column("name", no_wrap=True)
    modal = any("modality" in info.facts for info in infos)
    if modal:
        table.add_column("queries")
    if registry.aliases():
        table.add_column("also")
    table.add_column("from")
    table.add_column("what it is")
    for info in infos:
        # Text, not str: names and summaries of plugins are data, never markup.
        row = [Text(info.name)]
        if modal:
            row.append(Text(str(info.facts.get("modality", ""))))
        if registry.aliases():
            row.append(Text(", ".join(info.aliases)))
        table.add_row(*row, Text(info.origin), Text(info.summary))
    return table
