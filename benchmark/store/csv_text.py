"""Texts in CSV files that a spreadsheet would run as a formula."""

from __future__ import annotations

import contextlib
from typing import Any

import pandas as pd

_STARTS = ("=", "+", "-", "@", "\t", "\r")


def no_formula(value: Any) -> Any:
    """A text that begins as a formula does, with an apostrophe in front; all else as it is.

    >>> no_formula("=1+1"), no_formula("-6.3"), no_formula(-6.3), no_formula("tent")
    ("'=1+1", '-6.3', -6.3, 'tent')
    """
    if not isinstance(value, str) or not value.startswith(_STARTS):
        return value
    with contextlib.suppress(ValueError):
        float(value)
        return value
    return f"'{value}".replace("\r", " ")


def no_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with harmless texts, in headings as well; numbers stay numbers."""
    texts = [i for i, kind in enumerate(frame.dtypes) if not pd.api.types.is_numeric_dtype(kind)]
    safe = frame.copy(deep=False)
    for i in texts:
        safe.isetitem(i, list(frame.iloc[:, i].map(no_formula)))
    safe.columns = [no_formula(name) for name in frame.columns]
    return safe
