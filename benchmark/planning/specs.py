"""From settings to specs: backbone, methods and shifts with every option resolved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmark.cell import CLEAN, FLOAT32, SOURCE, BackboneSpec, Cell, MethodSpec, ShiftSpec
from benchmark.config import options
from benchmark.config import presets as preset
from benchmark.config.presets import Place
from benchmark.config.run import BenchConfig
from benchmark.data.datasets import ready_made
from benchmark.data.suite import BenchmarkCard
from benchmark.errors import ConfigError, UnknownNameError
from benchmark.registry import BACKBONES, METHODS, SHIFTS
from shifts.base import ShiftCard, ShiftError

ALL = "all"
EMBEDDED = "mini"
"""What names of embedded backbones begin with, and the preset that was tuned for them."""


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
    if config.precision != FLOAT32:
        from benchmark.backbones.precision import check_precision  # imports torch

        check_precision(config.precision, spec.device)
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


def preset_name(config: BenchConfig, backbone: BackboneSpec) -> str:
    """The preset asked for, or the one made for the backbone."""
    if config.preset:
        return config.preset
    return EMBEDDED if backbone.loader.startswith(EMBEDDED) else preset.PUBLISHED


def method_specs(config: BenchConfig, place: Place, preset_to_use: str) -> tuple[MethodSpec, ...]:
    """The methods, ``source`` first, with all options resolved.

    Options set by hand go to every method that has them.

    Raises:
        UnknownNameError: an unknown method, or an option that none of the methods has.
        ConfigError: a value that does not fit.
    """
    asked = METHODS.usable() if ALL in config.method else map(METHODS.resolve, config.method)
    names = tuple(dict.fromkeys((SOURCE, *asked)))
    by_hand = options_by_hand(names, config.option)
    return tuple(method_spec(name, place, preset_to_use, by_hand[name]) for name in names)


def method_spec(
    name: str, place: Place, preset_to_use: str, by_hand: Mapping[str, Any]
) -> MethodSpec:
    """One method with all options resolved.

    Raises:
        UnknownNameError: an option that it has not.
        ConfigError: a value that does not fit.
    """
    kind = METHODS.get(name)
    found = preset.resolve(name, kind.Options, preset_to_use, place, by_hand)
    return MethodSpec(name, found.label, found.values, kind.card.version, found.origins)


def untuned(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Methods that run on the embedded default with nothing tuned, though they could be."""
    found: dict[str, None] = {}
    for cell in cells:
        method = cell.method
        tunable = preset.TUNABLE.issubset(method.options)
        chosen = set(method.origins.values()) - {preset.PUBLISHED}
        if cell.backbone.loader.startswith(EMBEDDED) and tunable and not chosen:
            found[method.name] = None
    return tuple(found)


def options_by_hand(names: Sequence[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """For each method those of the options set by hand that it has.

    Raises:
        UnknownNameError: an option that none of the methods has.
    """
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
    found = shift_choices(config, card, names)
    for _, problem in found:
        if problem:
            raise ShiftError(problem)
    return tuple(spec for spec, _ in found)


def shift_choices(
    config: BenchConfig, card: BenchmarkCard, names: Sequence[str]
) -> list[tuple[ShiftSpec, str]]:
    """As ``shift_specs``, but a severity that a shift does not have comes with what is wrong."""
    found: list[tuple[ShiftSpec, str]] = []
    for name in names:
        wanted = config.severity or _default_severity(card, name)
        if name == CLEAN:
            wanted = (0,)
        if config.ready_made and name != CLEAN:
            found += [(ready_made.specify(name, severity), "") for severity in wanted]
            continue
        kind = SHIFTS.get(name)
        by_hand = options.applicable(kind.Options, config.shift_option)
        own = {**kind.fitting(card.shift_options, by_hand), **by_hand}
        values = options.complete(kind.Options, own, f"shift {name!r}")
        for severity in wanted:
            try:
                kind.check_severity(severity)
            except ShiftError as error:
                problem = str(error)
            else:
                problem = ""
            found.append((ShiftSpec(name, severity, values, kind.card.version), problem))
    return found


def facts(shift: str) -> ShiftCard | ready_made.Corruption:
    """Modality and severities of a shift, also of one that exists ready-made only."""
    return SHIFTS.get(shift).card if shift in SHIFTS else ready_made.corruption(shift)


def _default_severity(card: BenchmarkCard, shift: str) -> tuple[int, ...]:
    """The benchmark's, or the nearest below it that the shift has (sentence level: only 1)."""
    known = facts(shift).severities
    return (max((s for s in known if s <= card.severity), default=known[0]),)


def check_shift_options(config: BenchConfig, names: Sequence[str]) -> None:
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
