"""Word-level corruptions after EDA and AEDA that need no word list: RS, RD and IP.

MM_Robustness keeps redrawing a word-level result until a sentence encoder finds it similar enough
to the original. Here that gate is an option (``shifts.text.gate``) and off by default, which makes
these the harder shift.
"""

from __future__ import annotations

import re

import numpy as np

from shifts.base import ShiftCard
from shifts.text.draws import Draws
from shifts.text.gate import GatedTextShift

SEVERITIES = (1, 2, 3, 4, 5, 6, 7)
PUNCTUATION = ".,!?;:"
_APOSTROPHES = str.maketrans("", "", "'\u2019")
_WORD = re.compile("[a-z]+")
_SWAP_DRAWS = 3  # EDA draws the second position a fourth time but skips the swap whatever it gives
_EDA = "EDA (Wei and Zou 2019), rate 0.05 * severity (MM_Robustness, TCR); similarity gate optional"
_AEDA = (
    "AEDA (Karimi et al. 2021), rate 0.05 * severity (MM_Robustness, TCR); similarity gate optional"
)


def normalised_words(text: str) -> list[str]:
    """The words EDA works on: apostrophes dropped, lower case, runs of a-z; digits vanish."""
    return _WORD.findall(text.translate(_APOSTROPHES).lower())


def words_edited(words: int, severity: int) -> int:
    """``max(1, floor(0.05 * severity * words))``, in integers."""
    return max(1, severity * words // 20)


def eda_card(name: str, summary: str, *, exact: bool = True) -> ShiftCard:
    """The card of a shift of the EDA family."""
    return ShiftCard(name, "text", SEVERITIES, summary, _EDA, exact=exact)


class EdaShift(GatedTextShift):
    """Common part of the EDA family: it works on normalised words."""

    def untouched(self, item: str) -> str:
        """The normalised words; a text without a Latin letter as it is."""
        return " ".join(normalised_words(item)) or item


class RandomSwap(EdaShift):
    """Swaps two random words, as often as the severity says."""

    card = eda_card("rs", "random pairs of words swapped")

    def draw(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """Swaps; a text without a Latin letter comes back as it is."""
        words = normalised_words(item)
        if not words:
            return item
        draws = Draws(rng)
        for _ in range(words_edited(len(words), severity)):
            first = draws.below(len(words))
            for _ in range(_SWAP_DRAWS):
                second = draws.below(len(words))
                if second != first:
                    words[first], words[second] = words[second], words[first]
                    break
        return " ".join(words)


class RandomDelete(EdaShift):
    """Drops each word with probability 0.05 * severity, but never all of them."""

    card = eda_card("rd", "words deleted at random")

    def draw(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """Drops words; a text without a Latin letter comes back as it is."""
        words = normalised_words(item)
        if not words:
            return item
        if len(words) == 1:
            return words[0]
        draws = Draws(rng)
        rate = severity / 20
        kept = [word for word in words if draws.uniform() >= rate]
        return " ".join(kept or [draws.choice(words)])


class InsertPunctuation(GatedTextShift):
    """Puts punctuation marks, as tokens of their own, before random words."""

    card = ShiftCard(
        name="ip",
        modality="text",
        severities=SEVERITIES,
        summary="punctuation marks inserted between words",
        source=_AEDA,
    )

    def draw(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """Inserts 1..floor(0.05 * severity * words + 1) marks; a blank text comes back as it is."""
        if not item.strip():
            return item
        words = item.split(" ")  # single spaces, as published: a double space makes an empty word
        draws = Draws(rng)
        most = severity * len(words) // 20 + 1
        count = 1 + draws.below(most)
        for i in draws.sample(range(len(words)), count):
            words[i] = f"{draws.choice(PUNCTUATION)} {words[i]}"
        return " ".join(words)
