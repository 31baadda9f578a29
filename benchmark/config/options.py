"""Options of methods and shifts: from text or YAML values to the types that their fields declare.

A method or a shift declares its options as a frozen dataclass with defaults; field metadata may
hold ``choices`` (allowed values). Everything else is derived from that declaration.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from benchmark.config.yaml import shown
from benchmark.errors import ConfigError, UnknownNameError, did_you_mean

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def option_names(options: type) -> tuple[str, ...]:
    """Names of the options that a dataclass declares, in order."""
    return tuple(field.name for field in dataclasses.fields(options) if field.init)


def applicable(options: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that the dataclass has a field for."""
    return {name: value for name, value in values.items() if name in option_names(options)}


def parse(options: type, values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Converts the given values to their fields' types.

    Args:
        options: the options dataclass.
        values: option name -> text (``"1e-3"``, ``"true"``) or an already typed value.
        owner: what they are options of, for messages ("method 'tent'").

    Raises:
        UnknownNameError: no such option; says the nearest ones.
        ConfigError: a value of the wrong type, or not one of the choices.
    """
    known = option_names(options)
    fields = {field.name: field for field in dataclasses.fields(options)}
    hints = typing.get_type_hints(options)
    parsed = {}
    for name, value in values.items():
        if name not in known:
            raise UnknownNameError(
                f"{owner} has no option {name!r}{did_you_mean(name, known)}; "
                f"it has {', '.join(known) or 'none'}"
            )
        try:
            parsed[name] = convert(value, hints[name])
        except ValueError as error:
            raise ConfigError(f"option {name!r} of {owner}: {error}") from None
        choices = fields[name].metadata.get("choices", ())
        if choices and parsed[name] not in choices:
            near = did_you_mean(str(parsed[name]), map(str, choices))
            raise ConfigError(
                f"option {name!r} of {owner} is {parsed[name]!r}{near}; "
                f"expected one of {', '.join(map(repr, choices))}"
            )
    return parsed


def complete(options: type, values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """All options as a plain dict: the given ones (see ``parse``), defaults for the rest.

    The dataclass is built once, so that its own checks speak.

    Raises:
        UnknownNameError: as ``parse``.
        ConfigError: as ``parse``, or a value that the dataclass itself refuses.
    """
    parsed = parse(options, values, owner)
    try:
        return dataclasses.asdict(options(**parsed))
    except (TypeError, ValueError) as error:  # MethodError and ShiftError are ValueErrors
        raise ConfigError(f"{owner}: {error}") from None


def convert(value: Any, hint: Any) -> Any:
    """One value, from text or already typed, as the type ``hint`` says.

    Understands bool, int, float, str, ``Literal``, unions (the first member that fits, text last)
    and ``tuple[X, ...]`` (text is split at commas).

    Raises:
        ValueError: says what was expected.

    >>> convert("1e-3", float), convert("learnt", float | str), convert("off", bool)
    (0.001, 'learnt', False)
    """
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, typing.get_args(hint))
    if origin is Literal:
        return _convert_literal(value, typing.get_args(hint))
    if origin is tuple:
        return _convert_tuple(value, typing.get_args(hint))
    converters = {bool: _to_bool, int: _to_int, float: _to_float, str: _to_str}
    if hint in converters:
        return converters[hint](value)
    if hint is type(None):
        return _to_none(value)
    raise ValueError(f"its type {hint!r} cannot be given as a setting")


def _convert_union(value: Any, members: tuple[Any, ...]) -> Any:
    problems = []
    for member in sorted(members, key=lambda m: (m is str, m is float)):
        try:
            return convert(value, member)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError(" or ".join(problems))


def _convert_literal(value: Any, allowed: tuple[Any, ...]) -> Any:
    for choice in allowed:
        if value == choice and type(value) is type(choice):
            return choice
        if isinstance(value, str) and value == str(choice):
            return choice
    raise ValueError(f"expected one of {', '.join(map(repr, allowed))}, not {shown(value)}")


def _convert_tuple(value: Any, members: tuple[Any, ...]) -> tuple[Any, ...]:
    parts = [p.strip() for p in value.split(",")] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError(f"expected values separated by commas, not {shown(value)}")
    if len(members) == 2 and members[1] is Ellipsis:
        return tuple(convert(part, members[0]) for part in parts)
    if len(parts) != len(members):
        raise ValueError(f"expected {len(members)} values, not {len(parts)}")
    return tuple(convert(part, member) for part, member in zip(parts, members, strict=True))


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    raise ValueError(f"expected true or false, not {shown(value)}")


def _to_int(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return int(value)
    raise ValueError(f"expected a whole number, not {shown(value)}")


def _to_float(value: Any) -> float:
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    elif isinstance(value, str):
        with contextlib.suppress(ValueError):
            number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, not {shown(value)}")
    return number


def _to_str(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"expected a text, not {shown(value)}")


def _to_none(value: Any) -> None:
    if value is None or (isinstance(value, str) and value.lower() in ("none", "null")):
        return None
    raise ValueError(f"expected none, not {shown(value)}")
