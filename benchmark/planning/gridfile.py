"""Grid files: methods, benchmarks, shifts, streams, seeds and backbones to combine, as YAML.

A grid file holds any of the settings of a run under the same names, and more: methods, streams and
models may carry options (several values of one make variants), ``include`` adds combinations and
``exclude`` takes some away. Everything is checked before anything runs; docs/grids.md has the form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from benchmark.cell import STREAM_OPTIONS
from benchmark.config.paths import user_path
from benchmark.config.presets import is_file, preset_names
from benchmark.config.run import BenchConfig, Traced, read_integers, read_setting
from benchmark.config.yaml import Document, Place, read_document, shown
from benchmark.data.datasets import ready_made
from benchmark.data.suite import benchmark_cards, load_suite
from benchmark.errors import QueryShiftError, UnknownNameError, did_you_mean
from benchmark.evaluation.stream import KINDS, check_kind
from benchmark.planning.plan import MAX_CELLS, WITH_CHOICES, members
from benchmark.planning.specs import ALL, Choice, Sweep
from benchmark.registry import BENCHMARKS, METHODS, SHIFTS

COMBINED = (
    *("method", "benchmark", "suite", "shift", "shift_option", "severity", "stream"),
    *("stream_option", "seed", "model", "pretrained", "transform", "preset", "option"),
    *("batch_size", "limit"),
)
"""Settings that say what is combined: what an ``include`` may hold."""

_BESIDE = ("title", "include", "exclude")
_MODEL_OPTIONS = ("pretrained", "transform")
_FOLDER = Path(__file__).parent / "grids"
_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``exclude``: a cell to which all of its patterns apply is left out.

    Attributes:
        patterns: axis -> patterns (of numbers: numbers), of which one must apply.
        where: file and line.
    """

    patterns: Mapping[str, tuple[str | int, ...]]
    where: str


@dataclass(frozen=True, slots=True)
class GridFile:
    """A grid file, read and checked.

    Attributes:
        name: the file's name without its suffix.
        settings: what stands at its top; ``WITH_CHOICES`` as tuples of ``Choice``.
        includes: each further combination's own settings, in place of those at the top.
        exclude: what is left out of all of them.
    """

    name: str
    path: Path
    title: str
    settings: Mapping[str, Traced]
    includes: tuple[Mapping[str, Traced], ...]
    exclude: tuple[Rule, ...]


def grid_names() -> tuple[str, ...]:
    """Names of the bundled grids."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def grid_path(name: str) -> Path:
    """The file of a grid: a bundled one by name, or the user's own by path.

    Raises:
        UnknownNameError: neither.
    """
    if name in grid_names():
        return _FOLDER / f"{name}.yaml"
    path = user_path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    raise UnknownNameError(
        f"unknown grid {name!r}{did_you_mean(name, grid_names())}; "
        f"known: {', '.join(grid_names())}, or give the path of a .yaml file"
    )


def read_grid(path: Path) -> GridFile:
    """Reads and checks a grid file; values of methods' options are checked when it is planned.

    Raises:
        ConfigError: an unknown key or name, a wrong type or value; says file and line.
    """
    document = read_document(path)
    top = document.mapping()
    settings = tuple(BenchConfig.__dataclass_fields__)
    own = _settings(document, (), settings, beside=_BESIDE)
    includes: list[Mapping[str, Traced]] = []
    exclude: list[Rule] = []
    for index in range(len(document.sequence(("include",))) if "include" in top else 0):
        place = ("include", index)
        if not document.mapping(place):
            raise document.error(place, "an include must say what to combine")
        includes.append(_settings(document, place, COMBINED))
    for index in range(len(document.sequence(("exclude",))) if "exclude" in top else 0):
        exclude.append(_rule(document, ("exclude", index)))
    title = document.text(("title",)) if "title" in top else ""
    return GridFile(path.stem, path, title, own, tuple(includes), tuple(exclude))


def _settings(
    document: Document, place: Place, allowed: Sequence[str], *, beside: Sequence[str] = ()
) -> dict[str, Traced]:
    found: dict[str, Traced] = {}
    for key in document.mapping(place):
        if key in beside:
            continue
        name, at = key.replace("-", "_"), (*place, key)
        if name not in allowed:
            raise document.unknown_key(place, key, (*allowed, *beside))
        if name in found:
            raise document.error(at, f"{key!r} is set twice")
        if name in WITH_CHOICES:
            value: Any = _choices(document, at, name)
        else:
            value = read_setting(document, at)
            _check_names(document, at, name, value)
        found[name] = Traced(value, document.where(at))
    return found


def _choices(document: Document, at: Place, kind: str) -> tuple[Choice, ...]:
    raw = document.value(at)
    if isinstance(raw, str):
        names = [part.strip() for part in raw.split(",")]
        found = [_named(document, at, kind, name) for name in names]
    elif isinstance(raw, list) and raw:
        found = [_choice(document, (*at, index), kind) for index in range(len(raw))]
    else:
        raise document.error(at, f"{kind!r} must be names, or a list of names with options")
    return tuple(found)


def _choice(document: Document, at: Place, kind: str) -> Choice:
    raw = document.value(at)
    if isinstance(raw, str):
        return _named(document, at, kind, raw.strip())
    if not isinstance(raw, dict) or len(raw) != 1:
        raise document.error(at, f"expected a name, or one name with its options, not {shown(raw)}")
    (name,) = document.mapping(at)
    place = (*at, name)
    if not isinstance(document.value(place), dict):
        raise document.error(place, f"the options of {name!r} must be a mapping")
    if name == ALL:
        raise document.error(place, f"{ALL!r} takes no options; name the {kind}")
    known = {"stream": ("batch_size", *STREAM_OPTIONS.get(name, ())), "model": _MODEL_OPTIONS}
    options: dict[str, Sweep] = {}
    for key, value in document.mapping(place).items():
        if kind in known and key not in known[kind]:
            raise document.unknown_key(place, key, known[kind])
        values = tuple(value) if isinstance(value, list) else (value,)
        if not values:
            raise document.error((*place, key), f"option {key!r} has no value")
        options[key] = Sweep(values, document.where((*place, key)))
    count = math.prod(len(sweep.values) for sweep in options.values())
    if count > MAX_CELLS:
        each = " x ".join(f"{len(sweep.values)} of {key}" for key, sweep in options.items())
        raise document.error(
            place,
            f"{count:,} variants of {name!r} ({each}); a grid has at most {MAX_CELLS:,} cells: "
            "give fewer values, or divide them among several grid files",
        )
    return _named(document, place, kind, name, options)


def _named(
    document: Document,
    at: Place,
    kind: str,
    name: str,
    options: Mapping[str, Sweep] | None = None,
) -> Choice:
    if not name:
        raise document.error(at, f"a {kind} without a name")
    if kind == "method" and name != ALL:
        name = _located(document, at, partial(METHODS.resolve, name))
    elif kind == "stream":
        _located(document, at, partial(check_kind, name))
    return Choice(name, options or {}, document.where(at))


def _check_names(document: Document, at: Place, key: str, value: Any) -> None:
    checks: dict[str, Callable[[str], object]] = {
        "benchmark": members,
        "shift": _shift,
        "suite": load_suite,
        "preset": _preset,
    }
    if key not in checks or not value:
        return
    raw = document.value(at)
    for index, name in enumerate([value] if isinstance(value, str) else value):
        place = (*at, index) if isinstance(raw, list) and len(raw) == len(value) else at
        if name != ALL or key in ("suite", "preset"):
            _located(document, place, partial(checks[key], name))


def _shift(name: str) -> str:
    """The shift's full name, also of one that exists ready-made only."""
    try:
        return SHIFTS.resolve(name)
    except UnknownNameError as unknown:
        try:
            ready_made.corruption(name)
        except QueryShiftError:
            raise unknown from None
        return name


def _preset(name: str) -> None:
    if not is_file(name) and name not in preset_names():
        raise UnknownNameError(
            f"there is no option preset {name!r}{did_you_mean(name, preset_names())}; "
            f"known: {', '.join(preset_names())}"
        )


def _located(document: Document, place: Place, check: Callable[[], Any]) -> Any:
    try:
        return check()
    except QueryShiftError as error:
        raise document.error(place, str(error)) from None


_NUMBERS = ("severity", "seed", "batch_size")
_NAMED: dict[str, Callable[[], Iterable[str]]] = {
    "method": METHODS.names,
    "benchmark": lambda: (*BENCHMARKS.names(), *(c.row for c in benchmark_cards().values())),
    "shift": SHIFTS.names,
    "stream": lambda: KINDS,
}
_PATTERNS = (*_NAMED, "model", *_NUMBERS)


def _rule(document: Document, place: Place) -> Rule:
    if not document.mapping(place):
        raise document.error(place, "an exclude must say what to leave out")
    patterns: dict[str, tuple[str | int, ...]] = {}
    for key, raw in document.mapping(place).items():
        at = (*place, key)
        if key not in _PATTERNS:
            raise document.unknown_key(place, key, _PATTERNS)
        if key in _NUMBERS:
            try:
                patterns[key] = read_integers(raw)
            except ValueError as error:
                raise document.error(at, f"{key!r}: {error}") from None
            continue
        listed = raw if isinstance(raw, list) else str(raw).split(",")
        texts = [text.strip() if isinstance(text, str) else "" for text in listed]
        if not texts or not all(texts):
            raise document.error(at, f"{key!r} must be names or patterns, not {shown(raw)}")
        patterns[key] = tuple(_located_pattern(document, at, key, text) for text in texts)
    return Rule(patterns, document.where(place))


def _located_pattern(document: Document, at: Place, key: str, text: str) -> str:
    """A pattern that can apply to something: a typo would leave nothing out, in silence."""
    if key not in _NAMED:
        return text
    known = list(dict.fromkeys(name for name in _NAMED[key]() if name))
    if not _WILD & set(text):
        text = SHIFTS.aliases().get(text, text) if key == "shift" else text
        if text in known:
            return text
        near = did_you_mean(text, known)
        raise document.error(at, f"unknown {key} {text!r}{near} (queryshift list {key}s)")
    if not any(fnmatchcase(name, text) for name in known):
        raise document.error(at, f"the pattern {text!r} applies to no {key}")
    return text
