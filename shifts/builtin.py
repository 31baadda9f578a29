"""Built-in shifts by name, for shifts that are made of other shifts."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from shifts import ALIASES, BUILTINS
from shifts.base import Shift, ShiftError


def builtin_class(name: str) -> type[Shift]:
    """The class of a built-in shift, by its name in ``BUILTINS``."""
    module, _, attribute = BUILTINS[name].partition(":")
    found: type[Shift] = getattr(importlib.import_module(module), attribute)
    return found


def names_of(*modalities: str) -> list[str]:
    """The built-in shifts of these modalities, by their cards, in the declared order."""
    return [name for name in BUILTINS if builtin_class(name).card.modality in modalities]


def shift_class(name: str, modality: str) -> type[Shift]:
    """The class of a built-in shift of one modality.

    Raises:
        ShiftError: there is no such shift; names the nearest ones.
    """
    if name not in shift_names(modality):
        known = sorted(shift_names(modality))
        near = difflib.get_close_matches(name, known, n=3) or known
        raise ShiftError(
            f"there is no built-in {modality} shift {name!r}; choose one of {', '.join(near)} "
            "(queryshift list shifts)"
        )
    return builtin_class(ALIASES.get(name, name))


def shift_names(modality: str) -> set[str]:
    """Names and aliases of the built-in shifts of one modality; imports none of them."""
    known = {n for n, target in BUILTINS.items() if target.startswith(f"shifts.{modality}.")}
    return known | {alias for alias, name in ALIASES.items() if name in known}


def option_names(name: str, modality: str) -> tuple[str, ...]:
    """Names of a shift's options, in the declared order.

    Raises:
        ShiftError: as ``shift_class``.
    """
    return tuple(option.name for option in fields(shift_class(name, modality).Options))


def check_option_names(name: str, modality: str, given: Iterable[str]) -> None:
    """Raises ShiftError for an unknown shift, or for an option that it has not."""
    known = option_names(name, modality)
    for option in given:
        if option not in known:
            raise ShiftError(
                f"shift {name!r} has no option {option!r}; it has {', '.join(known) or 'none'}"
            )


def make_shift(name: str, modality: str, options: Mapping[str, str] | None = None) -> Shift:
    """A built-in shift of one modality with options given as text.

    Args:
        name: registry name or declared alias.
        modality: which modality it must have.
        options: option name -> value as text; others keep their default.

    Raises:
        ShiftError: unknown name or option, a value that its option does not take, or whatever the
            shift itself refuses (``frost`` without photographs).
    """
    kind = shift_class(name, modality)
    check_option_names(name, modality, options or ())
    defaults = {option.name: option.default for option in fields(kind.Options)}
    given: dict[str, Any] = {}
    for option, text in (options or {}).items():
        given[option] = _converted(name, option, text, type(defaults[option]))
    return kind(kind.Options(**given))


def parse_pairs(pairs: tuple[str, ...]) -> dict[str, str]:
    """``("variant=mm",)`` as ``{"variant": "mm"}``.

    Raises:
        ShiftError: an entry is not of the form name=value, or names an option again.
    """
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise ShiftError(f"{pair!r} is not of the form name=value, such as variant=mm")
        if name in parsed:
            raise ShiftError(f"option {name!r} is given twice; say it once")
        parsed[name] = value
    return parsed


def _converted(shift: str, option: str, text: str, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, TypeError, ValueError):
        raise ShiftError(
            f"option {option!r} of shift {shift!r} is {text!r}; expected a value of type "
            f"{kind.__name__}"
        ) from None
