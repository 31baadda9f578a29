"""Character-level corruptions after nlpaug, as MM_Robustness and TCR use them for captions.

A share of the tokens is chosen, in each a share of the characters, and an operator edits those.
How many are chosen differs between nlpaug's generations, so the generation is an option. One
deviation by design: a choice depends on the item's generator alone, never on a global one.
OCR confusions and neighbouring keys are facts about nlpaug, in ``data/characters.json``.
"""

from __future__ import annotations

import string
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from shifts.base import Shift, ShiftCard, ShiftOptions
from shifts.text.draws import Draws
from shifts.text.phrases import table
from shifts.text.tokens import characters, join_tokens, split_tokens

GENERATIONS = ("1.1.7", "1.1.11")
SEVERITIES = (1, 2, 3, 4, 5, 6, 7)
_MOST = 10  # nlpaug's cap on words per caption and on characters per word
_SOURCE = "nlpaug character augmenters with aug_word_p = 0.05 * severity (MM_Robustness, TCR)"


def words_changed(tokens: int, severity: int, generation: str) -> int:
    """How many tokens are drawn from a caption, before the cap by eligible tokens.

    ``0.05 * severity * tokens`` rounded down (1.1.7) or up (1.1.11), within 1..10; in integers,
    because 0.05 * 3 * 20 is above 3 in floating point.
    """
    parts = severity * tokens
    count = parts // 20 if generation == "1.1.7" else -(-parts // 20)
    return min(max(count, 1), _MOST)


def characters_changed(length: int, generation: str, least: int = 1) -> int:
    """How many characters of a chosen word are drawn, before the cap by eligible characters.

    ``0.3 * length`` rounded down (1.1.7) or up (1.1.11), within ``least``..10; in integers.
    """
    parts = 3 * length
    count = parts // 10 if generation == "1.1.7" else -(-parts // 10)
    return min(max(count, least), _MOST)


SYMBOLS: str = string.ascii_uppercase + string.ascii_lowercase + string.digits + "!@#$%^&*()_+"
"""The 74 symbols that insert and replace draw from."""

_GIVEN: dict[str, dict[str, str]] = table("characters")


def ocr_table(*, with_q: bool) -> Mapping[str, tuple[str, ...]]:
    """Character -> its OCR confusions, both directions of each given pair.

    Args:
        with_q: whether 9 is also confused with q (nlpaug 1.1.11 and later).
    """
    found = {key: list(values) for key, values in _GIVEN["look-alikes"].items()}
    if with_q:
        found["9"].append("q")
    for key, values in [(key, tuple(values)) for key, values in found.items()]:
        for value in values:
            reverse = found.setdefault(value, [])
            if key not in reverse:
                reverse.append(key)
    return {key: tuple(values) for key, values in found.items()}


def keyboard_table() -> Mapping[str, tuple[str, ...]]:
    """Letter (either case) or digit 1..9 -> keys next to it, both cases, never itself.

    The data say letters only; capitals follow from them. "a" lists itself, so that "a" may become
    "A"; "u" has " t" with a stray space where "y" is meant: both are quirks of the published table.
    """
    letters, signs, digits = _GIVEN["letters"], _GIVEN["signs"], _GIVEN["digits"]
    found: dict[str, tuple[str, ...]] = {}
    for key in (*letters, *digits):
        near = [*letters.get(key, "").split(), *signs.get(key, ""), *digits.get(key, "")]
        if key == "u":
            near.append(" t")
        both = {case for value in near for case in (value, value.upper())}
        for case in {key, key.upper()}:
            found[case] = tuple(sorted(both - {case}))
    return found


@dataclass(frozen=True)
class CharacterOptions(ShiftOptions):
    """Options of the character-level shifts."""

    generation: str = field(
        default="1.1.7",
        metadata={
            "help": "nlpaug generation whose counts are used: 1.1.7 rounds down, 1.1.11 up",
            "choices": GENERATIONS,
        },
    )


def _card(name: str, summary: str) -> ShiftCard:
    return ShiftCard(name, "text", SEVERITIES, summary, _SOURCE, version=2)


class CharacterShift(Shift):
    """Common part: choose tokens, let ``edit`` change each, join with nlpaug's spacing."""

    Options = CharacterOptions
    options: CharacterOptions
    least_length: ClassVar[int] = 4

    def corrupt(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """Edits the drawn tokens; a caption without words comes back re-spaced only."""
        tokens = split_tokens(item)
        least = self.least_length
        eligible = [i for i, token in enumerate(tokens) if len(characters(token)) >= least]
        count = words_changed(len(tokens), severity, self.options.generation)
        draws = Draws(rng)
        for i in draws.sample(eligible, min(count, len(eligible))):
            tokens[i] = self.edit(tokens[i], draws)
        return self.join(tokens)

    def untouched(self, item: str) -> str:
        """The caption re-spaced."""
        return join_tokens(split_tokens(item))

    def join(self, tokens: list[str]) -> str:
        """The caption from its edited tokens."""
        return join_tokens(tokens)

    @abstractmethod
    def edit(self, word: str, draws: Draws) -> str:
        """One chosen word, corrupted."""

    def positions(self, word: str, draws: Draws) -> list[int]:
        """The drawn character positions of a chosen word, in drawn order."""
        length = len(characters(word))
        count = characters_changed(length, self.options.generation)
        return draws.sample(range(length), count)


class CharInsert(CharacterShift):
    """A random symbol before each chosen character."""

    card = _card("char_insert", "random symbols inserted into words")

    def edit(self, word: str, draws: Draws) -> str:
        """Inserts from the right, so that earlier positions stay valid."""
        chars = characters(word)
        for position in sorted(self.positions(word, draws), reverse=True):
            chars.insert(position, draws.choice(SYMBOLS))
        return "".join(chars)


class CharReplace(CharacterShift):
    """Each chosen character replaced by a random symbol, which may be the same one."""

    card = _card("char_replace", "characters of words replaced by random symbols")

    def edit(self, word: str, draws: Draws) -> str:
        """Replaces in place."""
        chars = characters(word)
        for position in self.positions(word, draws):
            chars[position] = draws.choice(SYMBOLS)
        return "".join(chars)


class CharDelete(CharacterShift):
    """The chosen characters removed."""

    card = _card("char_delete", "characters of words deleted")

    def edit(self, word: str, draws: Draws) -> str:
        """Removes the drawn positions."""
        drawn = set(self.positions(word, draws))
        return "".join(char for i, char in enumerate(characters(word)) if i not in drawn)


class CharSwap(CharacterShift):
    """Each chosen character swapped with a neighbour, capitals staying at their positions."""

    card = _card("char_swap", "characters of words swapped with a neighbour")

    def edit(self, word: str, draws: Draws) -> str:
        """Swaps one after the other, in drawn order."""
        chars = characters(word)
        last = len(chars) - 1
        for here in self.positions(word, draws):
            if here == 0:
                there = 1
            elif here == last or draws.uniform() < 0.5:
                there = here - 1
            else:
                there = here + 1
            old_here, old_there = chars[here], chars[there]
            chars[here] = _with_case_of(old_there, old_here)
            chars[there] = _with_case_of(old_here, old_there)
        return "".join(chars)


def _with_case_of(char: str, pattern: str) -> str:
    return char.upper() if pattern.isupper() else char.lower()


class _TableShift(CharacterShift):
    """Chosen characters replaced by an entry of a confusion table."""

    @property
    @abstractmethod
    def table(self) -> Mapping[str, tuple[str, ...]]:
        """Character -> what it may become."""

    def edit(self, word: str, draws: Draws) -> str:
        """Replaces among the characters that have an entry; a word without any is kept."""
        table = self.table
        chars = characters(word)
        eligible = [i for i, char in enumerate(chars) if char in table]
        count = characters_changed(len(chars), self.options.generation, self._least())
        for position in draws.sample(eligible, min(count, len(eligible))):
            chars[position] = draws.choice(table[chars[position]])
        return "".join(chars)

    def _least(self) -> int:
        return 1


_OCR = {"1.1.7": ocr_table(with_q=False), "1.1.11": ocr_table(with_q=True)}
_KEYS = keyboard_table()


class Ocr(_TableShift):
    """Characters replaced by look-alikes; any token may be chosen, also a punctuation mark."""

    card = _card("ocr", "characters confused with look-alikes, as by optical recognition")
    least_length = 1

    @property
    def table(self) -> Mapping[str, tuple[str, ...]]:
        """The confusions of the chosen generation."""
        return _OCR[self.options.generation]

    def _least(self) -> int:
        return 1 if self.options.generation == "1.1.7" else 2


class Keyboard(_TableShift):
    """Characters replaced by a key next to theirs (QWERTY, one key away, either case)."""

    card = _card("keyboard", "characters replaced by a neighbouring key")

    @property
    def table(self) -> Mapping[str, tuple[str, ...]]:
        """Neighbouring keys."""
        return _KEYS

    def join(self, tokens: list[str]) -> str:
        """Joins after splitting at the spaces that the table's " t" entry brings in."""
        return join_tokens(" ".join(tokens).split(" "))
