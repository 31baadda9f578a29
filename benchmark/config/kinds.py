"""Kinds of settings: types of what YAML gives (int, list ...) or of the text of a flag.

Most are plain types with bounds; a few have a notation of their own: "0-2,5", "2/4", "KEY=VALUE".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator, BeforeValidator, PlainValidator, Strict, StringConstraints

from benchmark.config.files import expanded
from benchmark.config.validate import at_commas, expecting, from_text, mapping, one_of
from benchmark.errors import QueryShiftError, shown

MAX_SEED = 2**32 - 1
"""Largest run seed; everything random is derived from it by hashing."""

AUTO_WORKERS = 0
"""Stands for "as many workers as there is room for"."""

TEXT = str
FLAG = from_text(bool)
COUNT = from_text(Annotated[int, Ge(1), Le(10**12)])
LOADER_WORKERS = from_text(Annotated[int, Ge(0), Le(10**12)])
SECONDS = expecting("a number of seconds above 0", from_text(Annotated[float, Gt(0), Lt(1e9)]))
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


def named(known: Callable[[str], object]) -> Callable[[str], str]:
    """A validator of a name: what a function says of one that it does not know is the fault."""

    def validate(name: str) -> str:
        try:
            known(name)
        except QueryShiftError as error:
            raise ValueError(str(error)) from None
        return name

    return validate


def integers(highest: int = 10**10) -> Any:
    """Whole numbers: ``3``, ``"0,2"``, ``"0-2"``, or a list of them; without repeats."""
    number = Annotated[int, Ge(0), Le(highest)]
    listed = Annotated[tuple[number, ...], Strict(False), MinLen(1)]
    kind = Annotated[listed, BeforeValidator(_ranges), AfterValidator(_unique)]
    most = "" if highest > MAX_SEED else f" up to {highest}"
    return expecting(f"whole numbers{most} such as 0,2 or 0-2", kind)


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


def _cache(value: Any) -> Any:
    text = "off" if value is False else value
    if isinstance(text, str) and text.lower() in ("no", "none", "false", "null", "0"):
        raise ValueError(
            f"expected a folder or off, not {text!r} (a folder of that name: ./{text})"
        )
    return text


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


SHARD = Annotated[Any, PlainValidator(_shard)]
"""A part of the cells, "2/4"."""


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
