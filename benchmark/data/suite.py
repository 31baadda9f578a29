"""Suites of benchmarks by name: the YAML files of ``suites/`` as cards.

Importing this module, and listing benchmarks, imports neither torch nor numpy.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Required

from annotated_types import Ge, MinLen
from pydantic import AfterValidator, Strict

from benchmark.cell import BackboneSpec
from benchmark.config.files import Document, read_document
from benchmark.config.validate import kinds_of, mapping, named
from benchmark.data.card import BOTH, TASKS, BenchmarkCard, Suite
from benchmark.data.datasets import BUILTINS as DATASETS
from benchmark.data.own.source import SUITE as OWN
from benchmark.data.own.source import own_card
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

_METRICS = {
    "image_text": r"R@\d+|mean_recall|mAP",
    "audio_text": r"R@\d+|mean_recall|mAP",
    "video_audio": r"R@\d+|mean_recall|mAP",
    "composed": r"R@\d+|mean_recall|mAP|section_R@\d+|R_subset@[123]",
}
"""Task -> the metrics that it may have; which cut-offs there are is known with the data."""


def suite_names() -> tuple[str, ...]:
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
    cards = benchmark_cards()
    card = cards.get(name) or own_card(name)
    if card is None:
        raise unknown("benchmark", name, cards)
    return card


def _data_set(name: str) -> None:
    if name not in DATASETS and ":" not in name:
        raise unknown("data set", name, DATASETS)


def _weights(name: str) -> None:
    if ":" not in name:
        raise ConfigError(f"{name!r} is no weights; expected loader:model, such as 'mini:'")


_NAME = Annotated[str, MinLen(1)]
_NAMES = Annotated[tuple[str, ...], Strict(False), MinLen(1)]
_DATA_SET = Annotated[str, AfterValidator(named(_data_set))]
_QUERIES = tuple(dict.fromkeys(query for sides in TASKS.values() for query in sides))
_FIELDS = [e for e in dataclasses.fields(BenchmarkCard) if e.name not in ("suite", "row")]
_REQUIRED = tuple(
    entry.name
    for entry in _FIELDS
    if entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
)
_ENTRY = mapping(
    {
        **kinds_of(BenchmarkCard, [entry.name for entry in _FIELDS], text=False),
        "id": _NAME,
        "task": Literal[tuple(TASKS)],
        "dataset": _DATA_SET,
        "query": Literal[(*_QUERIES, BOTH)],
        "split": _NAME,
        "counts": Annotated[dict[str, Annotated[int, Ge(1)]], MinLen(1)],
        "setting": Literal["QS", "QGS"],
        "shifts": _NAMES,
        "named_by": Literal["TCR", "REST", "our reading"],
        "backbone": mapping(
            {
                **kinds_of(
                    BackboneSpec, ("model", "pretrained", "transform", "device"), text=False
                ),
                "loader": Required[str],
            }
        ),
        "cleaning": Literal["blip", "none"],
        "max_words": Annotated[int, Ge(1)],
        "home": _DATA_SET | dict[Annotated[str, AfterValidator(named(_weights))], _DATA_SET],
        "headline": _NAMES,
    }
)
_SUITE = mapping(
    {
        "suite": Required[str],
        "title": Required[str],
        "summary": str,
        "defaults": _ENTRY,
        "benchmarks": Required[Annotated[list[_ENTRY], MinLen(1)]],  # type: ignore[valid-type]
    }
)


def read_suite(path: Path) -> Suite:
    """Reads a suite file: ``suite``, ``title``, ``summary``, ``defaults`` and ``benchmarks``.

    Raises:
        UnknownNameError: an unknown key; says file and line.
        ConfigError: a missing key, wrong type or value, repeated id; says file and line.
    """
    document = read_document(path)
    found = document.check(_SUITE)
    name = found["suite"]
    if name != path.stem:
        raise document.error(("suite",), f"suite {name!r} must be in a file called {name}.yaml")
    cards: dict[str, BenchmarkCard] = {}
    for index, own in enumerate(found["benchmarks"]):
        for card in _cards(document, index, name, found.get("defaults", {}), own):
            if card.id in cards:
                raise document.error(("benchmarks", index, "id"), f"id {card.id!r} occurs twice")
            cards[card.id] = card
    return Suite(name, found["title"], found.get("summary", ""), tuple(cards.values()))


def _cards(
    document: Document, index: int, suite: str, defaults: Mapping[str, Any], own: Mapping[str, Any]
) -> tuple[BenchmarkCard, ...]:
    """The card of an entry, or its two where the query side is "both"."""
    place = ("benchmarks", index)
    values = {**defaults, **own}
    missing = [key for key in _REQUIRED if key not in values]
    if missing:
        raise document.error(place, f"benchmark {own.get('id')!r} lacks {', '.join(missing)}")
    values["backbone"] = BackboneSpec(**values["backbone"])
    row = BenchmarkCard(suite=suite, row=values["id"], **values)
    for name in row.headline:
        if not re.fullmatch(_METRICS[row.task], name):
            at = (*place, "headline") if "headline" in own else ("defaults", "headline")
            raise document.error(at, f"task {row.task!r} has no metric {name!r}")
    sides = TASKS[row.task]
    if row.query == BOTH and len(sides) > 1:
        return tuple(
            dataclasses.replace(row, id=f"{row.id}-{short}", query=query)
            for query, (_, short) in sides.items()
        )
    if row.query not in sides:
        at = (*place, "query" if "query" in own else "id")
        raise document.error(
            at, f"task {row.task!r} has no {row.query!r} queries; it has {', '.join(sides)}"
        )
    return (row,)
