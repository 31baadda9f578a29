"""Word-level shifts: counts, what each operator may do, WordNet missing or present, coverage."""

from __future__ import annotations

import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shifts.base import Shift, ShiftError
from shifts.text.coverage import coverage
from shifts.text.synonyms import STOP_WORDS, Ri, RiLite, Sr, SrLite, caption_synonyms
from shifts.text.words import (
    InsertPunctuation,
    RandomDelete,
    RandomSwap,
    normalised_words,
    words_edited,
)
from tests.shifts.common import shifted

OFFLINE = [RandomSwap, RandomDelete, InsertPunctuation, SrLite, RiLite]
TEN = "two small dogs running beside big red cars near houses"


def test_words_edited_for_ten_words() -> None:
    assert [words_edited(10, s) for s in range(1, 8)] == [1, 1, 1, 2, 2, 3, 3]
    assert words_edited(1, 1) == 1
    assert words_edited(60, 1) == 3  # floor(0.05 * 60), where floats are a trap


def test_normalising_drops_what_eda_drops() -> None:
    text = "It's a Black-and-White photo, No. 12!\tThe man\u2019s caf\u00e9"
    words = "its a black and white photo no the mans caf"
    assert normalised_words(text) == words.split()
    assert normalised_words("\u05e9\u05dc\u05d5\u05dd 12") == []


def test_swap_keeps_the_words_and_moves_two_at_severity_one() -> None:
    for i in range(100):
        out = shifted(RandomSwap(), TEN, 1, str(i)).split()
        assert Counter(out) == Counter(TEN.split())
        assert sum(a != b for a, b in zip(out, TEN.split(), strict=True)) in {0, 2}


def test_swap_skips_only_when_three_draws_repeat() -> None:
    unchanged = sum(shifted(RandomSwap(), "red dog", 1, str(i)) == "red dog" for i in range(2000))
    assert unchanged / 2000 == pytest.approx(1 / 8, abs=0.03)


def test_delete_rate_is_five_percent_per_severity() -> None:
    text = "dog " * 2000
    for severity in (1, 4, 7):
        kept = len(shifted(RandomDelete(), text, severity).split())
        assert 1 - kept / 2000 == pytest.approx(0.05 * severity, abs=0.03)


def test_delete_keeps_order_and_at_least_one_word() -> None:
    outs = [shifted(RandomDelete(), "red dog", 7, str(i)) for i in range(300)]
    assert set(outs) == {"red dog", "red", "dog"}
    assert shifted(RandomDelete(), "Dog!", 7) == "dog"


@pytest.mark.parametrize(("severity", "most"), [(1, 1), (4, 3), (6, 4), (7, 4)])
def test_punctuation_count_is_uniform_up_to_its_bound(severity: int, most: int) -> None:
    counts: Counter[int] = Counter()
    for i in range(600):
        out = shifted(InsertPunctuation(), TEN, severity, str(i)).split(" ")
        marks = [token for token in out if token in set(".,!?;:")]
        assert [token for token in out if token not in set(".,!?;:")] == TEN.split()
        assert out[-1] == "houses", "a mark stands before a word, never at the end"
        counts[len(marks)] += 1
    assert set(counts) == set(range(1, most + 1))
    for count in counts.values():
        assert count / 600 == pytest.approx(1 / most, abs=0.08)


def test_punctuation_does_not_normalise() -> None:
    out = shifted(InsertPunctuation(), "A Black-and-White cat's  toy, 2.", 1)
    kept = [token for token in out.split(" ") if token not in set(".,!?;:")]
    assert kept == ["A", "Black-and-White", "cat's", "", "toy,", "2."]


def test_stop_words_are_the_127() -> None:
    assert len(STOP_WORDS) == 127


def test_shipped_synonyms_are_usable() -> None:
    table = caption_synonyms()
    assert len(table) > 300
    for word, synonyms in table.items():
        assert word not in synonyms
        assert list(synonyms) == sorted(set(synonyms))
        assert all(normalised_words(other) == other.split() for other in (word, *synonyms))


def test_replacement_takes_all_occurrences_and_no_stop_word() -> None:
    table = caption_synonyms()
    for i in range(50):
        out = shifted(SrLite(), "a dog and the dog", 1, str(i))
        assert out in {f"a {s} and the {s}" for s in table["dog"]}
    assert shifted(SrLite(), "above and below the others", 7) == "above and below the others"


def test_replacement_changes_as_many_words_as_severity_says() -> None:
    text = "dog horse car bus street house beach ocean table couch"  # ten, all with synonyms
    for severity, count in zip(range(1, 8), [1, 1, 1, 2, 2, 3, 3], strict=True):
        missing = set(text.split()) - set(shifted(SrLite(), text, severity).split())
        assert len(missing) == count


def test_insertion_adds_first_synonyms_and_keeps_the_last_word() -> None:
    table = caption_synonyms()
    firsts = {table[word][0] for word in TEN.split() if word in table}
    for i in range(60):
        out = shifted(RiLite(), TEN, 1, str(i)).split()
        assert out[-1] == "houses"
        extra = Counter(out) - Counter(TEN.split())
        assert " ".join(extra.elements()) in firsts
    assert shifted(RiLite(), "zzz qqq", 7) == "zzz qqq"


def test_wordnet_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nltk", None)
    monkeypatch.setitem(sys.modules, "nltk.corpus", None)
    for kind, lite in ((Sr, "sr_lite"), (Ri, "ri_lite")):
        with pytest.raises(ShiftError, match=rf"queryshift\[wordnet\].*{lite}"):
            kind()


class _FakeWordNet:
    """Two senses of "dog", one of them multi-word and hyphenated, as nltk would give them."""

    def __init__(self, *, data: bool = True) -> None:
        self.data = data

    def synsets(self, word: str) -> list[SimpleNamespace]:
        if not self.data:
            raise LookupError("Resource wordnet not found")
        if word != "dog":
            return []
        names = (["dog", "domestic_dog", "Canis-familiaris"], ["hot_dog", "dog", "7"])
        return [SimpleNamespace(lemma_names=lambda n=n: n) for n in names]


def _install(monkeypatch: pytest.MonkeyPatch, wordnet: _FakeWordNet) -> None:
    corpus = SimpleNamespace(wordnet=wordnet)
    monkeypatch.setitem(sys.modules, "nltk", SimpleNamespace(corpus=corpus))
    monkeypatch.setitem(sys.modules, "nltk.corpus", corpus)


def test_wordnet_data_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, _FakeWordNet(data=False))
    with pytest.raises(ShiftError, match=r"nltk\.downloader wordnet.*NLTK_DATA"):
        Sr()


def test_wordnet_synonyms_are_cleaned_and_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, _FakeWordNet())
    assert Sr().synonyms("dog") == ("canis familiaris", "domestic dog", "hot dog")
    outs = {shifted(Sr(), "the dog", 1, str(i)) for i in range(60)}
    assert outs == {"the canis familiaris", "the domestic dog", "the hot dog"}
    assert shifted(Ri(), "the dog", 1) == "canis familiaris the dog" or (
        shifted(Ri(), "the dog", 1) == "the canis familiaris dog"
    )


@pytest.mark.parametrize("kind", [RandomSwap, RandomDelete, InsertPunctuation, SrLite, RiLite])
def test_severity_seven_changes_more_than_one_on_average(kind: type[Shift]) -> None:
    def mean_distance(severity: int) -> float:
        outs = [shifted(kind(), TEN, severity, str(i)).split() for i in range(150)]
        return float(np.mean([_edits(TEN.split(), out) for out in outs]))

    assert mean_distance(7) > mean_distance(1) > 0


def _edits(a: list[str], b: list[str]) -> int:
    """Levenshtein distance over words."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        left, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            left, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, left + (x != y))
    return row[-1]


@pytest.mark.parametrize("kind", OFFLINE)
@given(text=st.text(max_size=60), severity=st.integers(1, 7), item=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_any_unicode_text(kind: type[Shift], text: str, severity: int, item: int) -> None:
    out = shifted(kind(), text, severity, str(item))
    assert out == shifted(kind(), text, severity, str(item))
    assert bool(out) == bool(text)


@pytest.mark.parametrize("kind", OFFLINE)
@pytest.mark.parametrize("text", ["", "   ", "🐕‍🦺 🏄🏽", "שלום עולם הכלב רץ", "red dog " * 20_000])
def test_awkward_captions(kind: type[Shift], text: str) -> None:
    out = shifted(kind(), text)
    if kind is not InsertPunctuation and not normalised_words(text):
        assert out == text
    assert bool(out.strip()) == bool(text.strip())


def test_coverage_counts_changed_captions() -> None:
    captions = ["a dog", "zzz qqq", "the big house", "qqq"]
    assert coverage(SrLite(), captions, 7, seed=0) == 0.5
    assert coverage(SrLite(), [], 7, seed=0) == 0.0
    assert coverage(RandomDelete(), ["A  Dog"] * 1, 1, seed=0) in {0.0, 1.0}
    # capitals and white space are no change
    assert coverage(SrLite(), ["ZZZ   QQQ "], 7, seed=0) == 0.0
