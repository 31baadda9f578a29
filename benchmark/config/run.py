"""Settings of a run: defaults, then a YAML file, then the command line, into one frozen object.

Each setting is declared once, as a dataclass field with its help text and its reader; flags, YAML
keys and checks all come from there. A reader takes what YAML gives (int, list ...) as well as the
text of a flag, and nothing else: a wrong type or an unknown key is an error with its place.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.config.paths import user_path
from benchmark.config.readers import (
    Reader,
    Shard,
    one_of,
    read_cache,
    read_count,
    read_flag,
    read_integers,
    read_loader_workers,
    read_names,
    read_options,
    read_path,
    read_seconds,
    read_seeds,
    read_shard,
    read_slurm,
    read_text,
    read_workers,
    reading,
)
from benchmark.config.yaml import Document, Place, read_document

__all__ = [
    "BenchConfig",
    "Traced",
    "add_flags",
    "defaults",
    "from_file",
    "from_flags",
    "one_of",
    "read_count",
    "read_flag",
    "read_integers",
    "read_names",
    "read_options",
    "read_seeds",
    "read_setting",
    "read_text",
    "reading",
    "resolve",
]


def _setting(default: Any, read: Reader, help_text: str, *, metavar: str = "") -> Any:
    return field(default=default, metadata=_about(read, help_text, metavar))


def _about(read: Reader, help_text: str, metavar: str) -> dict[str, Any]:
    return {"read": read, "help": help_text, "metavar": metavar}


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """Everything ``bench`` can be told. The help texts of the fields say what each means."""

    method: tuple[str, ...] = _setting(
        ("rest",), read_names, "methods, or 'all'; 'source' always runs too", metavar="NAMES"
    )
    shift: tuple[str, ...] = _setting(
        (),
        read_names,
        "shifts or their short names, or 'all' that the benchmark has by default "
        "(default: gaussian_noise; 'all' where a benchmark is named)",
        metavar="NAMES",
    )
    suite: str = _setting(
        "", read_text, "mini (embedded, the default) or paper (own data)", metavar="NAME"
    )
    benchmark: tuple[str, ...] = _setting(
        (),
        read_names,
        "benchmarks, or 'all' of the suite; default: the suite's first that the shift fits",
        metavar="NAMES",
    )
    severity: tuple[int, ...] = _setting(
        (), read_integers, "severities (default: the benchmark's)", metavar="INTS"
    )
    seed: tuple[int, ...] = _setting((0,), read_seeds, "run seeds, as 0,1 or 0-2", metavar="INTS")
    model: str = _setting(
        "",
        read_text,
        "model, backbone, or backbone:model (default: the benchmark's)",
        metavar="NAME",
    )
    pretrained: str = _setting("", read_path, "open_clip tag or local weights file", metavar="TAG")
    data: str = _setting(
        "",
        read_path,
        "folder with the data sets; or your own data: a table of pairs (.csv, .tsv, .jsonl, "
        ".parquet), a folder with a metadata.csv, .tar shards, hf:NAME",
        metavar="PLACE",
    )
    columns: tuple[str, ...] = _setting(
        (),
        read_names,
        "which column of your own table is which: image=path,caption=text",
        metavar="OURS=YOURS",
    )
    gallery: str = _setting(
        "", read_path, "table of the gallery, where --data holds queries only", metavar="TABLE"
    )
    qrels: str = _setting("", read_path, "relevance of that gallery in TREC's form", metavar="FILE")
    clean: str = _setting(
        "",
        read_path,
        "the same queries before they were shifted, where --data holds shifted ones",
        metavar="TABLE",
    )
    split: str = _setting(
        "",
        read_text,
        "split of your own table (default: test, where it has splits)",
        metavar="NAME",
    )
    ready_made: str = _setting(
        "",
        read_path,
        "folder with ready-made corrupted queries (TCR's, MM_Robustness'), used instead of "
        "generating them",
        metavar="DIR",
    )
    cache: str = _setting(
        "",
        read_cache,
        "folder of the disk cache, or 'off' (default: QUERYSHIFT_CACHE, else ~/.cache/queryshift)",
        metavar="DIR",
    )
    shift_option: dict[str, Any] = field(
        default_factory=dict,
        metadata=_about(read_options, "option of the shifts set by hand; repeatable", "KEY=VALUE"),
    )
    transform: str | None = _setting(
        None,
        one_of("resize", "clip", "pad"),
        "resize (TCR's plain resize), clip (the model's own) or pad (towards a square, then as "
        "clip); default: the benchmark's",
    )
    preset: str = _setting(
        "",
        read_text,
        "option preset (published, mini) or a preset file of your own (queryshift tune); default: "
        "mini for the embedded backbone, else published",
        metavar="NAME",
    )
    option: dict[str, Any] = field(
        default_factory=dict,
        metadata=_about(read_options, "method option set by hand; repeatable", "KEY=VALUE"),
    )
    stream: tuple[str, ...] = _setting(
        ("single",),
        read_names,
        "how queries arrive: single, continual, gradual, mixed, diverse, correlated, interleaved",
        metavar="KINDS",
    )
    stream_option: dict[str, Any] = field(
        default_factory=dict,
        metadata=_about(
            read_options,
            "option of the stream: domains_per_batch (diverse), group_key, delta (correlated); "
            "repeatable",
            "KEY=VALUE",
        ),
    )
    batch_size: int = _setting(64, read_count, "queries per batch", metavar="N")
    limit: int | None = _setting(None, read_count, "at most so many queries", metavar="N")
    allow_missing: bool = _setting(False, read_flag, "go on without images that are not on disk")
    device: str = _setting("auto", read_text, "cpu, cuda, cuda:N, or auto", metavar="NAME")
    precision: str = _setting(
        "float32",
        one_of("float32", "tf32", "bf16", "fp16"),
        "number format of the encoder's matrix products; parameters and optimiser stay float32",
    )
    compile: bool = _setting(False, read_flag, "compile the query encoder (torch.compile)")
    workers: int | None = _setting(
        None,
        read_workers,
        "cells at the same time, or auto: as many as the machine or cluster has room for "
        "(default: 1; auto where --executor says processes or ray)",
        metavar="N",
    )
    threads: int | None = _setting(None, read_count, "torch threads per cell", metavar="N")
    loader_workers: int | None = _setting(
        None,
        read_loader_workers,
        "processes that decode and corrupt ahead, per cell; 0: none (default: none where few "
        "queries are to be made or every core has a cell; else 1, with a GPU up to 4)",
        metavar="N",
    )
    executor: str = _setting(
        "auto",
        one_of("auto", "serial", "processes", "ray", "slurm"),
        "who runs the cells: this process (serial), worker processes, a Ray cluster, jobs of a "
        "Slurm cluster; auto: worker processes where several workers or a time limit are asked for",
    )
    slurm: dict[str, Any] = field(
        default_factory=dict,
        metadata=_about(
            read_slurm,
            "option of the Slurm jobs: partition, time, mem, account, gres ...; repeatable",
            "KEY=VALUE",
        ),
    )
    address: str = _setting(
        "local",
        read_text,
        "Ray cluster: HOST:PORT of a running one, auto (found by Ray), or local (started for the "
        "run)",
        metavar="ADDR",
    )
    time_limit: float | None = _setting(
        None,
        read_seconds,
        "a cell that takes longer is stopped, and the rest goes on",
        metavar="SECONDS",
    )
    shard: Shard | None = field(
        default=None,
        metadata=_about(read_shard, "only the I-th of N parts of the cells, from 1", "I/N"),
    )
    out: str = _setting("", read_path, "results folder; default results/runs/<name>", metavar="DIR")
    if_exists: str = _setting(
        "missing",
        one_of("missing", "always"),
        "missing (reuse finished cells) or always (run again)",
    )
    log: tuple[str, ...] = _setting(
        (),
        read_names,
        "also log each batch and cell to FILE.jsonl, FILE.csv, tensorboard:DIR or mlflow[:ADDRESS]",
        metavar="PLACES",
    )
    no_figures: bool = _setting(False, read_flag, "write no PNG figures")
    quiet: bool = _setting(False, read_flag, "no progress bars")


def add_flags(parser: argparse.ArgumentParser, *, leave_out: Iterable[str] = ()) -> None:
    """Adds ``--config`` and one flag per setting; flags not given leave no trace in the result."""
    parser.add_argument("--config", metavar="FILE", help="YAML file with any of the settings below")
    hidden = set(leave_out)
    for setting in dataclasses.fields(BenchConfig):
        if setting.name in hidden:
            continue
        keywords: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(setting)}
        if setting.metadata["read"] is read_flag:
            keywords["action"] = "store_true"
        else:
            keywords["metavar"] = setting.metadata["metavar"] or "WORD"
            several = setting.metadata["read"] in (read_options, read_slurm)
            keywords["action"] = "append" if several else "store"
        parser.add_argument(f"--{setting.name.replace('_', '-')}", **keywords)


def _help(setting: dataclasses.Field[Any]) -> str:
    text: str = setting.metadata["help"]
    default = setting.default
    if default in ("", (), None, False, dataclasses.MISSING):
        return text
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{text} (default: {shown})"


@dataclass(frozen=True, slots=True)
class Traced:
    """A value and where it comes from: "default", "this command", file:line, or its flag."""

    value: Any
    origin: str


def resolve(args: argparse.Namespace, **preset: Any) -> BenchConfig:
    """Merges defaults, ``preset`` (a command's own defaults), the YAML file and the flags.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or range, an unreadable file.
    """
    found = {**from_file(args), **from_flags(args)}
    return BenchConfig(**{**preset, **{name: traced.value for name, traced in found.items()}})


def defaults(**preset: Any) -> dict[str, Traced]:
    """Every setting's default; ``preset`` holds a command's own."""
    plain = BenchConfig()
    names = [setting.name for setting in dataclasses.fields(BenchConfig)]
    own = {name: Traced(value, "this command") for name, value in preset.items()}
    return {name: Traced(getattr(plain, name), "default") for name in names} | own


def from_file(args: argparse.Namespace) -> dict[str, Traced]:
    """The settings in the file that ``--config`` names; none where it was not given.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or range, an unreadable file.
    """
    return _from_yaml(user_path(args.config)) if getattr(args, "config", None) else {}


def from_flags(args: argparse.Namespace) -> dict[str, Traced]:
    """The settings given as flags, false, zero and empty ones included.

    Raises:
        ConfigError: a value of the wrong type or range.
    """
    found: dict[str, Traced] = {}
    for setting in dataclasses.fields(BenchConfig):
        if setting.name in args:
            flag = f"--{setting.name.replace('_', '-')}"
            value = reading(setting.metadata["read"], getattr(args, setting.name), flag)
            found[setting.name] = Traced(value, flag)
    return found


def _from_yaml(path: Path) -> dict[str, Traced]:
    document = read_document(path)
    values: dict[str, Traced] = {}
    for key in document.mapping():
        name = key.replace("-", "_")
        if name in values:
            raise document.error((key,), f"{key!r} is set twice")
        values[name] = Traced(read_setting(document, (key,)), document.where((key,)))
    return values


def read_setting(document: Document, place: Place) -> Any:
    """The setting that the last step of a place names, as its reader gives it.

    Raises:
        ConfigError: no such setting, or a value of the wrong type or range; says file and line.
    """
    known = {setting.name: setting for setting in dataclasses.fields(BenchConfig)}
    key = str(place[-1])
    name = key.replace("-", "_")
    if name not in known:
        raise document.unknown_key(place[:-1], key, tuple(known))
    try:
        return known[name].metadata["read"](document.value(place))
    except ValueError as error:
        raise document.error(place, f"{key!r}: {error}") from None
