"""Blocks: one combination of settings and the cells that it makes; loads no data, no weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from benchmark.cell import BackboneSpec, Cell, MethodSpec, ShiftSpec, StreamSpec
from benchmark.config.presets import Place
from benchmark.config.run import BenchConfig
from benchmark.data.card import SEPARATOR, BenchmarkCard
from benchmark.errors import ConfigError
from benchmark.evaluation.stream import summary
from benchmark.evaluation.stream_kinds import MIXING, check_stream
from benchmark.planning.compatibility import check_model, facts, why_not
from benchmark.planning.specs import (
    Choice,
    backbone_spec,
    check_shift_options,
    located,
    method_variants,
    preset_name,
    shift_specs,
    stream_specs,
    with_models,
)

INTERLEAVED = "interleaved"

Selection = Sequence[tuple[BenchmarkCard, tuple[str, ...]]]
"""The benchmarks of a run, each with the names of its shifts."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell, and why it cannot be run, or ""."""

    cell: Cell
    reason: str = ""


def planned(
    config: BenchConfig,
    choices: Mapping[str, Sequence[Choice]],
    selection: Selection,
    *,
    flags: Collection[str] = (),
    strict: bool = False,
) -> Iterator[tuple[BenchmarkCard, Planned]]:
    """The cells of one block: that of the flags, of a grid file's top, or of an include.

    Those that cannot be run come with the reason. Cells that share data, gallery embeddings and
    shifted queries lie side by side.

    Args:
        config: every setting; of methods, streams and models the choices count.
        choices: "method", "stream" and "model" -> those chosen, with their own options.
        selection: the benchmarks.
        flags: the settings that were given as flags.
        strict: a shift or stream that cannot be run is an error, not a reason to skip its cells.

    Raises:
        QueryShiftError: an option that nothing has, benchmarks that do not go together in an
            interleaved stream, or (strict) a stream that cannot be run.
        ShiftError: a severity that a shift does not have (strict).
    """
    methods = method_variants(choices["method"], config, flags)
    streams = list(stream_specs(choices["stream"], config, flags))
    models = list(with_models(choices["model"], config))
    check_shift_options(config, [name for _, shifts in selection for name in shifts])
    for stream, where in streams:
        if stream.kind == INTERLEAVED:
            for own, _ in models:
                with located(where):
                    card, backbone, specs = _together(own, selection)
                    cells = list(_cells(methods, own, card, backbone, stream, specs))
                yield from ((selection[0][0], Planned(cell)) for cell in cells)
    alone = [stream for stream, _ in streams if stream.kind != INTERLEAVED]
    for card, shifts in selection if alone else ():
        for own, where in models:
            with located(where):
                backbone = backbone_spec(card.backbone, own)
                check_model(backbone)
            unable = why_not(card, backbone)
            for stream, shift, problem in _with_shifts(alone, own, card, shifts):
                if problem is not None and strict:
                    raise problem
                reason = unable or str(problem or "")
                for cell in _cells(methods, own, card, backbone, stream, [shift]):
                    yield card, Planned(cell, reason)


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
    named = methods(place, preset_name(config, backbone))
    start = card.suite, card.id, backbone
    for shift, seed, method in product(shifts, config.seed, named):
        yield Cell(*start, method, shift, stream, seed, config.limit, config.data)


def _together(
    config: BenchConfig, selection: Selection
) -> tuple[BenchmarkCard, BackboneSpec, Sequence[ShiftSpec]]:
    """The card that stands for all benchmarks of one stream, their backbone and their shifts.

    Raises:
        ConfigError: a single benchmark, or benchmarks that do not go together.
        ShiftError: a severity that a shift does not have.
    """
    cards = [card for card, _ in selection]
    first, lists = cards[0], [shift_specs(config, card, shifts) for card, shifts in selection]
    for problem in (problem for found in lists for _, problem in found if problem):
        raise problem
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
) -> Iterator[tuple[StreamSpec, ShiftSpec, Exception | None]]:
    """Each stream with each of the shifts, or with all where they are its domains.

    With them the error where their cells cannot be run.
    """
    for stream in streams:
        if stream.kind == "gradual":
            for name in shifts:
                ramp = tuple(sorted(config.severity or facts(name).severities))
                yield _with_domains(stream, replace(config, severity=ramp), card, (name,))
        elif stream.kind in MIXING and not stream.group_key:
            yield _with_domains(stream, config, card, shifts)
        else:
            yield from ((stream, *found) for found in shift_specs(config, card, shifts))


def _with_domains(
    stream: StreamSpec, config: BenchConfig, card: BenchmarkCard, shifts: Sequence[str]
) -> tuple[StreamSpec, ShiftSpec, Exception | None]:
    found = shift_specs(config, card, shifts)
    filled = replace(stream, domains=tuple(spec for spec, _ in found))
    problem = next((wrong for _, wrong in found if wrong), None)
    try:
        check_stream(filled)
    except ConfigError as error:
        problem = problem or error
    return filled, summary(filled.domains), problem
