"""Suites of benchmarks, as data: YAML files beside this module become benchmark cards.

Importing this module, and listing benchmarks, imports neither torch nor numpy.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cell import BackboneSpec
from benchmark.datasets import BUILTINS as DATASETS
from benchmark.errors import ConfigError, DataError, UnknownNameError, did_you_mean
from benchmark.options import convert
from benchmark.yaml_lines import Document, read_document

if TYPE_CHECKING:
    from benchmark.datasets.base import ImageTextPairs
    from benchmark.retrieval import RetrievalSet

_FOLDER = Path(__file__).parent / "suites"

_CHOICES = {
    "task": ("image_text",),
    "query": ("image", "text"),
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
        task: kind of retrieval ("image_text").
        dataset: name of a built-in data set, or "module:function" of a loader.
        query: modality of the queries, "image" or "text"; the gallery is the other.
        split: the data set's split.
        images, captions: how many the split has; another count is an error.
        setting: "QS" = queries corrupted, model tuned on the data set; "QGS" = nothing corrupted,
            model not tuned on it.
        shifts: shifts that it is run with by default.
        severity: default severity.
        summary: one line.
        paper: where the benchmark comes from.
        named_by: whose public material names it.
        licence: of the data.
        preset: option preset of the methods ("published", "mini").
        backbone: the default backbone.
        shift_options: given to every shift that has such an option.
        cleaning: caption cleaning, "blip" or "none".
        max_words: words that BLIP's cleaning keeps.
        note: a caution that a reader of its numbers needs.
    """

    id: str
    suite: str
    task: str
    dataset: str
    query: str
    split: str
    images: int
    captions: int
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
        card = _card(document, index, name, defaults)
        if card.id in cards:
            raise document.error(("benchmarks", index, "id"), f"id {card.id!r} occurs twice")
        cards[card.id] = card
    if not cards:
        raise document.error(("benchmarks",), "a suite needs at least one benchmark")
    summary = document.text(("summary",)) if "summary" in top else ""
    return Suite(name, document.text(("title",)), summary, tuple(cards.values()))


_FIELDS = {entry.name: entry for entry in dataclasses.fields(BenchmarkCard)}
_SETTABLE = tuple(name for name in _FIELDS if name != "suite")
_REQUIRED = tuple(
    name
    for name in _SETTABLE
    if _FIELDS[name].default is dataclasses.MISSING
    and _FIELDS[name].default_factory is dataclasses.MISSING
)
_TOP_OPTIONAL = ("summary", "defaults")
_TYPES: dict[str, Any] = {
    "images": int,
    "captions": int,
    "severity": int,
    "max_words": int,
    "shifts": tuple[str, ...],
}
"""Types of the plain fields that are no text."""


def _card(document: Document, index: int, suite: str, defaults: Mapping[str, Any]) -> BenchmarkCard:
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
    return BenchmarkCard(suite=suite, **values)


def _value(document: Document, at: tuple[str | int, ...], key: str, raw: Any) -> Any:
    if key == "backbone":
        known = tuple(entry.name for entry in dataclasses.fields(BackboneSpec))
        document.check_keys(at, required=("loader",), optional=known)
        return BackboneSpec(**{name: document.text((*at, name)) for name in document.mapping(at)})
    if key == "shift_options":
        return dict(document.mapping(at))
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
    if key in ("images", "captions", "max_words") and value < 1:
        raise document.error(at, f"{key!r} must be at least 1, not {value}")
    if key in ("id", "dataset", "split", "shifts") and not value:
        raise document.error(at, f"{key!r} must not be empty")
    if key == "dataset" and value not in DATASETS and ":" not in value:
        raise document.error(at, f"unknown data set {value!r}{did_you_mean(value, DATASETS)}")
    return value


def load_retrieval_set(
    card: BenchmarkCard,
    root: Path | None = None,
    *,
    split: str | None = None,
    limit: int | None = None,
    allow_missing: bool = False,
) -> RetrievalSet:
    """Loads a benchmark's data.

    Args:
        card: the benchmark.
        root: the user's folder of data sets; None for embedded data.
        split: another split than the card's; its counts are not checked.
        limit: use only this many queries (a fixed subset).
        allow_missing: run on what is there; ``info`` of the result says so, with the counts.

    Raises:
        DataError: data missing or malformed, or counts that differ from the card's.
    """
    from benchmark.tasks import image_text

    pairs = _loader(card)(root, split=split or card.split, allow_missing=allow_missing)
    info = _checked_counts(card, pairs, check=split in (None, card.split), allow=allow_missing)
    return image_text.build(
        dataclasses.replace(pairs, info=info),
        name=card.id,
        query=card.query,
        cleaning=card.cleaning,
        max_words=card.max_words,
        limit=limit,
    )


def _loader(card: BenchmarkCard) -> Any:
    target = DATASETS[card.dataset]["target"] if card.dataset in DATASETS else card.dataset
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DataError(f"the loader {target!r} of {card.id} cannot be imported: {error}") from None


def _checked_counts(
    card: BenchmarkCard, pairs: ImageTextPairs, *, check: bool, allow: bool
) -> dict[str, Any]:
    images, captions = len(pairs.images), len(pairs.captions)
    info = {**pairs.info, "images": images, "captions": captions}
    if allow:
        info["allow_missing"] = True
    if check and (images, captions) != (card.images, card.captions):
        if not allow:
            raise DataError(
                f"{pairs.name} has {images} images and {captions} captions; {card.id} expects "
                f"{card.images} and {card.captions}; complete the copy, or run on what is there "
                "with --allow-missing (the result will say so)"
            )
        info |= {"expected_images": card.images, "expected_captions": card.captions}
    return info
