"""Suite files: from YAML to benchmark cards, every fault named with file and line."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.cell import BackboneSpec
from benchmark.config.options import convert
from benchmark.config.yaml import Document, read_document
from benchmark.data.card import BOTH, TASKS, BenchmarkCard, Suite
from benchmark.data.datasets import BUILTINS as DATASETS
from benchmark.errors import did_you_mean

_METRICS = {
    "image_text": r"R@\d+|mean_recall|mAP",
    "audio_text": r"R@\d+|mean_recall|mAP",
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
