"""Own data among the settings: a table given as DATA becomes benchmarks of the suite "own"."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cell import CLEAN, DOMAIN
from benchmark.config.run import BenchConfig
from benchmark.data.card import PREFIX, TASKS, benchmark_card
from benchmark.data.own.source import OwnSource, is_own, read_columns, refuse_other_files
from benchmark.errors import ConfigError, did_you_mean
from benchmark.evaluation.stream import MIXING
from benchmark.planning.compatibility import ALL, why_not
from benchmark.planning.specs import OWN_BACKBONE, Choice
from benchmark.registry import BACKBONES, SHIFTS

if TYPE_CHECKING:
    from benchmark.data.own.load import Understood

_EMBEDDED = {"video_audio": "mini-clips", "composed": "mini-composed:cirr"}
"""What "mini" means for tasks that the small CLIP does not do."""


def with_own_data(
    config: BenchConfig, choices: Mapping[str, Sequence[Choice]], given: Collection[str]
) -> tuple[BenchConfig, Mapping[str, Sequence[Choice]]]:
    """The settings of a block with the user's own data as benchmarks, where DATA names such data.

    DATA is the folder of the published data sets where a benchmark or a suite of them is named,
    and a user's own data where it is a table, shards, "hf:NAME" or a folder with a metadata file.

    Args:
        config: the block's settings; of methods, streams and models the choices count.
        choices: "method", "stream" and "model" -> those chosen, with their own options.
        given: names of the settings that the user set.

    Raises:
        QueryShiftError: settings that contradict each other, no model, or data that cannot be
            understood.
    """
    named = [name for name in config.benchmark if name != ALL and not name.startswith(PREFIX)]
    if not is_own(config.data) or ((named or config.suite) and Path(config.data).is_dir()):
        if not config.benchmark and not config.suite:
            refuse_other_files(config.data, own=bool(config.gallery or config.columns))
        return config, choices
    if named or config.suite:
        what = f"--benchmark {named[0]}" if named else f"--suite {config.suite}"
        raise ConfigError(
            f"--data {config.data} is your own table, and {what} runs on published data sets; "
            "leave one of them out (own results are called own:NAME-i2t and the like)"
        )
    from benchmark.data.own.load import understand

    source = source_of(config)
    found = understand(source)
    every = config.shift == (ALL,) and "shift" not in given  # as of a grid that names none
    wanted = replace(
        config,
        data=source.text,
        benchmark=() if ALL in config.benchmark else config.benchmark,
        shift=() if every else config.shift,
        model=choices["model"][0].name,
    )
    apart = bool(source.clean) or source.unlabelled  # a query log is shifted as it is
    settled = completed(wanted, given, found, clean_apart=apart)
    if every and settled.shift != (CLEAN,):
        settled = replace(settled, shift=(ALL,))
    streams = choices["stream"]
    if settled.stream != config.stream:
        streams = [Choice(name) for name in settled.stream]
    models = [replace(one, name=_model(one.name, found.task)) for one in choices["model"]]
    return replace(settled, model=""), {**choices, "stream": streams, "model": models}


def source_of(config: BenchConfig) -> OwnSource:
    """What the settings say of own data, with whole paths.

    Raises:
        ConfigError: columns that are not ``ours=yours``.
    """
    if config.qrels and not config.gallery:
        raise ConfigError("--qrels says which gallery items are relevant: name the --gallery too")
    if config.unlabelled and not config.gallery:
        raise ConfigError(
            "--unlabelled is for a query log beside a gallery: name the table of the gallery "
            "(--gallery TABLE); a table of pairs says itself which item is right"
        )
    if config.unlabelled and config.qrels:
        raise ConfigError(
            "--qrels says which gallery items are relevant, and --unlabelled that nothing does; "
            "leave one of them out"
        )
    return OwnSource(
        config.data,
        read_columns(config.columns),
        *(config.gallery, config.qrels, config.clean, config.split, config.unlabelled),
    ).absolute()


def completed(
    config: BenchConfig, given: Collection[str], found: Understood, *, clean_apart: bool = False
) -> BenchConfig:
    """The settings with benchmarks, shifts, streams and model that fit own data.

    Args:
        config: the settings of the run.
        given: names of those that the user set.
        found: what was understood of the data.
        clean_apart: whether the queries are shifted already and their clean form is known.

    Raises:
        ConfigError: a direction that the data do not have, or no model.
    """
    unknown = [name for name in config.benchmark if name not in found.benchmarks]
    if unknown:
        raise ConfigError(
            f"{config.data.partition('?')[0] or 'the data'} gives "
            f"{' and '.join(found.benchmarks)}, not {unknown[0]!r}"
            f"{did_you_mean(unknown[0], found.benchmarks)}"
        )
    hitting = config.shift
    if set(config.stream) & set(MIXING):  # queries that fit clean ones alone have nothing to mix
        hitting = tuple(shift for shift in hitting if shift != CLEAN)
    benchmarks = config.benchmark or _hit_by(hitting, found.benchmarks)
    cards = [benchmark_card(name) for name in benchmarks]
    shifts, streams, options = config.shift, config.stream, dict(config.stream_option)
    if found.domains or clean_apart:
        shifts = shifts or (CLEAN,)
    shifts = shifts or tuple(card.shifts[0] for card in cards)
    if found.domains and not {"stream", "shift"} & set(given):
        streams = ("continual",)
    if found.domains and set(shifts) == {CLEAN} and set(streams) & set(MIXING):
        options.setdefault("group_key", DOMAIN)
    return replace(
        config,
        benchmark=benchmarks,
        shift=shifts,
        stream=streams,
        stream_option=options,
        model=_model(config.model, found.task),
    )


def _hit_by(shifts: tuple[str, ...], benchmarks: tuple[str, ...]) -> tuple[str, ...]:
    """The directions whose queries some of the shifts fit; all where none does, or none is named.

    A picture's shift alone leaves the direction with captions as queries out.
    """
    if ALL in shifts:
        return benchmarks
    names = [SHIFTS.resolve(shift) for shift in shifts if shift in SHIFTS]
    cards = [benchmark_card(name) for name in benchmarks]
    hit = tuple(c.id for c in cards if any(not why_not(c, shift) for shift in names))
    return hit or benchmarks


def _model(model: str, task: str) -> str:
    """The model asked for; "mini" is the embedded encoder of the task.

    Raises:
        ConfigError: none was asked for; lists what can be had.
    """
    if model not in ("", OWN_BACKBONE):
        return _EMBEDDED.get(task, model) if model == "mini" else model
    query = next(iter(TASKS[task]))
    card = benchmark_card(f"{PREFIX}x-{TASKS[task][query][1]}")
    able = []
    for name in BACKBONES.names():
        if not why_not(card, replace(card.backbone, loader=name)):
            able.append(f"{name} ({BACKBONES.info(name).summary or 'a plugin'})")
    raise ConfigError(
        "your own data need a model: --model NAME (MODEL=NAME). For these data there are "
        f"{'; '.join(able)}"
    )
