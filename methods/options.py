"""How a method declares its options: a frozen dataclass whose fields carry help text and limits."""

from __future__ import annotations

import dataclasses
import math
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

from methods.base import MethodError, Setup

LEARNT = "learnt"
"""As a temperature: 1 / the backbone's logit scale."""


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[Any, ...] = (),
    above: float | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    word: str = "",
) -> Any:
    """A dataclass field with its help text, and the limits that ``check_options`` enforces.

    Args:
        default: value when the user says nothing.
        help: one line for the command line and the docs.
        choices: the allowed values, empty for any.
        above: numbers must be greater than this.
        minimum: numbers must be at least this.
        maximum: numbers must be at most this.
        word: the one text that may stand for a number above 0, "" for none.
    """
    choices = (choices,) if isinstance(choices, str) else choices
    limits = {"choices": choices, "above": above, "minimum": minimum, "maximum": maximum}
    metadata = {"help": help} | {
        key: value for key, value in limits.items() if value not in ((), None)
    }
    if word:
        metadata["word"] = word
    return dataclasses.field(default=default, metadata=metadata)


def temperature_option(default: float) -> Any:
    """The option ``temperature``: a number above 0, or ``LEARNT``."""
    about = f"softmax temperature, or {LEARNT!r} for 1 / the backbone's logit scale"
    return option(default, about, above=0, word=LEARNT)


def temperature_of(chosen: float | str, setup: Setup) -> float:
    """What a value of ``temperature_option`` stands for."""
    return 1.0 / setup.logit_scale if chosen == LEARNT else float(chosen)


def check_options(options: Any) -> None:
    """Checks every field of an options dataclass against its type and its declared limits.

    Raises:
        MethodError: naming the option, the value given and what was expected.
    """
    hints = get_type_hints(type(options))
    for entry in dataclasses.fields(options):
        value = getattr(options, entry.name)
        problem = _wrong_type(value, hints[entry.name]) or _out_of_limits(value, entry.metadata)
        if problem:
            raise MethodError(f"option {entry.name!r} is {value!r}; expected {problem}")


def _wrong_type(value: Any, hint: Any) -> str:
    allowed = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    plain = tuple(kind for kind in allowed if isinstance(kind, type))
    if len(plain) < len(allowed):
        return ""  # a type too rich to check here; the method's own checks must do
    if isinstance(value, bool):  # bool is an int to Python, but never a number to us
        fits = bool in plain
    else:
        fits = isinstance(value, plain) or (float in plain and isinstance(value, int))
    return "" if fits else " or ".join(kind.__name__ for kind in plain)


def _out_of_limits(value: Any, metadata: Any) -> str:
    choices = metadata.get("choices", ())
    if choices and value not in choices:
        return "one of " + ", ".join(map(repr, choices))
    if isinstance(value, str) and value != metadata.get("word", value):
        return f"a number above 0, or {metadata['word']!r}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    if not math.isfinite(value):
        return "a finite number"
    if "above" in metadata and not value > metadata["above"]:
        return f"a number above {metadata['above']}"
    if "minimum" in metadata and value < metadata["minimum"]:
        return f"at least {metadata['minimum']}"
    if "maximum" in metadata and value > metadata["maximum"]:
        return f"at most {metadata['maximum']}"
    return ""
