"""The page by keyboard alone."""

from __future__ import annotations

import pytest

from benchmark.cell import Status
from benchmark.report.html import write
from tests.benchmark.report.html import browser
from tests.benchmark.report.html.invented import cell, grid, ranks_of

TAB, ENTER, SPACE, ESCAPE = ("Tab", 9), ("Enter", 13), (" ", 32), ("Escape", 27)
UP, DOWN, LEFT, RIGHT = ("ArrowUp", 38), ("ArrowDown", 40), ("ArrowLeft", 37), ("ArrowRight", 39)
WHERE = """(() => {
  const at = document.activeElement;
  const part = at.closest('section')?.id || '';
  const what = at.id || at.type || (at.matches('.tabulator-tableholder') ? 'table' : at.tagName);
  return [part, what].filter(Boolean).join(' ').toLowerCase();
})()"""
TEXT = "document.activeElement.textContent"
LABEL = "document.activeElement.getAttribute('aria-label')"


@pytest.fixture(scope="module")
def tab_of_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    results = [
        *grid(),
        cell("eata", status=Status.FAILED, reason="ValueError: odd"),
        cell("sar", ranks=ranks_of(0.5, 3)),
    ]
    page = write(results, folder / "page.html")
    with browser.tab(browser.find(), folder / "profile") as tab:
        yield tab, page


@pytest.fixture
def tab(tab_of_page):
    tab, page = tab_of_page
    tab.look(width=1280, height=900, scheme="light")
    tab.open(page)
    tab.run(browser.READY)
    return tab


def test_every_control_has_a_tab_stop_and_a_table_has_one(tab):
    places = []
    for _ in range(30):
        tab.press(*TAB)
        places.append(tab.run(WHERE))
        outline = tab.run("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", places
        if places[-1] == "rows table":
            break
    stops = [place for place in places if place != "summary"]  # remarks above the tables
    tools = ("search", "summary", "button", "table")
    assert stops == [
        *("skip", "theme", *(f"methods {tool}" for tool in tools)),
        *("matrix measure", "matrix matrix-rows", *(f"matrix {tool}" for tool in tools)),
        *("rows rows-view", *(f"rows {tool}" for tool in tools)),
    ]
    tab.press(*TAB)
    assert tab.run(WHERE) == "body"


def test_the_first_stop_skips_to_the_methods(tab):
    tab.press(*TAB)
    tab.press(*ENTER)
    assert tab.run(WHERE) == "methods table"


def test_arrows_go_from_heading_to_heading_and_enter_sorts(tab):
    tab.run("document.querySelector('#methods .tabulator-tableholder').focus()")
    tab.press(*DOWN)
    assert tab.run(TEXT) == tab.run("document.querySelector('#methods button.open').textContent")
    tab.press(*UP)
    assert tab.run(TEXT) == "method"
    tab.press(*RIGHT)
    tab.press(*RIGHT)
    assert tab.run(TEXT) == "against source"
    sort = "document.activeElement.closest('.tabulator-col').ariaSort"
    tab.press(*ENTER)
    assert tab.run(sort) == "descending"
    tab.press(*SPACE)
    assert tab.run(sort) == "ascending"
    tab.press(*DOWN)  # numbers are no buttons: the row's name is the next one
    assert tab.run("document.activeElement.className") == "open"
    tab.press(*ENTER)
    assert tab.run("document.querySelector('dialog').open")


def test_arrows_move_within_the_matrix(tab):
    tab.run("document.querySelector('#matrix button.heat').focus()")
    assert tab.run(LABEL).startswith("tent, mini-as-c-audio: ")
    tab.press(*DOWN)
    assert tab.run(LABEL).startswith("tent, mini-coco-c-image: ")
    tab.press(*RIGHT)  # over eata, which has no number
    assert tab.run(LABEL).startswith("sar, mini-coco-c-image: ")
    tab.press(*LEFT)
    assert tab.run(LABEL).startswith("tent, mini-coco-c-image: ")
    tab.press(*ENTER)
    assert tab.run("document.querySelector('dialog').open")
    tab.press(*ESCAPE)
    assert tab.run(LABEL).startswith("tent, mini-coco-c-image: ")


def test_columns_open_and_close_by_key(tab):
    tab.run("document.querySelector('#rows .chooser summary').focus()")
    tab.press(*ENTER)
    assert tab.run("document.querySelector('#rows .chooser').open")
    tab.press(*TAB)
    before = tab.run("document.activeElement.checked")
    tab.press(*SPACE)
    assert tab.run("document.activeElement.checked") != before
    tab.press(*ESCAPE)
    assert not tab.run("document.querySelector('#rows .chooser').open")
    assert tab.run("document.activeElement.tagName") == "SUMMARY"
