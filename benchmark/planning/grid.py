"""Grids: the choices of each axis, and the cells that they make; touches no data and no weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

from benchmark.cell import (
    BackboneSpec,
    Cell,
    Identity,
    MethodSpec,
    PartTexts,
    ShiftSpec,
    StreamSpec,
)
from benchmark.config.presets import Place
from benchmark.config.run import BenchConfig
from benchmark.data.interleave import SEPARATOR
from benchmark.data.suite import BenchmarkCard
from benchmark.errors import ConfigError
from benchmark.evaluation.stream import MIXING, check_stream, summary
from benchmark.planning.compatibility import check_model, facts, why_not
from benchmark.planning.specs import (
    OWN_BACKBONE,
    Choice,
    MethodVariants,
    backbone_spec,
    check_shift_options,
    located,
    preset_name,
    shift_specs,
    stream_specs,
    with_models,
)

INTERLEAVED = "interleaved"

Selection = Sequence[tuple[BenchmarkCard, tuple[str, ...]]]
"""The benchmarks of a run, each with the names of its shifts."""

Setting = tuple[StreamSpec, ShiftSpec, Exception | None]
"""A stream, the shift of its cells, and the error where they cannot be run."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The choices of each axis; ``cells`` is their product.

    Attributes:
        suite: name of the suite that all benchmarks belong to.
        limit: see ``Cell``.
        data_root: see ``Cell``.
    """

    suite: str
    benchmarks: tuple[str, ...]
    methods: tuple[MethodSpec, ...]
    shifts: tuple[ShiftSpec, ...]
    seeds: tuple[int, ...] = (0,)
    backbones: tuple[BackboneSpec, ...] = (BackboneSpec(),)
    streams: tuple[StreamSpec, ...] = (StreamSpec(),)
    limit: int | None = None
    data_root: str = ""

    def __post_init__(self) -> None:
        for axis in ("benchmarks", "methods", "shifts", "seeds", "backbones", "streams"):
            if not getattr(self, axis):
                raise ConfigError(f"the grid has no {axis}; name at least one")

    def cells(self) -> list[Cell]:
        """All cells, duplicates removed.

        Benchmark and backbone change slowest and methods fastest, so that cells which share data,
        gallery embeddings and shifted queries lie side by side.
        """
        found: dict[Identity, Cell] = {}
        texts = PartTexts()
        axes = product(
            *(self.benchmarks, self.backbones, self.shifts),
            *(self.seeds, self.streams, self.methods),
        )
        for benchmark, backbone, shift, seed, stream, method in axes:
            cell = Cell(
                suite=self.suite,
                benchmark=benchmark,
                backbone=backbone,
                method=method,
                shift=shift,
                stream=stream,
                seed=seed,
                limit=self.limit,
                data_root=self.data_root,
            )
            found.setdefault(texts.identity(cell), cell)
        return list(found.values())


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell, and why it cannot be run, or ""."""

    cell: Cell
    reason: str = ""


class Block:
    """One combination of axes: that of the flags, of a grid file's top, or of an include.

    Args:
        config: every setting; of methods, streams and models the choices count.
        methods: see ``Choice``, as the next two.
        streams: the kinds of streams.
        models: the models.
        flags: the settings that were given as flags.
        strict: a shift or stream that cannot be run is an error, not a reason to skip its cells.
    """

    def __init__(
        self,
        config: BenchConfig,
        methods: Sequence[Choice],
        streams: Sequence[Choice],
        models: Sequence[Choice] = (Choice(OWN_BACKBONE),),
        *,
        flags: Sequence[str] = (),
        strict: bool = False,
    ) -> None:
        self.config = config
        self.strict = strict
        self.methods = MethodVariants(methods, config.option, "option" in flags)
        given, flagged = config.stream_option, "stream_option" in flags
        self.streams = list(stream_specs(streams, given, config.batch_size, flagged))
        self.models = list(with_models(models, config))

    def planned(self, selection: Selection) -> Iterator[tuple[BenchmarkCard, Planned]]:
        """All cells with their benchmarks, those that cannot be run with the reason.

        Raises:
            QueryShiftError: an option that nothing has, benchmarks that do not go together in an
                interleaved stream, or (strict) a stream that cannot be run.
            ShiftError: a severity that a shift does not have (strict).
        """
        check_shift_options(self.config, [name for _, shifts in selection for name in shifts])
        for stream, where in self.streams:
            if stream.kind == INTERLEAVED:
                for config, _ in self.models:
                    cells = located(where, partial(self._interleaved, stream, config, selection))
                    yield from ((selection[0][0], Planned(cell)) for cell in cells)
        streams = [stream for stream, _ in self.streams if stream.kind != INTERLEAVED]
        for card, shifts in selection if streams else ():
            for config, where in self.models:
                backbone = located(where, partial(backbone_spec, card.backbone, config))
                located(where, partial(check_model, backbone))
                unable = why_not(card, backbone)
                for stream, shift, problem in _with_shifts(streams, config, card, shifts):
                    if problem is not None and self.strict:
                        raise problem
                    reason = unable or str(problem or "")
                    for cell in self._cells(config, card, backbone, stream, shift):
                        yield card, Planned(cell, reason)

    def _cells(
        self,
        config: BenchConfig,
        card: BenchmarkCard,
        backbone: BackboneSpec,
        stream: StreamSpec,
        *shifts: ShiftSpec,
    ) -> list[Cell]:
        """All methods and seeds on one benchmark under one stream."""
        place = Place(card.query, card.dataset, backbone.loader, stream.batch_size)
        return Grid(
            suite=card.suite,
            benchmarks=(card.id,),
            methods=self.methods.at(place, preset_name(config, backbone)),
            shifts=shifts,
            seeds=config.seed,
            backbones=(backbone,),
            streams=(stream,),
            limit=config.limit,
            data_root=config.data,
        ).cells()

    def _interleaved(
        self, stream: StreamSpec, config: BenchConfig, selection: Selection
    ) -> list[Cell]:
        """The cells of one stream over all benchmarks.

        Raises:
            ConfigError: a single benchmark, or benchmarks that do not go together.
        """
        cards = [card for card, _ in selection]
        for card, shifts in selection:
            for reason in filter(None, (why_not(card, name) for name in shifts)):
                raise ConfigError(reason)
        if len(cards) < 2:
            raise ConfigError(
                f"an interleaved stream needs at least two benchmarks, not {cards[0].id!r} alone: "
                "name them (--benchmark a,b)"
            )
        shared: dict[str, dict[str, Any]] = {
            "kind of query": {card.id: card.query for card in cards},
            "suite": {card.id: card.suite for card in cards},
            "backbone": {card.id: backbone_spec(card.backbone, config) for card in cards},
            "list of shifts": {
                card.id: valid_shifts(config, card, shifts) for card, shifts in selection
            },
        }
        first = cards[0].id
        for what, found in shared.items():
            other = next((name for name, value in found.items() if value != found[first]), "")
            if other:
                raise ConfigError(
                    f"benchmarks of an interleaved stream must have the same {what}; those of "
                    f"{first!r} and {other!r} differ: name others, or say the same for both "
                    "(--model, --shift, --severity)"
                )
        together = replace(
            cards[0],
            id=SEPARATOR.join(card.id for card in cards),
            dataset=SEPARATOR.join(dict.fromkeys(card.dataset for card in cards)),
        )
        backbone, shifts = shared["backbone"][first], shared["list of shifts"][first]
        return self._cells(config, together, backbone, stream, *shifts)


def valid_shifts(
    config: BenchConfig, card: BenchmarkCard, names: Sequence[str]
) -> tuple[ShiftSpec, ...]:
    """The shifts at each severity.

    Raises:
        ShiftError: a severity that a shift does not have.
    """
    found = shift_specs(config, card, names)
    for _, problem in found:
        if problem is not None:
            raise problem
    return tuple(spec for spec, _ in found)


def _with_shifts(
    streams: Sequence[StreamSpec], config: BenchConfig, card: BenchmarkCard, shifts: Sequence[str]
) -> Iterator[Setting]:
    """Each stream with each of the shifts, or with all where they are its domains."""
    for stream in streams:
        if stream.kind == "gradual":
            for name in shifts:
                ramp = tuple(sorted(config.severity or facts(name).severities))
                yield _with_domains(stream, replace(config, severity=ramp), card, (name,))
        elif stream.kind in MIXING:
            yield _with_domains(stream, config, card, shifts)
        else:
            for spec, problem in shift_specs(config, card, shifts):
                reason = why_not(card, spec.name)
                yield stream, spec, ConfigError(reason) if reason else problem


def _with_domains(
    stream: StreamSpec, config: BenchConfig, card: BenchmarkCard, shifts: Sequence[str]
) -> Setting:
    found = shift_specs(config, card, shifts)
    domains = tuple(spec for spec, _ in found)
    filled = replace(stream, domains=domains)
    problem: Exception | None = None
    for spec, wrong in found:
        reason = why_not(card, spec.name)
        problem = problem or (ConfigError(reason) if reason else wrong)
    if problem is None:
        try:
            check_stream(filled)
        except ConfigError as error:
            problem = error
    return filled, summary(domains), problem
