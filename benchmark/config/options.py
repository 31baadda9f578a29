"""Options of methods and shifts: from text or YAML values to the types that their fields declare.

A method or a shift declares its options as a frozen dataclass with defaults; its fields' types and
metadata say what may stand there (``validate.mapping_of``). All else is derived from that.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from benchmark.config.validate import Place, check, mapping_of
from benchmark.errors import ConfigError


def option_names(options: type) -> tuple[str, ...]:
    """Names of the options that a dataclass declares, in order."""
    return tuple(field.name for field in dataclasses.fields(options) if field.init)


def applicable(options: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that the dataclass has a field for."""
    return {name: value for name, value in values.items() if name in option_names(options)}


def parse(
    options: type,
    values: Mapping[str, Any],
    owner: str,
    where: str | Callable[[Place], str] = "",
) -> dict[str, Any]:
    """Converts the given values to their fields' types.

    Args:
        options: the options dataclass.
        values: option name -> text (``"1e-3"``, ``"true"``) or an already typed value.
        owner: what they are options of, for messages ("method 'tent'").
        where: file and line, as ``validate.check`` takes it.

    Raises:
        UnknownNameError: no such option; says the nearest ones.
        ConfigError: a value of the wrong type or range.
    """
    parsed: dict[str, Any] = check(_kind(options), dict(values), where, owner=owner)
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


@functools.lru_cache(maxsize=256)
def _kind(options: type) -> Any:
    return mapping_of(options)
