"""Plans: from flags or a grid file to cells; flags are a grid with one block."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from benchmark.cell import CLEAN, SOURCE, BackboneSpec, Cell, Identity, PartTexts
from benchmark.config.run import BenchConfig, Traced, defaults, from_file, from_flags
from benchmark.data.datasets import ready_made
from benchmark.data.interleave import SEPARATOR
from benchmark.data.suite import BenchmarkCard, benchmark_cards, load_suite
from benchmark.errors import ConfigError
from benchmark.evaluation.stream import MIXING
from benchmark.planning.compatibility import facts, fitting_shifts, why_not
from benchmark.planning.grid import Block, Planned, Selection
from benchmark.planning.inert import as_flags, check_effects
from benchmark.planning.specs import ALL, OWN_BACKBONE, Choice
from benchmark.registry import BENCHMARKS, SHIFTS

if TYPE_CHECKING:
    from benchmark.planning.gridfile import GridFile, Rule

DEFAULT_SUITE = "mini"
OWN_DATA = "paper"
DEFAULT_SHIFT = "gaussian_noise"

MAX_CELLS = 50_000
"""Cells of one grid: so many are planned in half a minute and run in days."""

WITH_CHOICES = ("method", "stream", "model")
"""Settings whose names may carry options in a grid file."""


@dataclass(frozen=True)
class Plan:
    """What a run is made of, from flags or a grid file.

    Attributes:
        name: the grid's, "" of flags.
        config: how to run it (workers, folders ...): the settings outside the includes.
        cells: in the order in which to run them.
        rows: benchmark id -> its row in the suite's table.
        settings: every setting with its origin (of a grid file).
    """

    name: str
    config: BenchConfig
    cells: tuple[Planned, ...]
    rows: Mapping[str, str]
    settings: Mapping[str, Traced]

    @property
    def folder(self) -> str:
        """Name of the run's folder where the user says none."""
        return f"grid-{self.name}" if self.name else run_name([p.cell for p in self.cells])

    @property
    def possible(self) -> list[Cell]:
        """The cells that can be run."""
        return [planned.cell for planned in self.cells if not planned.reason]


def plan(config: BenchConfig, given: Mapping[str, Traced] | None = None) -> list[Cell]:
    """The cells of ``plan_flags`` that can be run; ``source`` is among the methods, first."""
    return plan_flags(config, given).possible


def plan_flags(config: BenchConfig, given: Mapping[str, Traced] | None = None) -> Plan:
    """All cells of a run that flags describe.

    Args:
        config: the settings of the run.
        given: those that files and flags gave; without it all count as flags.

    Raises:
        QueryShiftError: an unknown name, or a combination that cannot be run.
        ShiftError: a severity that a shift does not have.
    """
    check_one_modality(config)
    selection = select(config)
    methods = [Choice(name) for name in ([ALL] if ALL in config.method else config.method)]
    streams = [Choice(kind) for kind in config.stream]
    models = [Choice(config.model or OWN_BACKBONE)]
    expansion = _Expansion()
    expansion.add(Block(config, methods, streams, models, strict=True).planned(selection))
    cells = tuple(expansion.found.values())
    check_effects(as_flags(config) if given is None else given, [one.cell for one in cells])
    if all(planned.reason for planned in cells):
        raise ConfigError(cells[0].reason)
    return Plan("", config, cells, expansion.rows, {})


def settings_of(grid: GridFile, args: argparse.Namespace) -> dict[str, Traced]:
    """Every setting of a grid with its origin: defaults, ``--config``, the grid file, flags."""
    merged = {
        **defaults(method=(ALL,), benchmark=(ALL,), shift=(ALL,)),
        **from_file(args),
        **grid.settings,
        **from_flags(args),
    }
    return {name: _with_choices(name, traced) for name, traced in merged.items()}


def plan_grid(grid: GridFile, args: argparse.Namespace) -> Plan:
    """All cells of a grid, duplicates removed, what the file excludes left out.

    Raises:
        ConfigError: an unknown name or option, a value that does not fit, or no cell at all.
    """
    base, flags = settings_of(grid, args), from_flags(args)
    heeding: list[Cell] = []
    expansion = _Expansion(grid.exclude, str(grid.path))
    for include in ({}, *grid.includes):
        own = {name: traced for name, traced in include.items() if name not in flags}
        settings = {**base, **own}
        config = _plain(settings)
        choices = [settings[name].value for name in WITH_CHOICES]
        block = Block(config, *choices, flags=tuple(flags))
        here = expansion.add(block.planned(select_all(config)))
        check_effects({**own, **flags}, here)
        heeding += here
    check_effects(base, heeding)
    if not expansion.found:
        raise ConfigError(f"{grid.path}: nothing is left of the grid; exclude less")
    cells = tuple(expansion.found.values())
    return Plan(grid.name, _plain(base), cells, expansion.rows, base)


class _Expansion:
    """Planned cells of several blocks, each once; what a rule applies to is left out."""

    def __init__(self, exclude: Sequence[Rule] = (), where: str = "") -> None:
        self.found: dict[Identity, Planned] = {}
        self.rows: dict[str, str] = {}
        self._exclude, self._where = exclude, where
        self._texts = PartTexts()

    def add(self, block: Iterator[tuple[BenchmarkCard, Planned]]) -> list[Cell]:
        """Adds the cells of a block.

        Returns:
            Those of the block that can be run, the excluded ones too.

        Raises:
            ConfigError: more cells than a grid file may have.
        """
        possible: list[Cell] = []
        for card, planned in block:
            cell = planned.cell
            possible += [] if planned.reason else [cell]
            row = card.row if card.id == cell.benchmark else ""
            self.rows[cell.benchmark] = row or cell.benchmark
            if any(_applies(rule, cell, row) for rule in self._exclude):
                continue
            self.found.setdefault(self._texts.identity(cell), planned)
            if self._where and len(self.found) > MAX_CELLS:
                raise ConfigError(
                    f"{self._where}: more than {MAX_CELLS:,} cells, the most that one grid may "
                    "have: name fewer values, seeds or shifts, or divide them among several grid "
                    "files"
                )
        return possible


def _with_choices(name: str, traced: Traced) -> Traced:
    given = traced.value
    if name not in WITH_CHOICES or (isinstance(given, tuple) and isinstance(given[0], Choice)):
        return traced
    names = [given or OWN_BACKBONE] if isinstance(given, str) else given
    choices = tuple(Choice(one, where=traced.origin) for one in names)
    return Traced(choices, traced.origin)


def _plain(settings: Mapping[str, Traced]) -> BenchConfig:
    """The settings as those of a plain run; choices stand by their names."""
    values = {name: traced.value for name, traced in settings.items()}
    for name in ("method", "stream"):
        values[name] = tuple(dict.fromkeys(choice.name for choice in values[name]))
    return BenchConfig(**{**values, "model": ""})


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


def run_name(cells: Sequence[Cell]) -> str:
    """Name of a run's folder: readable, and the same for the same cells wherever they run."""
    identities = []
    for cell in cells:
        identity = cell.to_dict()
        del identity["data_root"], identity["backbone"]["device"], identity["method"]["origins"]
        identities.append(identity)
    digest = hashlib.sha256(json.dumps(identities, sort_keys=True).encode()).hexdigest()[:8]
    streams = {c.stream.kind: None for c in cells}
    parts = (
        _few({cell.benchmark: None for cell in cells}, "benchmarks"),
        *([] if list(streams) == ["single"] else [_few(streams, "streams")]),
        _few({c.shift.label: None for c in cells}, "shifts"),
        _few({c.method.name: None for c in cells if c.method.name != SOURCE}, "methods") or SOURCE,
        digest,
    )
    return "_".join("".join(c if c.isalnum() or c in "-." else "-" for c in p) for p in parts)


def _few(names: Iterable[str], noun: str) -> str:
    listed = list(names)
    return "+".join(listed) if len(listed) <= 2 else f"{len(listed)}-{noun}"


def select(config: BenchConfig) -> Selection:
    """The benchmarks that flags ask for, each with those of the shifts that fit it.

    Raises:
        QueryShiftError: unknown names, or a shift and a benchmark that do not fit.
    """
    cards = _cards(config)
    mixing = any(kind in MIXING for kind in config.stream)
    if ALL in config.shift or (not config.shift and (config.benchmark or mixing)):
        cards = cards if config.benchmark else cards[:1]
        return [(card, _own_shifts(config, card)) for card in cards]
    asked = config.shift or (DEFAULT_SHIFT,)
    shifts = tuple(dict.fromkeys(resolve_shift(config, name) for name in asked))
    if not config.benchmark:
        # For each shift the suite's first benchmark that it fits.
        fitting = (next((c for c in cards if not why_not(c, shift)), None) for shift in shifts)
        cards = tuple({card.id: card for card in fitting if card}.values()) or cards
    chosen = [(card, tuple(s for s in shifts if not why_not(card, s))) for card in cards]
    for shift in shifts:
        if not any(shift in fit for _, fit in chosen):
            raise ConfigError(why_not(cards[0], shift) + fitting_shifts(cards[0]))
    for card, fit in chosen:
        if config.benchmark and ALL not in config.benchmark and not fit:
            raise ConfigError(why_not(card, shifts[0]) + fitting_shifts(card))
    return [(card, fit) for card, fit in chosen if fit]


def select_all(config: BenchConfig) -> Selection:
    """The benchmarks that a grid asks for, each with all its shifts, whether they fit or not."""
    named = [resolve_shift(config, name) for name in config.shift if name != ALL]
    found = []
    for card in _cards(config):
        own = _own_shifts(config, card) if ALL in config.shift else ()
        found.append((card, tuple(dict.fromkeys((*own, *named)))))
    return found


def _cards(config: BenchConfig) -> tuple[BenchmarkCard, ...]:
    """The benchmarks that are named, else all of the suite.

    Raises:
        QueryShiftError: unknown names, or a benchmark of another suite.
    """
    if not config.benchmark or ALL in config.benchmark:
        default = OWN_DATA if config.ready_made else DEFAULT_SUITE
        return load_suite(config.suite or default).benchmarks
    cards = tuple({c.id: c for name in config.benchmark for c in members(name)}.values())
    for card in cards:
        if config.suite and card.suite != config.suite:
            load_suite(config.suite)  # an unknown suite is the first thing to say
            raise ConfigError(
                f"benchmark {card.id!r} is in suite {card.suite!r}, not {config.suite!r}; "
                f"leave the suite out or say {card.suite!r}"
            )
    return cards


def members(name: str) -> tuple[BenchmarkCard, ...]:
    """The benchmark of that id, or the directions of the row of that name.

    Raises:
        UnknownNameError: neither exists.
    """
    if name not in BENCHMARKS:
        of_row = tuple(card for card in benchmark_cards().values() if card.row == name)
        if of_row:
            return of_row
    return (BENCHMARKS.get(name),)


def _own_shifts(config: BenchConfig, card: BenchmarkCard) -> tuple[str, ...]:
    """A benchmark's own shifts; of ready-made queries all published types of its modality."""
    if not config.ready_made or card.shifts == (CLEAN,):
        return tuple(resolve_shift(config, shift) for shift in card.shifts)
    known = ready_made.CORRUPTIONS.items()
    return tuple(name for name, kind in known if kind.modality == card.query)


def resolve_shift(config: BenchConfig, shift: str) -> str:
    """The shift's full name; where ready-made queries are used, one that they exist of."""
    if not config.ready_made:
        return SHIFTS.resolve(shift)
    name = SHIFTS.aliases().get(shift, shift)
    if name != CLEAN:
        ready_made.corruption(name)
    return name


def check_one_modality(config: BenchConfig) -> None:
    """Raises ConfigError where shifts that share a stream do not work on the same queries."""
    mixing = [kind for kind in config.stream if kind in MIXING]
    if not mixing or ALL in config.shift:
        return
    first: dict[str, str] = {}
    for name in (resolve_shift(config, name) for name in config.shift):
        first.setdefault(facts(name).modality, name)
    first.pop("any", None)
    if len(first) > 1:
        works = ", ".join(f"{name!r} works on {kind} queries" for kind, name in first.items())
        raise ConfigError(
            f"a {mixing[0]} stream brings all its shifts to the same queries, but {works}; "
            "name shifts of one modality"
        )
