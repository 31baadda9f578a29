"""Compatibility: benchmarks with the shifts that fit them, suites, settings without effect."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.backbones.places import LOCAL_DIR, check_name, check_path
from benchmark.cell import CLEAN, SOURCE, BackboneSpec, Cell
from benchmark.config.files import user_path
from benchmark.config.run import OF_TABLES, BenchConfig, Traced
from benchmark.data import card as bundled
from benchmark.data.card import BenchmarkCard, Suite
from benchmark.data.own.source import OwnSource
from benchmark.errors import ConfigError, UnknownNameError, did_you_mean, unknown
from benchmark.evaluation.stream import MIXING
from benchmark.registry import BACKBONES, BENCHMARKS, BUILTIN, SHIFTS
from shifts.base import ShiftCard

if TYPE_CHECKING:
    from benchmark.data.datasets.ready_made import Corruption

ALL = "all"
DEFAULT_SUITE = "mini"
OWN_DATA = "paper"
DEFAULT_SHIFT = "gaussian_noise"


def facts(shift: str) -> ShiftCard | Corruption:
    """Modality and severities of a shift, also of one that exists ready-made only."""
    if shift in SHIFTS:
        return SHIFTS.get(shift).card
    from benchmark.data.datasets.ready_made import corruption

    return corruption(shift)


def why_not(card: BenchmarkCard, what: str | BackboneSpec) -> str:
    """Why a benchmark cannot be run with a shift or on a backbone; "" where it can.

    A backbone of which nothing is declared is taken to fit.
    """
    if isinstance(what, BackboneSpec):
        facts_of = BACKBONES.info(what.loader).facts if what.loader in BACKBONES else {}
        known = tuple(facts_of.get("modalities", ()))
        if not known or {card.query, card.gallery} <= set(known):
            return ""
        return (
            f"backbone {what.loader!r} encodes {', '.join(known)}; {card.id!r} has {card.query} "
            f"queries and {card.gallery} items"
        )
    if what == CLEAN:
        return ""
    if card.setting == "QGS":
        return (
            f"shift {what!r} does not fit benchmark {card.id!r}: there nothing is corrupted, the "
            f"data themselves are the shift; use {CLEAN!r}"
        )
    modality = facts(what).modality
    if modality in (card.query, "any"):
        return ""
    return f"shift {what!r} works on {modality} queries; {card.id!r} has {card.query} ones"


def fitting_shifts(card: BenchmarkCard) -> str:
    """What can be used instead of a shift that does not fit, as the end of an error."""
    if card.setting == "QGS":
        return ""
    able = [name for name in SHIFTS.usable() if name != CLEAN and not why_not(card, name)]
    return f"; shifts that fit: {', '.join(able)}"


def check_model(backbone: BackboneSpec) -> None:
    """Refuses a model that there is not; does not import open_clip, and asks no hub.

    Raises:
        QueryShiftError: no such name, or nothing at that path.
    """
    name, loader = backbone.model, backbone.loader
    if loader not in BACKBONES or BACKBONES.origin(loader) != BUILTIN:
        return  # there a model may be called anything
    check_name(loader, name)
    check_path(backbone)
    if loader == "weighted_sum":
        from benchmark.backbones.composed import split_weight  # imports torch

        name, _ = split_weight(name)
    elif loader != "open_clip":
        return
    given, known = backbone.pretrained, open_clip_models()
    foreign = name.startswith((LOCAL_DIR, "hf-hub:")) or (given and user_path(given).is_dir())
    if name and known and not foreign and name.replace("/", "-") not in known:
        raise UnknownNameError(
            f"unknown open_clip model {name!r}{did_you_mean(name, [*BACKBONES.names(), *known])} "
            "(or give a backbone, backbone:model, or local-dir:/path)"
        )


@cache
def open_clip_models() -> frozenset[str]:
    """Names of open_clip's own configurations, which are files of its package."""
    found = importlib.util.find_spec("open_clip")
    folders = [Path(place) for place in (found and found.submodule_search_locations) or ()]
    return frozenset(p.stem for folder in folders for p in folder.glob("model_configs/*.json"))


def _read_without(setting: str, cell: Cell) -> bool:
    """Whether a cell's data are read without a setting of ``OF_TABLES``."""
    return cell.suite != bundled.OWN or not getattr(OwnSource.of(cell.data_root), setting)


_EMBEDDED = {*bundled.suite_names()} - {OWN_DATA}

INERT: dict[str, tuple[Callable[[Cell], bool], str]] = {
    "data": (lambda cell: cell.suite in _EMBEDDED, "the embedded benchmarks read no data"),
    "allow_missing": (lambda cell: cell.suite in _EMBEDDED, "the embedded benchmarks lack nothing"),
    "ready_made": (
        lambda cell: not any(shift.ready_made for shift in cell.domains),
        "none of its queries is a ready-made one, and shift none corrupts nothing",
    ),
    "severity": (
        lambda cell: all(domain.name == CLEAN for domain in cell.domains),
        "shift none has no severities",
    ),
    "pretrained": (
        lambda cell: cell.backbone.loader.startswith("mini"),
        "the embedded encoders bring their own weights (another one: --model)",
    ),
    "transform": (
        lambda cell: cell.backbone.loader == "mini-clips",
        "this backbone prepares its clips in one way only",
    ),
    "preset": (lambda cell: cell.method.name == SOURCE, "the source model has no options"),
    **{
        name: (
            partial(_read_without, name),
            "it is about a table of your own, read with it (--data with a .csv, .tsv, .jsonl, "
            ".parquet or .tar, a folder with a metadata.csv, or hf:NAME)",
        )
        for name in OF_TABLES
    },
}
"""Setting -> whether it does nothing in a cell, and why. The one list of such cases.

What is not here has an effect on every cell, is refused with what it contradicts (``executors``:
workers, time limit, address, Slurm's options), or is an upper bound: limit, workers, time limit.
"""

_NARROWING = ("method", "shift", "suite", "benchmark", "stream", "model")


def check_effects(settings: Mapping[str, Traced], cells: Sequence[Cell]) -> None:
    """Refuses a setting that was given and that no cell heeds.

    Flags are for this run. A file may serve several: its settings are left alone where a flag
    picks some of the cells that it is for, and its preset is for the methods of every run.

    Args:
        settings: those that were given; defaults among them do not count.
        cells: all cells that they were given for.

    Raises:
        ConfigError: says which, where and why.
    """
    default = BenchConfig()
    flags = {name for name, given in settings.items() if given.is_flag}
    for name, (inert, reason) in INERT.items():
        given = settings.get(name)
        if given is None or given.value == getattr(default, name) or not cells:
            continue
        if name not in flags and (name == "preset" or flags.intersection(_NARROWING)):
            continue
        if all(map(inert, cells)):
            said = given.origin if name in flags else f"{given.origin}: {name!r}"
            raise ConfigError(f"{said} has no effect here: {reason}; leave it out")


def load_suite(name: str) -> Suite:
    """A suite by its bundled name, by that which plugin benchmarks give, or by a file's path.

    A file's benchmarks are known by their ids from then on, here and in worker processes.

    Raises:
        UnknownNameError: no such suite.
        ConfigError: a fault in the file, with its line; an id that is taken.
    """
    if bundled.is_suite_file(name):
        path = user_path(name).resolve()
        found, known = bundled.load_suite(str(path)), bundled.own_suite_files()
        if path not in known:
            os.environ[bundled.FILES_VARIABLE] = os.pathsep.join(map(str, (*known, path)))
            try:
                bundled.benchmark_cards()  # an id that is taken is said before anything uses it
            except Exception:
                os.environ[bundled.FILES_VARIABLE] = os.pathsep.join(map(str, known))
                raise
            BENCHMARKS.refresh()
        return found
    if name in bundled.suite_names():
        return bundled.load_suite(name)
    brought = plugin_cards()
    if cards := tuple(card for card in brought if card.suite == name):
        return Suite(name, name, "benchmarks of plugins", cards)
    names = (*bundled.suite_names(), *(card.suite for card in brought))
    raise unknown("suite", name, dict.fromkeys(names))


def plugin_cards() -> list[BenchmarkCard]:
    """The benchmarks that this package does not ship: of plugins, and of suite files."""
    names = BENCHMARKS.usable()
    return [BENCHMARKS.get(name) for name in names if BENCHMARKS.origin(name) != BUILTIN]


Selection = list[tuple[BenchmarkCard, tuple[str, ...]]]
"""The benchmarks of a run, each with the names of its shifts."""


def select(config: BenchConfig, *, strict: bool = True) -> Selection:
    """The benchmarks that are asked for, each with its shifts.

    Args:
        strict: each with those shifts that fit it, as flags have it, and one that fits nothing is
            an error; else with all of them, as a grid has it.

    Raises:
        QueryShiftError: unknown names, or (strict) a shift and a benchmark that do not fit.
    """
    cards = _cards(config)
    mixing = [kind for kind in config.stream if kind in MIXING]
    every = ALL in config.shift or (not config.shift and bool(config.benchmark or mixing))
    asked = [name for name in config.shift if name != ALL] or ([] if every else [DEFAULT_SHIFT])
    shifts = tuple(dict.fromkeys(resolve_shift(config, name) for name in asked))
    fitting = {c.id: tuple(s for s in shifts if not strict or not why_not(c, s)) for c in cards}
    if mixing and shifts != (CLEAN,):  # queries that fit clean ones alone have nothing to mix
        fitting = {name: () if fit == (CLEAN,) else fit for name, fit in fitting.items()}
    if strict and not config.benchmark:
        # Of all shifts of a benchmark the suite's first; else for each shift the first it fits.
        first = (next((c for c in cards if s in fitting[c.id]), None) for s in shifts)
        cards = cards[:1] if every else tuple({c.id: c for c in first if c}.values()) or cards
    for shift in shifts:
        if shift != CLEAN and not any(shift in fitting[card.id] for card in cards):
            raise ConfigError(why_not(cards[0], shift) + fitting_shifts(cards[0]))
    found = []
    for card in cards:
        fit, own = fitting[card.id], _own_shifts(config, card) if every else ()
        if config.benchmark and ALL not in config.benchmark and not (fit or own):
            wrong = next(filter(None, (why_not(card, shift) for shift in shifts)))
            raise ConfigError(wrong + fitting_shifts(card))
        if mixing and (fit or own) and fit != shifts:
            wrong = next(why_not(card, shift) for shift in shifts if shift not in fit)
            raise ConfigError(
                f"a {mixing[0]} stream brings all its shifts to the same queries, but {wrong}; "
                "name shifts of one modality"
            )
        if fit or own:
            found.append((card, tuple(dict.fromkeys((*own, *fit)))))
    return found


def _cards(config: BenchConfig) -> tuple[BenchmarkCard, ...]:
    """The benchmarks that are named, "all" or none standing for all of the suite.

    Raises:
        QueryShiftError: unknown names, or a benchmark of another suite.
    """
    suite = load_suite(config.suite) if config.suite else None  # says first if it is unknown
    cards = [card for name in config.benchmark if name != ALL for card in members(name)]
    for card in cards:
        if suite and card.suite != suite.name:
            raise ConfigError(
                f"benchmark {card.id!r} is in suite {card.suite!r}, not {config.suite!r}; "
                f"leave the suite out or say {card.suite!r}"
            )
    if not cards or ALL in config.benchmark:
        suite = suite or load_suite(OWN_DATA if config.ready_made else DEFAULT_SUITE)
        cards = [*suite.benchmarks, *cards]
    return tuple({card.id: card for card in cards}.values())


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
    name = SHIFTS.aliases.get(shift, shift)
    if name != CLEAN:
        from benchmark.data.datasets.ready_made import corruption

        corruption(name)
    return name
