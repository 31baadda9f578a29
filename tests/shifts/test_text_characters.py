"""Character-level shifts: closed-form counts, what each operator may do, determinism."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shifts.base import ShiftError
from shifts.text.characters import (
    SYMBOLS,
    CharacterOptions,
    CharacterShift,
    CharDelete,
    CharInsert,
    CharReplace,
    CharSwap,
    Keyboard,
    Ocr,
    characters_changed,
    keyboard_table,
    ocr_table,
    words_changed,
)
from tests.shifts.common import shifted

ALL = [CharSwap, CharInsert, CharDelete, CharReplace, Keyboard, Ocr]
GENERATIONS = ["1.1.7", "1.1.11"]
# eleven tokens, all of four letters or more: every one is eligible, and L = 10 for each
ELEVEN = " ".join(letter * 10 for letter in "abcdefghijk")


def test_words_changed_for_eleven_tokens() -> None:
    assert [words_changed(11, s, "1.1.7") for s in range(1, 8)] == [1, 1, 1, 2, 2, 3, 3]
    assert [words_changed(11, s, "1.1.11") for s in range(1, 8)] == [1, 2, 2, 3, 3, 4, 4]


def test_characters_changed_for_lengths_four_to_ten() -> None:
    assert [characters_changed(n, "1.1.7") for n in range(4, 11)] == [1, 1, 1, 2, 2, 2, 3]
    assert [characters_changed(n, "1.1.11") for n in range(4, 11)] == [2, 2, 2, 3, 3, 3, 3]


def test_whole_products_are_not_rounded_up_by_floating_point() -> None:
    assert 0.05 * 3 * 20 > 3  # the trap
    assert words_changed(20, 3, "1.1.11") == 3
    assert characters_changed(10, "1.1.11") == 3


@pytest.mark.parametrize("generation", GENERATIONS)
def test_counts_stay_within_one_and_ten(generation: str) -> None:
    assert words_changed(1, 1, generation) == 1
    assert words_changed(10_000, 7, generation) == 10
    assert characters_changed(1, generation) == 1
    assert characters_changed(10_000, generation) == 10
    assert characters_changed(1, generation, 2) == 2


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("severity", range(1, 8))
def test_delete_shortens_by_exactly_the_drawn_characters(severity: int, generation: str) -> None:
    shift = CharDelete(CharacterOptions(generation))
    out = shifted(shift, ELEVEN, severity)
    lost = [10 - len(word) for word in out.split()]
    assert sorted(lost, reverse=True)[: (n := words_changed(11, severity, generation))] == [3] * n
    assert sum(lost) == 3 * n


@pytest.mark.parametrize("severity", range(1, 8))
def test_insert_adds_exactly_the_drawn_symbols(severity: int) -> None:
    out = shifted(CharInsert(), ELEVEN, severity)
    assert len(out) - len(ELEVEN) == 3 * words_changed(11, severity, "1.1.7")
    for old, new in zip(ELEVEN.split(), out.split(), strict=True):
        remaining = iter(new)
        assert all(char in remaining for char in old), "the old word is a subsequence of the new"
    assert not Counter(out) - Counter(ELEVEN) - Counter({c: len(out) for c in SYMBOLS})


def test_the_symbols_are_the_74_and_all_occur() -> None:
    assert len(SYMBOLS) == len(set(SYMBOLS)) == 74
    # a non-Latin caption: whatever is Latin afterwards was drawn
    text = "жжжжжжжжжж " * 11
    drawn = "".join(
        "".join(c for c in shifted(CharReplace(), text, item=str(i)) if c not in "ж ")
        for i in range(200)
    )
    assert set(drawn) == set(SYMBOLS)


def test_replace_keeps_the_length_and_changes_at_most_the_drawn() -> None:
    for severity in range(1, 8):
        out = shifted(CharReplace(), ELEVEN, severity)
        assert len(out) == len(ELEVEN)
        changed = sum(a != b for a, b in zip(out, ELEVEN, strict=True))
        assert 1 <= changed <= 3 * words_changed(11, severity, "1.1.7")


@given(st.lists(st.text(string.ascii_letters, min_size=1, max_size=14), max_size=15), st.integers())
@settings(max_examples=100, deadline=None)
def test_swap_keeps_the_letters_and_the_capitals_pattern(words: list[str], item: int) -> None:
    text = " ".join(words)
    out = shifted(CharSwap(), text, item=str(item))
    assert len(out) == len(text)
    for old, new in zip(words, out.split(), strict=bool(words)):
        assert Counter(old.lower()) == Counter(new.lower())
        assert [c.isupper() for c in old] == [c.isupper() for c in new]
        if len(old) < 4:
            assert old == new


def test_swap_of_one_character_moves_it_to_a_neighbour() -> None:
    for i in range(50):
        assert shifted(CharSwap(), "wxyz", 1, item=str(i)) in {"xwyz", "wyxz", "wxzy"}


def test_keyboard_changes_only_to_neighbouring_keys() -> None:
    table = keyboard_table()
    text = "Photograph skateboarding 2019 windmills yellow"  # no "u": it may bring a space
    seen = 0
    for i in range(200):
        out = shifted(Keyboard(), text, item=str(i))
        for old, new in zip(text, out, strict=True):
            if old != new:
                seen += 1
                assert new in table[old]
    assert seen > 200


def test_keyboard_table_facts() -> None:
    table = keyboard_table()
    assert set("qwas").issuperset(set(table["q"]) & set(string.ascii_lowercase))
    assert set(table["p"]) == set("90()oOlL")
    assert set(table["z"]) == set("asxASX")
    assert {"A", "a"}.intersection(table["a"]) == {"A"}
    assert {" t", "y"}.intersection(table["u"]) == {" t"}
    assert {"0", "!"}.isdisjoint(table)
    assert all(key not in near for key, near in table.items())


def test_keyboard_stray_space_splits_a_word() -> None:
    outs = [shifted(Keyboard(), "uuuu", item=str(i)) for i in range(200)]
    assert any(" " in out for out in outs)
    assert all(out == out.strip() for out in outs)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_ocr_changes_only_confusable_characters(generation: str) -> None:
    table = ocr_table(with_q=generation == "1.1.11")
    shift = Ocr(CharacterOptions(generation))
    text = "Over 20 squid rush across blue Glass rocks OK"
    for i in range(100):
        out = shifted(shift, text, item=str(i))
        assert all(old == new or new in table[old] for old, new in zip(text, out, strict=True))


def test_ocr_table_facts() -> None:
    old, new = ocr_table(with_q=False), ocr_table(with_q=True)
    assert {c for c in old if c.islower()} == set("bgklorsuz")
    assert {c for c in new if c.islower()} == set("bgkloqrsuz")
    assert set(old["8"]) == set("sS@&05")
    assert set(old["D"]) == set("0O")
    assert set(old["O"]) == set("DU0")
    assert (old["k"], old["G"]) == (("r",), ("C",))
    assert all(key in old[value] for key, values in old.items() for value in values)


def test_ocr_minimum_differs_between_generations() -> None:
    def changed(generation: str) -> int:
        out = shifted(Ocr(CharacterOptions(generation)), "rrr", 1)
        return sum(a != b for a, b in zip("rrr", out, strict=True))

    assert changed("1.1.7") == 1
    assert changed("1.1.11") == 2


def test_ocr_may_draw_short_tokens_and_others_may_not() -> None:
    assert shifted(Ocr(), "rr", 1) in {"kr", "rk"}
    for kind in (CharSwap, CharInsert, CharDelete, CharReplace, Keyboard):
        assert shifted(kind(), "a cat in the sun") == "a cat in the sun"


@pytest.mark.parametrize("kind", ALL)
def test_untouched_words_are_re_spaced(kind: type[CharacterShift]) -> None:
    out = shifted(kind(), "it's a (t-n), x!", 1)
    # only "ocr" finds a confusable character here, and it keeps every position
    assert len(out) == len("it ' s a (t - n ), x!")
    if kind is not Ocr:
        assert out == "it ' s a (t - n ), x!"


@pytest.mark.parametrize("kind", ALL)
def test_severity_seven_edits_more_than_one_on_average(kind: type[CharacterShift]) -> None:
    text = "several brown horses standing together beside wooden fences under bright skies"

    def mean_changed_words(severity: int) -> float:
        outs = [shifted(kind(), text, severity, item=str(i)).split() for i in range(60)]
        return float(np.mean([sum(w not in text.split() for w in out) for out in outs]))

    assert mean_changed_words(7) > mean_changed_words(4) > mean_changed_words(1) > 0


@pytest.mark.parametrize("kind", ALL)
@given(text=st.text(max_size=60), severity=st.integers(1, 7), item=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_any_unicode_text(kind: type[CharacterShift], text: str, severity: int, item: int) -> None:
    out = shifted(kind(), text, severity, item=str(item))
    assert out == shifted(kind(), text, severity, item=str(item))
    assert out == out.strip()


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    "text", ["", "   ", "🐕‍🦺🏄🏽 ❤️", "שלום עולם הכלב רץ", "x" * 100_000, "word " * 50_000]
)
def test_awkward_captions(kind: type[CharacterShift], text: str) -> None:
    assert bool(shifted(kind(), text)) == bool(text.strip())


def test_unknown_generation() -> None:
    with pytest.raises(ShiftError, match=r"generation.*'2.0'.*'1.1.7', '1.1.11'"):
        CharacterOptions("2.0")


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("seed", range(5))
def test_accents_stay_with_their_letters(kind: type[CharacterShift], seed: int) -> None:
    text = "un élève préféré à côté d'une fenêtre très élevée"
    composed = shifted(kind(), text, seed=seed)
    assert shifted(kind(), unicodedata.normalize("NFD", text), seed=seed) == composed
    stays = "q\u030cx\u030cq\u030cx\u030c " * 8  # no composed form
    assert not re.search("(^|[^qx])\u030c", shifted(kind(), stays, seed=seed).lower())
