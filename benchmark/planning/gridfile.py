"""Grid files: methods, benchmarks, shifts, streams, seeds and backbones to combine, as YAML.

A grid file holds any of the settings of a run under the same names, and more: methods, streams and
models may carry options (several values of one make variants), ``include`` adds combinations and
``exclude`` takes some away. Everything is checked before anything runs; docs/grids.md has the form.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from annotated_types import MinLen
from pydantic import AfterValidator, BeforeValidator

from benchmark.cell import STREAM_OPTIONS
from benchmark.config.files import Document, read_document, user_path
from benchmark.config.presets import parse
from benchmark.config.run import INTEGERS, KINDS, NAME, Traced, defaults, names, traced
from benchmark.config.validate import Place, at_commas, mapping, named, one_of, several
from benchmark.data.card import benchmark_cards
from benchmark.errors import ConfigError, shown, unknown
from benchmark.evaluation.stream import KINDS as STREAMS
from benchmark.evaluation.stream import check_kind
from benchmark.planning.compatibility import ALL, members
from benchmark.planning.plan import COMBINED, MAX_CELLS, WITH_CHOICES, Plan, make_plan
from benchmark.planning.specs import SETTINGS, STREAM_KINDS, Choice, given, unless
from benchmark.registry import BENCHMARKS, METHODS, SHIFTS

_FOLDER = Path(__file__).parent / "grids"


@dataclass(frozen=True, slots=True)
class GridFile:
    """A grid file, read and checked.

    Attributes:
        settings: what stands at its top; ``WITH_CHOICES`` as tuples of ``Choice``.
        includes: each further combination's own settings, in place of those at the top.
        exclude: what is left out of all of them: axis -> patterns (of numbers: numbers). A cell
            goes if of each axis one applies.
    """

    path: Path
    settings: Mapping[str, Traced]
    includes: tuple[Mapping[str, Traced], ...]
    exclude: tuple[Traced, ...]


def grid_names() -> tuple[str, ...]:
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
    raise unknown("grid", name, grid_names(), ", or give the path of a .yaml file")


def read_grid(path: Path) -> GridFile:
    """Reads and checks a grid file.

    Raises:
        ConfigError: an unknown key or name, a wrong type or value; says file and line.
    """
    document = read_document(path)
    found = document.check(_grid())
    includes, exclude = found.pop("include", ()), found.pop("exclude", ())
    found.pop("title", "")
    return GridFile(
        path,
        _settings(document, found),
        tuple(_settings(document, own, ("include", i)) for i, own in enumerate(includes)),
        tuple(
            Traced({name: tuple(wanted) for name, wanted in rule.items()}, document.where(place))
            for place, rule in ((("exclude", i), rule) for i, rule in enumerate(exclude))
        ),
    )


def settings_of(grid: GridFile, args: argparse.Namespace) -> dict[str, Traced]:
    """Every setting of a grid with its origin: defaults, ``--config``, the grid file, flags."""
    everything, said = defaults(method=(ALL,), benchmark=(ALL,), shift=(ALL,)), given(args)
    flags = {name: traced for name, traced in said.items() if traced.is_flag}
    return {**everything, **said, **grid.settings, **flags}


def plan_grid(grid: GridFile, args: argparse.Namespace) -> Plan:
    """All cells of a grid, duplicates removed, what the file excludes left out.

    Raises:
        ConfigError: as ``make_plan``, or no cell at all.
    """
    plan = make_plan(settings_of(grid, args), grid)
    if not plan.cells:
        raise ConfigError(f"{grid.path}: nothing is left of the grid; exclude less")
    return plan


def _settings(document: Document, values: Mapping[str, Any], at: Place = ()) -> dict[str, Traced]:
    """Settings with their places; those of ``WITH_CHOICES`` as choices."""
    found = traced(document, values, at)
    for kind in (kind for kind in WITH_CHOICES if kind in found):
        place = (*at, kind)
        listed = isinstance(document.value(place), list)
        choices = tuple(
            _choice(document, (*place, index) if listed else place, kind, entry)
            for index, entry in enumerate(values[kind])
        )
        found[kind] = Traced(choices, found[kind].origin)
    return found


def _choice(document: Document, at: Place, kind: str, entry: str | dict[str, Any]) -> Choice:
    if isinstance(entry, str):
        return Choice(entry, {}, document.where(at))
    ((name, options),) = entry.items()
    place, owner = (*at, name), f"{kind} {name!r}"
    if name == ALL:
        raise document.error(place, f"{ALL!r} takes no options; name the {kind}")
    count = math.prod(map(len, options.values()))
    if count > MAX_CELLS:
        each = " x ".join(f"{len(values)} of {option}" for option, values in options.items())
        raise document.error(
            place,
            f"{count:,} variants of {name!r} ({each}); a grid has at most {MAX_CELLS:,} cells: "
            "give fewer values, or divide them among several grid files",
        )
    if kind == "method":
        kinds = METHODS.get(name).Options
        for option, value in ((o, value) for o, values in options.items() for value in values):
            parse(kinds, {option: value}, owner, document.where((*place, option)))
    else:
        of_streams = ("batch_size", *STREAM_OPTIONS.get(name, ()))
        own = of_streams if kind == "stream" else ("pretrained", "transform")
        swept = mapping({key: several({**KINDS, **STREAM_KINDS}[key]) for key in own})
        options = document.check(swept, place, owner)
    return Choice(name, options, document.where(place))


# What a grid file may hold


@functools.cache
def _grid() -> Any:
    """The type of a grid file; names are looked up when one is read."""
    entries = {name: _entries(name) for name in WITH_CHOICES}
    settings = {**SETTINGS, **entries, "benchmark": names(unless(ALL, members))}
    rule: Any = mapping(
        {
            **{name: _patterns(name) for name in (*_NAMED, "model")},
            **dict.fromkeys(("severity", "seed", "batch_size"), INTEGERS),
        }
    )
    include: Any = mapping({name: settings[name] for name in COMBINED})
    beside = {
        "title": str,
        "include": list[Annotated[include, MinLen(1)]],
        "exclude": list[Annotated[rule, MinLen(1)]],
    }
    return mapping({**settings, **beside})


def _entries(kind: str) -> Any:
    """Names, each with options or without: a list of names and of ``{name: {option: values}}``."""
    known = {"method": unless(ALL, METHODS.resolve), "stream": check_kind}.get(kind, str)
    name: Any = Annotated[NAME, AfterValidator(named(known))]
    values: Any = several(Any)
    entry: Any = Annotated[one_of(name, dict[name, dict[str, values]]), BeforeValidator(_one)]
    return Annotated[list[entry], MinLen(1), BeforeValidator(at_commas)]


def _one(entry: Any) -> Any:
    if isinstance(entry, str) or (isinstance(entry, dict) and len(entry) == 1):
        return entry
    raise ValueError(f"expected a name, or one name with its options, not {shown(entry)}")


_NAMED: dict[str, Callable[[], Iterable[str]]] = {
    "method": METHODS.names,
    "benchmark": lambda: (*BENCHMARKS.names(), *(c.row for c in benchmark_cards().values())),
    "shift": SHIFTS.names,
    "stream": lambda: STREAMS,
}


def _patterns(key: str) -> Any:
    """Patterns that can apply to something: a typo would leave nothing out, in silence."""
    full = SHIFTS.aliases if key == "shift" else {}

    def check(text: str) -> None:
        text = full.get(text, text)
        known = list(dict.fromkeys(filter(None, _NAMED[key]()))) if key in _NAMED else []
        if known and not any(fnmatchcase(name, text) for name in known):
            raise unknown(key, text, known)

    in_full = AfterValidator(lambda found: tuple(full.get(name, name) for name in found))
    return Annotated[names(check), in_full]
