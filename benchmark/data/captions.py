"""BLIP's caption cleaning, which TCR applies to every image-text set except person search."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_WORDS = 30
"""BLIP's cut for COCO and Flickr30K (Fashion-Gen takes 77)."""

_PUNCTUATION = str.maketrans(dict.fromkeys('.!"()*#:;~', " "))
_RUN = re.compile(r"\s{2,}")


def clean(text: str | Iterable[str], max_words: int = MAX_WORDS) -> str:
    """Normalises a caption the way BLIP's retrieval data sets do.

    In order: lower case; each of ``. ! " ( ) * # : ; ~`` becomes a space; runs of two or more
    white-space characters become one space; a trailing line break and outer spaces go; only the
    first ``max_words`` space-separated words stay. Commas, question marks, apostrophes and hyphens
    are kept. It is applied *after* a corruption, as the reference does.

    Args:
        text: a caption, or several that are joined by spaces first.
        max_words: words kept, at least 1.

    Returns:
        The cleaned caption; empty where the caption was only punctuation (it stays a query, so
        that counts do not move).

    Raises:
        ValueError: ``max_words`` below 1.

    >>> clean('A man ("Bob"), on a well-known hill... ')
    'a man bob , on a well-known hill'
    """
    if max_words < 1:
        raise ValueError(f"max_words must be at least 1, not {max_words}")
    joined = text if isinstance(text, str) else " ".join(text)
    spaced = joined.lower().translate(_PUNCTUATION)
    collapsed = _RUN.sub(" ", spaced).rstrip("\n").strip(" ")
    return " ".join(collapsed.split(" ")[:max_words])


@dataclass(frozen=True)
class Cleaning:
    """``clean`` with its limit: equal limits make equal cleanings."""

    max_words: int = MAX_WORDS

    def __call__(self, text: str) -> str:
        """The cleaned caption."""
        return clean(text, self.max_words)
