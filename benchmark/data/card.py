"""Benchmarks as data: cards, and the suites of ``suites/*.yaml`` that hold them.

Importing this module, and listing benchmarks, imports neither torch nor numpy.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, Required

from annotated_types import Ge, MinLen
from pydantic import AfterValidator, Strict

from benchmark.cell import BackboneSpec
from benchmark.config.files import Document, read_document
from benchmark.config.validate import kinds_of, mapping, named
from benchmark.data.datasets import BUILTINS as DATASETS
from benchmark.errors import ConfigError, unknown

SEPARATOR = "+"
"""Between the benchmark ids in the name of several, whose queries share a stream."""

SPLIT = "@"
"""Between a benchmark's id and another split of its data set than the card's."""

OWN = "own"
PREFIX = "own:"
"""Suite of the user's own data, and how the names of its benchmarks begin."""

BOTH = "both"
"""Query side of an entry that makes two benchmarks, one per direction."""

TASKS: dict[str, dict[str, tuple[str, str]]] = {
    "image_text": {"image": ("text", "i2t"), "text": ("image", "t2i")},
    "audio_text": {"audio": ("text", "a2t"), "text": ("audio", "t2a")},
    "video_audio": {"video": ("audio", "v2a"), "audio": ("video", "a2v")},
    "composed": {"composed": ("image", "c2i")},
}
"""Task -> query modality -> gallery modality and the direction's short name."""


@dataclass(frozen=True, slots=True)
class BenchmarkCard:
    """One benchmark, as data. Every attribute without a default must be in the suite's file.

    Attributes:
        id: benchmark id, unique over all suites; embedded ones start with "mini-".
        suite: name of the suite.
        task: kind of retrieval: "image_text", "audio_text", "video_audio" or "composed".
        dataset: name of a built-in data set, or "module:function" of a loader.
        query: modality of the queries (see ``TASKS``). In a suite's file "both" makes two cards,
            one per direction.
        split: the data set's split.
        counts: what the split has, by name ("images" and "captions", "clips", or "queries" and
            "images"); other counts are an error.
        setting: "QS" = queries corrupted, model tuned on the data set; "QGS" = nothing corrupted,
            model not tuned on it.
        shifts: shifts that it is run with by default.
        severity: default severity.
        summary: one line.
        paper: where the benchmark comes from.
        named_by: whose public material names it.
        licence: of the data.
        citation: of the data.
        home: the domain that the source model comes from, where forgetting is measured: the name of
            a data set, for the card's own backbone; or weights ("loader:model", a pattern of
            ``fnmatch``) -> data set. Empty where the weights have no home among the data sets.
        headline: the metrics that the benchmark is known by, shown in every table beside R@1; see
            ``RetrievalSet.metrics`` for what a data set can give.
        preset: option preset of the methods ("published", "mini").
        backbone: the default backbone.
        train: the split of the data set whose queries fill a bank of training queries; empty where
            there is none.
        shift_options: given to every shift that has such an option.
        cleaning: caption cleaning, "blip" or "none".
        max_words: words that BLIP's cleaning keeps.
        note: a caution that a reader of its numbers needs.
        row: the benchmark's name in a table with one row per benchmark: its own id, or that of
            the entry that both directions come from.
    """

    id: str
    suite: str
    task: str
    dataset: str
    query: str
    split: str
    counts: Mapping[str, int]
    setting: str
    shifts: tuple[str, ...]
    severity: int
    summary: str
    paper: str
    named_by: str
    licence: str
    preset: str
    backbone: BackboneSpec
    shift_options: Mapping[str, Any] = field(default_factory=dict)
    cleaning: str = "blip"
    max_words: int = 30
    note: str = ""
    citation: str = ""
    home: Mapping[str, str] | str = field(default_factory=dict)
    train: str = ""
    headline: tuple[str, ...] = ("R@1",)
    row: str = ""

    def __post_init__(self) -> None:
        """Raises TypeError for a text where names are meant: ("fog") is no tuple."""
        for name in ("shifts", "headline"):
            if isinstance(found := getattr(self, name), str):
                raise TypeError(f"the card of {self.id!r}: {name} is a text; write ({found!r},)")

    @property
    def gallery(self) -> str:
        return TASKS[self.task][self.query][0]

    def home_of(self, spec: BackboneSpec) -> str:
        """The data set that weights come from, or "" where the card does not know one.

        A text stands for the card's own backbone, wherever its weights lie. The others are known
        by their name alone: weights given as a file may be any.
        """
        if isinstance(self.home, str):
            own = (spec.loader, spec.model) == (self.backbone.loader, self.backbone.model)
            return self.home if own else ""
        name = f"{spec.loader}:{spec.model}"
        hits = [data for weights, data in self.home.items() if fnmatchcase(name, weights)]
        return hits[0] if hits and not spec.pretrained else ""


@dataclass(frozen=True, slots=True)
class Suite:
    """Some benchmarks that are run and reported together."""

    name: str
    title: str
    summary: str
    benchmarks: tuple[BenchmarkCard, ...]


_FOLDER = Path(__file__).parent / "suites"


FILES_VARIABLE = "QUERYSHIFT_SUITES"
"""Suite files of the user's own, with the system's path separator between them. A variable of the
environment, so that worker processes know their benchmarks too."""

_METRICS = dict.fromkeys(TASKS, r"R@\d+|mean_recall|mAP")
_METRICS["composed"] += r"|section_R@\d+|R_subset@[123]"
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


def own_card(name: str) -> BenchmarkCard | None:
    """The card of own data by the name of a direction ("own:birds-i2t"); None for another name.

    Shifts and severity are those of the paper's suite for queries of that kind.
    """
    stem, _, side = name.rpartition("-")
    sides = {
        short: (task, query) for task, each in TASKS.items() for query, (_, short) in each.items()
    }
    if not stem.startswith(PREFIX) or side not in sides:
        return None
    task, query = sides[side]
    like = next(
        card
        for card in load_suite("paper").benchmarks
        if card.setting == "QS" and card.query == query
    )
    return BenchmarkCard(
        id=name,
        suite=OWN,
        task=task,
        dataset=stem,
        query=query,
        split="",
        counts={},
        setting="QS",
        shifts=like.shifts,
        severity=like.severity,
        shift_options=like.shift_options,
        summary=f"your own data {stem.removeprefix(PREFIX)!r}, {query} queries",
        paper="none",
        named_by="our reading",
        licence="yours",
        preset="published",
        backbone=BackboneSpec(transform="clip"),
        cleaning="none",
        row=stem,
    )


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
