"""Paths that a user gives: ``~`` means the home folder wherever a path can be set."""

from __future__ import annotations

import os
from pathlib import Path

from benchmark.errors import ConfigError


def expanded(text: str) -> str:
    """A path with ``~`` or ``~name`` in front replaced by that home folder.

    Raises:
        ValueError: that home folder is not known (a container without one, no such user), or the
            text cannot be a path.
    """
    if "\0" in text:
        raise ValueError(f"a path cannot hold a zero byte: {text!r}")
    if not text.startswith("~") or os.path.lexists(text):
        return text
    first = text.partition(os.sep)[0]
    whole = os.path.expanduser(text)
    # With HOME set to nothing, "~/x" would become "/x".
    if whole == text or (first == "~" and os.environ.get("HOME") == ""):
        raise ValueError(f"{text!r}: no home folder {first!r} is known here; write the whole path")
    return whole


def user_path(text: str | Path) -> Path:
    """As ``expanded``, for places that are not read by a reader of settings.

    Raises:
        ConfigError: as ``expanded`` raises ValueError.
    """
    try:
        return Path(expanded(str(text)))
    except ValueError as error:
        raise ConfigError(str(error)) from None
