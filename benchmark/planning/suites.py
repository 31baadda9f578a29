"""Suites by what a user calls them: a bundled name, a plugin's, or the path of a file."""

from __future__ import annotations

import os
from pathlib import Path

from benchmark.config.paths import user_path
from benchmark.data import suite as bundled
from benchmark.data.card import BenchmarkCard, Suite
from benchmark.errors import UnknownNameError, unknown
from benchmark.registry import BENCHMARKS, BUILTIN

__all__ = ["load_suite", "plugin_cards"]


def load_suite(name: str) -> Suite:
    """A suite by its bundled name, by that which plugin benchmarks give, or by a file's path.

    A file's benchmarks are known by their ids from then on, here and in worker processes.

    Raises:
        UnknownNameError: no such suite.
        ConfigError: a fault in the file, with its line; an id that is taken.
    """
    if bundled.is_suite_file(name):
        path = user_path(name).resolve()
        found = bundled.load_suite(str(path))
        _make_known(path)
        return found
    try:
        return bundled.load_suite(name)
    except UnknownNameError:
        cards = tuple(card for card in plugin_cards() if card.suite == name)
        if cards:
            return Suite(name, name, "benchmarks of plugins", cards)
        brought = [card.suite for card in plugin_cards()]
        raise unknown("suite", name, dict.fromkeys((*bundled.suite_names(), *brought))) from None


def plugin_cards() -> list[BenchmarkCard]:
    """The benchmarks that this package does not ship: of plugins, and of suite files."""
    names = BENCHMARKS.usable()
    return [BENCHMARKS.get(name) for name in names if BENCHMARKS.origin(name) != BUILTIN]


def _make_known(path: Path) -> None:
    known = bundled.own_suite_files()
    if path in known:
        return
    os.environ[bundled.FILES_VARIABLE] = os.pathsep.join(map(str, (*known, path)))
    try:
        bundled.benchmark_cards()  # an id that is taken is said before anything uses it
    except Exception:
        os.environ[bundled.FILES_VARIABLE] = os.pathsep.join(map(str, known))
        raise
    BENCHMARKS.refresh()
