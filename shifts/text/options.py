"""Validation shared by the option dataclasses of the text shifts."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from shifts.base import ShiftError


def check_choices(options: Any) -> None:
    """Raises ShiftError for a field whose value is not among its metadata's ``choices``."""
    for item in fields(options):
        choices = item.metadata.get("choices")
        value = getattr(options, item.name)
        if choices is not None and value not in choices:
            known = ", ".join(repr(choice) for choice in choices)
            raise ShiftError(f"option {item.name!r} is {value!r}; it must be one of {known}")
