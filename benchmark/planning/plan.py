"""Plans: from settings to cells; flags are a grid with one block. Loads no data and no weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING

from benchmark.cell import (
    EMBEDDED,
    SOURCE,
    BackboneSpec,
    Cell,
    MethodSpec,
    PartTexts,
    ShiftSpec,
    StreamSpec,
    file_name,
)
from benchmark.config.presets import PUBLISHED, Place
from benchmark.config.run import OF_TABLES, BenchConfig, Traced
from benchmark.data.card import SEPARATOR, BenchmarkCard
from benchmark.errors import ConfigError
from benchmark.evaluation.isolation import settings_kept
from benchmark.evaluation.stream import MIXING, check_stream, summary
from benchmark.planning.compatibility import (
    Selection,
    check_effects,
    facts,
    select,
    why_not,
)
from benchmark.planning.specs import (
    Choice,
    backbone_spec,
    check_shift_options,
    located,
    method_variants,
    shift_specs,
    stream_specs,
)

if TYPE_CHECKING:
    from benchmark.planning.gridfile import GridFile

MAX_CELLS = 100_000
"""Cells of one run; docs/scale.md says what planning, storing and reporting so many takes."""

INTERLEAVED = "interleaved"

_UNSAID = ("default", "this command")
"""Origins of settings that neither a file nor a flag says."""

WITH_CHOICES = ("method", "stream", "model")
"""Settings whose names may carry options in a grid file."""

COMBINED = (
    *("method", "benchmark", "suite", "shift", "shift_option", "severity", "stream"),
    *("stream_option", "seed", "model", "pretrained", "transform", "preset", "option"),
    *("batch_size", "limit", "data", *OF_TABLES),
)
"""Settings that say what is combined: what an ``include`` of a grid file may hold."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell.

    Attributes:
        cell: what would run.
        row: its row in the suite's table.
        reason: why it cannot be run, or "".
    """

    cell: Cell
    row: str
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """What a run is made of, from flags or a grid file.

    Attributes:
        name: the grid's, "" of flags.
        config: how to run it (workers, folders ...): the settings outside the includes.
        cells: in the order in which to run them.
    """

    name: str
    config: BenchConfig
    cells: tuple[Planned, ...]

    @property
    def rows(self) -> dict[str, str]:
        """Benchmark id -> its row in the suite's table."""
        return {one.cell.benchmark: one.row for one in self.cells}

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
    """
    plan = make_plan(settings)
    if not plan.possible:
        raise ConfigError(plan.cells[0].reason)
    return plan


@settings_kept()  # plugins are imported
def make_plan(settings: Mapping[str, Traced], grid: GridFile | None = None) -> Plan:
    """The cells of the settings and of a grid's includes, each once, without the excluded ones.

    Raises:
        ConfigError: an unknown name or option, a value that does not fit, more cells than a run may
            have, or a rule of ``exclude`` that applies to none, though no flag picks among them.
    """
    flags = {name: traced for name, traced in settings.items() if traced.is_flag}
    texts, found = PartTexts(), dict[Hashable, Planned]()
    rules, applied = grid.exclude if grid else (), set[int]()
    heeding: list[Cell] = []
    for include in ({}, *(grid.includes if grid else ())):
        own, cells = {**include, **flags}, list[Cell]()
        for one in _block({**settings, **own}, strict=grid is None):
            cells.append(one.cell)  # one that cannot run says itself what is wrong
            hits = [i for i, rule in enumerate(rules) if _applies(rule.value, one)]
            applied.update(hits)
            if not hits:
                found.setdefault(texts.identity(one.cell), one)
            if len(found) > MAX_CELLS:
                raise ConfigError(
                    f"{f'{grid.path}: ' if grid else ''}more than {MAX_CELLS:,} cells, the most "
                    "that one run may have: name fewer values, seeds or shifts, or divide them "
                    "among several runs"
                )
        check_effects(own, cells)
        heeding += cells
    check_effects(settings, heeding)
    for rule in (rule for i, rule in enumerate(rules) if i not in applied):
        if not flags.keys() & set(COMBINED):
            raise ConfigError(f"{rule.origin}: this excludes no cell of the grid; leave it out")
    return Plan(grid.path.stem if grid else "", _plain(settings), tuple(found.values()))


def _plain(settings: Mapping[str, Traced]) -> BenchConfig:
    """The settings as those of a plain run; choices stand by their names."""
    values = {name: traced.value for name, traced in settings.items()}
    for name in ("method", "stream"):
        values[name] = tuple(dict.fromkeys(choice.name for choice in _choices(settings[name])))
    return BenchConfig(**{**values, "model": ""})


def _choices(traced: Traced) -> tuple[Choice, ...]:
    """Methods, streams or models as choices; those of a grid file are that already."""
    value = traced.value
    values, where = (value,) if isinstance(value, str) else value, traced.line
    return tuple(Choice(one, where=where) if isinstance(one, str) else one for one in values)


def _place(settings: Mapping[str, Traced], *names: str) -> str:
    """File and line of the first of some settings that the user gave; "" where a flag says it."""
    return next((settings[n].line for n in names if settings[n].origin not in _UNSAID), "")


def _block(settings: Mapping[str, Traced], *, strict: bool) -> Iterator[Planned]:
    """The cells of one block: that of the flags, of a grid file's top, or of an include.

    Those that cannot be run come with the reason. Cells that share data, gallery embeddings and
    shifted queries lie side by side.

    Args:
        strict: a shift or stream that cannot be run is an error, not a reason to skip its cells.

    Raises:
        QueryShiftError: an unknown name, an option that nothing has, benchmarks that do not go
            together in an interleaved stream, or (strict) a stream that cannot be run.
    """
    said = {name for name, traced in settings.items() if traced.origin not in _UNSAID}
    choices: Mapping[str, Sequence[Choice]]
    choices = {name: _choices(settings[name]) for name in WITH_CHOICES}
    config = _plain(settings)
    if config.data:
        from benchmark.planning.own_data import with_own_data

        with located(settings["data"].line):
            config, choices = with_own_data(config, choices, said)
    with located(_place(settings, "benchmark", "shift")):
        selection = select(config, strict=strict)
    methods = method_variants(choices["method"], settings["option"])
    shared = replace(settings["stream_option"], value=config.stream_option)
    streams = list(stream_specs(choices["stream"], config.batch_size, shared))
    models = [
        (replace(config, model=one.name, **own), one.where)
        for one in choices["model"]
        for own in one.variants()
    ]
    every_shift = [name for _, shifts in selection for name in shifts]
    check_shift_options(settings["shift_option"], config.ready_made, every_shift)
    for stream, where in streams:
        if stream.kind == INTERLEAVED:
            for own, _ in models:
                with located(where):
                    card, backbone, specs = _together(own, selection)
                    cells = list(_cells(methods, own, card, backbone, stream, specs))
                yield from (Planned(cell, card.id) for cell in cells)
    alone = [stream for stream, _ in streams if stream.kind != INTERLEAVED]
    for card, shifts in selection if alone else ():
        for own, where in models:
            with located(where):
                backbone = backbone_spec(card.backbone, own)
            unable, row = why_not(card, backbone), card.row or card.id
            for stream, shift, problem in _with_shifts(alone, own, card, shifts):
                reason = unable or problem
                if problem and strict:
                    with located(_place(settings, "severity", "stream")):
                        raise ConfigError(problem)
                for cell in _cells(methods, own, card, backbone, stream, [shift]):
                    yield Planned(cell, row, reason)


def _cells(
    methods: Callable[[Place, str], Sequence[MethodSpec]],
    config: BenchConfig,
    card: BenchmarkCard,
    backbone: BackboneSpec,
    stream: StreamSpec,
    shifts: Sequence[ShiftSpec],
) -> Iterator[Cell]:
    """All seeds and methods; methods change fastest, for they share the shifted queries."""
    place = Place(card.query, card.dataset, backbone.loader, stream.batch_size)
    made_for = EMBEDDED if backbone.embedded else PUBLISHED
    named = methods(place, config.preset or made_for)
    start = card.suite, card.id, backbone
    for shift, seed, method in product(shifts, config.seed, named):
        yield Cell(*start, method, shift, stream, seed, config.limit, config.data)


def _together(
    config: BenchConfig, selection: Selection
) -> tuple[BenchmarkCard, BackboneSpec, Sequence[ShiftSpec]]:
    """The card that stands for all benchmarks of one stream, their backbone and their shifts.

    Raises:
        ConfigError: a single benchmark, benchmarks that do not go together, or a severity that a
            shift does not have.
    """
    cards = [card for card, _ in selection]
    first, lists = cards[0], [shift_specs(config, card, shifts) for card, shifts in selection]
    for problem in (problem for found in lists for _, problem in found if problem):
        raise ConfigError(problem)
    if len(cards) < 2:
        raise ConfigError(
            f"an interleaved stream needs at least two benchmarks, not {first.id!r} alone: "
            "name them (--benchmark a,b)"
        )
    backbones = [backbone_spec(card.backbone, config) for card in cards]
    specs = [[spec for spec, _ in found] for found in lists]
    for card, backbone, shifts in zip(cards, backbones, specs, strict=True):
        same = {
            "kind of query": card.query == first.query,
            "suite": card.suite == first.suite,
            "backbone": backbone == backbones[0],
            "list of shifts": shifts == specs[0],
        }
        for what in (what for what, equal in same.items() if not equal):
            raise ConfigError(
                f"benchmarks of an interleaved stream must have the same {what}; those of "
                f"{first.id!r} and {card.id!r} differ: name others, or say the same for "
                "both (--model, --shift, --severity)"
            )
    name = SEPARATOR.join(card.id for card in cards)
    dataset = SEPARATOR.join(dict.fromkeys(card.dataset for card in cards))
    return replace(first, id=name, dataset=dataset), backbones[0], specs[0]


def _with_shifts(
    streams: Sequence[StreamSpec], config: BenchConfig, card: BenchmarkCard, shifts: Sequence[str]
) -> Iterator[tuple[StreamSpec, ShiftSpec, str]]:
    """Each stream with each of the shifts, or with all where they are its domains.

    With them the reason where their cells cannot be run, or "".
    """
    for stream in streams:
        if stream.kind == "gradual":
            ramps = ((name, sorted(config.severity or facts(name).severities)) for name in shifts)
            lists = [
                shift_specs(replace(config, severity=tuple(ramp)), card, (name,))
                for name, ramp in ramps
            ]
        elif stream.kind in MIXING and not stream.group_key:
            lists = [shift_specs(config, card, shifts)]
        else:
            yield from ((stream, *found) for found in shift_specs(config, card, shifts))
            continue
        for found in lists:
            filled = replace(stream, domains=tuple(spec for spec, _ in found))
            problem = next((wrong for _, wrong in found if wrong), "")
            try:
                check_stream(filled)
            except ConfigError as error:
                problem = problem or str(error)
            yield filled, summary(filled.domains), problem


def _applies(rule: Mapping[str, tuple[str | int, ...]], planned: Planned) -> bool:
    """Whether all patterns of a rule apply; of several domains each must be one of those named."""
    cell, backbone = planned.cell, planned.cell.backbone
    model = (backbone.loader, backbone.model, f"{backbone.loader}:{backbone.model}".rstrip(":"))
    said: dict[str, list[tuple[str | int, ...]]] = {
        "method": [(cell.method.name,)],
        "benchmark": [(*cell.benchmark.split(SEPARATOR), cell.benchmark, planned.row)],
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
        for axis, patterns in rule.items()
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
    )
    return file_name(parts, digest)
