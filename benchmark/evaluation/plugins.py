"""Other people's code in a cell: which parts, a hash of each, what a method keeps in its class."""

from __future__ import annotations

import ast
import hashlib
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.cell import Cell, Record
from benchmark.data.card import SEPARATOR
from benchmark.errors import PluginError
from benchmark.registry import BACKBONES, BENCHMARKS, BUILTIN, METHODS, SHIFTS, Registry

logger = logging.getLogger(__name__)

CODE, MEMORY = "code", "class_memory"
"""What a record's info calls ``code_facts`` and ``memory_facts``."""

_OURS = ("benchmark", "methods", "queryshift", "shifts")


def foreign(cell: Cell) -> list[tuple[Registry, str]]:
    """What the cell names and this package does not ship."""
    named: list[tuple[Registry, str]] = [
        (METHODS, cell.method.name),
        (BACKBONES, cell.backbone.loader),
        *((BENCHMARKS, name) for name in cell.benchmark.split(SEPARATOR)),
        *((SHIFTS, domain.name) for domain in cell.domains),
    ]
    return [(all_, one) for all_, one in named if one not in all_ or all_.origin(one) != BUILTIN]


def plugin_code(cell: Cell) -> dict[str, str]:
    """A hash of the code of each plugin in the cell, by its kind and name."""
    found = {}
    for registry, name in foreign(cell):
        # Objects of the caller's have none.
        target = registry.info(name).target if name in registry else ""
        if target and registry.get(name) and (code := _code(target.partition(":")[0])):
            found[f"{registry.kind} {name!r}"] = code
    return found


def code_facts(cell: Cell) -> dict[str, Any]:
    """The same, for the record; or nothing."""
    return {CODE: found} if (found := plugin_code(cell)) else {}


def warn_of_changed_code(reused: Iterable[tuple[Cell, Record]]) -> None:
    """A warning for each plugin that has other code than the one that made stored results."""
    count: Counter[str] = Counter()
    for cell, record in reused:
        if before := record.info.get(CODE):
            with suppress(PluginError):  # a finished cell does not need it
                now = plugin_code(cell)
                count.update(name for name in now if now[name] != before.get(name, now[name]))
    for name, cells in count.items():
        logger.warning(
            "the code of %s has changed since %d of the reused cells ran: raise its version, or "
            "run them again with --if-exists always",
            *(name, cells),
        )


def code_of(*things: object) -> str:
    """A hash of the source files that functions and objects come from; "" where one has none.

    Versions are raised by hand, and while a shift or a backbone is being written they are not:
    cached inputs must not outlive the code that made them. All files of the top-level package
    count, of this package those of the part that it is in (``benchmark.backbones``), and of a
    plugin the modules and packages beside it that it imports.
    """
    hashes = [_code(str(thing.__module__)) for thing in things if thing is not None]
    return "" if "" in hashes else "+".join(sorted(set(hashes)))


@cache
def _code(module: str) -> str:
    parts = module.split(".")
    package = sys.modules.get(".".join(parts[: 2 if parts[0] == "benchmark" else 1]))
    places = [*getattr(package, "__path__", [])]
    places = places or list(filter(None, [getattr(package, "__file__", None)]))
    files = {file for place in places for file in _sources(Path(place))}
    if parts[0] not in _OURS:
        for place in places:
            files |= _beside(Path(place), files)
    digest = hashlib.sha256()
    for path in sorted(files):
        try:
            digest.update(path.read_bytes())
        except OSError:
            return ""
    return digest.hexdigest()[:16] if files else ""


def _sources(place: Path) -> set[Path]:
    return set(place.rglob("*.py")) if place.is_dir() else set(filter(Path.is_file, [place]))


def _beside(place: Path, files: set[Path]) -> set[Path]:
    """The files beside a plugin that these, or one of those, import; of packages not installed."""
    known, waiting = set(files), list(files)
    while waiting:
        try:
            tree = ast.parse(waiting.pop().read_bytes())
        except (OSError, SyntaxError, ValueError):  # compiled, or changed since it was imported
            continue
        nodes = list(ast.walk(tree))
        names = {n.name for node in nodes if isinstance(node, ast.Import) for n in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        for name in {name.partition(".")[0] for name in names} - {"", *_OURS}:
            found = {file for file in (place.with_name(f"{name}.py"),) if file.is_file()}
            if place.parent.name not in ("site-packages", "dist-packages"):  # or all of torch
                package = place.with_name(name)
                found |= _sources(package) if (package / "__init__.py").is_file() else set()
            waiting += found - known
            known |= found
    return known


def class_state(kind: type) -> dict[str, str]:
    """What a method's classes hold, as text: ``Class.name`` -> value; nothing of our own."""
    found = {}
    for owner in kind.__mro__[:-1]:
        own = {} if owner.__module__.partition(".")[0] in _OURS else vars(owner)
        for name, value in own.items():
            if not name.startswith(("__", "_abc_")):
                with suppress(Exception):  # whatever a plugin's object raises
                    found[f"{owner.__name__}.{name}"] = repr(value)
    return found


def memory_facts(kind: type, before: Mapping[str, str]) -> dict[str, Any]:
    """What of a method's classes is not as it was, which the next cell sees, for the record."""
    changed = [name for name, value in class_state(kind).items() if before.get(name) != value]
    return {MEMORY: changed} if changed else {}
