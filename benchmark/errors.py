"""The errors that a user can cause. Each says what was wrong, what was expected, what to do."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import reprlib
import traceback
from collections.abc import Iterable
from typing import Any

LONGEST = 1000
"""Characters of the message of somebody else's error that are kept."""


class QueryShiftError(Exception):
    """Base of all errors that are the user's to mend; the CLI prints them without a traceback."""


class ConfigError(QueryShiftError):
    """Raised for a setting of the wrong name, type or range."""


class UnknownNameError(ConfigError):
    """Raised for a method, shift, benchmark, backbone or option name that does not exist."""


class DataError(QueryShiftError):
    """Raised for missing, malformed or inconsistent data files."""


class WeightsError(QueryShiftError):
    """Raised for weights that are missing or do not fit the architecture."""


class ResultsError(QueryShiftError):
    """Raised when results cannot be written, read or combined."""


class PluginError(QueryShiftError):
    """Raised for an entry point that cannot be loaded or is not of the right kind."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest names as a phrase for an error, or an empty string.

    >>> did_you_mean("resst", ["rest", "tent"])
    "; did you mean 'rest'"
    """
    near = difflib.get_close_matches(name.lower(), list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, near))}" if near else ""


def amount(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not one.

    >>> amount(1, "query"), amount(1200, "query"), amount(0, "cell")
    ('1 query', '1,200 queries', '0 cells')
    """
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else many}"


def unknown(what: str, name: str, known: Iterable[str], advice: str = "") -> UnknownNameError:
    """The error for a name that does not exist.

    >>> str(unknown("method", "resst", ["rest", "tent"]))
    "unknown method 'resst'; did you mean 'rest'; known: rest, tent"
    """
    names = list(known)
    near = did_you_mean(name, names)
    return UnknownNameError(
        f"unknown {what} {name!r}{near}; known: {', '.join(names) or 'none'}{advice}"
    )


def import_extra(
    module: str, extra: str, what: str, kind: type[QueryShiftError] = ConfigError, other: str = ""
) -> Any:
    """An optional library, imported now.

    Args:
        extra: of this package, that brings it.
        what: what needs it, for the message ("logging to tensorboard needs the extra").
        kind: of the error where it is not installed.
        other: what else the user can do, for the message.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        advice = f"pip install 'queryshift[{extra}]'{other}"
        raise kind(f"{what}: {advice} ({error})") from None


def reason_of(error: BaseException) -> str:
    """Why something has failed, on one line: type and message of the error, or where it arose."""
    if isinstance(error, SystemExit):
        return f"SystemExit: the code of the cell called sys.exit({error.code!r})"
    with contextlib.suppress(Exception):  # a class of somebody else's may not even have a text
        # What no encoding has, such as the odd bytes of a file's name, could not be stored.
        text = str(error).encode("utf-8", "replace").decode()
        if message := " ".join(text.split()):
            cut = message if len(message) <= LONGEST else f"{message[:LONGEST]} ..."
            return f"{type(error).__name__}: {cut}"
    places = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f": in {os.path.basename(p.filename)}, line {p.lineno}" for p in places)
    return f"{type(error).__name__}{where}"


def shown(value: object) -> str:
    """A value for a message: as Python writes it, shortened where it is long.

    >>> shown("a"), len(shown("a" * 1000))
    ("'a'", 100)
    """
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100
