from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.data.tasks import clean


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("A Red Kite.", "a red kite"),
        ('he said: "go!" (twice) *now* #1; ~5', "he said go twice now 1 5"),
        ("commas, question? o'clock well-known", "commas, question? o'clock well-known"),
        ("  outer spaces  ", "outer spaces"),
        ("trailing line\n", "trailing line"),
        ("many \t\n blanks", "many blanks"),
        ("one\ttab stays", "one\ttab stays"),
        ("...!!!", ""),
        ("", ""),
        ("end of sentence. Next", "end of sentence next"),
    ],
)
def test_rule(raw: str, expected: str) -> None:
    assert clean(raw) == expected


def test_cuts_at_thirty_words_by_default() -> None:
    assert clean(" ".join(f"w{i}" for i in range(40))) == " ".join(f"w{i}" for i in range(30))


def test_word_limit_counts_after_cleaning() -> None:
    assert clean("a . b . c . d", max_words=3) == "a b c"


@given(st.text(max_size=200), st.integers(1, 40))
def test_properties(text: str, max_words: int) -> None:
    once = clean(text, max_words)
    assert clean(once, max_words) == once
    assert not set(once) & set('.!"()*#:;~')
    assert len(once.split(" ")) <= max_words
    assert "  " not in once
