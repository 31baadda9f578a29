"""The ordinary way to what cells need: by name, through the registries, imported when used."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ByteSize, TypeAdapter, ValidationError

from benchmark.backbones.base import DualEncoder, check_device, check_encoder
from benchmark.backbones.precision import in_precision
from benchmark.cell import (
    CLEAN,
    DOMAIN,
    TRAIN,
    TRANSDUCTIVE,
    BackboneSpec,
    Cell,
    MethodSpec,
    ShiftSpec,
    StreamSpec,
)
from benchmark.config.files import user_path
from benchmark.config.presets import parse
from benchmark.config.run import BenchConfig
from benchmark.data.card import (
    PREFIX,
    SEPARATOR,
    SPLIT,
    BenchmarkCard,
    benchmark_cards,
    home_card,
    load_suite,
)
from benchmark.data.retrieval import RetrievalSet
from benchmark.data.tasks import load_retrieval_set
from benchmark.errors import ConfigError, PluginError, QueryShiftError, reason_of
from benchmark.evaluation.cache import DIGESTS, DiskCache
from benchmark.evaluation.isolation import settings_kept
from benchmark.evaluation.resources import Resources
from benchmark.registry import BACKBONES, BENCHMARKS, BUILTIN, METHODS, SHIFTS, Registry
from methods.base import Method, MethodError, Setup
from shifts import digests

if TYPE_CHECKING:
    from benchmark.data.datasets.ready_made import ReadyMade
    from benchmark.data.own.source import OwnSource

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "QUERYSHIFT_CACHE"
BYTES_VARIABLE = "QUERYSHIFT_CACHE_BYTES"
OFF = "off"
DEFAULT_BYTES = 10 * 10**9

TRAINING_QUERIES = 5000
"""Queries of a training split that a bank holds at most, a fixed draw: COCO has half a million."""


def default_resources(
    config: BenchConfig | None = None, loaded: Mapping[str, RetrievalSet] | None = None
) -> Resources:
    """Resources that find everything by name in the registries.

    Args:
        config: says where the cache and ready-made queries lie, how many processes load ahead, and
            whether to run on incomplete data sets (the records say so).
        loaded: benchmark id -> its data, where they are in memory already.

    Raises:
        ConfigError: a cache that cannot be one.
    """
    config = config or BenchConfig()
    disk = disk_cache(config.cache)
    digests.keep_in(disk.folder / DIGESTS if disk else None)
    made = config.ready_made
    load = functools.partial(_load_ready_made, root=Path(made)) if made else None
    return Resources(
        load_data=functools.partial(
            _load_data, allow_missing=config.allow_missing, loaded=loaded or {}
        ),
        load_backbone=_load_backbone,
        make_method=_make_method,
        make_shift=_make_shift,
        load_ready_made=load,
        home_of=_home_of,
        training_of=_training_of,
        clean_share=clean_share,
        disk=disk,
        workers=config.loader_workers,
    )


@settings_kept()
def _load_data(
    cell: Cell, *, allow_missing: bool, loaded: Mapping[str, RetrievalSet]
) -> RetrievalSet:
    # The limit is the runner's: one loaded set serves every limit.
    root = Path(cell.data_root) if cell.data_root else None
    sets = []
    for name in cell.benchmark.split(SEPARATOR):
        if (data := loaded.get(name)) is None:
            name, _, split = name.partition(SPLIT)
            data = load_retrieval_set(
                BENCHMARKS.get(name), root, split=split or None, allow_missing=allow_missing
            )
        sets.append(data)
    if len(sets) == 1:
        return sets[0]
    from benchmark.data.interleave import join

    return join(sets)


def _own(cell: Cell) -> OwnSource | None:
    """Where the user's own data lie; None where the cell runs on others."""
    if not cell.benchmark.startswith(PREFIX):
        return None
    from benchmark.data.own.source import OwnSource

    return OwnSource.of(cell.data_root)


def _training_of(cell: Cell) -> Cell | None:
    """The clean cell of a benchmark's training split; of own data its rows of that split."""
    names, root = cell.benchmark.split(SEPARATOR), cell.data_root
    if own := _own(cell):
        if not root or own.clean:
            return None
        root, splits = replace(own, split=TRAIN).text, [TRAIN]
    else:
        splits = [BENCHMARKS.get(name).train for name in names]
        if not all(splits):
            return None
    ids = map(SPLIT.join, zip(names, splits, strict=True))
    return _clean(cell, benchmark=SEPARATOR.join(ids), data_root=root, limit=TRAINING_QUERIES)


def _clean(cell: Cell, **where: Any) -> Cell:
    """The cell with other data and nothing done to them."""
    return replace(cell, shift=ShiftSpec(CLEAN, 0), stream=StreamSpec(), **where)


def clean_share(cell: Cell) -> int:
    """Of how many of a cell's queries one clean query is encoded, to measure forgetting.

    The embedded encoders see all of them. For others that costs a seventh of a cell's time. Without
    labels all are needed too: they are what tells the size of the shift.
    """
    own = _own(cell)
    return 1 if cell.backbone.embedded or (own and own.unlabelled) else 4


def _home_of(cell: Cell) -> Cell | None:
    """The clean cell of the benchmarks that the weights' home is, one for each of the cell's."""
    if own := _own(cell):
        if own.unlabelled and not own.clean and (origin := _home_of_weights(cell)):
            return _clean(cell, suite=origin.suite, benchmark=origin.id, data_root="")
        if not own.clean:  # real domains are a shift already: there is nothing clean
            return None if cell.stream.group_key == DOMAIN else cell
        stem, _, direction = cell.benchmark.rpartition("-")
        clean = f"{stem}.clean-{direction}"
        return _clean(cell, benchmark=clean, data_root=own.cleaned.text)
    cards = [BENCHMARKS.get(name) for name in cell.benchmark.split(SEPARATOR)]
    known = list(benchmark_cards().values())
    if any(BENCHMARKS.origin(card.id) != BUILTIN for card in cards):
        known += [BENCHMARKS.get(name) for name in BENCHMARKS.usable()]
    homes = [home_card(card, cell.backbone, known) for card in cards]
    found = list(dict.fromkeys(home.id for home in homes if home is not None))
    if not found:
        return None
    return _clean(cell, benchmark=SEPARATOR.join(found))


def _home_of_weights(cell: Cell) -> BenchmarkCard | None:
    """The embedded benchmark that the weights come from, with queries of the cell's kind."""
    own: BenchmarkCard = BENCHMARKS.get(cell.benchmark)
    fitting = (
        card
        for card in load_suite("mini").benchmarks
        if (card.task, card.query) == (own.task, own.query)
    )
    return next((c for c in fitting if c.home_of(cell.backbone) == c.dataset), None)


@settings_kept()
def _load_backbone(spec: BackboneSpec) -> DualEncoder:
    load = BACKBONES.get(spec.loader)
    check_device(spec.device)
    try:
        encoder: DualEncoder = load(spec)
    except Exception as error:  # somebody else's loader may raise anything
        origin = BACKBONES.origin(spec.loader)
        if origin == BUILTIN or isinstance(error, QueryShiftError):
            raise
        who = f"backbone {spec.loader!r} of {origin}"
        raise PluginError(f"{who} cannot be loaded: {reason_of(error)}") from error
    check_encoder(encoder, spec.loader)
    return in_precision(encoder, spec)


def _made(registry: Registry, spec: MethodSpec | ShiftSpec, *given: Any) -> Any:
    """A class's instance with its options; of the version that the cell's key holds, no other."""
    kind, what = registry.get(spec.name), registry.kind
    installed = kind.card.version
    if spec.version != installed:
        raise ConfigError(
            f"the cell asks for version {spec.version} of {what} {spec.name!r}; installed is "
            f"{installed}"
        )
    options = kind.Options(**parse(kind.Options, spec.options, f"{what} {spec.name!r}"))
    return kind(*given, options)


def _make_method(spec: MethodSpec, setup: Setup) -> Method:
    method: Method = _made(METHODS, spec, setup)
    if method.wants_stream and TRANSDUCTIVE not in spec.label:
        raise MethodError(
            f"method {spec.name!r} sees queries ahead (wants_stream), as its name in tables must "
            "say: put 'transductive' into it, or use the option bank='transductive'"
        )
    return method


_make_shift = functools.partial(_made, SHIFTS)


def _load_ready_made(cell: Cell, spec: ShiftSpec, data: RetrievalSet, *, root: Path) -> ReadyMade:
    from benchmark.data.datasets import ready_made

    if not root.is_dir():
        raise ConfigError(f"the folder of ready-made queries {root} does not exist (READY_MADE=)")
    return ready_made.load(root, BENCHMARKS.get(cell.benchmark).dataset, spec, data)


def disk_cache(chosen: str = "") -> DiskCache | None:
    """The disk cache that the user wants, or None where there is to be none.

    Args:
        chosen: a folder or "off", as given by a flag; "" leaves it to ``QUERYSHIFT_CACHE``, and
            without that to ``queryshift`` in ``XDG_CACHE_HOME`` or ``~/.cache``. Its bound in bytes
            is ``QUERYSHIFT_CACHE_BYTES``, or 10 GB; 0 means no cache.

    Raises:
        ConfigError: ``QUERYSHIFT_CACHE_BYTES`` is no size, or the folder is a file.
    """
    value = chosen or os.environ.get(FOLDER_VARIABLE, "")
    most = os.environ.get(BYTES_VARIABLE, "").strip()
    try:
        size = int(TypeAdapter(ByteSize).validate_python(most or DEFAULT_BYTES))
    except (ValidationError, OverflowError):
        raise ConfigError(
            f"{BYTES_VARIABLE} is {most!r}; expected a size in bytes, such as 500M or 20G, or 0"
        ) from None
    if value.lower() == OFF or not size:
        return None
    try:
        base = os.environ.get("XDG_CACHE_HOME", "") or "~/.cache"
        folder = user_path(value) if value else user_path(base) / "queryshift"
    except ConfigError:  # in a container or a service without a home folder
        if value:
            raise
        logger.warning(
            "no home folder is known here, so the disk cache is off; name a folder with --cache or "
            "%s, or say off",
            FOLDER_VARIABLE,
        )
        return None
    if folder.exists() and not folder.is_dir():
        origin = "--cache" if chosen else FOLDER_VARIABLE
        raise ConfigError(f"{origin}: {folder} is not a folder; name one, or say {OFF!r}")
    return DiskCache(folder.absolute(), size)
