"""From settings to cells: which benchmarks, shifts, methods and weights a run is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from benchmark.cell import CLEAN, SOURCE, Cell, MethodSpec, ShiftSpec, StreamSpec
from benchmark.config.presets import Place
from benchmark.config.run import BenchConfig
from benchmark.data.datasets import ready_made
from benchmark.data.interleave import SEPARATOR
from benchmark.data.suite import BenchmarkCard, benchmark_cards, load_suite
from benchmark.errors import ConfigError
from benchmark.evaluation.stream import MIXING, check_stream, summary
from benchmark.planning.grid import Grid
from benchmark.planning.inert import check_effects
from benchmark.planning.specs import (
    ALL,
    EMBEDDED,
    backbone_spec,
    check_shift_options,
    device_name,
    facts,
    method_specs,
    preset_name,
    shift_specs,
)
from benchmark.planning.stream_options import stream_specs
from benchmark.registry import BENCHMARKS, SHIFTS

__all__ = [
    "ALL",
    "EMBEDDED",
    "SOURCE",
    "backbone_spec",
    "choose",
    "device_name",
    "fits",
    "method_specs",
    "misfit",
    "plan",
    "preset_name",
    "run_name",
    "shift_specs",
]

DEFAULT_SUITE = "mini"
OWN_DATA = "paper"
DEFAULT_SHIFT = "gaussian_noise"
INTERLEAVED = "interleaved"


def plan(config: BenchConfig) -> list[Cell]:
    """All cells of a run; ``source`` is always among the methods, first.

    Raises:
        QueryShiftError: an unknown name, or a combination that cannot be run.
        ShiftError: a severity that a shift does not have.
    """
    cells: list[Cell] = []
    streams = stream_specs(config.stream, config.stream_option, config.batch_size)
    check_one_modality(config)
    chosen = choose(config)
    check_shift_options(config, [name for _, shifts in chosen for name in shifts])
    together = [stream for stream in streams if stream.kind == INTERLEAVED]
    streams = tuple(stream for stream in streams if stream.kind != INTERLEAVED)
    for stream in together:
        cells += interleaved(config, stream, chosen)
    for card, shifts in chosen if streams else ():
        for stream, specs in list(_with_shifts(streams, config, card, shifts)):
            cells += grid_of(config, card, stream, specs).cells()
    check_effects(config, cells)
    return cells


MethodsOf = Callable[[Place, str], tuple[MethodSpec, ...]]
"""The methods of a run, for the place where they run and a preset."""


def grid_of(
    config: BenchConfig,
    card: BenchmarkCard,
    stream: StreamSpec,
    shifts: tuple[ShiftSpec, ...],
    methods: MethodsOf | None = None,
) -> Grid:
    """All methods and seeds on one benchmark under one stream.

    Args:
        config: the settings of the run.
        card: the benchmark.
        stream: the stream, with its domains.
        shifts: what the cells' shifts are.
        methods: instead of the settings' methods.
    """
    backbone = backbone_spec(card.backbone, config)
    place = Place(card.query, card.dataset, backbone.loader, stream.batch_size)
    return Grid(
        suite=card.suite,
        benchmarks=(card.id,),
        methods=(methods or partial(method_specs, config))(place, preset_name(config, backbone)),
        shifts=shifts,
        seeds=config.seed,
        backbones=(backbone,),
        streams=(stream,),
        limit=config.limit,
        data_root=config.data,
    )


def interleaved(
    config: BenchConfig,
    stream: StreamSpec,
    chosen: Sequence[tuple[BenchmarkCard, tuple[str, ...]]],
    methods: MethodsOf | None = None,
) -> list[Cell]:
    """The cells of one stream over all chosen benchmarks.

    Raises:
        ConfigError: a single benchmark, or benchmarks that do not go together.
    """
    cards = [card for card, _ in chosen]
    if len(cards) < 2:
        raise ConfigError(
            f"an interleaved stream needs at least two benchmarks, not {cards[0].id!r} alone: "
            "name them (--benchmark a,b)"
        )
    shared: dict[str, dict[str, Any]] = {
        "kind of query": {card.id: card.query for card in cards},
        "suite": {card.id: card.suite for card in cards},
        "backbone": {card.id: backbone_spec(card.backbone, config) for card in cards},
        "list of shifts": {card.id: shift_specs(config, card, shifts) for card, shifts in chosen},
    }
    for what, found in shared.items():
        other = next((name for name, value in found.items() if value != found[cards[0].id]), "")
        if other:
            raise ConfigError(
                f"benchmarks of an interleaved stream must have the same {what}; those of "
                f"{cards[0].id!r} and {other!r} differ: name others, or say the same for both "
                "(--model, --shift, --severity)"
            )
    card, shifts = chosen[0]
    together = replace(
        card,
        id=SEPARATOR.join(card.id for card in cards),
        dataset=SEPARATOR.join(dict.fromkeys(card.dataset for card in cards)),
    )
    check_stream(stream)
    specs = shift_specs(config, card, shifts)
    return grid_of(config, together, stream, specs, methods).cells()


def _with_shifts(
    streams: Sequence[StreamSpec], config: BenchConfig, card: BenchmarkCard, shifts: Sequence[str]
) -> Iterator[tuple[StreamSpec, tuple[ShiftSpec, ...]]]:
    """Each stream with the shifts of its cells; shifts that are domains become part of the stream.

    Raises:
        ConfigError: too few domains for the stream.
        ShiftError: a severity that a shift does not have.
    """
    for stream in streams:
        if stream.kind == "gradual":
            ramps = [severity_ramp(config, card, name) for name in shifts]
        elif stream.kind in MIXING:
            ramps = [shift_specs(config, card, shifts)]
        else:
            check_stream(stream)
            yield stream, shift_specs(config, card, shifts)
            continue
        for domains in ramps:
            filled = replace(stream, domains=domains)
            check_stream(filled)
            yield filled, (summary(domains),)


def severity_ramp(config: BenchConfig, card: BenchmarkCard, name: str) -> tuple[ShiftSpec, ...]:
    """One shift at ascending severities: those asked for, else all that it has."""
    severities = sorted(config.severity or facts(name).severities)
    return shift_specs(replace(config, severity=tuple(severities)), card, (name,))


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


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for, names resolved.

    ``shifts`` is None where every benchmark is to bring its own list.
    """

    cards: tuple[BenchmarkCard, ...]
    named: bool
    shifts: tuple[str, ...] | None


def choose(config: BenchConfig) -> list[tuple[BenchmarkCard, tuple[str, ...]]]:
    """The benchmarks of a run, each with its shifts.

    Raises:
        QueryShiftError: unknown names, or a shift and a benchmark that do not fit.
    """
    wish = wished(config)
    if wish.shifts is None:
        return [(card, _own_shifts(config, card)) for card in wish.cards]
    cards = wish.cards if config.benchmark else _first_that_fit(wish.cards, wish.shifts)
    chosen = [(card, tuple(s for s in wish.shifts if fits(card, s))) for card in cards]
    for shift in wish.shifts:
        if not any(shift in shifts for _, shifts in chosen):
            raise ConfigError(misfit(shift, cards))
    for card, shifts in chosen:
        if wish.named and not shifts:
            raise ConfigError(misfit(wish.shifts[0], [card]))
    return [(card, shifts) for card, shifts in chosen if shifts]


def _own_shifts(config: BenchConfig, card: BenchmarkCard) -> tuple[str, ...]:
    """A benchmark's own shifts; of ready-made queries all published types of its modality."""
    if not config.ready_made or card.shifts == (CLEAN,):
        return tuple(resolve_shift(config, shift) for shift in card.shifts)
    known = ready_made.CORRUPTIONS.items()
    return tuple(name for name, facts in known if facts.modality == card.query)


def wished(config: BenchConfig) -> Wish:
    """The benchmarks and shifts that a run asks for, whether they fit or not.

    Raises:
        QueryShiftError: unknown names, or a benchmark of another suite.
    """
    named = bool(config.benchmark) and ALL not in config.benchmark
    default = OWN_DATA if config.ready_made else DEFAULT_SUITE
    if named:
        cards = tuple({c.id: c for name in config.benchmark for c in members(name)}.values())
        for card in cards:
            if config.suite and card.suite != config.suite:
                load_suite(config.suite)  # an unknown suite is the first thing to say
                raise ConfigError(
                    f"benchmark {card.id!r} is in suite {card.suite!r}, not {config.suite!r}; "
                    f"leave the suite out or say {card.suite!r}"
                )
    else:
        cards = load_suite(config.suite or default).benchmarks
    several = bool(config.benchmark) or any(kind in MIXING for kind in config.stream)
    if ALL in config.shift or (not config.shift and several):
        return Wish(cards if config.benchmark else cards[:1], named, None)
    asked = config.shift or (DEFAULT_SHIFT,)
    return Wish(cards, named, tuple(dict.fromkeys(resolve_shift(config, s) for s in asked)))


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


def resolve_shift(config: BenchConfig, shift: str) -> str:
    """The shift's full name; where ready-made queries are used, one that they exist of."""
    if not config.ready_made:
        return SHIFTS.resolve(shift)
    name = SHIFTS.aliases().get(shift, shift)
    if name != CLEAN:
        ready_made.corruption(name)
    return name


def _first_that_fit(
    cards: Sequence[BenchmarkCard], shifts: Sequence[str]
) -> tuple[BenchmarkCard, ...]:
    """For each shift the suite's first benchmark that it fits."""
    found: dict[str, BenchmarkCard] = {}
    for shift in shifts:
        card = next((card for card in cards if fits(card, shift)), None)
        if card is not None:
            found.setdefault(card.id, card)
    return tuple(found.values()) or tuple(cards)


def fits(card: BenchmarkCard, shift: str) -> bool:
    """Whether a shift can be applied to the queries of a benchmark."""
    if shift == CLEAN:
        return True
    modality = facts(shift).modality
    return card.setting != "QGS" and modality in (card.query, "any")


def misfit(shift: str, cards: Sequence[BenchmarkCard]) -> str:
    """Why a shift cannot be run, and what can."""
    card = cards[0]
    if card.setting == "QGS":
        return (
            f"shift {shift!r} does not fit benchmark {card.id!r}: there nothing is corrupted, the "
            f"data themselves are the shift; use {CLEAN!r}"
        )
    modality = facts(shift).modality
    able = [name for name in SHIFTS.usable() if name != CLEAN and fits(card, name)]
    where = ", ".join(repr(c.id) for c in cards)
    return (
        f"shift {shift!r} works on {modality} queries, but the queries of {where} are of modality "
        f"{card.query!r}; shifts that fit: {', '.join(able)}"
    )
