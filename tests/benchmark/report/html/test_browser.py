"""The page in a real browser: tables, search, columns, CSV, addresses, drill-down, colours."""

from __future__ import annotations

import csv
import struct
from urllib.parse import parse_qs

import pytest

from benchmark.cell import Status
from benchmark.report.html import write
from tests.benchmark.report.html import browser
from tests.benchmark.report.html.browser import READY
from tests.benchmark.report.html.invented import HOSTILE, cell, grid, ranks_of

HELPERS = """
window.$ = (selector) => document.querySelector(selector);
window.all = (selector) => [...document.querySelectorAll(selector)];
window.column = (id, key) => all(`#${id} .tabulator-row`).map((row) =>
  row.querySelector(`[tabulator-field="${CSS.escape(key)}"]`).textContent);
window.head = (id, key) => $(`#${id} .tabulator-col[tabulator-field="${CSS.escape(key)}"]`);
window.heads = (id) => all(`#${id} .tabulator-col`).filter((col) => col.offsetWidth)
  .map((col) => col.querySelector('button').textContent);
window.settled = () => new Promise((done) => setTimeout(done, 80));
window.choose = (id, value) => {
  $(id).value = value;
  $(id).dispatchEvent(new Event('change'));
  return settled();
};
window.search = (id, text) => {
  const box = $(`#${id} input[type=search]`);
  box.value = text;
  box.dispatchEvent(new Event('input'));
};
window.tick = (id, name) => all(`#${id} .choices label`)
  .find((label) => label.textContent.trim() === name).querySelector('input').click();
window.told = (id) => $(`#${id} [role=status]`).textContent;
window.opener = (id, name) => all(`#${id} button.open`).find((b) => b.textContent === name);
window.csv = async (id) => {
  const made = URL.createObjectURL, click = HTMLAnchorElement.prototype.click;
  let blob;
  URL.createObjectURL = (given) => { blob = given; return '#'; };
  HTMLAnchorElement.prototype.click = () => {};
  all(`#${id} .tools button`).find((b) => b.textContent === 'CSV').click();
  URL.createObjectURL = made;
  HTMLAnchorElement.prototype.click = click;
  return (await blob.text()).split('\\n');
};
"""
FORMULA = "=1+1"
ESCAPE = ("Escape", 27)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    results = grid(("source", "tent", "rest", HOSTILE[0], HOSTILE[1]))
    results.append(cell("sar", ranks=ranks_of(0.5, 3), metrics={"mAP": float("nan")}))
    results.append(cell(FORMULA, ranks=ranks_of(0.5, 4)))
    results.append(cell("eata", status=Status.FAILED, reason=f"ValueError: {HOSTILE[1]}"))
    path = tmp_path_factory.mktemp("page") / "page.html"
    return write(results, path, cells=path.parent / "cells")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with browser.tab(browser.find(), tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def visit(running):
    def opened(page, view="", *, width=1280, height=900, scheme="light"):
        running.look(width=width, height=height, scheme=scheme)
        running.open(page, view)
        running.run(READY)
        running.run(HELPERS)
        return running

    return opened


@pytest.fixture
def tab(visit, page):
    return visit(page)


def numbers(texts):
    """Shown numbers; None for blanks."""
    signs = str.maketrans({"\u2212": "-", "(": None, ")": None, "+": None})
    return [None if text == "\u2013" else float(text.translate(signs).split()[0]) for text in texts]


def test_it_opens_from_disk_without_an_error_or_a_request(tab, page):
    assert tab.errors == []
    assert tab.requests == [page.as_uri()]
    assert tab.run("told('methods')") == "8 rows"
    assert tab.run("told('matrix')") == "2 rows"
    assert tab.run("Math.max(...all('#matrix .tabulator-row').map((row) => row.offsetHeight))") < 36
    assert tab.run("told('rows')") == "43 rows"


def test_hostile_names_are_shown_as_text_and_do_nothing(tab):
    assert set(HOSTILE[:2]) <= set(tab.run("column('methods', 'method')"))
    assert set(HOSTILE[:2]) <= set(tab.run("heads('matrix')"))
    labels = tab.run("all('#matrix .choices label').map((label) => label.textContent.trim())")
    assert set(HOSTILE[:2]) <= set(labels)
    tab.run("search('rows', 'eata'); opener('rows', 'eata').click()")
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
    tab.run(
        "search('rows', 'contrast mini-coco'); head('rows', 'R@1').querySelector('button').click()"
    )
    assert tab.run("head('rows', 'R@1').ariaSort") == "descending"
    falling = numbers(tab.run("column('rows', 'R@1')"))
    assert falling[-1] is None
    assert falling[:-1] == sorted(falling[:-1], reverse=True)
    tab.run("head('rows', 'R@1').querySelector('button').click()")
    assert tab.run("head('rows', 'R@1').ariaSort") == "ascending"
    assert numbers(tab.run("column('rows', 'R@1')")) == [*falling[-2::-1], None]
    tab.run("head('rows', 'method').querySelector('button').click()")
    names = tab.run("column('rows', 'method')")
    assert [name for name in names if name.isalpha()] == sorted(filter(str.isalpha, names))


def test_the_search_leaves_rows_that_have_each_word(tab):
    tab.run("search('rows', 'Rest jpeg as-c')")
    assert set(tab.run("column('rows', 'method')")) == {"rest"}
    assert set(tab.run("column('rows', 'benchmark')")) == {"mini-as-c-audio"}
    assert tab.run("told('rows')") == "2 of 43 rows"
    assert tab.run("told('methods')") == "8 rows"
    tab.run("search('rows', 'rest nowhere')")
    assert tab.run("column('rows', 'method')") == []
    assert tab.run("$('#rows .tabulator-placeholder').textContent") == "No row matches the search"


@pytest.mark.parametrize(("view", "rows"), [("shift", 23), ("benchmark", 13), ("cell", 43)])
def test_all_numbers_by_cell_shift_and_benchmark(tab, view, rows):
    tab.run(f"choose('#rows-view', '{view}')")
    assert tab.run("told('rows')") == f"{rows} rows"
    assert ("shift" in tab.run("heads('rows')")) == (view != "benchmark")
    assert tab.run("all('#rows .tools').length") == 1
    assert tab.errors == []


def test_columns_are_chosen(tab):
    assert "uniformity" not in tab.run("heads('rows')")
    tab.run("tick('rows', 'uniformity'); tick('rows', 'R@10')")
    assert "uniformity" in tab.run("heads('rows')")
    assert "R@10" not in tab.run("heads('rows')")
    tab.run("tick('matrix', 'rest')")
    assert "rest" not in tab.run("heads('matrix')")


def test_an_address_holds_what_is_shown(tab, visit, page):
    tab.run("choose('#measure', 'R@1'); choose('#matrix-rows', 'shift'); tick('matrix', 'tent')")
    tab.run("choose('#rows-view', 'shift'); search('rows', 'rest'); tick('rows', 'R@10')")
    tab.run("head('rows', 'R@1').querySelector('button').click()")
    seen = "[heads('matrix'), column('matrix', 'rest'), heads('rows'), column('rows', 'R@1')]"
    before, view = tab.run(seen), tab.run("location.hash")
    assert parse_qs(view[1:])["rows.sort"] == ["desc R@1"]
    again = visit(page, view)
    assert again.run(seen) == before
    assert again.run("told('rows')") == "4 of 23 rows"
    again.run("search('rows', ''); choose('#measure', 'R@1_difference')")
    assert not {"rows.search", "matrix.of"} & set(parse_qs(again.run("location.hash")[1:]))


@pytest.mark.parametrize(
    "view", ["#rows.sort=desc+nothing&rows.of=odd&cell=none", "#%00&&=&x", "#rows"]
)
def test_a_wrong_address_shows_the_page_as_it_is(visit, page, view):
    tab = visit(page, view)
    assert tab.run("told('rows')") == "43 rows"
    assert tab.errors == []


def test_a_cell_has_an_address(tab, visit, page):
    tab.run("search('rows', 'rest jpeg as-c'); all('#rows button.open')[1].click()")
    heading = "$('#detail-heading').textContent"
    told, view = tab.run(heading), tab.run("location.hash")
    again = visit(page, view)
    assert again.run("$('dialog').open")
    assert again.run(heading) == told
    again.press(*ESCAPE)
    again.run("new Promise((done) => setTimeout(done, 50))")
    assert "cell=" not in again.run("location.hash")


def test_the_csv_file_has_what_is_shown(tab):
    tab.run("search('rows', 'mini-coco contrast'); tick('rows', 'status')")
    lines = tab.run("csv('rows')")
    shown = tab.run("heads('rows')")
    heads = next(csv.reader(lines))
    assert [head for head in heads if not head.endswith(("low", "high"))] == shown
    assert {"against source, low", "against source, high"} < set(heads)
    assert "status" not in heads
    assert len(lines) == 1 + len(tab.run("column('rows', 'method')"))
    assert sum(line.startswith(f'"\'{FORMULA}"') for line in lines) == 1
    assert not [line for line in lines if line.startswith(f'"{FORMULA}')]
    told = [row["R@1"] for row in csv.DictReader(lines)]
    shown = numbers(tab.run("column('rows', 'R@1')"))
    assert [float(text) if text else None for text in told] == shown
    tab.run("tick('rows', 'against source')")
    assert "low" not in tab.run("csv('rows')")[0]
    assert f'"\'{FORMULA}"' in tab.run("csv('matrix')")[0]


def test_a_row_opens_its_parts_and_a_cell_all_that_is_stored(tab):
    heading = "$('#detail-heading').textContent"
    tab.run("opener('methods', 'rest').focus(); opener('methods', 'rest').click()")
    assert tab.run(heading) == "rest on 2 benchmarks"
    tab.run("all('dialog button.open')[0].click()")
    assert tab.run(heading) == "rest on mini-as-c-audio: 4 cells"
    tab.run("all('dialog button.open')[1].click()")
    assert tab.run(heading) == "rest on mini-as-c-audio, contrast 5, seed 1"
    link = tab.run("$('dialog a').getAttribute('href')")
    assert link.startswith("./cells/mini-as-c-audio_contrast-5_rest_s1_")
    assert len(tab.run("$('polyline.own').getAttribute('points')").split()) == 48
    assert tab.run("all('polyline.source').length") == 1
    told = tab.run("all('svg')[1].getAttribute('aria-label')")
    counts = [int(part.split(": ")[1]) for part in told.split(". ")[1].split(", ")]
    assert sum(counts) == 60
    axes = tab.run("all('svg').map((chart) => chart.textContent)")
    assert "queries seen" in axes[0]
    assert "R@1 (%)" in axes[0]
    assert "rank of the best relevant item" in axes[1]
    text = tab.run("$('dialog details').textContent")
    assert '"steps": 3' in text
    assert '"kind": "single"' in text
    back = "all('dialog button').find((b) => b.textContent === 'Back').click()"
    tab.run(back)
    assert tab.run(heading).endswith("4 cells")
    tab.run(back)
    assert tab.run(heading) == "rest on 2 benchmarks"
    tab.press(*ESCAPE)
    assert not tab.run("$('dialog').open")
    assert tab.run("document.activeElement.textContent") == "rest"


def test_the_matrix_shows_the_differences_of_the_table_and_opens_their_cells(tab):
    assert "source" not in tab.run("heads('matrix')")
    tab.run("choose('#rows-view', 'benchmark'); search('rows', 'rest')")
    assert tab.run("column('rows', 'method')") == ["rest"] * 2
    for one, other in zip(
        tab.run("column('matrix', 'rest')"),
        tab.run("column('rows', 'R@1_difference')"),
        strict=True,
    ):
        assert other.startswith(one)
    tab.run("choose('#measure', 'R@1')")
    assert tab.run("heads('matrix')[1]") == "source"
    tab.run("$('#matrix button.heat').click()")
    assert tab.run("$('#detail-heading').textContent").startswith("source on mini-as-c-audio")


def test_long_names_break_at_their_joints(visit, tmp_path):
    name = "tcr-untrained[past_queries]"
    tab = visit(write([cell(m) for m in ("source", name)], tmp_path / "long.html"))
    parts = f"[...head('matrix', '{name}').querySelector('button').childNodes]"
    texts = tab.run(f"{parts}.map((part) => part.textContent).filter(Boolean)")
    assert texts == ["tcr-", "untrained", "[past_", "queries]"]


def test_missing_cells_of_the_matrix_are_marked(tab):
    tab.run("choose('#matrix-rows', 'shift')")
    assert tab.run("column('matrix', 'eata')") == ["\u2013"] * 4
    assert tab.run("all('#matrix [tabulator-field=eata] .none').length") == 4


def test_header_and_first_column_stay_in_sight(tab, visit, page, tmp_path):
    results = [cell(m, seed=seed) for m in ("source", "rest") for seed in range(130)]
    tab = visit(write(results, tmp_path / "long.html"), width=600, height=700)
    assert tab.run("told('rows')") == "260 rows"
    assert tab.run("all('#rows .tabulator-row').length") < 130
    tab.run("$('#rows .tabulator-tableholder').scrollTo(200, 1e6)")
    tab.run("new Promise((done) => setTimeout(done, 200))")
    assert tab.run("$('#rows .tabulator-tableholder').scrollLeft") > 100
    assert tab.run("column('rows', 'seed').at(-1)") == "129"
    inside = """(node) => {
      const own = node.getBoundingClientRect(), box = $('#rows .tabulator').getBoundingClientRect();
      return own.left >= box.left && own.left < box.left + 10 && own.top >= box.top;
    }"""
    assert tab.run(f"({inside})(head('rows', 'method'))")
    assert tab.run(f"({inside})(all('#rows button.open').at(-1).parentElement)")


@pytest.mark.parametrize("width", [360, 420])
def test_a_phone_shows_a_number_without_scrolling(visit, page, width):
    tab = visit(page, width=width, height=740)
    in_sight = """(id) => all(`#${id} .tabulator-cell`).some((cell) => {
      const box = cell.getBoundingClientRect(), x = (box.left + box.right) / 2;
      const y = (box.top + box.bottom) / 2;
      return box.right <= innerWidth && box.bottom <= innerHeight
        && /^\\W*\\d/.test(cell.textContent) && cell.contains(document.elementFromPoint(x, y));
    })"""
    assert tab.run(f"({in_sight})('methods')")
    ends = "all('#methods .bounds').map((node) => node.getBoundingClientRect().right)"
    assert max(tab.run(ends)) <= max(width, 400), "an interval is seen whole"
    for view in ("cell", "shift", "benchmark"):
        tab.run(f"choose('#rows-view', '{view}')")
        for part in ("rows", "matrix"):
            tab.run(f"document.getElementById('{part}').scrollIntoView()")
            assert tab.run(f"({in_sight})('{part}')"), (view, part)
        assert tab.run("document.documentElement.scrollWidth") <= width
    tab.run("opener('rows', 'rest').click()")
    assert tab.run("$('dialog').scrollWidth <= $('dialog').clientWidth")
    assert tab.run("$('dialog').getBoundingClientRect().width") <= width


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
  return all('button.heat, .tabulator-cell > *, .tabulator-col button, .quiet, #notes p, summary')
    .map((node) => {
      const a = light(part(getComputedStyle(node).color).rgb), b = light(behind(node));
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    });
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(visit, page, scheme):
    tab = visit(page, scheme=scheme)
    assert tab.run("document.documentElement.dataset.theme") == scheme
    tab.run("choose('#matrix-rows', 'shift')")
    found = tab.run(CONTRASTS)
    assert len(found) > 100
    assert min(found) >= 4.5  # WCAG 2.2, 1.4.3
    other = {"light": "dark", "dark": "light"}[scheme]
    tab.run("$('#theme').click()")
    assert tab.run("document.documentElement.dataset.theme") == other
    assert min(tab.run(CONTRASTS)) >= 4.5


def test_a_page_that_leaves_cells_out_says_so_where_they_are_looked_for(
    visit, tmp_path, monkeypatch
):
    monkeypatch.setattr("benchmark.report.html.data.MOST_CELLS", 1)
    tab = visit(write([cell(m) for m in ("source", "rest")], tmp_path / "many.html"))
    assert tab.run("$('#rows-view').value") == "shift"
    assert tab.run("all('#rows-view option').length") == 2
    tab.run("opener('rows', 'rest').click()")
    assert "leaves single cells out" in tab.run("$('dialog').textContent")
    assert tab.errors == []


def test_the_toggle_changes_what_is_seen(tab):
    light = tab.screenshot()
    assert struct.unpack(">II", light[16:24]) == (1280, 900)
    tab.run("$('#theme').click()")
    assert tab.screenshot() != light
