"""Settings of a run: defaults, then a YAML file, then the command line, into one frozen object.

Each setting is declared once, as a field of ``BenchConfig`` with the type of what YAML or the text
of a flag may give; flags, YAML keys, help and checks all come from there. Most types are plain ones
with bounds; a few have a notation of their own: "0-2,5", "2/4", "KEY=VALUE".
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator, BeforeValidator, PlainValidator, Strict, StringConstraints

from benchmark.config.files import Document, expanded, read_document, user_path
from benchmark.config.presets import attributes
from benchmark.config.validate import (
    Place,
    at_commas,
    check,
    expecting,
    from_text,
    mapping,
    named,
    one_of,
)
from benchmark.errors import ConfigError, shown

MAX_SEED = 2**32 - 1
"""Largest run seed; everything random is derived from it by hashing."""

AUTO_WORKERS = 0
"""Stands for "as many workers as there is room for"."""

FLAG = from_text(bool)
COUNT = from_text(Annotated[int, Ge(1), Le(10**12)])
MOST_THREADS = 1024  # with many more torch crashes, and a machine has no room for the processes
THREADS = from_text(Annotated[int, Ge(1), Le(MOST_THREADS)])
SECONDS = expecting(
    "a number of seconds above 0 and below 1e9", from_text(Annotated[float, Gt(0), Lt(1e9)])
)
WORKERS: Any = Annotated[
    one_of(COUNT, Literal["auto"]), AfterValidator(lambda n: AUTO_WORKERS if n == "auto" else n)
]
PATH = Annotated[str, AfterValidator(expanded)]
"""``~`` is replaced by the home folder."""


def _unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


NAME = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def names(known: Callable[[str], object] = str) -> Any:
    """Names, ``"a,b"`` or a list of texts, that a function knows; without repeats, in order."""
    name = Annotated[NAME, AfterValidator(named(known))]
    listed = Annotated[tuple[name, ...], Strict(False), MinLen(1)]
    return Annotated[listed, BeforeValidator(at_commas), AfterValidator(_unique)]


NAMES = names()


def integers(highest: int = 10**10) -> Any:
    """Whole numbers: ``3``, ``"0,2"``, ``"0-2"``, or a list of them; without repeats."""
    number = Annotated[int, Ge(0), Le(highest)]
    listed = Annotated[tuple[number, ...], Strict(False), MinLen(1)]
    kind = Annotated[listed, BeforeValidator(_ranges), AfterValidator(_unique)]
    most = "" if highest > MAX_SEED else f" up to {highest}"
    return expecting(f"whole numbers{most} such as 0,2 or 0-2 (at most 10000)", kind)


def _ranges(value: Any) -> Any:
    """The numbers that ranges stand for; what is neither number nor range stays as it is."""
    parts = at_commas(value)
    numbers: list[Any] = []
    for part in parts if isinstance(parts, list | tuple) else [parts]:
        text = part if isinstance(part, str) else ""
        match = re.fullmatch(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?", text, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        numbers += range(first, last + 1) if 0 <= last - first < 10_000 else [part]
    return numbers


INTEGERS = integers()
SEEDS = integers(MAX_SEED)


def _cache(value: Any) -> Any:
    if isinstance(value, str) and value.lower() in ("no", "none", "false", "null", "0"):
        said = f"expected a folder or off, not {value!r} (a folder of that name: ./{value})"
        raise ValueError(said)
    return "off" if value is False else value


CACHE = Annotated[PATH, BeforeValidator(_cache)]
"""The folder of a cache, or "off"."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of a list of cells: the ``index``-th (from 1) of ``count``."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def _shard(value: Any) -> Shard:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", str(value), re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"expected a part I/N with I from 1 to N, such as 2/4, not {shown(value)}")
    return Shard(int(match[1]), int(match[2]))


def _pairs(value: Any) -> Any:
    """A mapping from the texts of flags, ``["steps=1", ...]``; its values stay texts."""
    if not isinstance(value, str | list | tuple):
        return value
    pairs: dict[str, str] = {}
    for text in [value] if isinstance(value, str) else value:
        key, equals, content = text.partition("=") if isinstance(text, str) else ("", "", "")
        if not equals or not key.strip():
            raise ValueError(f"expected KEY=VALUE, not {shown(text)}")
        if key.strip() in pairs:
            raise ValueError(f"option {key.strip()!r} is given twice")
        pairs[key.strip()] = content
    return pairs


OPTIONS = Annotated[dict[str, Any], BeforeValidator(_pairs)]
"""Options of methods, shifts or streams; what they may be is known with those."""

SLURM_OPTIONS = (
    *("account", "comment", "constraint", "exclude", "gpus_per_node", "gres", "mem", "nodelist"),
    *("partition", "qos", "time"),
)
"""What the jobs of ``--executor slurm`` can be told; names of sbatch's own options."""


def _word(value: Any) -> Any:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[\w.:,=@/+&|*\[\]-]{1,200}", text, re.ASCII):
        raise ValueError(f"expected a word as sbatch takes it, not {shown(value)}")
    return int(text) if text.isdigit() else text


def _several(value: Any) -> Any:
    """Several options may stand in one text, parted by commas."""
    if not isinstance(value, str | list | tuple):
        return value
    texts = [value] if isinstance(value, str) else value
    return [part for text in texts for part in re.split(r",(?=\s*\w+=)", str(text))]


SLURM: Any = Annotated[
    mapping(dict.fromkeys(SLURM_OPTIONS, Annotated[Any, PlainValidator(_word)])),
    BeforeValidator(_pairs),
    BeforeValidator(_several),
]
"""Options of Slurm jobs. They end up in a batch script, hence no blanks."""


def _setting(kind: Any, default: Any, metavar: str = "") -> Any:
    given: Any = {"default_factory": dict} if default == {} else {"default": default}
    return field(**given, metadata={"kind": kind, "metavar": metavar})


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """Everything ``bench`` can be told; its help has the lines below.

    Attributes:
        method: methods, or 'all'; 'source' always runs too
        shift: shifts, or 'all' of the benchmark's default shifts (default: gaussian_noise; all if
            --benchmark is given)
        suite: mini (embedded, the default), paper (on your copies of the data), a plugin's, or a
            file
        benchmark: benchmarks, or 'all' of the suite (default: the first that fits the shift)
        severity: severities (default: the benchmark's)
        seed: run seeds, as 0,1 or 0-2
        model: model, backbone, or backbone:model (default: the benchmark's)
        pretrained: open_clip tag or local weights file
        data: folder with the data sets; or your own data: a table of pairs (.csv, .tsv, .jsonl,
            .parquet), a folder with a metadata.csv, .tar shards, hf:NAME
        columns: columns of your own table, such as image=path,caption=text
        gallery: table of the gallery, if --data holds only queries
        qrels: relevant gallery items of each query, in TREC format
        clean: clean versions of the queries, if --data holds shifted ones
        split: split of your own table (default: test, if it has splits)
        unlabelled: --data is a query log: nothing says which item of the --gallery is right
        ready_made: folder with ready-made corrupted queries (TCR's, MM_Robustness'), used instead
            of generating them
        cache: folder of the disk cache, or 'off' (default: QUERYSHIFT_CACHE, else
            ~/.cache/queryshift)
        shift_option: shift option; repeatable
        transform: image preprocessing: resize (TCR's plain resize), clip (the model's own) or pad
            (black bars, then clip) (default: the benchmark's)
        preset: option preset: published, mini, or a file written by queryshift tune (default: mini
            for the embedded backbone, else published)
        option: method option; repeatable
        stream: how queries arrive: single, arrival, continual, gradual, mixed, diverse, correlated,
            interleaved
        stream_option: option of the stream: domains_per_batch (diverse), group_key, delta
            (correlated); repeatable
        batch_size: queries per batch
        limit: use at most N queries
        allow_missing: leave out what is not there: files, or items of relevance
        device: cpu, cuda, cuda:N, or auto
        precision: number format of the encoder's matrix products; parameters and optimiser stay
            float32
        compile: compile the query encoder (torch.compile)
        workers: cells to run in parallel, or auto: as many as fit on the machine or cluster
            (default: 1; auto with --executor processes or ray)
        threads: torch threads per cell
        loader_workers: processes per cell that decode and corrupt ahead; 0: none (default: none for
            few queries or if every core has a cell; else 1, with a GPU up to 24)
        executor: where cells run: in this process (serial), worker processes, a Ray cluster or
            Slurm jobs; auto: worker processes if there are several workers or a time limit, else
            serial
        slurm: Slurm job option: partition, time, mem, account, gres ...; repeatable
        address: Ray cluster: HOST:PORT of a running one, auto (found by Ray), or local (started for
            the run)
        time_limit: stop a cell that takes longer and continue with the next
        shard: run only part I of N of the cells, from 1
        out: results folder; default results/runs/<name>
        if_exists: reuse finished cells (missing) or run them again (always)
        log: also log each batch and cell to FILE.jsonl or tensorboard:DIR
        no_figures: write no PNG figures
        quiet: no progress bars
    """

    method: tuple[str, ...] = _setting(NAMES, ("rest",), "NAMES")
    shift: tuple[str, ...] = _setting(NAMES, (), "NAMES")
    suite: str = _setting(str, "", "NAME")
    benchmark: tuple[str, ...] = _setting(NAMES, (), "NAMES")
    severity: tuple[int, ...] = _setting(INTEGERS, (), "INTS")
    seed: tuple[int, ...] = _setting(SEEDS, (0,), "INTS")
    model: str = _setting(str, "", "NAME")
    pretrained: str = _setting(PATH, "", "TAG")
    data: str = _setting(PATH, "", "PLACE")
    columns: tuple[str, ...] = _setting(NAMES, (), "OURS=YOURS")
    gallery: str = _setting(PATH, "", "TABLE")
    qrels: str = _setting(PATH, "", "FILE")
    clean: str = _setting(PATH, "", "TABLE")
    split: str = _setting(str, "", "NAME")
    unlabelled: bool = _setting(FLAG, False)
    ready_made: str = _setting(PATH, "", "DIR")
    cache: str = _setting(CACHE, "", "DIR")
    shift_option: dict[str, Any] = _setting(OPTIONS, {}, "KEY=VALUE")
    transform: str | None = _setting(Literal["resize", "clip", "pad"], None)
    preset: str = _setting(str, "", "NAME")
    option: dict[str, Any] = _setting(OPTIONS, {}, "KEY=VALUE")
    stream: tuple[str, ...] = _setting(NAMES, ("single",), "KINDS")
    stream_option: dict[str, Any] = _setting(OPTIONS, {}, "KEY=VALUE")
    batch_size: int = _setting(COUNT, 64, "N")
    limit: int | None = _setting(COUNT, None, "N")
    allow_missing: bool = _setting(FLAG, False)
    device: str = _setting(str, "auto", "NAME")
    precision: str = _setting(Literal["float32", "tf32", "bf16", "fp16"], "float32")
    compile: bool = _setting(FLAG, False)
    workers: int | None = _setting(WORKERS, None, "N")
    threads: int | None = _setting(THREADS, None, "N")
    loader_workers: int | None = _setting(
        from_text(Annotated[int, Ge(0), Le(MOST_THREADS)]), None, "N"
    )
    executor: str = _setting(Literal["auto", "serial", "processes", "ray", "slurm"], "auto")
    slurm: dict[str, Any] = _setting(SLURM, {}, "KEY=VALUE")
    address: str = _setting(str, "local", "ADDR")
    time_limit: float | None = _setting(SECONDS, None, "SECONDS")
    shard: Shard | None = _setting(Annotated[Any, PlainValidator(_shard)], None, "I/N")
    out: str = _setting(PATH, "", "DIR")
    if_exists: str = _setting(Literal["missing", "always"], "missing")
    log: tuple[str, ...] = _setting(NAMES, (), "PLACES")
    no_figures: bool = _setting(FLAG, False)
    quiet: bool = _setting(FLAG, False)


SETTINGS = {entry.name: entry for entry in dataclasses.fields(BenchConfig)}
"""Name -> the field, whose metadata hold its ``kind`` and ``metavar``."""

KINDS = {name: entry.metadata["kind"] for name, entry in SETTINGS.items()}
"""Name -> the type of what may be given, which ``validate.check`` takes."""


OF_TABLES = ("columns", "gallery", "qrels", "clean", "split", "unlabelled")
"""Settings that say how a table of the user's own is read."""


def flag_of(name: str) -> str:
    """The flag that gives a setting.

    >>> flag_of("batch_size")
    '--batch-size'
    """
    return f"--{name.replace('_', '-')}"


def add_flags(
    parser: argparse.ArgumentParser, *, leave_out: Iterable[str] = (), only: Iterable[str] = ()
) -> None:
    """Adds ``--config`` and one flag per setting, or flags of these ``only``.

    Flags not given leave no trace in the result.
    """
    if not only:
        what = "YAML file with any of the settings below"
        parser.add_argument("--config", metavar="FILE", help=what)
    helps = attributes(BenchConfig)
    for name in only or (name for name in SETTINGS if name not in leave_out):
        setting = SETTINGS[name]
        text, kind, default = helps.get(name, ""), KINDS[name], setting.default
        if default not in ("", (), None, False, dataclasses.MISSING):
            said = ",".join(map(str, default)) if isinstance(default, tuple) else default
            text += f" (default: {said})"
        keywords: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text}
        if kind is FLAG:
            keywords["action"] = "store_true"
        else:
            keywords["metavar"] = setting.metadata["metavar"] or "|".join(get_args(kind))
            keywords["action"] = "append" if kind in (OPTIONS, SLURM) else "store"
        parser.add_argument(flag_of(name), **keywords)


@dataclass(frozen=True, slots=True)
class Traced:
    """A value and where it comes from: "default", "this command", file:line, or its flag."""

    value: Any
    origin: str

    @property
    def line(self) -> str:
        """File and line; "" where no file says it."""
        return self.origin if ":" in self.origin else ""

    @property
    def is_flag(self) -> bool:
        """Whether a flag says it."""
        return self.origin.startswith("--")


def defaults(**preset: Any) -> dict[str, Traced]:
    """Every setting's default; ``preset`` holds a command's own."""
    plain = BenchConfig()
    own = {name: Traced(value, "this command") for name, value in preset.items()}
    return {name: Traced(getattr(plain, name), "default") for name in SETTINGS} | own


def from_file(args: argparse.Namespace, kinds: Mapping[str, Any] = KINDS) -> dict[str, Traced]:
    """The settings, of these types, in the file that ``--config`` names; none without it.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or range, an unreadable file.
    """
    path = getattr(args, "config", None)
    if path is None:
        return {}
    document = read_document(user_path(path))
    return traced(document, document.check(mapping(kinds)))


def traced(document: Document, values: Mapping[str, Any], at: Place = ()) -> dict[str, Traced]:
    """The checked values of the mapping at a place of a file, each with its line."""
    keys = {key.replace("-", "_"): key for key in document.value(at)}
    return {
        name: Traced(value, document.where((*at, keys[name]))) for name, value in values.items()
    }


def from_flags(args: argparse.Namespace, kinds: Mapping[str, Any] = KINDS) -> dict[str, Traced]:
    """The settings, of these types, given as flags, false and zero ones included.

    Raises:
        ConfigError: a value of the wrong type or range, or a place that is the empty text, as an
            unset variable of a shell gives.
    """
    for name in (name for name in kinds if name in args and KINDS[name] is PATH):
        if not getattr(args, name):
            raise ConfigError(f"{flag_of(name)} is empty; name a place, or leave it out")
    return {
        name: Traced(check(kind, getattr(args, name), flag_of(name)), flag_of(name))
        for name, kind in kinds.items()
        if name in args
    }
