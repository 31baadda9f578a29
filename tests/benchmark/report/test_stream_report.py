"""Streams from the command line to the tables and figures; the pictures of the documentation."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.cell import Cell, ShiftSpec, StreamSpec
from benchmark.config.run import BenchConfig
from benchmark.errors import ConfigError, UnknownNameError
from benchmark.evaluation.stream import KINDS, summary
from benchmark.planning.plan import run_name
from benchmark.report import plots
from benchmark.report.frames import by_shift, leaderboard, tidy
from benchmark.report.pools import benchmark_pools, shift_pools
from benchmark.report.results import CellResult
from benchmark.report.writing import write_csv
from benchmark.store.records import read_cell
from benchmark.store.run_store import RunStore
from docs.figures import streams
from tests.benchmark.fakes import plan
from tests.benchmark.report.cells import invented
from tests.benchmark.report.test_report import printed

ROOT = Path(__file__).parents[3]
THREE = ("gaussian", "contrast", "jpeg_compression")


def planned(**settings: object) -> list[Cell]:
    given = {"device": "cpu", "method": ("source",), **settings}
    return plan(BenchConfig(**given))  # type: ignore[arg-type]


# Planning


def test_without_a_word_on_streams_the_cells_are_those_of_single_streams():
    (cell,) = planned(shift=("gaussian",))
    assert cell.stream == StreamSpec("single", 64)
    assert cell.domains == (cell.shift,)
    assert run_name([cell]).startswith("mini-coco-c-image_gaussian-noise-5_source_")


def test_named_shifts_become_the_domains_of_one_cell():
    (cell,) = planned(stream=("diverse",), shift=THREE, batch_size=16)
    assert (cell.stream.kind, cell.stream.batch_size) == ("diverse", 16)
    labels = [domain.label for domain in cell.domains]
    assert labels == ["gaussian_noise-5", "contrast-5", "jpeg_compression-5"]
    assert cell.stream.domains[1].options["constants"] == "mini64"
    assert cell.shift == summary(cell.domains)
    assert run_name([cell]).startswith("mini-coco-c-image_diverse_gaussian-noise-contrast-jpeg")


def test_domains_are_the_shifts_in_their_order_at_each_severity():
    (cell,) = planned(stream=("continual",), shift=("contrast", "gaussian"), severity=(1, 3))
    assert [domain.label for domain in cell.domains] == [
        *("contrast-1", "contrast-3", "gaussian_noise-1", "gaussian_noise-3")
    ]


def test_a_mixture_takes_the_benchmarks_own_shifts_where_none_is_named():
    (cell,) = planned(stream=("mixed",))
    single = planned(benchmark=("mini-coco-c-image",))
    assert [domain.name for domain in cell.domains] == [other.shift.name for other in single]


def test_clean_queries_can_be_a_domain():
    (cell,) = planned(stream=("continual",), shift=("none", "contrast"))
    assert [domain.label for domain in cell.domains] == ["none-0", "contrast-5"]


def test_each_shift_has_its_own_gradual_stream():
    cells = planned(stream=("gradual",), shift=("gaussian", "contrast"))
    assert [[d.severity for d in cell.domains] for cell in cells] == [[1, 2, 3, 4, 5]] * 2
    assert [cell.domains[0].name for cell in cells] == ["gaussian_noise", "contrast"]
    (cell,) = planned(stream=("gradual",), shift=("gaussian",), severity=(4, 2))
    assert [domain.severity for domain in cell.domains] == [2, 4]


def test_several_kinds_and_options_that_go_to_the_kinds_that_have_them():
    options = {"domains_per_batch": "1", "group_key": "shape", "delta": "1e-2"}
    cells = planned(stream=("mixed", "diverse", "correlated"), shift=THREE, stream_option=options)
    assert [cell.stream.kind for cell in cells] == ["mixed", "diverse", *["correlated"] * 3]
    assert cells[1].stream.domains_per_batch == 1
    assert (cells[2].stream.group_key, cells[2].stream.delta) == ("shape", 0.01)
    assert cells[0].stream == StreamSpec("mixed", 64, cells[0].domains)


@pytest.mark.parametrize(
    ("settings", "kind", "said"),
    [
        ({"stream": ("diverse",), "shift": ("gaussian",)}, ConfigError, "at least 3 domains"),
        ({"stream": ("gradual",), "severity": (9,)}, ConfigError, "no severity 9"),
        (
            {"stream": ("diverse",), "stream_option": {"domain_per_batch": "2"}},
            UnknownNameError,
            "did you mean 'domains_per_batch'",
        ),
        ({"stream_option": {"delta": "1"}}, UnknownNameError, "'delta'; known: none"),
    ],
)
def test_mistakes_are_one_clear_error(settings, kind, said):
    with pytest.raises(kind, match=re.escape(said)):
        planned(**settings)


# Tables and figures


def cell(kind="diverse", method="source", *, hits=(1, 0, 0, 1, 1, 0), **more) -> CellResult:
    names = more.get("names", ("fog", "snow", "contrast"))
    domains = tuple(ShiftSpec(name, 5) for name in names)
    if kind == "gradual":
        domains = tuple(ShiftSpec("fog", severity) for severity in (1, 2, 3))
    if kind in ("single", "correlated"):
        domains = ()
    metrics = {"forgetting": -1.0}
    if kind != "single":
        first = {"before": 40.0, "during": 43.5, "after": 41.25}
        metrics |= {f"first_domain_R@1_{when}": value for when, value in first.items()}
    metrics |= {f"R@1_{domain.label}": 10.0 + n for n, domain in enumerate(domains)}
    group = "shape" if kind == "correlated" else ""
    stream = StreamSpec(kind, more.get("batch_size", 2), domains, group_key=group)
    shift = summary(domains) if domains else "fog"
    return invented(method, shift, hits=hits, stream=stream, metrics=metrics)


def test_a_table_says_which_stream_it_is_of_and_shows_its_domains():
    text = printed([cell()])
    assert "stream diverse domains_per_batch 2" in text
    assert "40.0->43.5->41.2" in text
    assert "fog-5 10.0, snow-5 11.0, contrast-5 12.0" in " ".join(text.split())
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "1-3-1" in printed([cell("gradual")])
    assert "by domain" not in printed([cell("correlated")])
    assert "group_key shape delta 0.1" in printed([cell("correlated")])


def test_the_table_of_single_streams_is_as_it_was():
    text = printed([cell("single")])
    assert "stream" not in text
    assert "domain" not in text


def test_streams_are_never_pooled_or_compared_with_each_other():
    results = [cell(kind, method) for kind in KINDS for method in ("source", "rest")]
    results.append(cell("diverse", batch_size=3))
    results.append(cell("diverse", names=("fog", "snow", "frost")))
    pools = shift_pools(results)
    assert len(pools) == len(results)
    assert all(len(pool.pairs) == 1 for pool in pools if not pool.is_source)
    for pool in pools:
        for ours, theirs in pool.pairs:
            assert ours.record.cell["stream"] == theirs.record.cell["stream"]


def test_csv_tables_have_a_column_for_the_stream():
    results = [
        cell(kind, method) for kind in ("single", "gradual") for method in ("source", "rest")
    ]
    board = leaderboard(benchmark_pools(results))
    assert sorted(zip(board["stream"], board["method"], strict=True)) == [
        *(("gradual", "rest"), ("gradual", "source"), ("single", "rest"), ("single", "source"))
    ]
    table = by_shift(shift_pools(results)).set_index("stream")
    assert table.loc["gradual", "first_domain_R@1_after"].tolist() == [41.25] * 2
    assert table.loc["single", "first_domain_R@1_after"].isna().all()


def test_tidy_rows_say_the_stream_and_its_domains(tmp_path):
    store = RunStore(tmp_path)
    record, index = cell().record, np.arange(6)
    recalls = {"fog-5": 100.0, "snow-5": 50.0, "contrast-5": 0.0}
    metrics = {"R@1": 50.0, **{f"R@1_{label}": value for label, value in recalls.items()}}
    arrays = {"query": index, "group": index, "order": index, "domain": index % 3}
    arrays |= {"best_rank": np.array([1, 2, 2, 1, 1, 2]), "ap": np.ones(6)}
    store.save(replace(record, metrics=metrics), arrays)
    (path,) = store.cells.glob("*.json")
    assert read_cell(path).cell.stream.domains[2].name == "contrast"
    assert path.name.startswith("mini-coco-c-image_diverse_fog-snow-contrast-5_source_s0_")
    table = pd.read_csv(write_csv(tidy(store.records()), tmp_path / "tidy.csv"))
    assert set(table["stream"]) == {"diverse"}
    assert set(table["stream_options"]) == {"domains_per_batch=2"}
    assert set(table["domains"]) == {"fog-5, snow-5, contrast-5"}
    assert list(table["R@1_snow-5"]) == [50.0]


def panel(kind: str):
    pools = shift_pools([cell(kind), cell(kind, "rest")])
    figure = plots.recall_along_stream(pools)
    figure.draw_without_rendering()
    return figure.axes[0]


def test_recall_along_a_continual_stream_shows_where_the_domain_changes():
    axis = panel("continual")
    upright = [line.get_xdata()[0] for line in axis.lines if len(set(line.get_xdata())) == 1]
    assert upright == [2, 4]
    assert [text.get_text() for text in axis.texts] == ["fog", "snow", "contrast"]


def test_recall_along_a_gradual_stream_shows_the_severities():
    axis = panel("gradual")
    assert [text.get_text() for text in axis.texts] == ["1", "2", "3", "2", "1"]
    # Blocks of 1, 1, 1, 1 and 2 queries end their batches: a point at each end.
    assert list(axis.lines[0].get_xdata()) == [1, 2, 3, 4, 6]


def test_the_names_of_domains_lie_clear_of_each_other_and_of_the_title():
    for kind in ("continual", "gradual"):
        axis = panel(kind)
        boxes = [text.get_window_extent() for text in axis.texts]
        assert all(not one.overlaps(two) for one, two in itertools.pairwise(boxes))
        titles = axis.findobj(lambda part: getattr(part, "get_text", str)().startswith("fog "))
        assert titles
        assert not any(title.get_window_extent().overlaps(b) for title in titles for b in boxes)


def test_other_streams_have_no_boundaries():
    for kind in ("single", "mixed", "diverse", "correlated"):
        assert not panel(kind).texts


def test_figures_of_several_streams_have_names_of_their_own():
    results = [cell(kind, m) for kind in KINDS for m in ("source", "rest")]
    results.append(cell("diverse", "rest", names=("a", "b", "c", "d")))
    results.append(cell("diverse", "rest", names=("a", "b", "c", "e")))
    pools = shift_pools(results)
    names = [name for name, _ in plots.figures(pools)]
    assert len(set(names)) == len(names)
    assert {"stream_mini-coco-c-image.png", "stream_mini-coco-c-image-diverse.png"} <= set(names)


def test_columns_of_the_same_name_stand_apart():
    sets = (("a", "b", "c", "d"), ("a", "b", "c", "e"))
    results = [cell("mixed", m, names=names) for names in sets for m in ("source", "rest")]
    axis = plots.heat_map(shift_pools(results)).axes[0]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["4-shifts 5", "4-shifts 5 #2"]


# Documentation


def test_every_kind_is_documented_with_a_picture():
    text = (ROOT / "docs" / "streams.md").read_text(encoding="utf-8")
    for kind in KINDS:
        assert re.search(rf"^## {kind}$", text, re.MULTILINE)
    for kind in streams.pictures():
        assert f"![{kind}](streams/{kind}.png)" in text
        picture = ROOT / "docs" / "streams" / f"{kind}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size < 60_000
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert not [link for link in links if not (ROOT / "docs" / link).exists()]


def test_pictures_are_drawn_from_the_streams(tmp_path):
    written = streams.write(tmp_path)
    assert {path.stem for path in written} == {*KINDS} - {"arrival"}  # which looks as single does
    figure = streams.pictures()["diverse"]
    (image,) = figure.axes[0].images
    squares = np.asarray(image.get_array())
    assert squares.shape == (streams.BATCH, streams.BATCHES)
    assert all(len(set(column.tolist())) == 2 for column in squares.T)
