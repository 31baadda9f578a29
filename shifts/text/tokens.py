"""Splitting a caption into tokens and joining tokens again, the way nlpaug does both.

The round trip is not the identity, on purpose: the corrupted captions of MM_Robustness carry its
side effects on words that no operator touched (``black-and-white`` -> ``black - and - white``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOKEN = re.compile(r"\w+|[^\w\s]")
_CLOSING = ".,:;?!%"
_LEFT = frozenset("[({<")
_RIGHT = frozenset("])}>")
_REPAIRED = frozenset(_CLOSING) | _LEFT | _RIGHT


def split_tokens(text: str) -> list[str]:
    """Words (runs of letters, digits and underscore) and single other characters; no spaces."""
    return _TOKEN.findall(text)


def join_tokens(tokens: list[str]) -> str:
    """Joins tokens with spaces, then closes the gaps before ``. , : ; ? ! %`` and inside brackets.

    The repairs run as four passes over the text (closing marks in the middle, closing marks at the
    end, left brackets, right brackets). Within one pass a gap that a repair has looked at is not
    looked at again, so of two adjacent marks in the middle only the first moves: ``a . , b``
    becomes ``a. , b``. A bracket that begins or ends the text is left alone.

    Args:
        tokens: no token holds white space.

    Returns:
        The text without outer spaces.
    """
    text = " ".join(tokens)
    if _REPAIRED.isdisjoint(text):
        return text.strip()
    inner = range(1, len(tokens) - 1)
    gaps = [" "] * len(tokens)  # gaps[i] stands before token i; gaps[0] is never written
    _close(gaps, (i for i in inner if not tokens[i].strip(_CLOSING) and tokens[i]), before=True)
    if len(tokens) > 1 and not tokens[-1].strip(_CLOSING) and tokens[-1]:
        gaps[-1] = ""
    _close(gaps, (i for i in inner if tokens[i] in _LEFT), before=False)
    _close(gaps, (i for i in inner if tokens[i] in _RIGHT), before=True)
    gaps[0] = ""
    return "".join(part for pair in zip(gaps, tokens, strict=True) for part in pair).strip()


def _close(gaps: list[str], marks: Iterable[int], *, before: bool) -> None:
    """Removes the gap before (or after) each marked token that has open gaps on both sides."""
    spent = 0
    for i in marks:
        if i > spent and gaps[i] and gaps[i + 1]:
            gaps[i if before else i + 1] = ""
            spent = i + 1
