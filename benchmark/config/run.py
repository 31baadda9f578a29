"""Settings of a run: defaults, then a YAML file, then the command line, into one frozen object.

Each setting is declared once, as a dataclass field with its kind and its help text; flags, YAML
keys and checks all come from there.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmark.config import kinds
from benchmark.config.files import user_path
from benchmark.config.kinds import COUNT, FLAG, OPTIONS, PATH, TEXT, Shard
from benchmark.config.validate import check, mapping
from benchmark.config.yaml import read_document


def _setting(kind: Any, default: Any, help_text: str, metavar: str = "WORD") -> Any:
    about = {"kind": kind, "help": help_text, "metavar": metavar}
    if default == {}:
        return field(default_factory=dict, metadata=about)
    return field(default=default, metadata=about)


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """Everything ``bench`` can be told. The help texts of the fields say what each means."""

    method: tuple[str, ...] = _setting(
        kinds.names(), ("rest",), "methods, or 'all'; 'source' always runs too", "NAMES"
    )
    shift: tuple[str, ...] = _setting(
        kinds.names(),
        (),
        "shifts, or 'all' of the benchmark's default shifts (default: gaussian_noise; all if "
        "--benchmark is given)",
        "NAMES",
    )
    suite: str = _setting(
        TEXT,
        "",
        "mini (embedded, the default), paper (on your copies of the data), a plugin's, or a file",
        "NAME",
    )
    benchmark: tuple[str, ...] = _setting(
        kinds.names(),
        (),
        "benchmarks, or 'all' of the suite (default: the first that fits the shift)",
        "NAMES",
    )
    severity: tuple[int, ...] = _setting(
        kinds.integers(), (), "severities (default: the benchmark's)", "INTS"
    )
    seed: tuple[int, ...] = _setting(
        kinds.integers(kinds.MAX_SEED), (0,), "run seeds, as 0,1 or 0-2", "INTS"
    )
    model: str = _setting(
        TEXT, "", "model, backbone, or backbone:model (default: the benchmark's)", "NAME"
    )
    pretrained: str = _setting(PATH, "", "open_clip tag or local weights file", "TAG")
    data: str = _setting(
        PATH,
        "",
        "folder with the data sets; or your own data: a table of pairs (.csv, .tsv, .jsonl, "
        ".parquet), a folder with a metadata.csv, .tar shards, hf:NAME",
        "PLACE",
    )
    columns: tuple[str, ...] = _setting(
        kinds.names(),
        (),
        "columns of your own table, such as image=path,caption=text",
        "OURS=YOURS",
    )
    gallery: str = _setting(PATH, "", "table of the gallery, if --data holds only queries", "TABLE")
    qrels: str = _setting(PATH, "", "relevant gallery items of each query, in TREC format", "FILE")
    clean: str = _setting(
        PATH, "", "clean versions of the queries, if --data holds shifted ones", "TABLE"
    )
    split: str = _setting(
        TEXT, "", "split of your own table (default: test, if it has splits)", "NAME"
    )
    unlabelled: bool = _setting(
        FLAG, False, "--data is a query log: nothing says which item of the --gallery is right"
    )
    ready_made: str = _setting(
        PATH,
        "",
        "folder with ready-made corrupted queries (TCR's, MM_Robustness'), used instead of "
        "generating them",
        "DIR",
    )
    cache: str = _setting(
        kinds.CACHE,
        "",
        "folder of the disk cache, or 'off' (default: QUERYSHIFT_CACHE, else ~/.cache/queryshift)",
        "DIR",
    )
    shift_option: dict[str, Any] = _setting(OPTIONS, {}, "shift option; repeatable", "KEY=VALUE")
    transform: str | None = _setting(
        Literal["resize", "clip", "pad"],
        None,
        "image preprocessing: resize (TCR's plain resize), clip (the model's own) or pad (black "
        "bars, then clip) (default: the benchmark's)",
    )
    preset: str = _setting(
        TEXT,
        "",
        "option preset: published, mini, or a file written by queryshift tune (default: mini for "
        "the embedded backbone, else published)",
        "NAME",
    )
    option: dict[str, Any] = _setting(OPTIONS, {}, "method option; repeatable", "KEY=VALUE")
    stream: tuple[str, ...] = _setting(
        kinds.names(),
        ("single",),
        "how queries arrive: single, continual, gradual, mixed, diverse, correlated, interleaved",
        "KINDS",
    )
    stream_option: dict[str, Any] = _setting(
        OPTIONS,
        {},
        "option of the stream: domains_per_batch (diverse), group_key, delta (correlated); "
        "repeatable",
        "KEY=VALUE",
    )
    batch_size: int = _setting(COUNT, 64, "queries per batch", "N")
    limit: int | None = _setting(COUNT, None, "use at most N queries", "N")
    allow_missing: bool = _setting(FLAG, False, "leave out images that are not on disk")
    device: str = _setting(TEXT, "auto", "cpu, cuda, cuda:N, or auto", "NAME")
    precision: str = _setting(
        Literal["float32", "tf32", "bf16", "fp16"],
        "float32",
        "number format of the encoder's matrix products; parameters and optimiser stay float32",
    )
    compile: bool = _setting(FLAG, False, "compile the query encoder (torch.compile)")
    workers: int | None = _setting(
        kinds.WORKERS,
        None,
        "cells to run in parallel, or auto: as many as fit on the machine or cluster (default: 1; "
        "auto with --executor processes or ray)",
        "N",
    )
    threads: int | None = _setting(COUNT, None, "torch threads per cell", "N")
    loader_workers: int | None = _setting(
        kinds.LOADER_WORKERS,
        None,
        "processes per cell that decode and corrupt ahead; 0: none (default: none for few queries "
        "or if every core has a cell; else 1, with a GPU up to 4)",
        "N",
    )
    executor: str = _setting(
        Literal["auto", "serial", "processes", "ray", "slurm"],
        "auto",
        "where cells run: in this process (serial), worker processes, a Ray cluster or Slurm jobs; "
        "auto: worker processes if there are several workers or a time limit, else serial",
    )
    slurm: dict[str, Any] = _setting(
        kinds.SLURM,
        {},
        "Slurm job option: partition, time, mem, account, gres ...; repeatable",
        "KEY=VALUE",
    )
    address: str = _setting(
        TEXT,
        "local",
        "Ray cluster: HOST:PORT of a running one, auto (found by Ray), or local (started for the "
        "run)",
        "ADDR",
    )
    time_limit: float | None = _setting(
        kinds.SECONDS, None, "stop a cell that takes longer and continue with the next", "SECONDS"
    )
    shard: Shard | None = _setting(
        kinds.SHARD, None, "run only part I of N of the cells, from 1", "I/N"
    )
    out: str = _setting(PATH, "", "results folder; default results/runs/<name>", "DIR")
    if_exists: str = _setting(
        Literal["missing", "always"],
        "missing",
        "reuse finished cells (missing) or run them again (always)",
    )
    log: tuple[str, ...] = _setting(
        kinds.names(),
        (),
        "also log each batch and cell to FILE.jsonl or tensorboard:DIR",
        "PLACES",
    )
    no_figures: bool = _setting(FLAG, False, "write no PNG figures")
    quiet: bool = _setting(FLAG, False, "no progress bars")


SETTINGS = {entry.name: entry for entry in dataclasses.fields(BenchConfig)}
"""Name -> the field, whose metadata hold its ``kind``, ``help`` and ``metavar``."""

KINDS = {name: entry.metadata["kind"] for name, entry in SETTINGS.items()}
"""Name -> the type of what may be given, which ``validate.check`` takes."""

_ALL = mapping(KINDS)


def flag_of(name: str) -> str:
    """The flag that gives a setting.

    >>> flag_of("batch_size")
    '--batch-size'
    """
    return f"--{name.replace('_', '-')}"


def add_flags(parser: argparse.ArgumentParser, *, leave_out: Iterable[str] = ()) -> None:
    """Adds ``--config`` and one flag per setting; flags not given leave no trace in the result."""
    parser.add_argument("--config", metavar="FILE", help="YAML file with any of the settings below")
    for name, setting in SETTINGS.items():
        if name in leave_out:
            continue
        keywords: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(setting)}
        if KINDS[name] is FLAG:
            keywords["action"] = "store_true"
        else:
            keywords["metavar"] = setting.metadata["metavar"]
            keywords["action"] = "append" if KINDS[name] in (OPTIONS, kinds.SLURM) else "store"
        parser.add_argument(flag_of(name), **keywords)


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


def defaults(**preset: Any) -> dict[str, Traced]:
    """Every setting's default; ``preset`` holds a command's own."""
    plain = BenchConfig()
    own = {name: Traced(value, "this command") for name, value in preset.items()}
    return {name: Traced(getattr(plain, name), "default") for name in SETTINGS} | own


def from_file(args: argparse.Namespace) -> dict[str, Traced]:
    """The settings in the file that ``--config`` names; none where it was not given.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or range, an unreadable file.
    """
    path = getattr(args, "config", None)
    return {} if path is None else _from_yaml(user_path(path))


def given(args: argparse.Namespace) -> dict[str, Traced]:
    """The settings that the user has given: those of the file, and over them those of the flags.

    Raises:
        ConfigError: as ``from_file`` and ``from_flags``.
    """
    return {**from_file(args), **from_flags(args)}


def from_flags(args: argparse.Namespace) -> dict[str, Traced]:
    """The settings given as flags, false, zero and empty ones included.

    Raises:
        ConfigError: a value of the wrong type or range.
    """
    return {
        name: Traced(from_flag(name, getattr(args, name)), flag_of(name))
        for name in SETTINGS
        if name in args
    }


def from_flag(name: str, value: Any) -> Any:
    """A setting given as a flag.

    Raises:
        ConfigError: a value of the wrong type or range.
    """
    return check(KINDS[name], value, flag_of(name))


def _from_yaml(path: Path) -> dict[str, Traced]:
    document = read_document(path)
    values = document.check(_ALL)
    where = {key.replace("-", "_"): document.where((key,)) for key in document.data}
    return {name: Traced(value, where[name]) for name, value in values.items()}
