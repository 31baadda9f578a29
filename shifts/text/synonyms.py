"""Word-level corruptions that need synonyms: replacement (SR) and insertion (RI) after EDA.

``sr`` and ``ri`` ask WordNet, which the user installs; ``sr_lite`` and ``ri_lite`` ask a small
list written for the vocabulary of captions, and are therefore approximations by name and card.
EDA iterates Python sets, so its results depend on the hash seed; here sets are sorted first.
"""

from __future__ import annotations

import functools
import importlib
import re
from abc import abstractmethod
from typing import Any

import numpy as np

from shifts.base import ShiftError
from shifts.text.draws import Draws
from shifts.text.phrases import table, word_set
from shifts.text.words import EdaShift, eda_card, normalised_words, words_edited

STOP_WORDS = word_set("stop words")
"""The 127 English stop words that EDA never replaces."""

_INSERT_TRIES = 9  # EDA draws a tenth word but gives up whatever it is
_NOT_WORD = re.compile("[^a-z ]")


class _SynonymShift(EdaShift):
    """Common part of SR and RI: where synonyms come from."""

    @abstractmethod
    def synonyms(self, word: str) -> tuple[str, ...]:
        """Synonyms of a lower-case word, sorted, without the word itself; may hold spaces."""

    def draw(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """Edits the normalised words; a text without a Latin letter comes back as it is."""
        words = normalised_words(item)
        if not words:
            return item
        self.edit(words, words_edited(len(words), severity), Draws(rng))
        return " ".join(words)

    @abstractmethod
    def edit(self, words: list[str], count: int, draws: Draws) -> None:
        """Changes ``words`` in place, ``count`` times at most."""


class _Replace(_SynonymShift):
    def edit(self, words: list[str], count: int, draws: Draws) -> None:
        """Replaces all occurrences of up to ``count`` distinct words that are no stop words."""
        candidates = sorted(set(words) - STOP_WORDS)
        for word in draws.sample(candidates, len(candidates)):
            synonyms = self.synonyms(word)
            if not synonyms:
                continue
            synonym = draws.choice(synonyms)
            words[:] = [synonym if other == word else other for other in words]
            count -= 1
            if not count:
                return


class _Insert(_SynonymShift):
    def edit(self, words: list[str], count: int, draws: Draws) -> None:
        """Inserts the first synonym of a random word, ``count`` times, never at the very end."""
        for _ in range(count):
            for _ in range(_INSERT_TRIES):
                synonyms = self.synonyms(draws.choice(words))
                if synonyms:
                    words.insert(draws.below(len(words)), synonyms[0])
                    break


@functools.cache
def caption_synonyms() -> dict[str, tuple[str, ...]]:
    """The shipped list: word -> its synonyms, sorted."""
    return {word: tuple(sorted(synonyms)) for word, synonyms in table("synonyms").items()}


class _Listed(_SynonymShift):
    def synonyms(self, word: str) -> tuple[str, ...]:
        """From the shipped list."""
        return caption_synonyms().get(word, ())


class SrLite(_Listed, _Replace):
    """Words replaced by synonyms of the shipped list."""

    card = eda_card("sr_lite", "words replaced by synonyms from a small list", exact=False)


class RiLite(_Listed, _Insert):
    """Synonyms of random words inserted, from the shipped list."""

    card = eda_card("ri_lite", "synonyms from a small list inserted", exact=False)


def _wordnet(shift: str) -> Any:
    """nltk's WordNet reader with its data found.

    Raises:
        ShiftError: nltk or the data is missing; says what to install.
    """
    try:
        wordnet = importlib.import_module("nltk.corpus").wordnet
    except ImportError:
        raise ShiftError(
            f"shift {shift!r} needs WordNet through nltk: pip install 'queryshift[wordnet]' and "
            f"python -m nltk.downloader wordnet; without it, {shift}_lite works offline"
        ) from None
    try:
        wordnet.synsets("dog")
    except LookupError:
        raise ShiftError(
            f"shift {shift!r} finds nltk but not its data package 'wordnet': "
            "python -m nltk.downloader wordnet, or set NLTK_DATA to the folder that holds "
            f"corpora/wordnet; without it, {shift}_lite works offline"
        ) from None
    return wordnet


@functools.lru_cache(maxsize=50_000)
def _wordnet_synonyms(wordnet: Any, word: str) -> tuple[str, ...]:
    """All lemma names of all senses of ``word``: letters and spaces, sorted, itself left out."""
    found: set[str] = set()
    for sense in wordnet.synsets(word):
        for name in sense.lemma_names():
            plain = name.replace("_", " ").replace("-", " ").lower()
            found.add(" ".join(_NOT_WORD.sub("", plain).split()))
    return tuple(sorted(found - {word, ""}))


class _WordNet(_SynonymShift):
    """Synonyms from WordNet.

    Raises:
        ShiftError: on creation, when nltk or its WordNet data is missing.
    """

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._wordnet = _wordnet(self.card.name)

    def synonyms(self, word: str) -> tuple[str, ...]:
        """From WordNet."""
        return _wordnet_synonyms(self._wordnet, word)


class Sr(_WordNet, _Replace):
    """Words replaced by WordNet synonyms."""

    card = eda_card("sr", "words replaced by WordNet synonyms")


class Ri(_WordNet, _Insert):
    """WordNet synonyms of random words inserted."""

    card = eda_card("ri", "WordNet synonyms inserted")
