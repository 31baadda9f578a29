"""Splitting a caption into tokens and joining tokens again, the way nlpaug does both.

The round trip is not the identity, on purpose: the corrupted captions of MM_Robustness carry its
side effects on words that no operator touched (``black-and-white`` -> ``black - and - white``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_TOKEN = re.compile(r"\w+|[^\w\s]")
_CLOSING = ".,:;?!%"
_LEFT = frozenset("[({<")
_RIGHT = frozenset("])}>")
_REPAIRED = frozenset(_CLOSING) | _LEFT | _RIGHT


_JOINERS = "\u200c\u200d"
"""Characters without width that belong to the letter before them (Persian, Indic scripts)."""


def split_tokens(text: str) -> list[str]:
    """Words (runs of letters, digits and underscore) and single other characters; no spaces.

    Text is brought to composed form (NFC) first, which most text is in already. Marks that stay
    beside their letter even so (vowel signs, accents without a composed form) belong to it.
    """
    text = unicodedata.normalize("NFC", text)
    if not any(map(_extends, text)):
        return _TOKEN.findall(text)
    tokens: list[str] = []
    in_word = False
    for cluster in characters(text):
        letter = cluster[0].isalnum() or cluster[0] == "_"
        if letter and in_word:
            tokens[-1] += cluster
        elif not cluster[0].isspace():
            tokens.append(cluster)
        in_word = letter
    return tokens


def characters(text: str) -> list[str]:
    """What a reader takes for one character each: a letter together with its marks.

    >>> characters("ab"), len(characters("x\u030cy"))
    (['a', 'b'], 2)
    """
    if text.isascii():
        return list(text)
    clusters: list[str] = []
    for char in text:
        if clusters and _extends(char) and not clusters[-1].isspace():
            clusters[-1] += char
        else:
            clusters.append(char)
    return clusters


def _extends(char: str) -> bool:
    return char > "\x7f" and (char in _JOINERS or unicodedata.category(char)[0] == "M")


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
