"""Sentences that are computed from tables: those of the README, and of invented tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from docs.sentences import PAGES, SENTENCES, rendered


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_sentences_of_a_page_are_those_of_the_tables(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<!-- results: " in text
    assert rendered(text) == text, "run: python -m docs.sentences"


def tables(folder: Path, *, difference: float | None = 1.0, low: float = 0.5) -> Path:
    """Three methods on two benchmarks; ``low``: lower end of what tcr gains on captions."""
    ranks = {"tcr": 1.2, "rest": 1.8, "source": 3.0}
    rows = [
        {"method": method, "average_rank": rank, "datasets": 8, "critical_difference": difference}
        for method, rank in ranks.items()
    ]
    pd.DataFrame(rows).to_csv(folder / "ranking.csv", index=False)
    board = [
        ("a-c-image", "tcr", 5.0, 4.0, 6.0, -0.5),
        ("a-c-image", "rest", -3.0, -4.0, -2.0, -2.0),
        ("a-c-image", "source", None, None, None, 0.0),
        ("base2a-i2t", "rest", None, None, None, -50.0),  # no corruption: not counted
        ("a-c-text", "tcr", 1.25, low, 2.0, 0.1),
        ("a-c-text", "rest", 0.25, -0.5, 1.0, -1.0),
        ("a-c-text", "source", None, None, None, 0.0),
    ]
    names = ("R@1_difference", "R@1_difference_low", "R@1_difference_high", "forgetting")
    pd.DataFrame(board, columns=["benchmark", "method", *names]).to_csv(
        folder / "leaderboard.csv", index=False
    )
    return folder


def sentence(name: str, results: Path) -> str:
    text = rendered(f"Before.\n<!-- results: {name} -->\nstale\n<!-- end -->\nAfter.", results)
    start, said, end = text.partition("-->\n")[0], text.split("-->\n")[1], text[-6:]
    assert (start, end) == (f"Before.\n<!-- results: {name} ", "After.")
    return " ".join(said.removesuffix("<!-- end ").split())


def test_leaders_are_named_with_what_the_critical_difference_leaves_open(tmp_path: Path) -> None:
    said = sentence("leaders", tables(tmp_path))
    assert "`tcr` (1.2), `rest` (1.8) and `source` (3.0)" in said
    assert "less than 1.0 (the critical difference)" in said
    assert "so 1 others may be as good as the first" in said
    said = sentence("leaders", tables(tmp_path, difference=None))
    assert "8 are too few to test whether they differ" in said


def test_only_differences_that_exclude_zero_are_counted(tmp_path: Path) -> None:
    said = sentence("ahead", tables(tmp_path))
    assert (
        "Of the 3 benchmarks, `tcr` improves 2 and worsens 0 and `rest` improves 0 and worsens 1"
        in said
    )
    assert "`tcr` improves 1 and worsens 0" in sentence("ahead", tables(tmp_path, low=-0.5))


def test_an_interval_that_includes_zero_is_said(tmp_path: Path) -> None:
    said = sentence("captions", tables(tmp_path))
    assert said.endswith("1.2 points (`tcr` on `a-c-text`, 95 % interval 0.5 to 2.0).")
    said = sentence("captions", tables(tmp_path, low=-0.5))
    assert said.endswith("95 % interval -0.5 to 2.0, which includes 0).")


def test_forgetting_names_the_leaders_and_the_largest_loss(tmp_path: Path) -> None:
    said = sentence("forgetting", tables(tmp_path))
    assert "-0.2 points with `tcr` and -1.5 points with `rest`" in said
    assert "the largest loss is -1.5 (`rest`)" in said
    assert said.endswith("means over 2 benchmarks.")


def test_a_mark_without_a_sentence_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no sentence 'leader'; there are leaders, ahead"):
        sentence("leader", tables(tmp_path))
    assert set(SENTENCES) == {
        "leaders",
        "ahead",
        "captions",
        "forgetting",
        "gain",
        "anchored",
        "control",
    }
