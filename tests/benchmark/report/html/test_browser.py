"""The page in a real browser: sorting, filtering, drill-down, keys, colours, a narrow screen."""

from __future__ import annotations

import struct

import pytest

from benchmark.cell import Status
from benchmark.report.html import write
from benchmark.report.pools import benchmark_pools, shift_pools
from tests.benchmark.report.html import browser
from tests.benchmark.report.html.invented import HOSTILE, cell, grid, ranks_of

TAB, ENTER, SPACE, ESCAPE = ("Tab", 9), ("Enter", 13), (" ", 32), ("Escape", 27)
DOWN, RIGHT = ("ArrowDown", 40), ("ArrowRight", 39)

HELPERS = """
window.$ = (selector) => document.querySelector(selector);
window.all = (selector) => [...document.querySelectorAll(selector)];
window.column = (key) => {
  const heads = all('#results thead th');
  const place = heads.findIndex((th) => th.firstChild.dataset.key === key);
  return all('#results tbody tr').map((tr) => tr.cells[place].textContent);
};
window.head = (key) => all('#results thead button').find((b) => b.dataset.key === key);
window.tick = (facet, name) => all(`[data-facet=${facet}] label`)
  .find((label) => label.textContent.trim() === name).querySelector('input').click();
window.opener = (name) => all('#results button.open').find((b) => b.textContent === name);
"""


def pools(results):
    """Rough intervals: they are not what is tested here."""
    return benchmark_pools(results), shift_pools(results)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    results = grid(("source", "tent", "rest", HOSTILE[0], HOSTILE[1]))
    results.append(cell("sar", ranks=ranks_of(0.5, 3), metrics={"mAP": float("nan")}))
    results.append(cell("eata", status=Status.FAILED, reason=f"ValueError: {HOSTILE[1]}"))
    path = tmp_path_factory.mktemp("page") / "page.html"
    cells = path.parent / "cells"
    return write(results, path, cells=cells, pools=pools(results), title=f"All {HOSTILE[1]}")


@pytest.fixture(scope="module")
def program():
    found = browser.find()
    if found is None:
        pytest.skip(f"no browser installed: none of {', '.join(browser.NAMES)} is on the path")
    return found


@pytest.fixture(scope="module")
def running(program, tmp_path_factory):
    with browser.tab(program, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def tab(running, page):
    running.look(width=1280, height=900, scheme="light")
    running.open(page)
    running.run(HELPERS)
    return running


def numbers(texts):
    """Shown numbers; None for blanks."""
    signs = str.maketrans({"\u2212": "-", "(": None, ")": None, "+": None})
    return [None if text == "\u2013" else float(text.translate(signs).split()[0]) for text in texts]


def test_it_opens_from_disk_without_an_error_or_a_request(tab, page):
    assert tab.errors == []
    assert tab.requests == [page.as_uri()]
    assert tab.run("$('#count').textContent").startswith("12 of 12 rows")


def test_hostile_names_are_shown_as_text_and_do_nothing(tab):
    tab.run("$('#views input[value=cell]').click()")
    assert set(HOSTILE[:2]) <= set(tab.run("column('method')"))
    assert HOSTILE[1] in tab.run("$('h1').textContent")
    tab.run("opener('eata').click()")
    assert HOSTILE[1] in tab.run("$('dialog pre').textContent")
    assert tab.run("typeof window.hacked") == "undefined"
    assert tab.run("all('img, iframe, link').length") == 0
    assert tab.run("all('script').length") == 2
    assert tab.errors == []


def test_the_policy_keeps_foreign_things_out(tab):
    broken = tab.run(
        """new Promise((resolve) => {
          document.addEventListener('securitypolicyviolation', (e) => resolve(e.violatedDirective));
          const image = new Image();
          image.src = 'http://127.0.0.1:9/picture.png';
          document.body.append(image);
        })"""
    )
    assert broken == "img-src"
    tab.run("$('h1').insertAdjacentHTML('beforeend', \"<a onclick='hacked = 1'>x</a>\")")
    tab.run("$('h1 a').click()")
    assert tab.run("typeof window.hacked") == "undefined"


def test_headings_sort_both_ways_with_blanks_last(tab):
    tab.run("$('#views input[value=cell]').click(); head('mAP').click()")
    assert tab.run("head('mAP').parentElement.ariaSort") == "descending"
    down = numbers(tab.run("column('mAP')"))
    tab.run("head('R@1').click()")
    recall = numbers(tab.run("column('R@1')"))
    assert tab.run("all('[aria-sort]').length") == 1
    tab.run("head('R@1').click()")
    assert tab.run("head('R@1').parentElement.ariaSort") == "ascending"
    rising = numbers(tab.run("column('R@1')"))
    assert rising[-1] is None
    assert rising[:-1] == sorted(rising[:-1])
    assert recall == [*rising[-2::-1], None]
    assert down[-2:] == [None, None]
    tab.run("head('method').click()")
    names = tab.run("column('method')")
    assert names == sorted(names)
    assert tab.run("document.activeElement === head('method')")


def test_filters_leave_the_rows_that_were_asked_for(tab):
    tab.run("tick('method', 'rest'); tick('method', 'tent')")
    assert set(tab.run("column('method')")) == {"rest", "tent"}
    tab.run("tick('task', 'audio-to-video')")
    assert tab.run("column('benchmark')") == ["mini-as-c-audio"] * 2
    assert tab.run("$('#count').textContent").startswith("2 of 12 rows")
    assert tab.run("all('#map tbody th').map((th) => th.textContent)") == ["tent", "rest"]
    # A shift has no row for a whole benchmark: the page goes down to the rows by shift.
    tab.run("tick('shift', 'contrast')")
    assert tab.run("$('#views input:checked').value") == "shift"
    assert tab.run("column('shift')") == ["contrast"] * 2
    tab.run("$('#views input[value=benchmark]').click()")
    assert tab.run("all('[data-facet=shift] input:checked').length") == 0
    tab.run("$('#clear').click()")
    assert tab.run("$('#count').textContent").startswith("12 of 12 rows")


@pytest.mark.parametrize("facet", ["task", "benchmark", "backbone", "shift", "method"])
def test_each_filter_stands_there_and_its_choices_partition_the_cells(tab, facet):
    tab.run("$('#views input[value=cell]').click()")
    total = tab.run("column('method').length")
    names = tab.run(f"all('[data-facet={facet}] label').map((l) => l.textContent.trim())")
    found = 0
    for place in range(len(names)):
        tab.run(f"all('[data-facet={facet}] input')[{place}].click()")
        found += tab.run("column('method').length")
        tab.run(f"all('[data-facet={facet}] button')[0].click()")
    assert found == total


def test_a_filter_that_nothing_passes_says_so(tab):
    tab.run("tick('method', 'sar'); tick('benchmark', 'mini-as-c-audio')")
    assert tab.run("column('method')") == []
    assert "No row passes" in tab.run("$('#count').textContent")
    assert tab.errors == []


def test_a_row_opens_its_cells_and_a_cell_all_that_is_stored(tab):
    tab.run("opener('rest').focus(); opener('rest').click()")
    assert tab.run("$('dialog').open")
    assert tab.run("$('#detail-heading').textContent") == "rest on mini-as-c-audio: 4 cells"
    tab.run("all('dialog button.open')[1].click()")
    heading = tab.run("$('#detail-heading').textContent")
    assert heading == "rest on mini-as-c-audio, contrast 5, seed 1"
    link = tab.run("$('dialog a').getAttribute('href')")
    assert link.startswith("./cells/mini-as-c-audio_contrast-5_rest_s1_")
    curve = tab.run("$('polyline.own').getAttribute('points')").split()
    assert len(curve) == 48
    assert tab.run("all('polyline.source').length") == 1
    told = tab.run("all('svg')[1].getAttribute('aria-label')")
    counts = [int(part.split(": ")[1]) for part in told.split(". ")[1].split(", ")]
    assert sum(counts) == 60
    text = tab.run("$('dialog details').textContent")
    assert '"steps": 3' in text
    assert '"kind": "single"' in text
    tab.run("all('dialog button').find((b) => b.textContent === 'Back').click()")
    assert tab.run("$('#detail-heading').textContent").endswith("4 cells")
    tab.press(*ESCAPE)
    assert not tab.run("$('dialog').open")
    assert tab.run("document.activeElement.textContent") == "rest"


def test_the_heat_map_shows_differences_and_opens_their_cells(tab):
    texts = tab.run(
        "all('#map tbody tr').find((tr) => tr.cells[0].textContent === 'rest')"
        ".querySelectorAll('button')[0].textContent"
    )
    table = tab.run(
        "column('R@1_difference')[column('method').findIndex((name) => name === 'rest')]"
    )
    assert table.startswith(texts)
    tab.run("$('#measure').value = 'R@1'; $('#measure').dispatchEvent(new Event('change'))")
    shown = tab.run("all('#map tbody tr').map((tr) => tr.cells[0].textContent)")
    assert shown[0] == "source"
    tab.run("$('#map button').click()")
    assert tab.run("$('#detail-heading').textContent").startswith("source on mini-as-c-audio")


def test_missing_cells_of_the_heat_map_are_marked(tab):
    tab.run("$('#views input[value=shift]').click()")
    row = "all('#map tbody tr').find((tr) => tr.cells[0].textContent === 'eata')"
    assert tab.run(f"{row}.querySelectorAll('button').length") == 0
    assert tab.run(f"{row}.querySelectorAll('.none').length") == 4


def test_it_can_be_used_by_keyboard_alone(tab):
    tab.press(*TAB)
    assert tab.run("document.activeElement.className") == "skip"
    places = []
    for _ in range(40):
        tab.press(*TAB)
        places.append(tab.run("document.activeElement.id || document.activeElement.dataset.key"))
        style = "getComputedStyle(document.activeElement).outlineStyle"
        assert tab.run(style) != "none", places
        if places[-1] == "R@1":
            break
    assert places[0] == "theme"
    assert [p for p in places if p in ("clear", "measure", "results", "R@1")] == [
        "clear",
        "measure",
        "results",
        "R@1",
    ]
    tab.press(*ENTER)
    assert tab.run("head('R@1').parentElement.ariaSort") == "descending"
    assert tab.run("document.activeElement.dataset.key") == "R@1"
    tab.press(*SPACE)
    assert tab.run("head('R@1').parentElement.ariaSort") == "ascending"


def test_arrows_move_within_the_heat_map_which_is_one_tab_stop(tab):
    assert tab.run("all('#map button').filter((b) => b.tabIndex === 0).length") == 1
    tab.run("$('#map button').focus()")
    label = "document.activeElement.getAttribute('aria-label')"
    assert tab.run(label).startswith("tent, mini-as-c-audio: ")
    tab.press(*RIGHT)
    assert tab.run(label).startswith("tent, mini-coco-c-image: ")
    tab.press(*DOWN)  # over eata, which has no number
    assert tab.run(label).startswith("sar, mini-coco-c-image: ")
    assert tab.run("all('#map button').filter((b) => b.tabIndex === 0).length") == 1
    tab.press(*ENTER)
    assert tab.run("$('dialog').open")


def test_a_filter_opens_and_closes_by_key(tab):
    tab.run("$('[data-facet=method] summary').focus()")
    tab.press(*ENTER)
    assert tab.run("$('[data-facet=method]').open")
    tab.press(*TAB)
    tab.press(*SPACE)
    assert tab.run("column('method').length") == 2
    tab.press(*ESCAPE)
    assert not tab.run("$('[data-facet=method]').open")
    assert tab.run("document.activeElement.tagName") == "SUMMARY"


CONTRASTS = """
(() => {
  const part = (text) => {
    const found = text.match(/[\\d.]+/g).map(Number);
    const unit = text.startsWith('color(') ? 1 : 255;
    return { rgb: found.slice(0, 3).map((x) => x / unit), alpha: found[3] ?? 1 };
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const found = part(getComputedStyle(at).backgroundColor);
      if (found.alpha === 1) return found.rgb;
    }
    return [1, 1, 1];
  };
  return all('#map button, #results td, #results th button, .quiet, #notes p, summary, dialog p')
    .map((node) => {
      const a = light(part(getComputedStyle(node).color).rgb), b = light(behind(node));
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    });
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(tab, page, scheme):
    tab.look(width=1280, height=900, scheme=scheme)
    tab.open(page)
    tab.run(HELPERS)
    assert tab.run("document.documentElement.dataset.theme") == scheme
    found = tab.run(CONTRASTS)
    assert len(found) > 100
    assert min(found) >= 4.5  # WCAG 2.2, 1.4.3
    other = {"light": "dark", "dark": "light"}[scheme]
    tab.run("$('#theme').click()")
    assert tab.run("document.documentElement.dataset.theme") == other
    assert min(tab.run(CONTRASTS)) >= 4.5


def test_a_phone_shows_it_without_scrolling_the_page_sideways(tab, page):
    tab.look(width=360, height=740, scheme="light")
    tab.open(page)
    tab.run(HELPERS)
    for view in ("benchmark", "shift", "cell"):
        tab.run(f"$('#views input[value={view}]').click()")
        assert tab.run("document.documentElement.scrollWidth") <= 360
    tab.run("opener('rest').click()")
    assert tab.run("$('dialog').scrollWidth <= $('dialog').clientWidth")
    assert tab.run("$('dialog').getBoundingClientRect().width") <= 360


def test_long_tables_show_a_part_until_asked(tab, page, tmp_path):
    results = [cell(m, seed=seed) for m in ("source", "rest") for seed in range(130)]
    tab.open(write(results, tmp_path / "long.html", pools=pools(results)))
    tab.run(HELPERS)
    tab.run("$('#views input[value=cell]').click()")
    assert tab.run("column('method').length") == 250
    tab.run("$('#more').click()")
    assert tab.run("column('method').length") == 260
    assert tab.run("$('#more').hidden")


def test_a_page_that_leaves_cells_out_says_so_where_they_are_looked_for(tab, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.html.data.MOST_CELLS", 1)
    results = [cell(m) for m in ("source", "rest")]
    tab.open(write(results, tmp_path / "many.html", pools=pools(results)))
    tab.run(HELPERS)
    assert tab.run("column('method').length") == 2
    tab.run("opener('rest').click()")
    assert "leaves single cells out" in tab.run("$('dialog').textContent")
    tab.run("$('dialog').close(); $('#views input[value=cell]').click()")
    assert tab.run("column('method').length") == 0
    assert tab.errors == []


def test_the_toggle_changes_what_is_seen(tab):
    light = tab.screenshot()
    assert struct.unpack(">II", light[16:24]) == (1280, 900)
    tab.run("$('#theme').click()")
    assert tab.screenshot() != light
