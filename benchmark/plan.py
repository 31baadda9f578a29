"""From settings to cells: which benchmarks, shifts, methods and weights a run is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmark import options, preset
from benchmark.cell import (
    BackboneSpec,
    Cell,
    MethodSpec,
    ShiftSpec,
    StreamSpec,
)
from benchmark.config import BenchConfig
from benchmark.datasets import ready_made
from benchmark.errors import ConfigError, UnknownNameError
from benchmark.grid import CLEAN, Grid
from benchmark.interleave import SEPARATOR
from benchmark.registry import BACKBONES, BENCHMARKS, METHODS, SHIFTS
from benchmark.stream import MIXING, check_stream, summary
from benchmark.stream_options import stream_specs
from benchmark.suite import BenchmarkCard, benchmark_cards, load_suite
from shifts.base import ShiftCard

ALL = "all"
SOURCE = "source"
DEFAULT_SUITE = "mini"
OWN_DATA = "paper"
DEFAULT_SHIFT = "gaussian_noise"
INTERLEAVED = "interleaved"
EMBEDDED = "mini"
"""What names of embedded backbones begin with, and the preset that was tuned for them."""


def plan(config: BenchConfig) -> list[Cell]:
    """All cells of a run; ``source`` is always among the methods, first.

    Raises:
        QueryShiftError: an unknown name, or a combination that cannot be run.
        ShiftError: a severity that a shift does not have.
    """
    cells: list[Cell] = []
    streams = stream_specs(config.stream, config.stream_option, config.batch_size)
    _check_one_modality(config)
    chosen = choose(config)
    _check_shift_options(config, [name for _, shifts in chosen for name in shifts])
    together = [stream for stream in streams if stream.kind == INTERLEAVED]
    streams = tuple(stream for stream in streams if stream.kind != INTERLEAVED)
    for stream in together:
        cells += _interleaved(config, stream, chosen)
    for card, shifts in chosen if streams else ():
        for stream, specs in list(_with_shifts(streams, config, card, shifts)):
            cells += _grid(config, card, stream, specs).cells()
    return cells


def _grid(
    config: BenchConfig, card: BenchmarkCard, stream: StreamSpec, shifts: tuple[ShiftSpec, ...]
) -> Grid:
    """All methods and seeds on one benchmark under one stream."""
    backbone = backbone_spec(card.backbone, config)
    return Grid(
        suite=card.suite,
        benchmarks=(card.id,),
        methods=method_specs(config, card.query, preset_name(config, backbone)),
        shifts=shifts,
        seeds=config.seed,
        backbones=(backbone,),
        streams=(stream,),
        limit=config.limit,
        data_root=config.data,
    )


def _interleaved(
    config: BenchConfig,
    stream: StreamSpec,
    chosen: Sequence[tuple[BenchmarkCard, tuple[str, ...]]],
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
    together = replace(card, id=SEPARATOR.join(card.id for card in cards))
    check_stream(stream)
    return _grid(config, together, stream, shift_specs(config, card, shifts)).cells()


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
    severities = sorted(config.severity or _facts(name).severities)
    return shift_specs(replace(config, severity=tuple(severities)), card, (name,))


def _check_one_modality(config: BenchConfig) -> None:
    """Raises ConfigError where shifts that share a stream do not work on the same queries."""
    mixing = [kind for kind in config.stream if kind in MIXING]
    if not mixing or ALL in config.shift:
        return
    first: dict[str, str] = {}
    for name in (_resolve(config, name) for name in config.shift):
        first.setdefault(_facts(name).modality, name)
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
        del identity["data_root"], identity["backbone"]["device"]
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
class _Wish:
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
    wish = _wish(config)
    if wish.shifts is None:
        return [(card, tuple(_resolve(config, s) for s in card.shifts)) for card in wish.cards]
    cards = wish.cards if config.benchmark else _first_that_fit(wish.cards, wish.shifts)
    chosen = [(card, tuple(s for s in wish.shifts if fits(card, s))) for card in cards]
    for shift in wish.shifts:
        if not any(shift in shifts for _, shifts in chosen):
            raise ConfigError(_misfit(shift, cards))
    for card, shifts in chosen:
        if wish.named and not shifts:
            raise ConfigError(_misfit(wish.shifts[0], [card]))
    return [(card, shifts) for card, shifts in chosen if shifts]


def _wish(config: BenchConfig) -> _Wish:
    named = bool(config.benchmark) and ALL not in config.benchmark
    default = OWN_DATA if config.ready_made else DEFAULT_SUITE
    if named:
        cards = tuple({c.id: c for name in config.benchmark for c in _members(name)}.values())
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
        return _Wish(cards if config.benchmark else cards[:1], named, None)
    asked = config.shift or (DEFAULT_SHIFT,)
    return _Wish(cards, named, tuple(dict.fromkeys(_resolve(config, s) for s in asked)))


def _members(name: str) -> tuple[BenchmarkCard, ...]:
    """The benchmark of that id, or the directions of the row of that name.

    Raises:
        UnknownNameError: neither exists.
    """
    if name not in BENCHMARKS:
        members = tuple(card for card in benchmark_cards().values() if card.row == name)
        if members:
            return members
    return (BENCHMARKS.get(name),)


def _resolve(config: BenchConfig, shift: str) -> str:
    """The shift's full name; where ready-made queries are used, one that they exist of."""
    if not config.ready_made:
        return SHIFTS.resolve(shift)
    name = SHIFTS.aliases().get(shift, shift)
    if name != CLEAN:
        ready_made.corruption(name)
    return name


def _facts(shift: str) -> ShiftCard | ready_made.Corruption:
    """Modality and severities of a shift, also of one that exists ready-made only."""
    return SHIFTS.get(shift).card if shift in SHIFTS else ready_made.corruption(shift)


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
    modality = _facts(shift).modality
    return card.setting != "QGS" and modality in (card.query, "any")


def _misfit(shift: str, cards: Sequence[BenchmarkCard]) -> str:
    """Why a shift cannot be run, and what can."""
    card = cards[0]
    if card.setting == "QGS":
        return (
            f"shift {shift!r} does not fit benchmark {card.id!r}: there nothing is corrupted, the "
            f"data themselves are the shift; use {CLEAN!r}"
        )
    modality = _facts(shift).modality
    able = [name for name in SHIFTS.usable() if name != CLEAN and fits(card, name)]
    where = ", ".join(repr(c.id) for c in cards)
    return (
        f"shift {shift!r} works on {modality} queries, but the queries of {where} are of modality "
        f"{card.query!r}; shifts that fit: {', '.join(able)}"
    )


def backbone_spec(default: BackboneSpec, config: BenchConfig) -> BackboneSpec:
    """The benchmark's backbone with what the user says instead.

    ``model`` may be the name of a backbone ("blip", a plugin's), that with a model of its own
    ("blip:Salesforce/blip-itm-base-coco"), or a model: of the benchmark's own backbone, or an
    open_clip model where that is the embedded one.
    """
    spec = replace(default, device=device_name(config.device))
    if config.model:
        name, colon, model = config.model.partition(":")
        if name not in BACKBONES:  # "local-dir:/path" and "hf-hub:name" are models of open_clip
            embedded = spec.loader.startswith(EMBEDDED)
            name, model = "open_clip" if embedded else spec.loader, config.model
        elif name == "open_clip" and not colon:
            raise ConfigError("--model open_clip needs a model: open_clip:ViT-B-16-quickgelu")
        # The default's weights belong to the default's model.
        spec = replace(spec, loader=name, model=model, pretrained="")
    if config.pretrained:
        spec = replace(spec, pretrained=config.pretrained)
    if config.transform:
        spec = replace(spec, transform=config.transform)
    return spec


def device_name(wanted: str) -> str:
    """A torch device string that exists here; "auto" takes a GPU where there is one.

    Raises:
        ConfigError: no such device.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu":
        return wanted
    kind, _, index = wanted.partition(":")
    if kind != "cuda" or (index and not index.isdecimal()) or wanted.endswith(":"):
        raise ConfigError(f"--device: expected cpu, cuda, cuda:N or auto, not {wanted!r}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(index or 0) >= count:
        raise ConfigError(
            f"--device: there is no {wanted!r} here, torch sees {count} GPUs; use cpu"
        )
    return wanted


def preset_name(config: BenchConfig, backbone: BackboneSpec) -> str:
    """The preset asked for, or the one made for the backbone."""
    if config.preset:
        return config.preset
    return EMBEDDED if backbone.loader.startswith(EMBEDDED) else preset.PUBLISHED


def method_specs(
    config: BenchConfig, query_modality: str, preset_to_use: str
) -> tuple[MethodSpec, ...]:
    """The methods, ``source`` first, with all options resolved.

    Options set by hand go to every method that has them.

    Raises:
        UnknownNameError: an unknown method, or an option that none of the methods has.
        ConfigError: a value that does not fit.
    """
    asked = METHODS.usable() if ALL in config.method else map(METHODS.resolve, config.method)
    names = tuple(dict.fromkeys((SOURCE, *asked)))
    by_hand = _by_hand(names, config.option)
    specs = []
    for name in names:
        kind = METHODS.get(name)
        values, label = preset.resolve(
            name, kind.Options, preset_to_use, query_modality, by_hand[name]
        )
        specs.append(MethodSpec(name, label, values, kind.card.version))
    return tuple(specs)


def _by_hand(names: Sequence[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    own = {name: options.applicable(METHODS.get(name).Options, given) for name in names}
    for key, value in given.items():
        if any(key in values for values in own.values()):
            continue
        # The error of the method that was asked for, which says its options and the nearest one.
        last = names[-1]
        options.parse(METHODS.get(last).Options, {key: value}, f"method {last!r}")
        raise UnknownNameError(f"no method here has an option {key!r}")
    return own


def shift_specs(
    config: BenchConfig, card: BenchmarkCard, names: Sequence[str]
) -> tuple[ShiftSpec, ...]:
    """The shifts at each severity, with the benchmark's options resolved.

    Raises:
        ShiftError: a severity that a shift does not have.
    """
    specs = []
    given = {**card.shift_options, **config.shift_option}
    for name in names:
        wanted = config.severity or _default_severity(card, name)
        if name == CLEAN:
            wanted = (0,)
        if config.ready_made and name != CLEAN:
            specs += [ready_made.specify(name, severity) for severity in wanted]
            continue
        kind = SHIFTS.get(name)
        own = options.applicable(kind.Options, given)
        values = options.complete(kind.Options, own, f"shift {name!r}")
        for severity in wanted:
            kind.check_severity(severity)
            specs.append(ShiftSpec(name, severity, values, kind.card.version))
    return tuple(specs)


def _default_severity(card: BenchmarkCard, shift: str) -> tuple[int, ...]:
    """The benchmark's, or the nearest below it that the shift has (sentence level: only 1)."""
    known = _facts(shift).severities
    return (max((s for s in known if s <= card.severity), default=known[0]),)


def _check_shift_options(config: BenchConfig, names: Sequence[str]) -> None:
    """Every option set by hand must be one of some shift of the run.

    Raises:
        ConfigError: queries are ready-made, which takes no options of a generator.
        UnknownNameError: an option that none of the shifts has.
    """
    if config.shift_option and config.ready_made:
        raise ConfigError("ready-made queries take no shift options; leave --shift-option out")
    kinds = {name: SHIFTS.get(name).Options for name in names if config.shift_option}
    for key, value in config.shift_option.items():
        if not any(options.applicable(kind, {key: value}) for kind in kinds.values()):
            last = names[-1]
            options.parse(kinds[last], {key: value}, f"shift {last!r}")
