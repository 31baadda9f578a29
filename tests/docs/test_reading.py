"""The reading level of the docs: what counts as prose, and that a hard text is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import reading

EASY = "The model sees one batch at a time. It scores the queries and then takes a step.\n"
HARD = (
    "Notwithstanding considerable heterogeneity among participating configurations, normalisation"
    " statistics are subsequently recalculated whenever distributional characteristics of incoming"
    " queries deviate appreciably from previously established expectations.\n"
)


def test_a_hard_page_is_refused_and_an_easy_one_is_not() -> None:
    assert reading.too_hard(EASY * 3) == []
    page, paragraph = reading.too_hard(HARD)
    assert page.endswith("at most 8")
    assert "Notwithstanding" in paragraph


def test_one_hard_paragraph_does_not_hide_among_easy_ones() -> None:
    (said,) = reading.too_hard(f"{EASY * 40}\n\n* {HARD}")
    assert "Notwithstanding" in said


@pytest.mark.parametrize(
    "block",
    [
        f"# {HARD}",
        f"| a |\n| --- |\n| {HARD.strip()} |\n",
        f"```\n{HARD}```\n",
        f"![{HARD.strip()}](picture.png)\n",
        f"<!-- {HARD.strip()} -->\n",
        "[one](1.md) · [two](2.md) · [a third](3.md) · [a fourth](4.md) · [a fifth](5.md)\n",
        "::: benchmark.data.datasets.base.ComposedQueries\n",
    ],
    ids=["heading", "table", "code", "picture", "comment", "links", "class"],
)
def test_only_prose_counts(block: str) -> None:
    assert reading.paragraphs(f"{EASY}\n{block}") == reading.paragraphs(EASY)


def test_links_code_and_numbers_are_words_without_their_marks() -> None:
    text = "See [the\npage](a.md), `x.y = 2` and **0.5** of Lee et al. in it:\n"
    assert reading.paragraphs(text) == ["See the page, code and 05 of Lee et al in it."]


def test_every_page_is_read_and_the_command_fails_on_a_hard_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {path.name for path in reading.pages()}
    assert {"README.md", "methods.md", "tutorial.md", "CONTRIBUTING.md"} <= names
    monkeypatch.setattr(reading, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "easy.md").write_text(EASY)
    assert reading.main() == 0
    (tmp_path / "docs" / "hard.md").write_text(HARD)
    assert reading.main() == 1
    assert "docs/hard.md: grade" in capsys.readouterr().out
