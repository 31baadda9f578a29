"""The page as text: what is in it, and that nothing in it can run or be fetched."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb

import benchmark.report.html as pages
from benchmark.cell import BackboneSpec, Status, StreamSpec
from benchmark.report.frames import leaderboard
from benchmark.report.html import embedded, write
from benchmark.report.html.data import RANK_BINS, curve, histogram, number, tell_apart
from benchmark.report.plots import layout
from benchmark.report.pools import benchmark_pools
from benchmark.report.verdict import verdict
from benchmark.report.writing import load_results
from benchmark.store.run_store import RunStore
from tests.benchmark.report.html.invented import HOSTILE, cell, grid

PAGES = Path(pages.__file__).parent


class Parsed(HTMLParser):
    """Elements with their attributes, and the text of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside in self.texts:
            self.texts[self._inside][-1] += data

    @property
    def data(self):
        """What the page's script reads."""
        return json.loads(self.texts["script"][0])


def rows(data, view):
    """The rows of a table as dicts, texts looked up."""
    table = data["tables"][view]
    return [
        {
            name: data["strings"][value] if kind == "text" else value
            for name, kind, value in zip(table["names"], table["kinds"], packed, strict=True)
        }
        for packed in table["rows"]
    ]


@pytest.fixture
def parsed(tmp_path):
    def make(results, **more):
        return Parsed(write(results, tmp_path / "page.html", **more).read_text(encoding="utf-8"))

    return make


# Nothing from outside, nothing that runs


def test_the_page_refers_to_nothing_outside_itself(parsed):
    found = parsed(grid())
    addresses = [
        value
        for _, attributes in found.elements
        for name, value in attributes.items()
        if name in {"src", "href", "action", "data", "srcset", "poster", "background"}
    ]
    assert addresses == []
    assert {tag for tag, _ in found.elements} & {"link", "img", "iframe", "object", "base"} == set()
    text = found.texts["script"][1] + found.texts["style"][0]
    assert "sourceMappingURL" not in text
    assert set(re.findall(r"https?://[^'\"\s]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(", found.texts["style"][0])


def test_the_policy_allows_the_page_s_own_script_and_style_and_nothing_else(parsed):
    found = parsed(grid())
    policies = [
        attributes["content"]
        for tag, attributes in found.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]

    def digest(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    script, style = digest(found.texts["script"][1]), digest(found.texts["style"][0])
    assert policies == [
        f"default-src 'none'; script-src {script}; style-src {style}; "
        "base-uri 'none'; form-action 'none'"
    ]


def test_the_script_never_makes_markup_or_code_of_text():
    folder = PAGES
    scripts = "".join((folder / name).read_text(encoding="utf-8") for name in pages.SCRIPTS)
    assert {path.name for path in folder.glob("*.js")} == set(pages.SCRIPTS)
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\("
    assert not re.search(forbidden, scripts)
    assert "</script" not in scripts


def test_the_library_is_the_published_one_with_its_licence(parsed, tmp_path):
    vendor = PAGES / "vendor"
    sums = dict(
        re.findall(r"`([^`/]+)` \| `dist/.*` \| `([0-9a-f]{64})`", _text(vendor / "README.md"))
    )
    assert set(sums) == {Path(pages.LIBRARY).name, Path(pages.LIBRARY_STYLE).name}
    for name, digest in sums.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest
    found = parsed(grid())
    for text in (found.texts["script"][1], found.texts["style"][0]):
        assert _text(vendor / "LICENSE") in text


def _text(path):
    return path.read_text(encoding="utf-8")


def test_hostile_names_are_data(parsed, tmp_path):
    results = [cell("source"), *(cell(name) for name in HOSTILE), cell(shift=HOSTILE[0])]
    results.append(cell("tent", status=Status.FAILED, reason=HOSTILE[1]))
    found = parsed(results)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert [tag for tag, _ in found.elements].count("script") == 2
    assert "onerror='" not in re.sub(r'<script type="application/json".*?</script>', "", text)
    assert not {"\u2028", "\u2029"} & set(text)
    assert set(HOSTILE) <= {row["method"] for row in rows(found.data, "shift")}
    assert HOSTILE[1] in {detail["reason"] for detail in found.data["cells"]}


@pytest.mark.parametrize("text", [*HOSTILE, "<!--", "模型", "\ud800", "$data ${script}"])
def test_embedded_json_has_no_markup_and_reads_back_the_same(text):
    once = embedded({text: [text, 1.5, None]})
    assert not set("<>&\u2028\u2029") & set(once)
    assert json.loads(once) == {text: [text, 1.5, None]}


# The numbers


def test_tables_hold_the_leaderboard_s_numbers_rounded_as_they_are_shown(parsed):
    found = rows(parsed(grid()).data, "benchmark")
    frame = leaderboard(benchmark_pools(grid()))
    assert [row["method"] for row in found] == list(frame["method"])
    names = [
        "R@1",
        "R@1_difference",
        "R@1_difference_low",
        "R@1_difference_high",
        "forgetting",
        "p",
    ]
    for name in names:
        for row, value in zip(found, frame[name].to_numpy(float), strict=True):
            if np.isnan(value):
                assert row[name] is None
            elif name == "p":
                assert row[name] == float(f"{value:.3g}")
            else:
                assert f"{row[name]:.1f}" == f"{value:.1f}"


def test_a_method_s_row_is_what_verdict_and_leaderboard_say(parsed):
    found = rows(parsed(grid()).data, "method")
    frame = leaderboard(benchmark_pools(grid()))
    assert [row["average_rank"] for row in found] == sorted(row["average_rank"] for row in found)
    for row in found:
        own = frame[frame["method"] == row["method"]]
        assert {f"{rank:.2f}" for rank in own["average_rank"]} == {f"{row['average_rank']:.2f}"}
        assert (row["benchmarks"], row["cells"]) == (2, 8)
    best = found[0]
    bounds = [f"{best[f'R@1_difference{end}']:+.1f}" for end in ("", "_low", "_high")]
    gain, low, high = bounds
    assert f"{best['method']} does best: R@1 {gain} points" in verdict(benchmark_pools(grid()))[0]
    assert f"(95 % interval {low} to {high})" in verdict(benchmark_pools(grid()))[0]
    assert next(row for row in found if row["method"] == "source")["R@1_difference"] is None


def test_a_method_that_lacks_cells_says_so(parsed):
    results = [r for r in grid() if r.method != "rest" or r.benchmark != "mini-as-c-audio"]
    assert "cells_missing" not in parsed(grid()).data["tables"]["method"]["names"]
    found = {row["method"]: row for row in rows(parsed(results).data, "method")}
    assert {name: row["cells_missing"] for name, row in found.items()} == {
        **{"source": 0, "tent": 0},
        "rest": 4,
    }
    assert found["rest"]["average_rank"] is None


def test_colours_are_those_of_the_figures(parsed):
    data = parsed(grid()).data
    names = [data["strings"][at] for at in data["methods"]]
    assert dict(zip(names, data["colours"], strict=True)) == {
        name: look.colour for name, look in layout.looks(names).items()
    }
    light = _text(PAGES / "page.css").split("}")[0]
    scale = re.findall(r"--heat-\d+: (#[0-9a-f]{6})", light)
    assert len(scale) == 11
    found = np.array([to_rgb(colour) for colour in scale])
    figures = colormaps["RdBu"](np.linspace(0, 1, 11))[:, :3]  # in 256 steps
    np.testing.assert_allclose(found, figures, atol=2 / 255)
    table = data["tables"]["benchmark"]
    frame = leaderboard(benchmark_pools(grid()))
    assert table["extents"]["R@1_difference"] == max(5.0, frame["R@1_difference"].abs().max())


def test_a_page_of_very_many_cells_leaves_single_ones_out_and_says_so(parsed, monkeypatch):
    whole = parsed(grid()).data
    monkeypatch.setattr("benchmark.report.html.data.MOST_CELLS", len(whole["cells"]) - 1)
    data = parsed(grid()).data
    for view in ("benchmark", "shift"):
        assert rows(data, view) == rows(whole, view)
        assert data["tables"][view]["members"] == [[] for _ in rows(data, view)]
    assert data["cells"] == data["tables"]["cell"]["rows"] == []
    assert data["notes"] == whole["notes"]
    assert data["warnings"][0].startswith(f"The {len(whole['cells'])} single cells are too many")
    assert data["warnings"][1:] == whole["warnings"]


def test_each_row_knows_its_cells_and_each_cell_its_source(parsed):
    data = parsed(grid()).data
    cells = rows(data, "cell")
    for view in ("benchmark", "shift"):
        for row, members in zip(rows(data, view), data["tables"][view]["members"], strict=True):
            assert len(members) == (4 if view == "benchmark" else 2)
            for at in members:
                told = ["benchmark", "method", *(["shift"] if view == "shift" else [])]
                assert [cells[at][name] for name in told] == [row[name] for name in told]
    for at, detail in enumerate(data["cells"]):
        if cells[at]["method"] == "source":
            assert detail["source"] == -1
            continue
        partner = cells[detail["source"]]
        assert partner["method"] == "source"
        assert all(partner[k] == cells[at][k] for k in ("benchmark", "shift", "seed"))


def test_curve_is_the_share_of_hits_among_the_queries_seen():
    result = cell(ranks=[1, 3, 1, 1])
    hits = result.hits[result.order]
    assert curve(result) == pytest.approx([100 * hits[:n].mean() for n in (1, 2, 3, 4)], abs=0.01)
    long = cell(ranks=np.arange(1000) % 4 + 1)
    assert len(curve(long)) == 48
    assert curve(long)[-1] == 25.0


def test_histogram_counts_each_query_once():
    counts = histogram(cell(ranks=[1, 1, 2, 3, 5, 6, 10, 11, 20, 21, 1_000_000]))
    assert counts == [2, 1, 2, 2, 2, 1, *[0] * (len(RANK_BINS) - 7), 1]
    assert histogram(cell(ranks=[1, 2, 2])) == [1, 2]


def test_numbers_that_are_none_are_null_and_named(parsed):
    results = [cell("source"), cell(metrics={"mAP": float("nan")})]
    data = parsed(results).data
    assert next(r for r in rows(data, "cell") if r["method"] == "rest")["mAP"] is None
    assert any("mAP is nan" in line for line in data["warnings"])
    assert [number(value) for value in (None, float("inf"), 3.0, 1 / 3)] == [None, None, 3, 0.33333]


def test_a_cell_without_a_result_has_a_row_and_its_reason(parsed):
    failed = cell("tent", status=Status.FAILED, reason="ValueError: odd")
    data = parsed([cell("source"), failed]).data
    at, row = next((i, r) for i, r in enumerate(rows(data, "cell")) if r["method"] == "tent")
    assert (row["status"], row["R@1"]) == ("failed", None)
    detail = data["cells"][at]
    assert (detail["reason"], detail["curve"], detail["ranks"]) == ("ValueError: odd", [], [])


def test_a_finished_cell_without_numbers_per_query_is_named(parsed):
    lost = cell()
    lost = type(lost)(lost.record)
    data = parsed([cell("source"), lost]).data
    assert any("numbers per query are missing" in line for line in data["warnings"])
    assert {"source", "rest"} == {row["method"] for row in rows(data, "cell")}


def test_notes_say_what_is_synthetic_and_what_is_our_reading(parsed):
    notes = parsed(grid()).data["notes"]
    assert any("synthetic" in note for note in notes)
    assert any(note.startswith("rest: our reading") for note in notes)
    assert parsed([cell("tent", benchmark="coco-c-image")]).data["notes"] == []


def test_places_of_the_same_name_are_told_apart(parsed):
    data = parsed([cell("tent"), cell("tent", weights="other")]).data
    heads = [head for (head,) in data["heads"]["benchmark"]]
    assert heads == ["mini-coco-c-image · weights other", "mini-coco-c-image · weights w1"]
    data = parsed([cell("tent"), cell("tent", stream=StreamSpec(batch_size=4))]).data
    for table in (data["tables"][view] for view in ("benchmark", "shift", "cell")):
        at = table["names"].index("told_apart")
        told = [data["strings"][row[at]] for row in table["rows"]]
        assert told == ["batch 2", "batch 4"]


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ([["a", "", "x"], ["b", "", "x"]], ["a", "b"]),
        ([["a", "s", "x"], ["a", "", "x"]], ["a · s", "a"]),
        ([["a", "", "x"], ["a", "", "y"], ["b", "", "y"]], ["a · x", "a · y", "b"]),
        ([], []),
    ],
)
def test_names_say_no_more_than_tells_them_apart(parts, names):
    assert tell_apart(parts, 2) == names


# Files


def test_links_lead_from_the_page_to_the_stored_cell(tmp_path):
    store = RunStore(tmp_path / "runs" / "mine")
    for result in [cell("source"), cell(HOSTILE[0]), cell("模型")]:
        arrays = {"best_rank": result.ranks, "group": result.group, "order": result.order}
        arrays |= {"query": result.group, "ap": np.full(4, 0.4)}
        store.save(result.record, arrays)
    page = tmp_path / "page" / "index.html"
    page.parent.mkdir()
    write(load_results(store), page, cells=store.cells)
    data = Parsed(page.read_text(encoding="utf-8")).data
    assert [sum(detail["ranks"]) for detail in data["cells"]] == [4, 4, 4]
    for detail in data["cells"]:
        assert detail["link"].startswith("./../runs/mine/cells/")
        target = Path(os.path.normpath(page.parent / unquote(detail["link"])))
        assert json.loads(target.read_text(encoding="utf-8"))["key"] == detail["key"]


def test_without_a_folder_there_are_no_links(parsed):
    assert {detail["link"] for detail in parsed(grid()).data["cells"]} == {""}


def test_folders_of_a_machine_do_not_get_onto_the_page(parsed, tmp_path):
    private = BackboneSpec("open_clip", "ViT-B-32", "/home/somebody/weights.pt")
    parsed([cell(backbone=private, options={"file": "~/secret/list.txt", "name": "org/model"})])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "somebody" not in text
    assert "secret" not in text
    assert all(part in text for part in ("weights.pt", "list.txt", "org/model"))


def test_the_same_cells_give_the_same_bytes_in_any_order(tmp_path):
    first = write(grid(), tmp_path / "a.html").read_bytes()
    assert write(grid()[::-1], tmp_path / "b.html").read_bytes() == first
