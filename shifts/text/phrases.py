"""Phrase-for-phrase replacement and the outer form of a caption, shared by the sentence rules."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from shifts.text.draws import Draws

_DATA = Path(__file__).parent / "data"
_ENDING = re.compile(r"[.!?]*$")


def table(name: str) -> Any:
    """What the JSON file of that name in the folder ``data`` holds."""
    return json.loads((_DATA / f"{name}.json").read_text(encoding="utf-8"))


_WORDS: dict[str, str] = table("words")


def word_set(name: str) -> frozenset[str]:
    """The words of a list in ``data/words.json``."""
    return frozenset(_WORDS[name].split())


DETERMINERS = word_set("determiners")
_OPENERS = DETERMINERS | {"there", "he", "she", "it", "they", "we", "you", "in", "on", "at"}
PLURAL_DETERMINERS = word_set("plural determiners")
_IRREGULAR_PLURALS = word_set("irregular plurals")
_AFTER_NOUN = word_set("after a noun")


@dataclass(frozen=True, slots=True)
class Outline:
    """A caption taken apart: words, closing marks, and whether it began with a capital."""

    words: list[str]
    ending: str
    capital: bool

    def rebuild(self, words: list[str]) -> str:
        """The caption with other words, in the outline's capital and closing marks."""
        text = " ".join(words)
        if self.capital:
            text = text[:1].upper() + text[1:]
        return text + self.ending


def outline(text: str) -> Outline:
    """Splits a caption; an opening function word is lower-cased, since it may move."""
    body = text.strip()
    ending = _ENDING.search(body)
    marks = ending.group() if ending else ""
    words = body[: len(body) - len(marks)].split()
    capital = body[:1].isupper()
    if capital and words and words[0].lower() in _OPENERS:
        words[0] = words[0].lower()
    return Outline(words, marks, capital)


def is_plural(words: list[str]) -> bool:
    """Whether a noun phrase takes "are": by its determiner, otherwise by its head noun's form."""
    if not words:
        return False
    if "and" in words:
        return True
    first = words[0].lower()
    if first in PLURAL_DETERMINERS:
        return True
    if first in {"a", "an", "one", "another", "each", "every", "this", "that"}:
        return False
    head = words[-1]
    for before, word in pairwise(words):
        if word in _AFTER_NOUN:
            head = before
            break
    head = head.lower()
    return head in _IRREGULAR_PLURALS or (head.endswith("s") and not head.endswith("ss"))


class Phrases:
    """Replaces every known phrase by one of its alternatives, keeping capitals and a/an.

    Args:
        table: phrase -> alternatives, lower case; where phrases overlap the longest wins.
    """

    def __init__(self, table: Mapping[str, tuple[str, ...]]) -> None:
        self._table = table
        longest_first = sorted(table, key=lambda phrase: (-len(phrase), phrase))
        phrases = "|".join(re.escape(phrase) for phrase in longest_first)
        self._pattern = re.compile(rf"\b(?:(an?) )?({phrases})\b", re.IGNORECASE)

    def replace(self, text: str, draws: Draws) -> str:
        """The text with all matches replaced; itself where there are none."""

        def one(match: re.Match[str]) -> str:
            article, phrase = match.groups()
            new = draws.choice(self._table[phrase.lower()])
            if article is None:
                return new[:1].upper() + new[1:] if phrase[0].isupper() else new
            kept = article[0] + ("n" if new[0] in "aeiou" else "")
            return f"{kept} {new}"

        replaced, count = self._pattern.subn(one, text.replace("\u2019", "'"))
        return replaced if count else text


@functools.cache
def phrases(name: str) -> Phrases:
    """The shipped table of that name: "formal", "casual" or "paraphrase"."""
    found = table("phrases")[name].items()
    return Phrases({phrase: tuple(others) for phrase, others in found})
