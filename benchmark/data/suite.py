"""Suites of benchmarks, as data: YAML files beside this module become benchmark cards.

Importing this module, and listing benchmarks, imports neither torch nor numpy.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cell import BackboneSpec
from benchmark.config.options import convert
from benchmark.config.yaml import Document, read_document
from benchmark.data.datasets import BUILTINS as DATASETS
from benchmark.errors import ConfigError, DataError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from benchmark.data.datasets.base import DataSet, Loader
    from benchmark.data.retrieval import RetrievalSet

_FOLDER = Path(__file__).parent / "suites"

BOTH = "both"
"""Query side of an entry that makes two benchmarks, one per direction."""

TASKS: dict[str, dict[str, tuple[str, str]]] = {
    "image_text": {"image": ("text", "i2t"), "text": ("image", "t2i")},
    "video_audio": {"video": ("audio", "v2a"), "audio": ("video", "a2v")},
    "composed": {"composed": ("image", "c2i")},
}
"""Task -> query modality -> gallery modality and the direction's short name."""

_METRICS = {
    "image_text": r"R@\d+|mean_recall|mAP",
    "video_audio": r"R@\d+|mean_recall|mAP",
    "composed": r"R@\d+|mean_recall|mAP|section_R@\d+|R_subset@[123]",
}
"""Task -> the metrics that it may have; which cut-offs there are is known with the data."""

_CHOICES = {
    "task": tuple(TASKS),
    "query": (*dict.fromkeys(query for sides in TASKS.values() for query in sides), BOTH),
    "setting": ("QS", "QGS"),
    "cleaning": ("blip", "none"),
    "named_by": ("TCR", "REST", "our reading"),
}


@dataclass(frozen=True, slots=True)
class BenchmarkCard:
    """One benchmark, as data. Every attribute without a default must be in the suite's file.

    Attributes:
        id: benchmark id, unique over all suites; embedded ones start with "mini-".
        suite: name of the suite.
        task: kind of retrieval: "image_text", "video_audio" or "composed".
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
    headline: tuple[str, ...] = ("R@1",)
    row: str = ""

    @property
    def gallery(self) -> str:
        """Modality of the gallery."""
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


def suite_names() -> tuple[str, ...]:
    """Names of the bundled suites."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


@functools.cache
def load_suite(name: str) -> Suite:
    """A bundled suite by name.

    Raises:
        UnknownNameError: no such suite.
    """
    if name not in suite_names():
        raise UnknownNameError(
            f"unknown suite {name!r}{did_you_mean(name, suite_names())}; "
            f"known: {', '.join(suite_names())}"
        )
    return read_suite(_FOLDER / f"{name}.yaml")


def benchmark_cards() -> dict[str, BenchmarkCard]:
    """All bundled benchmarks by id, in the order of the suites' files.

    Raises:
        ConfigError: two suites use one id.
    """
    cards: dict[str, BenchmarkCard] = {}
    for name in suite_names():
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
    if name not in cards:
        raise UnknownNameError(
            f"unknown benchmark {name!r}{did_you_mean(name, cards)}; known: {', '.join(cards)}"
        )
    return cards[name]


def read_suite(path: Path) -> Suite:
    """Reads a suite file: ``suite``, ``title``, ``summary``, ``defaults`` and ``benchmarks``.

    Raises:
        ConfigError: unknown or missing key, wrong type or value, repeated id; says file and line.
    """
    document = read_document(path)
    top = document.mapping()
    document.check_keys((), required=("suite", "title", "benchmarks"), optional=_TOP_OPTIONAL)
    name = document.text(("suite",))
    if name != path.stem:
        raise document.error(("suite",), f"suite {name!r} must be in a file called {name}.yaml")
    defaults = document.mapping(("defaults",)) if "defaults" in top else {}
    for key in defaults:
        if key not in _SETTABLE:
            raise document.unknown_key(("defaults",), key, _SETTABLE)
    cards: dict[str, BenchmarkCard] = {}
    for index in range(len(document.sequence(("benchmarks",)))):
        for card in _cards(document, index, name, defaults):
            if card.id in cards:
                raise document.error(("benchmarks", index, "id"), f"id {card.id!r} occurs twice")
            cards[card.id] = card
    if not cards:
        raise document.error(("benchmarks",), "a suite needs at least one benchmark")
    summary = document.text(("summary",)) if "summary" in top else ""
    return Suite(name, document.text(("title",)), summary, tuple(cards.values()))


_FIELDS = {entry.name: entry for entry in dataclasses.fields(BenchmarkCard)}
_SETTABLE = tuple(name for name in _FIELDS if name not in ("suite", "row"))
_REQUIRED = tuple(
    name
    for name in _SETTABLE
    if _FIELDS[name].default is dataclasses.MISSING
    and _FIELDS[name].default_factory is dataclasses.MISSING
)
_TOP_OPTIONAL = ("summary", "defaults")
_TYPES: dict[str, Any] = {
    "severity": int,
    "max_words": int,
    "shifts": tuple[str, ...],
    "headline": tuple[str, ...],
}
"""Types of the plain fields that are no text."""


def _cards(
    document: Document, index: int, suite: str, defaults: Mapping[str, Any]
) -> tuple[BenchmarkCard, ...]:
    """The card of an entry, or its two where the query side is "both"."""
    place = ("benchmarks", index)
    own = document.mapping(place)
    for key in own:
        if key not in _SETTABLE:
            raise document.unknown_key(place, key, _SETTABLE)
    missing = [key for key in _REQUIRED if key not in own and key not in defaults]
    if missing:
        raise document.error(place, f"benchmark {own.get('id')!r} lacks {', '.join(missing)}")
    values: dict[str, Any] = {}
    for key in (*defaults, *own):
        at: tuple[str | int, ...] = (*place, key) if key in own else ("defaults", key)
        values[key] = _value(document, at, key, document.value(at))
    sides = TASKS[values["task"]]
    row = BenchmarkCard(suite=suite, row=values["id"], **values)
    for name in row.headline:
        if not re.fullmatch(_METRICS[row.task], name):
            at = (*place, "headline") if "headline" in own else ("defaults", "headline")
            raise document.error(at, f"task {row.task!r} has no metric {name!r}")
    if row.query == BOTH and len(sides) > 1:
        return tuple(
            dataclasses.replace(row, id=f"{row.id}-{short}", query=query)
            for query, (_, short) in sides.items()
        )
    if row.query not in sides:
        at = (*place, "query") if "query" in own else (*place, "id")
        raise document.error(
            at, f"task {row.task!r} has no {row.query!r} queries; it has {', '.join(sides)}"
        )
    return (row,)


def _home(document: Document, at: tuple[str | int, ...], raw: Any) -> dict[str, str] | str:
    """A data set, or one for each of some weights."""
    if not isinstance(raw, Mapping):
        name = document.text(at)
        _check_data_set(document, at, name)
        return name
    homes = {str(weights): document.text((*at, weights)) for weights in raw}
    for weights, name in homes.items():
        if ":" not in weights:
            raise document.error(
                (*at, weights), f"{weights!r} is no weights; expected loader:model, such as 'mini:'"
            )
        _check_data_set(document, (*at, weights), name)
    return homes


def _check_data_set(document: Document, at: tuple[str | int, ...], name: str) -> None:
    if name not in DATASETS and ":" not in name:
        raise document.error(at, f"unknown data set {name!r}{did_you_mean(name, DATASETS)}")


def _counts(document: Document, at: tuple[str | int, ...]) -> dict[str, int]:
    counts = document.mapping(at)
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise document.error((*at, name), f"{name!r} must be a number above 0, not {count!r}")
    if not counts:
        raise document.error(at, "'counts' must name at least one number")
    return dict(counts)


def _value(document: Document, at: tuple[str | int, ...], key: str, raw: Any) -> Any:
    if key == "backbone":
        known = ("loader", "model", "pretrained", "transform", "device")
        document.check_keys(at, required=("loader",), optional=known)
        words = {name: document.text((*at, name)) for name in document.mapping(at)}
        return BackboneSpec(**words)  # type: ignore[arg-type]  # no other field can be named
    if key == "shift_options":
        return dict(document.mapping(at))
    if key == "home":
        return _home(document, at, raw)
    if key == "counts":
        return _counts(document, at)
    if isinstance(raw, str) and _TYPES.get(key, str) is not str:
        raise document.error(at, f"{key!r} must not be a text, as {raw!r} is")
    try:
        value = convert(raw, _TYPES.get(key, str))
    except ValueError as error:
        raise document.error(at, f"{key!r}: {error}") from None
    if key in _CHOICES and value not in _CHOICES[key]:
        near = did_you_mean(str(value), _CHOICES[key])
        raise document.error(
            at, f"{key!r} is {value!r}{near}; expected one of {', '.join(_CHOICES[key])}"
        )
    if key == "max_words" and value < 1:
        raise document.error(at, f"{key!r} must be at least 1, not {value}")
    if key in ("id", "dataset", "split", "shifts", "headline") and not value:
        raise document.error(at, f"{key!r} must not be empty")
    if key == "dataset":
        _check_data_set(document, at, value)
    return value


def load_retrieval_set(
    card: BenchmarkCard,
    root: Path | None = None,
    *,
    split: str | None = None,
    allow_missing: bool = False,
) -> RetrievalSet:
    """Loads a benchmark's data.

    Args:
        card: the benchmark.
        root: the user's folder of data sets; None for embedded data.
        split: another split than the card's; its counts are not checked.
        allow_missing: run on what is there; ``info`` of the result says so, with the counts.

    Raises:
        DataError: data missing or malformed, of another task, or counts that differ from the
            card's.
    """
    loaded = loader_of(card)(root, split=split or card.split, allow_missing=allow_missing)
    info = _checked_counts(card, loaded, check=split in (None, card.split), allow=allow_missing)
    built = _build(card, dataclasses.replace(loaded, info=info))
    if unknown := [name for name in card.headline if name not in built.metrics]:
        raise DataError(
            f"{card.id} names {', '.join(unknown)} as its headline, which its data do not give; "
            f"they give {', '.join(built.metrics)}"
        )
    return dataclasses.replace(built, headline=tuple(card.headline))


def _build(card: BenchmarkCard, loaded: DataSet) -> RetrievalSet:
    from benchmark.data.datasets import base

    if card.task == "image_text" and isinstance(loaded, base.ImageTextPairs):
        from benchmark.data.tasks import image_text

        return image_text.build(
            loaded,
            name=card.id,
            query=card.query,
            cleaning=card.cleaning,
            max_words=card.max_words,
        )
    if card.task == "video_audio" and isinstance(loaded, base.ClipPairs):
        from benchmark.data.tasks import video_audio

        return video_audio.build(loaded, name=card.id, query=card.query)
    if card.task == "composed" and isinstance(loaded, base.ComposedQueries):
        from benchmark.data.tasks import composed

        return composed.build(loaded, name=card.id)
    raise DataError(
        f"{card.id} is a benchmark of task {card.task!r}, but its loader returned "
        f"{type(loaded).__name__}"
    )


def loader_of(card: BenchmarkCard) -> Loader:
    """The function that loads a benchmark's data set.

    Raises:
        DataError: it cannot be imported.
    """
    target = DATASETS.get(card.dataset, card.dataset)
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DataError(f"the loader {target!r} of {card.id} cannot be imported: {error}") from None


def _checked_counts(
    card: BenchmarkCard, loaded: DataSet, *, check: bool, allow: bool
) -> dict[str, Any]:
    found = loaded.counts
    info = {**loaded.info, **found}
    if allow:
        info["allow_missing"] = True
    if check and found != card.counts:
        if not allow:
            raise DataError(
                f"{loaded.name} has {_listed(found)}; {card.id} expects {_listed(card.counts)}; "
                "complete the copy, or run on what is there with --allow-missing (the result will "
                "say so)"
            )
        info |= {f"expected_{name}": count for name, count in card.counts.items()}
    return info


def _listed(counts: Mapping[str, int]) -> str:
    return " and ".join(f"{count} {name}" for name, count in counts.items())
