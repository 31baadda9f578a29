"""Specs from settings: backbone, methods, streams and shifts with every option resolved."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from typing import Annotated, Any

from pydantic import AfterValidator

from benchmark.cell import (
    CLEAN,
    DOMAIN,
    FLOAT32,
    SOURCE,
    STREAM_OPTIONS,
    BackboneSpec,
    Cell,
    MethodSpec,
    ShiftSpec,
    StreamSpec,
)
from benchmark.config.presets import (
    PUBLISHED,
    Place,
    applicable,
    check_preset,
    complete,
    option_names,
    parse,
    resolve,
)
from benchmark.config.run import KINDS, BenchConfig, Traced, from_file, from_flags, names
from benchmark.config.validate import check, kinds_of, mapping, named
from benchmark.data.card import BenchmarkCard
from benchmark.errors import ConfigError, QueryShiftError, UnknownNameError, did_you_mean
from benchmark.evaluation.callbacks import log_folder
from benchmark.evaluation.stream import MIXING, check_kind, check_stream
from benchmark.planning.compatibility import ALL, check_model, facts, load_suite, why_not
from benchmark.registry import BACKBONES, BUILTIN, METHODS, SHIFTS
from shifts.base import ShiftError

OWN_BACKBONE = "default"
"""Among the models: each benchmark's own backbone."""


def unless(word: str, known: Callable[[str], object]) -> Callable[[str], object]:
    """What looks a name up, unless it is this word."""
    return lambda name: name if name == word else known(name)


def _shift(name: str) -> str:
    """The shift's full name, also of one that exists ready-made only."""
    if name not in SHIFTS:
        from benchmark.data.datasets.ready_made import CORRUPTIONS

        if name in CORRUPTIONS:
            return name
    return SHIFTS.resolve(name)


SETTINGS: dict[str, Any] = {
    **KINDS,
    "log": names(log_folder),
    "method": names(unless(ALL, METHODS.resolve)),
    "shift": names(unless(ALL, _shift)),
    "stream": names(check_kind),
    "suite": Annotated[str, AfterValidator(named(unless("", load_suite)))],
    "preset": Annotated[str, AfterValidator(named(unless("", check_preset)))],
}
"""As ``config.run.KINDS``, names looked up; but benchmarks may be those of a suite file that is
known once all else has been read."""


def given(args: argparse.Namespace) -> dict[str, Traced]:
    """What the user says: the file that ``--config`` names, then the flags, which win.

    Of several options, ``--option lr=0.1`` replaces the file's ``lr`` and keeps its others.

    Raises:
        ConfigError: an unknown key or name, a value of the wrong type or range.
    """
    found = from_file(args, SETTINGS)
    for name, flag in from_flags(args, SETTINGS).items():
        value = flag.value
        if name in found and isinstance(value, Mapping):
            value = {**found[name].value, **value}
        found[name] = Traced(value, flag.origin)
    return found


@dataclass(frozen=True, slots=True)
class Choice:
    """A method, stream or model by name, each of its own options with the values that it takes.

    ``where`` is its place in the file that says so.
    """

    name: str
    options: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    where: str = ""

    def variants(self) -> list[dict[str, Any]]:
        """One set of options for each combination of their values.

        >>> Choice("tent", {"lr": (0.1, 0.2), "steps": (3,)}).variants()
        [{'lr': 0.1, 'steps': 3}, {'lr': 0.2, 'steps': 3}]
        """
        chosen = product(*self.options.values())
        return [dict(zip(self.options, values, strict=True)) for values in chosen]

    def __str__(self) -> str:
        parts = (f"{k}={'|'.join(map(str, v))}" for k, v in self.options.items())
        return f"{self.name} ({', '.join(parts)})" if self.options else self.name


def backbone_spec(default: BackboneSpec, config: BenchConfig) -> BackboneSpec:
    """The benchmark's backbone with what the user says instead.

    ``model`` may be the name of a backbone ("blip", a plugin's), that with a model of its own
    ("blip:Salesforce/blip-itm-base-coco"), or a model: of the benchmark's own backbone, or an
    open_clip model where that is the embedded one.

    Raises:
        QueryShiftError: no such model, device or precision.
    """
    spec = replace(default, device=device_name(config.device))
    if config.model not in ("", OWN_BACKBONE):
        name, colon, model = config.model.partition(":")
        if name not in BACKBONES:  # "local-dir:/path" and "hf-hub:name" are models of open_clip
            name, model = "open_clip" if spec.embedded else spec.loader, config.model
        elif name == "open_clip" and not colon:
            raise ConfigError("--model open_clip needs a model: open_clip:ViT-B-16-quickgelu")
        # The default's weights belong to the default's model.
        spec = replace(spec, loader=name, model=model, pretrained="")
        if name == "hf":
            spec = replace(spec, transform="clip")  # its models bring a processor of their own
    if config.pretrained:
        spec = replace(spec, pretrained=config.pretrained)
    if config.transform:
        spec = replace(spec, transform=config.transform)
    if config.precision != FLOAT32:
        from benchmark.backbones.precision import check_precision  # imports torch

        check_precision(config.precision, spec.device)
    check_model(spec)
    return replace(spec, precision=config.precision, compile=config.compile)


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


def method_variants(
    choices: Sequence[Choice], given: Traced
) -> Callable[[Place, str], tuple[MethodSpec, ...]]:
    """The methods of a block, every variant with its options resolved; ``source`` first.

    Args:
        given: options for all of them; they win over a method's own if they come from a flag.

    Returns:
        What gives the methods with the options that a preset has for a place.

    Raises:
        UnknownNameError: an unknown method, or an option that none of the methods has.
    """
    expanded = [Choice(SOURCE)]
    for choice in choices:
        named = METHODS.usable() if choice.name == ALL else [METHODS.resolve(choice.name)]
        expanded += [replace(choice, name=name) for name in named]
    kinds = {choice.name: METHODS.get(choice.name) for choice in expanded}
    by_hand = {name: applicable(kind.Options, given.value) for name, kind in kinds.items()}
    _check_shared("method", given, {name: kind.Options for name, kind in kinds.items()})

    @cache
    def at(place: Place, preset: str) -> tuple[MethodSpec, ...]:
        found = []
        for choice in expanded:
            name, kind = choice.name, kinds[choice.name]
            for own in choice.variants():
                values, version = _merged(own, by_hand[name], given), kind.card.version
                made = resolve(name, kind.Options, preset, place, values, version=version)
                found.append(made)
        return tuple(found)

    return at


def untuned(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Methods that run on the embedded default with nothing tuned, though they could be."""
    found = {
        cell.method.name: None
        for cell in cells
        if cell.backbone.embedded and not set(cell.method.origins.values()) - {PUBLISHED}
    }
    if not set(found) - {SOURCE}:
        return ()
    from benchmark.planning.search import searched  # most runs need nothing of it

    return tuple(name for name in found if searched(name))


def stream_specs(
    choices: Sequence[Choice], batch_size: int, given: Traced
) -> Iterator[tuple[StreamSpec, str]]:
    """The streams with their options, without domains, each with its place in the file.

    Options that are given for all are as those of ``method_variants``.

    Raises:
        ConfigError: an unknown kind, or a value that does not fit.
        UnknownNameError: an option that none of the kinds has.
    """
    kinds = [choice.name for choice in choices]
    for kind in kinds:
        check_kind(kind)
    known = {name: STREAM_KINDS[name] for kind in kinds for name in STREAM_OPTIONS.get(kind, ())}
    check(mapping(known), dict(given.value), given.line, owner=f"stream {','.join(kinds)!r}")
    for choice in choices:
        kind, names = choice.name, set(STREAM_OPTIONS.get(choice.name, ()))
        if kind in MIXING and not set(kinds) <= set(MIXING) and given.value.get(_KEY) != DOMAIN:
            names.discard(_KEY)  # meant for the correlated streams beside them
        shared = {name: value for name, value in given.value.items() if name in names}
        for own in choice.variants():
            values = {"batch_size": batch_size, **_merged(own, shared, given)}
            with located(choice.where):
                found = check(_STREAM, values, owner=f"stream {kind!r}")
                spec = StreamSpec(kind, **found)
                if kind not in (*MIXING, "gradual"):  # those wait for their domains
                    check_stream(spec)
            yield spec, choice.where


_KEY = "group_key"
STREAM_KINDS = {
    "batch_size": KINDS["batch_size"],
    **kinds_of(StreamSpec, ("domains_per_batch", _KEY, "delta")),
}
"""Option of a stream -> the type of its values."""

_STREAM = mapping(STREAM_KINDS)


def _merged(own: Mapping[str, Any], shared: Mapping[str, Any], given: Traced) -> dict[str, Any]:
    """A choice's own options and those given for all: a flag's win, a file's give way."""
    return {**own, **shared} if given.is_flag else {**shared, **own}


def shift_specs(
    config: BenchConfig, card: BenchmarkCard, names: Sequence[str]
) -> list[tuple[ShiftSpec, str]]:
    """The shifts at each severity, with the benchmark's options resolved.

    With them the reason why one cannot hit the benchmark's queries, has no such severity or lacks
    its files (``frost``), or "".
    """
    found: list[tuple[ShiftSpec, str]] = []
    for name in names:
        unfit = why_not(card, name)
        # The benchmark's, or the nearest below it that the shift has (sentence level: only 1).
        known = facts(name).severities
        usual = max((s for s in known if s <= card.severity), default=known[0])
        wanted = (0,) if name == CLEAN else config.severity or (usual,)
        if config.ready_made and name != CLEAN:
            from benchmark.data.datasets.ready_made import specify

            found += [(specify(name, severity), unfit) for severity in wanted]
            continue
        kind = SHIFTS.get(name)
        by_hand = applicable(kind.Options, config.shift_option)
        own = {**kind.fitting(card.shift_options, by_hand), **by_hand}
        values = complete(kind.Options, own, f"shift {name!r}")
        lacks = ""
        if not unfit and SHIFTS.origin(name) == BUILTIN:  # a plugin's may load a model
            try:
                kind(kind.Options(**parse(kind.Options, values, f"shift {name!r}")))
            except ShiftError as error:
                lacks = str(error)
        for severity in wanted:
            problem = unfit
            try:
                kind.check_severity(severity)
            except ShiftError as error:
                problem = unfit or str(error)
            found.append((ShiftSpec(name, severity, values, kind.card.version), problem or lacks))
    return found


def check_shift_options(given: Traced, ready_made: str, names: Sequence[str]) -> None:
    """Refuses options for queries that are ready-made, and those that no shift of the run has.

    Raises:
        ConfigError: says which.
    """
    if given.value and ready_made:
        raise ConfigError("ready-made queries take no shift options; leave --shift-option out")
    if given.value:
        _check_shared("shift", given, {name: SHIFTS.get(name).Options for name in names})


def _check_shared(what: str, given: Traced, kinds: Mapping[str, type]) -> None:
    """Each option that is given for all methods or shifts must fit those that have it.

    Raises:
        UnknownNameError: none has it.
        ConfigError: its value is none for one of them.
    """
    known = {name: own for name, kind in kinds.items() if (own := option_names(kind))}
    every = sorted({name for own in known.values() for name in own})
    only = next(iter(known or kinds)) if len(known) < 2 else ""
    for name, kind in kinds.items():  # of a single one the error says its options
        heard = given.value if name == only else applicable(kind, given.value)
        parse(kind, heard, f"{what} {name!r}", given.line)
    for key in (key for key in given.value if key not in every):
        raise UnknownNameError(
            f"{given.line}{': ' if given.line else ''}none of the {what}s has an option {key!r}"
            f"{did_you_mean(key, every)} (queryshift show {what.upper()})"
        )


@contextmanager
def located(where: str) -> Iterator[None]:
    """Errors within the block start with a place in the file, where there is one."""
    try:
        yield
    except QueryShiftError as error:
        raise (ConfigError(f"{where}: {error}") if where else error) from None
