"""Plans: from flags or a grid file to cells; flags are a grid with one block."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from benchmark.cell import CLEAN, SOURCE, Cell, Identity, PartTexts
from benchmark.config.run import BenchConfig, Traced, defaults, from_file, from_flags
from benchmark.data.card import SEPARATOR, BenchmarkCard
from benchmark.errors import ConfigError
from benchmark.evaluation.stream_kinds import MIXING
from benchmark.planning.compatibility import check_effects, fitting_shifts, load_suite, why_not
from benchmark.planning.grid import Planned, Selection, planned
from benchmark.planning.own_data import own_block, with_own_data
from benchmark.planning.specs import ALL, OWN_BACKBONE, Choice, located
from benchmark.registry import BENCHMARKS, SHIFTS

if TYPE_CHECKING:
    from benchmark.planning.gridfile import GridFile, Rule

DEFAULT_SUITE = "mini"
OWN_DATA = "paper"
DEFAULT_SHIFT = "gaussian_noise"

MAX_CELLS = 100_000
"""Cells of one run; docs/scale.md says what planning, storing and reporting so many takes."""

_UNSAID = ("default", "this command")
"""Origins of settings that neither a file nor a flag says."""

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
    """

    name: str
    config: BenchConfig
    cells: tuple[Planned, ...]
    rows: Mapping[str, str]

    @property
    def folder(self) -> str:
        """Name of the run's folder where the user says none."""
        return f"grid-{self.name}" if self.name else run_name([p.cell for p in self.cells])

    @property
    def possible(self) -> list[Cell]:
        """The cells that can be run."""
        return [one.cell for one in self.cells if not one.reason]


def plan_flags(settings: Mapping[str, Traced]) -> Plan:
    """All cells of a run that flags describe.

    Raises:
        QueryShiftError: an unknown name, or a combination that cannot be run.
        ShiftError: a severity that a shift does not have.
    """
    given = {name for name, traced in settings.items() if traced.origin != "default"}
    config = BenchConfig(**{name: traced.value for name, traced in settings.items()})
    config = with_own_data(config, given)
    choices = {name: _choices(getattr(config, name)) for name in WITH_CHOICES}
    expansion = _Expansion()
    expansion.add(planned(config, choices, select(config), strict=True))
    cells = tuple(expansion.found.values())
    check_effects(settings, [one.cell for one in cells])
    if all(one.reason for one in cells):
        raise ConfigError(cells[0].reason)
    return Plan("", config, cells, expansion.rows)


def settings_of(grid: GridFile, args: argparse.Namespace) -> dict[str, Traced]:
    """Every setting of a grid with its origin: defaults, ``--config``, the grid file, flags."""
    merged = {
        **defaults(method=(ALL,), benchmark=(ALL,), shift=(ALL,)),
        **from_file(args),
        **grid.settings,
        **from_flags(args),
    }
    for name in WITH_CHOICES:
        value, origin = merged[name].value, merged[name].origin
        merged[name] = Traced(_choices(value, origin), origin)
    return merged


def _choices(value: str | Sequence[str | Choice], where: str = "") -> tuple[Choice, ...]:
    """Methods, streams or models as choices; those of a grid file are that already."""
    values = (value or OWN_BACKBONE,) if isinstance(value, str) else value
    if ALL in values:
        values = (ALL,)
    return tuple(Choice(one, where=where) if isinstance(one, str) else one for one in values)


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
        said = {name for name, traced in settings.items() if traced.origin not in _UNSAID}
        choices = {name: settings[name].value for name in WITH_CHOICES}
        where = settings["data"].origin if "data" in said - set(flags) else ""
        with located(where):
            config, choices = own_block(_plain(settings), choices, said)
        here = expansion.add(planned(config, choices, select_all(config), flags=flags))
        check_effects({**own, **flags}, here)
        heeding += here
    check_effects(base, heeding)
    if not expansion.found:
        raise ConfigError(f"{grid.path}: nothing is left of the grid; exclude less")
    cells = tuple(expansion.found.values())
    return Plan(grid.name, _plain(base), cells, expansion.rows)


def _plain(settings: Mapping[str, Traced]) -> BenchConfig:
    """The settings as those of a plain run; choices stand by their names."""
    values = {name: traced.value for name, traced in settings.items()}
    for name in ("method", "stream"):
        values[name] = tuple(dict.fromkeys(choice.name for choice in values[name]))
    return BenchConfig(**{**values, "model": ""})


class _Expansion:
    """Planned cells of several blocks, each once; what a rule applies to is left out."""

    def __init__(self, exclude: Sequence[Rule] = (), where: str = "") -> None:
        self.found: dict[Identity, Planned] = {}
        self.rows: dict[str, str] = {}
        self._exclude, self._where = exclude, f"{where}: " if where else ""
        self._texts = PartTexts()

    def add(self, block: Iterable[tuple[BenchmarkCard, Planned]]) -> list[Cell]:
        """Adds the cells of a block.

        Returns:
            Those of the block that can be run, the excluded ones too.

        Raises:
            ConfigError: more cells than a run may have.
        """
        possible: list[Cell] = []
        for card, one in block:
            cell = one.cell
            possible += [] if one.reason else [cell]
            row = card.row if card.id == cell.benchmark else ""
            self.rows[cell.benchmark] = row or cell.benchmark
            if not any(_applies(rule, cell, row) for rule in self._exclude):
                self.found.setdefault(self._texts.identity(cell), one)
            if len(self.found) > MAX_CELLS:
                raise ConfigError(
                    f"{self._where}more than {MAX_CELLS:,} cells, the most that one run may have: "
                    "name fewer values, seeds or shifts, or divide them among several runs"
                )
        return possible


def _applies(rule: Rule, cell: Cell, row: str) -> bool:
    """Whether all patterns of a rule apply; of several domains each must be one of those named."""
    backbone = cell.backbone
    model = (backbone.loader, backbone.model, f"{backbone.loader}:{backbone.model}".rstrip(":"))
    said: dict[str, list[tuple[str | int, ...]]] = {
        "method": [(cell.method.name,)],
        "benchmark": [(*cell.benchmark.split(SEPARATOR), cell.benchmark, row)],
        "shift": [(domain.name,) for domain in cell.domains],
        "stream": [(cell.stream.kind,)],
        "model": [tuple(filter(None, model))],
        "severity": [(domain.severity,) for domain in cell.domains],
        "seed": [(cell.seed,)],
        "batch_size": [(cell.stream.batch_size,)],
    }
    return all(
        any(
            name == pattern if isinstance(name, int) else fnmatchcase(name, str(pattern))
            for name in names
            for pattern in patterns
        )
        for axis, patterns in rule.patterns.items()
        for names in said[axis]
    )


def run_name(cells: Sequence[Cell]) -> str:
    """Name of a run's folder: readable, and the same for the same cells wherever they run."""
    identities = []
    for cell in cells:
        identity = cell.to_dict()
        del identity["data_root"], identity["backbone"]["device"], identity["method"]["origins"]
        identities.append(identity)
    digest = hashlib.sha256(json.dumps(identities, sort_keys=True).encode()).hexdigest()[:8]

    def few(names: Sequence[str], noun: str) -> str:
        listed = list(dict.fromkeys(names))
        return "+".join(listed) if len(listed) <= 2 else f"{len(listed)}-{noun}"

    streams = [cell.stream.kind for cell in cells]
    methods = [cell.method.name for cell in cells if cell.method.name != SOURCE]
    parts = (
        few([cell.benchmark for cell in cells], "benchmarks"),
        *([] if set(streams) == {"single"} else [few(streams, "streams")]),
        few([cell.shift.label for cell in cells], "shifts"),
        few(methods or [SOURCE], "methods"),
        digest,
    )
    return "_".join("".join(c if c.isalnum() or c in "-." else "-" for c in p) for p in parts)


def select(config: BenchConfig) -> Selection:
    """The benchmarks that flags ask for, each with those of the shifts that fit it.

    Raises:
        QueryShiftError: unknown names, or a shift and a benchmark that do not fit.
    """
    cards = _cards(config)
    mixing = [kind for kind in config.stream if kind in MIXING]
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
        if mixing and fit and fit != shifts:
            wrong = next(why_not(card, shift) for shift in shifts if shift not in fit)
            raise ConfigError(
                f"a {mixing[0]} stream brings all its shifts to the same queries, but {wrong}; "
                "name shifts of one modality"
            )
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
    suite = load_suite(config.suite).name if config.suite else ""  # says first if it is unknown
    cards = tuple({c.id: c for name in config.benchmark for c in members(name)}.values())
    for card in cards:
        if suite and card.suite != suite:
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
        cards = (BENCHMARKS.get(known) for known in BENCHMARKS.usable())
        if of_row := tuple(card for card in cards if card.row == name):
            return of_row
    return (BENCHMARKS.get(name),)


def _own_shifts(config: BenchConfig, card: BenchmarkCard) -> tuple[str, ...]:
    """A benchmark's own shifts; of ready-made queries all published types of its modality."""
    if not config.ready_made or card.shifts == (CLEAN,):
        return tuple(resolve_shift(config, shift) for shift in card.shifts)
    from benchmark.data.datasets.ready_made import CORRUPTIONS

    return tuple(name for name, kind in CORRUPTIONS.items() if kind.modality == card.query)


def resolve_shift(config: BenchConfig, shift: str) -> str:
    """The shift's full name; where ready-made queries are used, one that they exist of."""
    if not config.ready_made:
        return SHIFTS.resolve(shift)
    name = SHIFTS.aliases().get(shift, shift)
    if name != CLEAN:
        from benchmark.data.datasets.ready_made import corruption

        corruption(name)
    return name
