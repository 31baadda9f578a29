"""Sentence-level corruptions by rules: register (formal, casual) and paraphrase.

The benchmarks use T5 style models and translation models here. These rules need neither, change
fewer captions and change them more tamely; their names end in ``_rules``, their cards say
``exact=False``, and ``shifts.text.coverage`` counts the captions that no rule fits.
"""

from __future__ import annotations

import re

import numpy as np

from shifts.base import Shift, ShiftCard
from shifts.text.draws import Draws
from shifts.text.gate import GatedTextShift
from shifts.text.phrases import Outline, outline, phrases, word_set

_SHOWN = re.compile(
    r"^(?:(?:an?|the|this) (?:photo|picture|image|photograph|pic|view) (?:of|showing)|we see)\s+",
    re.IGNORECASE,
)
_OPENING_FILLERS = ("so", "looks like", "just", "well,", "hey, it's")
_CLOSING_FILLERS = (", you know", " or something", ", I guess", " right there", ", pretty cool")
_PLACE = word_set("places")
_OTHER_PREPOSITIONS = word_set("other prepositions")
_POSSESSIVES = word_set("possessives")
# What a place (or a time) begins with after its preposition; "in suits" is none.
_PLACE_OPENERS = word_set("openers of places")
_LONGEST_PLACE = 7  # words; longer tails hold more than a place


def rule_card(name: str, summary: str, *, randomised: bool = True) -> ShiftCard:
    """The card of a rule-based sentence shift."""
    source = "own rules, in place of the model that MM_Robustness and TCR use"
    return ShiftCard(name, "text", (1,), summary, source, randomised=randomised, exact=False)


class FormalRules(GatedTextShift):
    """Spells out contractions and swaps everyday words for formal ones."""

    card = rule_card("formal_rules", "formal register by rules: contractions, word pairs")

    def draw(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """A caption that no rule fits comes back as it is."""
        draws = Draws(rng)
        opening = _SHOWN.match(item)
        if opening is None:
            return phrases("formal").replace(item, draws)
        start = draws.choice(("this image depicts ", "this photograph presents "))
        start = start[0].upper() + start[1:] if item[0].isupper() else start
        return start + phrases("formal").replace(item[opening.end() :], draws)


class CasualRules(GatedTextShift):
    """Contracts, swaps formal words for everyday ones, and in half of the cases adds a filler."""

    card = rule_card("casual_rules", "casual register by rules: contractions, word pairs, fillers")

    def draw(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """A text without letters comes back as it is; so may a caption that no word pair fits."""
        if not any(char.isalpha() for char in item):
            return item
        draws = Draws(rng)
        text = phrases("casual").replace(item, draws)
        if draws.uniform() < 0.5:
            return text
        parts = outline(text)
        if draws.uniform() < 0.5:
            return parts.rebuild([draws.choice(_OPENING_FILLERS), *parts.words])
        return parts.rebuild([" ".join(parts.words) + draws.choice(_CLOSING_FILLERS)])


class ParaphraseRules(Shift):
    """Exchanges prepositions, quantities and verb forms, and may move a closing place phrase."""

    card = rule_card("paraphrase_rules", "prepositions, quantities and word order changed by rules")

    def corrupt(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """Moves the place phrase with a coin, and always if nothing else fits the caption."""
        draws = Draws(rng)
        moves = draws.uniform() < 0.5
        text = phrases("paraphrase").replace(item, draws)
        if not moves and text != item:
            return text
        parts = outline(item)
        moved = move_place(parts)
        if moved is None:
            return text
        return phrases("paraphrase").replace(moved, draws) if moves else moved


def move_place(parts: Outline) -> str | None:
    """Moves a closing place phrase: "a man rides on the beach" to "on the beach, a man rides".

    Returns:
        The new caption, or None where it does not end in a place phrase that can move.
    """
    words = parts.words
    start = _place_start(words)
    if start is None or start < 2 or any(word[-1] in ",:;" for word in words):
        return None
    front = [*words[start:-1], words[-1] + ","]
    return parts.rebuild(front + words[:start])


def _place_start(words: list[str]) -> int | None:
    """Where the closing place phrase begins; None if there is none."""
    least = max(len(words) - _LONGEST_PLACE, 0)
    for start in range(len(words) - 2, least - 1, -1):
        word = words[start].lower()
        if word in _OTHER_PREPOSITIONS or word in _POSSESSIVES:
            return None  # "with a hat on his head": the tail belongs to a noun
        if word in _PLACE:
            after = words[start + 1].lower()
            swung_at = word == "at" and after in ("a", "an")  # "swinging a bat at a ball"
            return start if after in _PLACE_OPENERS and not swung_at else None
    return None
