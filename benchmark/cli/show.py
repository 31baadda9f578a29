"""``queryshift show``: everything a method, shift, benchmark or backbone says about itself."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from benchmark.cli.command import OK, Command
from benchmark.errors import UnknownNameError, did_you_mean
from benchmark.registry import REGISTRIES, Registry
from benchmark.report.display import FittedTable


class Show(Command):
    """Shows one name: its card, its options with their defaults, where it comes from."""

    name = "show"
    summary = "card, options and origin of one method, shift, benchmark or backbone"
    examples = "  queryshift show rest\n  queryshift show shift/gaussian"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "name", metavar="NAME", help="a name, or KIND/NAME where two kinds share it"
        )

    def run(self, args: argparse.Namespace, console: Console) -> int:
        for registry, name in find(args.name):
            console.print(_table(registry, name))
        return OK


def find(text: str) -> list[tuple[Registry, str]]:
    """Every (registry, name) that ``NAME`` or ``KIND/NAME`` stands for.

    Raises:
        UnknownNameError: none does.
    """
    kind, slash, name = text.partition("/")
    chosen = [r for r in REGISTRIES.values() if slash and kind in (r.kind, r.plural)]
    if chosen:
        return [(chosen[0], chosen[0].resolve(name))]
    hits = [(r, r.resolve(text)) for r in REGISTRIES.values() if text in r]
    if not hits:
        known = [n for r in REGISTRIES.values() for n in (*r.names(), *r.aliases())]
        raise UnknownNameError(
            f"nothing is called {text!r}{did_you_mean(text, known)} "
            f"(queryshift list {'|'.join(REGISTRIES)})"
        )
    return hits


def _table(registry: Registry, name: str) -> FittedTable:
    info = registry.info(name)
    thing = registry.get(name)
    table = FittedTable(
        title=Text(f"{registry.kind} {name}"), title_justify="left", show_header=False
    )
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    facts: dict[str, Any] = {"from": info.origin, "code": info.target}
    if info.aliases:
        facts["also called"] = ", ".join(info.aliases)
    card = thing if dataclasses.is_dataclass(thing) else getattr(thing, "card", None)
    if dataclasses.is_dataclass(card):
        facts |= {f.name: getattr(card, f.name) for f in dataclasses.fields(card)}
    else:
        facts |= {"summary": registry.described(name).summary, **info.facts}
    for key, value in facts.items():
        if value not in ("", None, {}):
            table.add_row(Text(key), Text(_phrase(value)))
    for key, default, meaning in _options(getattr(thing, "Options", None)):
        table.add_row(Text(f"--option {key}"), Text(f"{default!r}  {meaning}".rstrip()))
    return table


def _options(options: Any) -> Iterator[tuple[str, Any, str]]:
    """Name, default and meaning (from the class docstring's Attributes) of each option."""
    if options is None or not dataclasses.is_dataclass(options):
        return
    meanings = _attributes(inspect.getdoc(options) or "")
    for option in dataclasses.fields(options):
        if option.default is not dataclasses.MISSING:
            default: Any = option.default
        elif option.default_factory is not dataclasses.MISSING:
            default = option.default_factory()
        else:
            default = "(required)"
        yield option.name, default, option.metadata.get("help", meanings.get(option.name, ""))


def _attributes(doc: str) -> dict[str, str]:
    """The ``Attributes:`` section of a Google-style docstring as name -> text."""
    meanings: dict[str, str] = {}
    name = ""
    _, _, section = doc.partition("Attributes:\n")
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        indent = len(line) - len(line.lstrip())
        head, colon, text = line.strip().partition(":")
        if indent == 4 and colon and head.isidentifier():
            name = head
            meanings[name] = text.strip()
        elif name and line.strip():
            meanings[name] += " " + line.strip()
    return meanings


def _phrase(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={item}" for key, item in value.items() if item != "")
    return str(value)
