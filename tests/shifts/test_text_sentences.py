"""Sentence-level rules: what they do to captions that fit, and that others stay as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shifts.text
from shifts.base import Shift, ShiftError
from shifts.text.coverage import coverage
from shifts.text.draws import Draws
from shifts.text.phrases import Phrases, is_plural, outline, phrases
from shifts.text.sentences import CasualRules, FormalRules, ParaphraseRules, move_place
from shifts.text.voice import ActiveRules, PassiveRules
from tests.shifts.common import shifted

VOCABULARY = "a two man dogs is riding horse by ridden being on the in , . there near ; we see"

ALL = [FormalRules, CasualRules, PassiveRules, ActiveRules, ParaphraseRules]


def many(shift: Shift, text: str) -> set[str]:
    return {shifted(shift, text, item=str(i)) for i in range(100)}


@pytest.mark.parametrize(
    ("text", "passive"),
    [
        ("A man riding a horse on the beach.", "A horse being ridden by a man on the beach."),
        ("a boy is holding two kites", "two kites are being held by a boy"),
        ("Two men cutting a cake.", "A cake being cut by two men."),
        ("He is eating a sandwich.", "A sandwich is being eaten by him."),
        ("There is a man riding two horses.", "There are two horses being ridden by a man."),
        ("A photo of a dog catching a ball!", "A photo of a ball being caught by a dog!"),
        ("A man wearing a hat, smiling.", "A hat being worn by a man, smiling."),
        ("We see a boat in the water.", "A boat is seen in the water."),
        ("John is driving a truck", "A truck is being driven by John"),
    ],
)
def test_passive(text: str, passive: str) -> None:
    assert shifted(PassiveRules(), text) == passive


@pytest.mark.parametrize(
    "text",
    [
        "A red star above a blue circle.",
        "Cows eating grass.",  # the object needs a determiner to be found
        "A man riding a horse and a donkey.",  # where the object ends is unclear
        "a man, a dog, holding a ball, and a cat",
        "riding a horse",
        "a man riding",
        "  odd   spacing   kept ",
    ],
)
def test_passive_leaves_what_does_not_fit(text: str) -> None:
    assert shifted(PassiveRules(), text) == text


@pytest.mark.parametrize(
    ("text", "active"),
    [
        ("A horse being ridden by two men at night.", "Two men riding a horse at night."),
        ("The cakes are being cut by a man.", "A man is cutting the cakes."),
        ("a kite flown by a child", "a child flying a kite"),
        ("A man riding a horse.", "A man is riding a horse."),
        ("Several dogs sitting in a row", "Several dogs are sitting in a row"),
        ("A red star above a blue circle.", "There is a red star above a blue circle."),
        ("Two cups on a table", "There are two cups on a table"),
        ("The swimming pool of a hotel.", "There is the swimming pool of a hotel."),
    ],
)
def test_active(text: str, active: str) -> None:
    assert shifted(ActiveRules(), text) == active


@pytest.mark.parametrize(
    "text",
    [
        "A man is riding a horse.",
        "There are two cups on a table.",
        "A photo of a dog.",
        "dogs",
        "Sunset",
    ],
)
def test_active_leaves_active_sentences_and_titles(text: str) -> None:
    assert shifted(ActiveRules(), text) == text


@pytest.mark.parametrize(
    "text", ["A boy is holding a kite.", "A man is riding two horses near a lake."]
)
def test_active_undoes_passive(text: str) -> None:
    assert shifted(ActiveRules(), shifted(PassiveRules(), text)) == text


@pytest.mark.parametrize(
    ("words", "plural"),
    [
        ("a dog", False),
        ("two dogs", True),
        ("a group of people", False),
        ("people on a bench", True),
        ("the glass", False),
        ("dogs in a park", True),
        ("a cup and a plate", True),
    ],
)
def test_number_of_a_noun_phrase(words: str, plural: bool) -> None:
    assert is_plural(words.split()) is plural


def test_formal_spells_out_and_replaces() -> None:
    text = "There's a kid that isn't near the fridge."
    assert shifted(FormalRules(), text) == ("There is a child that is not near the refrigerator.")
    assert shifted(FormalRules(), "It\u2019s a kid") == "It is a child"
    assert many(FormalRules(), "a photo of a dog") == {
        "this image depicts a dog",
        "this photograph presents a dog",
    }
    assert shifted(FormalRules(), "kidney and guyana") == "kidney and guyana"


def test_casual_contracts_replaces_and_sometimes_fills() -> None:
    outs = many(CasualRules(), "There is a child near a bicycle.")
    assert "There's a kid right by a bike." in outs
    assert len(outs) == 11  # bare, five openings, five endings
    assert all(out[0].isupper() and out[-1] == "." for out in outs)


def test_articles_follow_the_new_word() -> None:
    table = Phrases({"car": ("automobile",), "orange coat": ("big coat",)})
    draws = Draws(np.random.default_rng(0))
    assert table.replace("A car, an orange coat, the car", draws) == (
        "An automobile, a big coat, the automobile"
    )
    assert table.replace("Car. CAR? scar", draws) == "Automobile. Automobile? scar"


def test_paraphrase_moves_or_exchanges() -> None:
    outs = many(ParaphraseRules(), "A dog next to a cat on the grass.")
    assert outs == {
        "A dog beside a cat on the grass.",
        "A dog alongside a cat on the grass.",
        "On the grass, a dog beside a cat.",
        "On the grass, a dog alongside a cat.",
    }
    # no phrase pair fits: the place always moves
    assert many(ParaphraseRules(), "a dog on the grass") == {"on the grass, a dog"}


@pytest.mark.parametrize(
    "text",
    [
        "a man with a hat on his head",
        "two men in suits",
        "a boy swinging a bat at a ball",
        "a dog, a cat on the grass",
        "on the grass",
        "grass",
        "",
    ],
)
def test_places_that_do_not_move(text: str) -> None:
    assert move_place(outline(text)) is None


def test_phrase_tables_are_usable() -> None:
    path = Path(shifts.text.__file__).parent / "data" / "phrases.json"
    tables = json.loads(path.read_text(encoding="utf-8"))
    assert set(tables) == {"formal", "casual", "paraphrase"}
    for name, table in tables.items():
        assert isinstance(phrases(name), Phrases)
        for phrase, others in table.items():
            assert re.fullmatch(r"[a-z']+( [a-z'-]+)*", phrase)
            assert others
            assert phrase not in others
            assert len(set(others)) == len(others)


def test_coverage_reports_what_rules_do_not_fit() -> None:
    captions = ["A man riding a horse.", "A red star.", "Sunset", "A boy holding a kite."]
    assert coverage(PassiveRules(), captions, 1, seed=0) == 0.5
    assert coverage(ActiveRules(), captions, 1, seed=0) == 0.75


@pytest.mark.parametrize("kind", ALL)
def test_card_says_that_it_is_an_approximation(kind: type[Shift]) -> None:
    assert not kind.card.exact
    assert kind.card.name.endswith("_rules")
    assert kind.card.severities == (1,)
    with pytest.raises(ShiftError, match="severity 2"):
        kind().apply("a dog", 2, np.random.default_rng(0))


@pytest.mark.parametrize("kind", ALL)
@given(
    text=st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from(VOCABULARY.split()), max_size=14).map(" ".join),
    ),
    item=st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_any_text(kind: type[Shift], text: str, item: int) -> None:
    out = shifted(kind(), text, item=str(item))
    assert out == shifted(kind(), text, item=str(item))
    assert bool(out.strip()) == bool(text.strip())


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("text", ["", "   ", "🐕‍🦺 🏄🏽", "12 34"])
def test_text_without_words_stays(kind: type[Shift], text: str) -> None:
    assert many(kind(), text) == {text}


@pytest.mark.parametrize("kind", ALL)
def test_very_long_text(kind: type[Shift]) -> None:
    text = "a man riding a horse near a lake and " * 5000
    assert len(shifted(kind(), text)) > len(text) / 2
