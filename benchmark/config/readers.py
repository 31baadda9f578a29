"""Readers of settings: what YAML gives (int, list ...) or the text of a flag -> a checked value.

A reader raises ``ValueError`` with what it expected; who knows the place says where.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.config.paths import expanded
from benchmark.config.yaml import shown
from benchmark.errors import ConfigError, did_you_mean

Reader = Callable[[Any], Any]

MAX_SEED = 2**32 - 1
"""Largest run seed; everything random is derived from it by hashing."""


def read_text(value: Any) -> str:
    """A text, as given."""
    if not isinstance(value, str):
        raise ValueError(f"expected a text, not {shown(value)}")
    return value


def read_path(value: Any) -> str:
    """A path as text, ``~`` replaced by the home folder."""
    return expanded(read_text(value))


def read_cache(value: Any) -> str:
    """The folder of a cache, or "off"."""
    text = read_path("off" if value is False else value)
    if text.lower() in ("no", "none", "false", "null", "0"):
        raise ValueError(
            f"expected a folder or off, not {text!r} (a folder of that name: ./{text})"
        )
    return text


def read_names(value: Any) -> tuple[str, ...]:
    """Names: ``"a,b"`` or a list of texts; without repeats, in the given order."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(p, str) for p in parts):
        raise ValueError(f"expected names separated by commas, not {shown(value)}")
    names = [part.strip() for part in parts]
    if not names or not all(names):
        raise ValueError(f"expected names separated by commas, not {shown(value)}")
    return tuple(dict.fromkeys(names))


def read_integers(value: Any) -> tuple[int, ...]:
    """Whole numbers: ``3``, ``"0,2"``, ``"0-2"``, or a list of them; without repeats.

    >>> read_integers("0-2,5")
    (0, 1, 2, 5)
    """
    if _is_integer(value):
        value = [value]
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise ValueError(f"expected whole numbers such as 0,2 or 0-2, not {shown(value)}")
    numbers: list[int] = []
    for part in parts:
        numbers += _range(part)
    return tuple(dict.fromkeys(numbers))


def _range(part: Any) -> Iterable[int]:
    if _is_integer(part) and part >= 0:
        return [part]
    match = (
        re.fullmatch(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?", part, re.ASCII)
        if (isinstance(part, str))
        else None
    )
    if match is None:
        raise ValueError(f"expected whole numbers such as 0,2 or 0-2, not {shown(part)}")
    first = int(match[1])
    last = int(match[2]) if match[2] is not None else first
    if last < first or last - first >= 10_000:
        raise ValueError(f"the range {part!r} is empty or too long")
    return range(first, last + 1)


def read_seeds(value: Any) -> tuple[int, ...]:
    """Run seeds: whole numbers up to ``MAX_SEED``."""
    seeds = read_integers(value)
    if max(seeds) > MAX_SEED:
        raise ValueError(f"a seed is at most {MAX_SEED}, not {max(seeds)}")
    return seeds


def read_count(value: Any) -> int:
    """A whole number of at least one."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,12}", value, re.ASCII):
        value = int(value)
    if not _is_integer(value) or value < 1:
        raise ValueError(f"expected a whole number of at least 1, not {shown(value)}")
    return value


AUTO_WORKERS = 0
"""Stands for "as many workers as there is room for"."""


def read_workers(value: Any) -> int:
    """A number of workers, or "auto"."""
    try:
        return AUTO_WORKERS if value == "auto" else read_count(value)
    except ValueError:
        raise ValueError(
            f"expected a whole number of at least 1, or auto, not {shown(value)}"
        ) from None


def read_loader_workers(value: Any) -> int:
    """A number of loader workers: a whole number of at least 0."""
    try:
        return 0 if value in (0, "0") and not isinstance(value, bool) else read_count(value)
    except ValueError:
        raise ValueError(f"expected a whole number of at least 0, not {shown(value)}") from None


def read_seconds(value: Any) -> float:
    """A time span in seconds, above zero."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ValueError(f"expected a number of seconds above 0, not {shown(value)}")
    return float(value)


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of a list of cells: the ``index``-th (from 1) of ``count``."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def read_shard(value: Any) -> Shard:
    """A part of the cells.

    >>> read_shard("2/4")
    Shard(index=2, count=4)
    """
    match = (
        re.fullmatch(r"(\d{1,6})/(\d{1,6})", value, re.ASCII) if isinstance(value, str) else None
    )
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"expected a part I/N with I from 1 to N, such as 2/4, not {shown(value)}")
    return Shard(int(match[1]), int(match[2]))


def read_flag(value: Any) -> bool:
    """True or false, also as yes or no, on or off."""
    word = value.lower() if isinstance(value, str) else value
    found = _FLAGS.get(word) if isinstance(word, str | bool) else None
    if found is None:
        raise ValueError(f"expected true or false, not {shown(value)}")
    return found


_FLAGS: dict[str | bool, bool] = {
    **{True: True, "true": True, "yes": True, "on": True},
    **{False: False, "false": False, "no": False, "off": False},
}


def read_options(value: Any) -> dict[str, Any]:
    """Options: ``["steps=1", ...]`` from flags (values stay text) or a YAML mapping."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("expected option names as keys")
        return dict(value)
    if not isinstance(value, str | list | tuple):
        raise ValueError(f"expected options as KEY: VALUE below it, not {shown(value)}")
    pairs: dict[str, Any] = {}
    for text in [value] if isinstance(value, str) else value:
        key, equals, content = text.partition("=") if isinstance(text, str) else ("", "", "")
        if not equals or not key.strip():
            raise ValueError(f"expected KEY=VALUE, not {shown(text)}")
        if key.strip() in pairs:
            raise ValueError(f"option {key.strip()!r} is given twice")
        pairs[key.strip()] = content
    return pairs


SLURM_OPTIONS = (
    *("account", "comment", "constraint", "exclude", "gpus_per_node", "gres", "mem", "nodelist"),
    *("partition", "qos", "time"),
)
"""What the jobs of ``--executor slurm`` can be told; names of sbatch's own options."""


def read_slurm(value: Any) -> dict[str, Any]:
    """Options of Slurm jobs: ``["partition=gpu", "time=60"]`` from flags or a YAML mapping.

    Several may stand in one text, parted by commas. They end up in a batch script, hence no blanks.
    """
    if isinstance(value, str | list):
        texts = [value] if isinstance(value, str) else value
        value = [part for text in texts for part in re.split(r",(?=\s*\w+=)", str(text))]
    options = read_options(value)
    for name, content in options.items():
        if name not in SLURM_OPTIONS:
            raise ValueError(
                f"unknown Slurm option {name!r}{did_you_mean(name, SLURM_OPTIONS)}; "
                f"known: {', '.join(SLURM_OPTIONS)}"
            )
        text = "" if isinstance(content, bool | float) else str(content)
        if not re.fullmatch(r"[\w.:,=@/+&|*\[\]-]{1,200}", text, re.ASCII):
            raise ValueError(f"{name}: expected a word as sbatch takes it, not {content!r}")
        options[name] = int(text) if text.isdigit() else text
    return options


def one_of(*choices: str) -> Reader:
    """A reader for one of a few words."""

    def read(value: Any) -> str:
        if value not in choices:
            near = did_you_mean(value, choices) if isinstance(value, str) else ""
            raise ValueError(f"expected {' or '.join(choices)}, not {shown(value)}{near}")
        return str(value)

    return read


def reading(read: Reader, value: Any, place: str) -> Any:
    """Applies a reader; its ``ValueError`` becomes a ``ConfigError`` that says where."""
    try:
        return read(value)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
