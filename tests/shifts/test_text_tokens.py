"""Tokenising and joining: spacing repair as nlpaug's, case by case."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifts.text.tokens import characters, join_tokens, split_tokens


def test_split_keeps_marks_and_drops_spaces() -> None:
    tokens = split_tokens("It's a black-and-white cat,  2 m_n!")
    assert " ".join(tokens) == "It ' s a black - and - white cat , 2 m_n !"
    assert split_tokens(" \t\n\u2003") == []


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("a cat , asleep", "a cat, asleep"),
        ("a cat .", "a cat."),
        ("what ? yes !", "what? yes!"),
        ("50 % off", "50% off"),
        ("a ( big ) cat", "a (big) cat"),
        ("a [ b ] { c } d", "a [b] {c} d"),
        ("( a ) b", "( a) b"),  # a bracket at the start is left alone
        ("a ( b )", "a (b )"),  # and one at the end
        (", a", ", a"),
        ("a . , b", "a. , b"),  # the second mark's gap is spent
        ("a . ,", "a.,"),  # the end is a pass of its own
        ("it ' s", "it ' s"),
        ("a - b", "a - b"),
        ("", ""),
        (".", "."),
    ],
)
def test_join_repairs_spacing(tokens: str, text: str) -> None:
    assert join_tokens(tokens.split()) == text


@given(st.text(max_size=80))
def test_round_trip_changes_white_space_only(text: str) -> None:
    assert "".join(join_tokens(split_tokens(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("un cafe\u0301, s'il", ["un", "café", ",", "s", "'", "il"]),
        ("нормальні́ слова", ["нормальні́", "слова"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("می\u200cروم خانه", ["می\u200cروم", "خانه"]),
        ("\u0301 x", ["\u0301", "x"]),
    ],
)
def test_marks_stay_with_their_letter(text: str, tokens: list[str]) -> None:
    assert split_tokens(text) == tokens


def test_characters_are_letters_with_their_marks() -> None:
    assert characters("ab-1") == ["a", "b", "-", "1"]
    assert characters("x\u030cy") == ["x\u030c", "y"]
    assert characters("") == []


@given(st.text(st.characters(max_codepoint=0x24F, exclude_categories=["Cs", "Cc"]), max_size=30))
def test_text_without_marks_is_split_as_before(text: str) -> None:
    assert split_tokens(text) == re.findall(r"\w+|[^\w\s]", text)
