"""From a grid file and flags to planned cells; what cannot be run is planned too, with the reason.

The cells come from the same builders as those of ``bench`` (``plan``, ``specs``); only what stops a
single run there (a shift that does not fit the queries) is a reason to skip a cell here.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, TypeVar

from benchmark.cell import (
    SOURCE,
    STREAM_OPTIONS,
    BackboneSpec,
    Cell,
    MethodSpec,
    PartTexts,
    ShiftSpec,
    StreamSpec,
)
from benchmark.config import options
from benchmark.config.presets import Place
from benchmark.config.run import (
    BenchConfig,
    Traced,
    defaults,
    from_file,
    from_flags,
    read_count,
    reading,
)
from benchmark.data.interleave import SEPARATOR
from benchmark.data.suite import BenchmarkCard
from benchmark.errors import ConfigError, QueryShiftError
from benchmark.evaluation.stream import MIXING, check_stream, summary
from benchmark.planning.compatibility import cannot_encode, check_model, unfit
from benchmark.planning.gridfile import (
    MAX_CELLS,
    OWN_BACKBONE,
    WITH_OPTIONS,
    Entry,
    GridFile,
    Rule,
    entries,
)
from benchmark.planning.plan import INTERLEAVED, grid_of, interleaved, resolve_shift, wished
from benchmark.planning.specs import (
    ALL,
    backbone_spec,
    check_shift_options,
    facts,
    method_spec,
    options_by_hand,
    shift_choices,
)
from benchmark.planning.stream_options import stream_specs
from benchmark.registry import METHODS

T = TypeVar("T")

Setting = tuple[StreamSpec, ShiftSpec, str]
"""A stream, the shift of its cells, and why they cannot be run or ""."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell, and why it cannot be run, or ""."""

    cell: Cell
    reason: str = ""


@dataclass(frozen=True)
class GridPlan:
    """A grid that has been read, merged with the flags, and expanded.

    Attributes:
        name: the grid's.
        settings: every setting with its origin.
        config: how to run it (workers, folders ...): the settings outside the includes.
        cells: in the order in which to run them.
        rows: benchmark id -> its row in the suite's table.
    """

    name: str
    settings: Mapping[str, Traced]
    config: BenchConfig
    cells: tuple[Planned, ...]
    rows: Mapping[str, str]

    @property
    def possible(self) -> list[Cell]:
        """The cells that can be run."""
        return [planned.cell for planned in self.cells if not planned.reason]


def settings_of(grid: GridFile, args: argparse.Namespace) -> dict[str, Traced]:
    """Every setting of a grid with its origin: defaults, ``--config``, the grid file, flags."""
    merged = {
        **defaults(method=(ALL,), benchmark=(ALL,), shift=(ALL,)),
        **from_file(args),
        **grid.settings,
        **from_flags(args),
    }
    return {name: _with_entries(name, traced) for name, traced in merged.items()}


def plan_grid(grid: GridFile, args: argparse.Namespace) -> GridPlan:
    """All cells of a grid, duplicates removed, what the file excludes left out.

    Raises:
        ConfigError: an unknown name or option, a value that does not fit, or no cell at all.
    """
    base = settings_of(grid, args)
    flags = from_flags(args)
    found: dict[tuple[Any, ...], Planned] = {}
    rows: dict[str, str] = {}
    texts = PartTexts()
    blocks: list[Mapping[str, Traced]] = [{}, *grid.includes]
    for block in blocks:
        merged = {**base, **{k: v for k, v in block.items() if k not in flags}}
        for card, planned in _Block(merged).planned():
            cell = planned.cell
            row = card.row if card.id == cell.benchmark else ""
            rows[cell.benchmark] = row or cell.benchmark
            if not any(_applies(rule, cell, row) for rule in grid.exclude):
                found.setdefault(texts.identity(cell), planned)
                if len(found) > MAX_CELLS:
                    raise ConfigError(
                        f"{grid.path}: more than {MAX_CELLS:,} cells, the most that one grid may "
                        "have: name fewer values, seeds or shifts, or divide them among several "
                        "grid files"
                    )
    if not found:
        raise ConfigError(f"{grid.path}: nothing is left of the grid; exclude less")
    return GridPlan(grid.name, base, _plain(base), tuple(found.values()), rows)


def _with_entries(name: str, traced: Traced) -> Traced:
    given = traced.value
    if name not in WITH_OPTIONS or (isinstance(given, tuple) and isinstance(given[0], Entry)):
        return traced
    names = [given or OWN_BACKBONE] if isinstance(given, str) else given
    return Traced(entries(names, traced.origin), traced.origin)


def _plain(settings: Mapping[str, Traced]) -> BenchConfig:
    """The settings as those of a plain run; entries stand by their names."""
    values = {name: traced.value for name, traced in settings.items()}
    for name in ("method", "stream"):
        values[name] = tuple(dict.fromkeys(entry.name for entry in values[name]))
    return BenchConfig(**{**values, "model": ""})


class _Block:
    """One combination of axes: the grid's own, or that of an include."""

    def __init__(self, settings: Mapping[str, Traced]) -> None:
        self.config = _plain(settings)
        self.methods = _Methods(settings["method"].value, settings["option"])
        self.streams = list(
            _streams(settings["stream"].value, settings["stream_option"], self.config.batch_size)
        )
        self.models = list(_models(settings["model"].value, self.config))

    def planned(self) -> Iterator[tuple[BenchmarkCard, Planned]]:
        cards = wished(self.config).cards
        chosen = [(card, _shifts(self.config, card)) for card in cards]
        check_shift_options(self.config, [name for _, shifts in chosen for name in shifts])
        for stream, where in self.streams:
            if stream.kind == INTERLEAVED:
                for config, _ in self.models:
                    cells = _at(where, partial(self._together, stream, config, chosen))
                    yield from ((cards[0], Planned(cell)) for cell in cells)
        streams = [stream for stream, _ in self.streams if stream.kind != INTERLEAVED]
        for card, shifts in chosen:
            for config, where in self.models:
                backbone = _at(where, partial(backbone_spec, card.backbone, config))
                _at(where, partial(check_model, backbone))
                impossible = cannot_encode(card, backbone)
                for stream, shift, reason in _combined(streams, config, card, shifts):
                    grid = grid_of(config, card, stream, (shift,), self.methods)
                    for cell in grid.cells():
                        yield card, Planned(cell, impossible or reason)

    def _together(
        self,
        stream: StreamSpec,
        config: BenchConfig,
        chosen: Sequence[tuple[BenchmarkCard, tuple[str, ...]]],
    ) -> list[Cell]:
        reasons = [unfit(card, name) for card, shifts in chosen for name in shifts]
        problem = next(filter(None, reasons), "")
        if problem:
            raise ConfigError(problem)
        return interleaved(config, stream, chosen, self.methods)


class _Methods:
    """The methods of a block, every variant with its options resolved; ``source`` first.

    Args:
        listed: the methods, with their options.
        given: options for all methods that have them; from a flag they win over a method's own.
    """

    def __init__(self, listed: Sequence[Entry], given: Traced) -> None:
        expanded = [Entry(SOURCE)]
        for entry in listed:
            named = METHODS.usable() if entry.name == ALL else [entry.name]
            expanded += [entry] if entry.name != ALL else [Entry(n, {}, entry.where) for n in named]
        by_hand = options_by_hand([entry.name for entry in expanded], given.value)
        self._variants: list[tuple[str, dict[str, Any]]] = []
        for entry in expanded:
            own = by_hand[entry.name]
            for name, sweep in entry.options.items():
                for value in sweep.values:
                    _at(sweep.where, partial(_parse, entry.name, name, value))
            for variant in entry.variants():
                self._variants.append((entry.name, _merged(variant, own, given)))
        self._made: dict[tuple[Place, str], tuple[MethodSpec, ...]] = {}

    def __call__(self, place: Place, preset: str) -> tuple[MethodSpec, ...]:
        if (place, preset) not in self._made:
            self._made[place, preset] = tuple(
                method_spec(name, place, preset, values) for name, values in self._variants
            )
        return self._made[place, preset]


def _parse(method: str, option: str, value: Any) -> None:
    options.parse(METHODS.get(method).Options, {option: value}, f"method {method!r}")


def _streams(
    listed: Sequence[Entry], given: Traced, batch_size: int
) -> Iterator[tuple[StreamSpec, str]]:
    """The streams with their options, without domains, each with its place in the file."""
    stream_specs([entry.name for entry in listed], given.value, batch_size)  # one that none has
    for entry in listed:
        known = STREAM_OPTIONS.get(entry.name, ())
        shared = {name: value for name, value in given.value.items() if name in known}
        for own in entry.variants():
            values = _merged(own, shared, given)
            spec = _at(entry.where, partial(_stream, entry.name, values, batch_size))
            yield spec, entry.where


def _stream(kind: str, values: Mapping[str, Any], batch_size: int) -> StreamSpec:
    own = {name: value for name, value in values.items() if name != "batch_size"}
    size = reading(read_count, values.get("batch_size", batch_size), "'batch_size'")
    (spec,) = stream_specs([kind], own, size)
    if kind not in (*MIXING, "gradual"):  # those wait for their domains
        check_stream(spec)
    return spec


def _merged(own: Mapping[str, Any], shared: Mapping[str, Any], given: Traced) -> dict[str, Any]:
    """An entry's own options and those given for all: a flag's win, a file's give way."""
    flag = given.origin.startswith("--")
    return {**own, **shared} if flag else {**shared, **own}


def _models(listed: Sequence[Entry], config: BenchConfig) -> Iterator[tuple[BenchConfig, str]]:
    """The settings with each model in turn, each with its place in the file."""
    for entry in listed:
        model = "" if entry.name == OWN_BACKBONE else entry.name
        for own in entry.variants():
            values = {
                name: _at(entry.options[name].where, partial(_model_option, name, value))
                for name, value in own.items()
            }
            yield replace(config, model=model, **values), entry.where


def _model_option(name: str, value: Any) -> Any:
    (setting,) = (f for f in dataclasses.fields(BenchConfig) if f.name == name)
    return reading(setting.metadata["read"], value, f"option {name!r}")


def _shifts(config: BenchConfig, card: BenchmarkCard) -> tuple[str, ...]:
    """The shifts to run a benchmark with: its own where "all" is said, and those named."""
    named = [resolve_shift(config, name) for name in config.shift if name != ALL]
    own = [resolve_shift(config, name) for name in card.shifts if ALL in config.shift]
    return tuple(dict.fromkeys((*own, *named)))


def _combined(
    streams: Sequence[StreamSpec], config: BenchConfig, card: BenchmarkCard, shifts: Sequence[str]
) -> Iterator[Setting]:
    """Each stream with each of the shifts, or with all where they are its domains."""
    for stream in streams:
        if stream.kind == "gradual":
            for name in shifts:
                ramp = tuple(sorted(config.severity or facts(name).severities))
                choices = shift_choices(replace(config, severity=ramp), card, (name,))
                yield _with_domains(stream, card, choices)
        elif stream.kind in MIXING:
            yield _with_domains(stream, card, shift_choices(config, card, shifts))
        else:
            for spec, problem in shift_choices(config, card, shifts):
                yield stream, spec, unfit(card, spec.name) or problem


def _with_domains(
    stream: StreamSpec, card: BenchmarkCard, choices: Sequence[tuple[ShiftSpec, str]]
) -> Setting:
    domains = tuple(spec for spec, _ in choices)
    filled = replace(stream, domains=domains)
    reason = next(filter(None, (unfit(card, s.name) or p for s, p in choices)), "")
    if not reason:
        try:
            check_stream(filled)
        except ConfigError as error:
            reason = str(error)
    return filled, summary(domains), reason


def _applies(rule: Rule, cell: Cell, row: str) -> bool:
    """Whether all patterns of a rule apply; of several domains each must be one of those named."""
    names: dict[str, list[tuple[str, ...]]] = {
        "method": [(cell.method.name,)],
        "benchmark": [(*cell.benchmark.split(SEPARATOR), cell.benchmark, row)],
        "shift": [(domain.name,) for domain in cell.domains],
        "stream": [(cell.stream.kind,)],
        "model": [_model_names(cell.backbone)],
    }
    numbers = {
        "severity": {domain.severity for domain in cell.domains},
        "seed": {cell.seed},
        "batch_size": {cell.stream.batch_size},
    }
    for axis, patterns in rule.patterns.items():
        if axis in numbers:
            if not numbers[axis] <= set(patterns):
                return False
        elif not all(
            any(fnmatchcase(name, str(pattern)) for name in said for pattern in patterns)
            for said in names[axis]
        ):
            return False
    return True


def _model_names(backbone: BackboneSpec) -> tuple[str, ...]:
    both = f"{backbone.loader}:{backbone.model}" if backbone.model else backbone.loader
    return tuple(filter(None, (backbone.loader, backbone.model, both)))


def _at(where: str, make: Callable[[], T]) -> T:
    """What ``make`` gives; its error starts with a place in the file."""
    try:
        return make()
    except QueryShiftError as error:
        raise ConfigError(f"{where}: {error}") from None
