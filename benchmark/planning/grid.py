"""Blocks: one combination of settings and the cells that it makes; loads no data, no weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

from benchmark.cell import BackboneSpec, Cell, ShiftSpec, StreamSpec
from benchmark.config.presets import Place
from benchmark.config.run import BenchConfig
from benchmark.data.card import SEPARATOR
from benchmark.data.suite import BenchmarkCard
from benchmark.errors import ConfigError
from benchmark.evaluation.stream import summary
from benchmark.evaluation.stream_kinds import MIXING, check_stream
from benchmark.planning.compatibility import check_model, facts, why_not
from benchmark.planning.specs import (
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


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell, and why it cannot be run, or ""."""

    cell: Cell
    reason: str = ""


class Block:
    """One combination of axes: that of the flags, of a grid file's top, or of an include.

    Args:
        config: every setting; of methods, streams and models the choices count.
        choices: "method", "stream" and "model" -> those chosen, with their own options.
        flags: the settings that were given as flags.
        strict: a shift or stream that cannot be run is an error, not a reason to skip its cells.
    """

    def __init__(
        self,
        config: BenchConfig,
        choices: Mapping[str, Sequence[Choice]],
        *,
        flags: Sequence[str] = (),
        strict: bool = False,
    ) -> None:
        self.config = config
        self.strict = strict
        self.methods = MethodVariants(choices["method"], config.option, "option" in flags)
        given, flagged = config.stream_option, "stream_option" in flags
        self.streams = list(stream_specs(choices["stream"], given, config.batch_size, flagged))
        self.models = list(with_models(choices["model"], config))

    def planned(self, selection: Selection) -> Iterator[tuple[BenchmarkCard, Planned]]:
        """All cells with their benchmarks, those that cannot be run with the reason.

        Cells that share data, gallery embeddings and shifted queries lie side by side.

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
                    for cell in self._cells(config, card, backbone, stream, [shift]):
                        yield card, Planned(cell, reason)

    def _cells(
        self,
        config: BenchConfig,
        card: BenchmarkCard,
        backbone: BackboneSpec,
        stream: StreamSpec,
        shifts: Sequence[ShiftSpec],
    ) -> Iterator[Cell]:
        """All seeds and methods; methods change fastest, for they share the shifted queries."""
        place = Place(card.query, card.dataset, backbone.loader, stream.batch_size)
        methods = self.methods.at(place, preset_name(config, backbone))
        for shift, seed, method in product(shifts, config.seed, methods):
            yield Cell(
                suite=card.suite,
                benchmark=card.id,
                backbone=backbone,
                method=method,
                shift=shift,
                stream=stream,
                seed=seed,
                limit=config.limit,
                data_root=config.data,
            )

    def _interleaved(
        self, stream: StreamSpec, config: BenchConfig, selection: Selection
    ) -> list[Cell]:
        """The cells of one stream over all benchmarks.

        Raises:
            ConfigError: a single benchmark, or benchmarks that do not go together.
        """
        cards = [card for card, _ in selection]
        first = cards[0]
        for card, shifts in selection:
            for reason in filter(None, (why_not(card, name) for name in shifts)):
                raise ConfigError(reason)
        if len(cards) < 2:
            raise ConfigError(
                f"an interleaved stream needs at least two benchmarks, not {first.id!r} alone: "
                "name them (--benchmark a,b)"
            )
        shared: dict[str, list[Any]] = {
            "kind of query": [card.query for card in cards],
            "suite": [card.suite for card in cards],
            "backbone": [backbone_spec(card.backbone, config) for card in cards],
            "list of shifts": [valid_shifts(config, card, shifts) for card, shifts in selection],
        }
        for what, found in shared.items():
            for card, value in zip(cards, found, strict=True):
                if value != found[0]:
                    raise ConfigError(
                        f"benchmarks of an interleaved stream must have the same {what}; those of "
                        f"{first.id!r} and {card.id!r} differ: name others, or say the same for "
                        "both (--model, --shift, --severity)"
                    )
        together = replace(
            first,
            id=SEPARATOR.join(card.id for card in cards),
            dataset=SEPARATOR.join(dict.fromkeys(card.dataset for card in cards)),
        )
        backbone, specs = shared["backbone"][0], shared["list of shifts"][0]
        return list(self._cells(config, together, backbone, stream, specs))


def valid_shifts(
    config: BenchConfig, card: BenchmarkCard, names: Sequence[str]
) -> tuple[ShiftSpec, ...]:
    """The shifts at each severity.

    Raises:
        ShiftError: a severity that a shift does not have.
    """
    found = shift_specs(config, card, names)
    for problem in filter(None, (problem for _, problem in found)):
        raise problem
    return tuple(spec for spec, _ in found)


Setting = tuple[StreamSpec, ShiftSpec, Exception | None]
"""A stream, the shift of its cells, and the error where they cannot be run."""


def _with_shifts(
    streams: Sequence[StreamSpec], config: BenchConfig, card: BenchmarkCard, shifts: Sequence[str]
) -> Iterator[Setting]:
    """Each stream with each of the shifts, or with all where they are its domains."""
    for stream in streams:
        if stream.kind == "gradual":
            for name in shifts:
                ramp = tuple(sorted(config.severity or facts(name).severities))
                yield _with_domains(stream, replace(config, severity=ramp), card, (name,))
        elif stream.kind in MIXING and not stream.group_key:
            yield _with_domains(stream, config, card, shifts)
        else:
            for spec, problem in shift_specs(config, card, shifts):
                yield stream, spec, _problem(card, spec, problem)


def _with_domains(
    stream: StreamSpec, config: BenchConfig, card: BenchmarkCard, shifts: Sequence[str]
) -> Setting:
    found = shift_specs(config, card, shifts)
    domains = tuple(spec for spec, _ in found)
    filled = replace(stream, domains=domains)
    problems = [_problem(card, spec, wrong) for spec, wrong in found]
    problem = next(filter(None, problems), None)
    if problem is None:
        try:
            check_stream(filled)
        except ConfigError as error:
            problem = error
    return filled, summary(domains), problem


def _problem(card: BenchmarkCard, spec: ShiftSpec, wrong: Exception | None) -> Exception | None:
    """Why a shift cannot hit a benchmark's queries, before what is wrong with its severity."""
    reason = why_not(card, spec.name)
    return ConfigError(reason) if reason else wrong
