"""Suites of benchmarks by name: the YAML files of ``suites/`` as cards.

Importing this module, and listing benchmarks, imports neither torch nor numpy.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path

from benchmark.cell import BackboneSpec
from benchmark.data.card import BenchmarkCard, Suite
from benchmark.data.own.source import SUITE as OWN
from benchmark.data.own.source import own_card
from benchmark.data.suite_file import read_suite
from benchmark.errors import ConfigError, unknown

__all__ = [
    "BenchmarkCard",
    "Suite",
    "benchmark_card",
    "benchmark_cards",
    "home_card",
    "load_suite",
    "own_card",
    "read_suite",
    "suite_names",
]

_FOLDER = Path(__file__).parent / "suites"


FILES_VARIABLE = "QUERYSHIFT_SUITES"
"""Suite files of the user's own, with the system's path separator between them. A variable of the
environment, so that worker processes know their benchmarks too."""


def suite_names() -> tuple[str, ...]:
    """Names of the bundled suites."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def is_suite_file(name: str) -> bool:
    """Whether a suite is given as a path: it ends with .yaml or .yml."""
    return name.endswith((".yaml", ".yml"))


def own_suite_files() -> tuple[Path, ...]:
    """The suite files of the user's own that are known in this process."""
    listed = os.environ.get(FILES_VARIABLE, "").split(os.pathsep)
    return tuple(Path(path) for path in dict.fromkeys(listed) if path)


@functools.cache
def load_suite(name: str) -> Suite:
    """A bundled suite by name, or that of a file by its path.

    Raises:
        UnknownNameError: no such suite.
        ConfigError: a fault in the file, with its line; a file with a bundled suite's name.
    """
    if is_suite_file(name):
        found = read_suite(Path(name))
        if found.name in (*suite_names(), OWN):
            raise ConfigError(f"{name}: there is a suite {found.name!r} already; rename yours")
        return found
    if name not in suite_names():
        raise unknown("suite", name, suite_names())
    return read_suite(_FOLDER / f"{name}.yaml")


def benchmark_cards() -> dict[str, BenchmarkCard]:
    """All benchmarks of suite files by id: the bundled ones in their order, then the user's own.

    Raises:
        ConfigError: two suites use one id.
    """
    cards: dict[str, BenchmarkCard] = {}
    for name in (*suite_names(), *map(str, own_suite_files())):
        for card in load_suite(name).benchmarks:
            if card.id in cards:
                raise ConfigError(f"benchmark {card.id!r} is in {cards[card.id].suite} and {name}")
            cards[card.id] = card
    return cards


def home_card(
    card: BenchmarkCard, spec: BackboneSpec, others: Iterable[BenchmarkCard]
) -> BenchmarkCard | None:
    """The benchmark on whose clean queries forgetting is measured, or None.

    Args:
        card: the benchmark that is run.
        spec: with which weights.
        others: benchmarks in which the home is looked for; the first one on that data set, with
            queries of the same kind, serves, one of the card's own suite before others.

    Raises:
        ConfigError: no benchmark is on the data set that the card names.
    """
    home = card.home_of(spec)
    if not home or home == card.dataset:
        return card if home else None
    found = [c for c in others if (c.dataset, c.task, c.query) == (home, card.task, card.query)]
    if not found:
        raise ConfigError(
            f"benchmark {card.id!r} names {home!r} as the home of {spec.loader}:{spec.model}, but "
            f"no benchmark has {card.query} queries of that data set"
        )
    return min(found, key=lambda other: other.suite != card.suite)


def benchmark_card(name: str) -> BenchmarkCard:
    """A bundled benchmark by id.

    Raises:
        UnknownNameError: no such benchmark.
    """
    if own := own_card(name):
        return own
    cards = benchmark_cards()
    if name not in cards:
        raise unknown("benchmark", name, cards)
    return cards[name]
