"""README and docs: links, navigation, and sentences that must agree with the committed tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from docs import catalogue, method_tables
from methods.testing import run_contract

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def test_the_method_of_the_readme_passes_the_contract() -> None:
    (block,) = (block for _, block in FENCE.findall(README) if "class Sharpen" in block)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), names)
    assert [said for said in run_contract(names["Sharpen"]) if not said[1]] == []


def pages() -> list[Path]:
    others = (
        "results/README.md",
        "results/methods.md",
        "results/reported/README.md",
        "examples/plugin/README.md",
    )
    return [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / other for other in others)]


def test_the_catalogue_is_that_of_the_cards() -> None:
    made = catalogue.page()
    assert catalogue.PAGE.read_text(encoding="utf-8") == made, "run: python -m docs.catalogue"


def test_the_tables_of_methods_are_those_of_the_numbers() -> None:
    text = method_tables.PAGE.read_text(encoding="utf-8")
    assert text == method_tables.written(text), "run: python -m docs.method_tables"
    label = "rest [mini+level, gap=1.0, level=query]"
    assert method_tables.variant_of(label) == "rest level=query"


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Files and headings, as a forge and the site make anchors of them."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", re.sub(FENCE, "", text)):
        file, _, anchor = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_files_that_are_named_exist(page: Path) -> None:
    rooms = "benchmark|methods|shifts|docs|tests|examples|evaluation|metrics|store|config|cli"
    for name in re.findall(rf"`((?:{rooms})/[\w./*-]+)`", page.read_text(encoding="utf-8")):
        assert [*ROOT.glob(name), *(ROOT / "benchmark").glob(name)] or "CHANGELOG" in page.name, (
            name
        )


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", re.sub(FENCE, "", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_page_is_in_the_sites_navigation_and_in_the_index() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in nav
        assert page.name == "index.md" or f"({page.name})" in index


ODD = (
    "at hand|heed|aloud|bettered|thereof|wherein|whosoever|nobody|none is|that are none|"
    "do(?:es)? not keep|nothing left but|surer|leaves? nothing of|strangers?|lends?|mended"
)


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_no_odd_turn_of_phrase_and_no_mark_of_a_merge_is_left(page: Path) -> None:
    """Beside the reading level, which ``docs.reading`` checks."""
    odd = re.compile(rf"\b(?:{ODD})\b|^(?:<{{7}}|={{7}}|>{{7}})", re.MULTILINE)
    assert odd.findall(page.read_text(encoding="utf-8")) == []


def test_a_run_that_lacks_cells_makes_no_tables(tmp_path: Path) -> None:
    (tmp_path / "leaderboard.csv").write_text("method,cells_missing\nrest,0\ntcr,1\n")
    with pytest.raises(SystemExit, match=r"cells are missing, run them again: \['tcr'\]"):
        method_tables.numbers_of(tmp_path)
