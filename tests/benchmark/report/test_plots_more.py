"""Severity curves, Pareto front, probes, angles, published numbers, maps; and files of figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.path import Path

from benchmark.metrics.average_ranks import RankTest
from benchmark.report import plots
from benchmark.report.frames import Ranking
from benchmark.report.plots.methods import name_points, pareto
from benchmark.report.pools import benchmark_pools, shift_pools
from tests.benchmark.report.test_report_plots import cell


def with_numbers(result, *, severity=5, batches=(), **sections):
    """The result with another severity, other batches and more stored numbers."""
    shift = {**result.record.cell["shift"], "severity": severity}
    record = replace(
        result.record,
        key=f"{result.record.key}{severity}",
        cell={**result.record.cell, "shift": shift},
        batches=tuple(batches),
        **sections,
    )
    return replace(result, record=record)


def texts_of(axis):
    return [text.get_text() for text in axis.texts]


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], []),
        ([(1, 5), (2, 4), (3, 6)], [0, 2]),
        ([(3, 6), (2, 4), (1, 5)], [2, 0]),
        ([(1, 5), (1, 7), (2, 7)], [1]),
        ([(1, 5), (1, 5)], [0]),
    ],
)
def test_the_pareto_front_holds_what_nobody_equals_at_its_price(points, front):
    assert pareto(points) == front


def test_quality_and_cost_has_a_point_per_method_and_the_front():
    results = [
        with_numbers(cell(m, hits=hits), cost={"ms_per_query": ms})
        for m, hits, ms in (
            ("source", [1, 0, 0, 0], 1.0),
            ("tent", [0, 0, 0, 0], 2.0),
            ("rest", [1, 1, 0, 0], 10.0),
            ("sar", [1, 1, 1, 1], float("nan")),
        )
    ]
    pools = shift_pools(results)
    axis = plots.quality_and_cost(pools).axes[0]
    *points, _ = axis.lines  # a faint one and its mean for each method, and the line at no gain
    step = points.pop(3)
    found = [float(*values) for p in points[3:6] for values in (p.get_xdata(), p.get_ydata())]
    assert found == pytest.approx([1.0, 0.0, 2.0, -25.0, 10.0, 25.0])
    assert list(step.get_xdata()) == pytest.approx([1.0, 10.0])
    assert axis.get_xscale() == "log"
    assert "cost.png" in dict(plots.figures(pools))


def test_severity_curves_start_at_uncorrupted_queries():
    results = [
        with_numbers(cell("source", "none", hits=[1, 1, 1, 1]), severity=0),
        with_numbers(cell("source", hits=[1, 1, 0, 0]), severity=1),
        with_numbers(cell("source", hits=[1, 0, 0, 0]), severity=5),
        cell("source", "fog", hits=[1, 0, 0, 0]),
    ]
    pools = shift_pools(results)
    figure = dict(plots.figures(pools))["severity_mini-a.png"]
    (axis,) = figure.axes  # fog has one severity and no panel
    assert axis.get_title(loc="left") == "contrast"
    assert list(axis.lines[0].get_xdata()) == [0, 1, 5]
    assert list(axis.lines[0].get_ydata()) == [100.0, 50.0, 25.0]
    single = shift_pools([cell("source", hits=[1, 0])])
    assert not any(name.startswith("severity") for name in dict(plots.figures(single)))


def test_probes_set_shifted_numbers_beside_the_source_in_domain():
    numbers = {"uniformity": 0.9, "gap": 0.2, "consistency": 0.8}
    shifted = {"uniformity": 0.6, "gap": 0.5, "consistency": float("nan")}
    results = [
        with_numbers(cell("source", "none", hits=[1, 1]), severity=0, probes=numbers),
        with_numbers(cell("rest", "none", hits=[1, 1]), severity=0, probes=numbers),
        with_numbers(cell("source", hits=[1, 0]), probes=shifted),
        with_numbers(cell("rest", hits=[1, 0]), probes=shifted),
    ]
    figure = dict(plots.figures(shift_pools(results)))["probes_mini-a.png"]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["source, in-domain", "source", "rest"]
    assert [texts_of(axis) for axis in figure.axes] == [
        ["0.90", "0.60", "0.60"],
        ["0.20", "0.50", "0.50"],
        ["0.80", "no number", "no number"],
    ]
    assert list(figure.axes[1].lines[-1].get_xdata()) == [0.2, 0.2]


def test_probes_without_uncorrupted_queries_say_nothing_of_the_domain():
    results = [with_numbers(cell("source", hits=[1, 0]), probes={"gap": 0.5})]
    figure = plots.probes(shift_pools(results))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["source"]
    assert texts_of(figure.axes[0]) == ["no number"]


# Files


def test_a_pdf_has_no_date_and_the_same_bytes_twice():
    pools = shift_pools([cell("source", hits=[1, 0])])
    first, second = (plots.render(plots.recall_by_shift(pools, "a"), "pdf") for _ in range(2))
    assert first.startswith(b"%PDF")
    assert first == second
    for word in (b"CreationDate", b"Matplotlib", b"Producer"):
        assert word not in first


# Average ranks


def ranking(**changes):
    average = {"rest": 1.5, "tcr": 1.5, "source": 3.0}
    tested = RankTest(9.0, 0.01, critical_difference=1.2)
    return replace(Ranking("s", "single", average, 8, {}, tested), **changes)


def test_the_rank_diagram_names_every_method_with_its_rank():
    figure = plots.rank_diagram(ranking(), "ranks")
    (axis,) = figure.axes
    assert [t.get_text() for t in axis.get_yticklabels()] == ["rest", "tcr", "source"]
    assert texts_of(axis) == ["1.50", "1.50", "3.00"]
    assert [line.get_xdata()[0] for line in axis.lines] == [1.5, 1.5, 3.0]
    bars = [bar.get_segments()[0][:, 0] for bar in axis.collections]
    assert np.allclose(bars, [(0.9, 2.1), (0.9, 2.1), (2.4, 3.6)])
    assert "2 of 3 bars reach the grey band" in axis.get_xlabel()
    assert plots.render(figure) == plots.render(plots.rank_diagram(ranking(), "ranks"))


def test_without_a_critical_difference_there_is_no_diagram_but_a_reason():
    with pytest.raises(ValueError, match="no critical difference to draw: two data sets"):
        plots.rank_diagram(ranking(tested=None, reason="two data sets"))
    assert "ranks.png" not in dict(plots.figures(shift_pools(many(count=5))))
    assert "ranks.png" in dict(plots.figures(shift_pools(many(count=6))))


# Many benchmarks in one panel


def many(count=7, **numbers):
    """Source and rest on more benchmarks than there are panels; rest finds one query more."""
    return [
        with_numbers(cell(name, hits=hits, benchmark=f"mini-{place}"), severity=5, **numbers)
        for place in range(count)
        for name, hits in (("source", [1, 0, 0, 0]), ("rest", [1, 1, 0, 0]))
    ]


def with_cost(results, costs):
    return [
        replace(r, record=replace(r.record, cost={"ms_per_query": ms}))
        for r, ms in zip(results, costs, strict=True)
    ]


def test_many_benchmarks_share_a_panel_of_gain_against_relative_cost():
    results = with_cost(many(), [1.0, 4.0] * 6 + [2.0, 32.0])
    axis = dict(plots.figures(shift_pools(results)))["cost.png"].axes[0]
    source, rest = (p.get_xydata()[0] for p in axis.lines if len(p.get_xdata()) == 1)
    assert list(source) == [1.0, 0.0]
    assert list(rest) == pytest.approx([(6 * 4.0 + 16.0) / 7, 25.0])
    assert axis.get_ylabel().endswith("mean of 7 benchmarks")


def test_names_of_points_keep_off_the_front_and_off_other_points():
    figure = Figure(figsize=(5, 4), dpi=72)
    axis = figure.subplots()
    axis.set(xlim=(0, 10), ylim=(0, 10))
    points = [(2, 5, "cheap", "r"), (8, 7, "dear", "g"), (8.4, 6.6, "near", "b")]
    name_points(figure, axis, points)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axis.texts]
    front = axis.transData.transform([(2, 5), (8, 5), (8, 7)])
    assert not any(Path(front).intersects_bbox(box, filled=False) for box in boxes)
    marks = axis.transData.transform([point[:2] for point in points])
    for number, box in enumerate(boxes):
        assert not any(box.contains(*mark) for mark in np.delete(marks, number, axis=0))


def test_a_benchmark_that_one_method_lacks_is_not_in_the_mean():
    results = with_cost(many(8), [1.0, 4.0] * 7 + [1.0, 64.0])
    lacking = [*results, *with_cost(many(9)[-2:-1], [1.0])]
    axis = plots.quality_and_cost(shift_pools(lacking)).axes[0]
    assert axis.get_ylabel().endswith("mean of 8 benchmarks")
    failed = [replace(r, record=replace(r.record, cost={})) for r in results if r.method == "rest"]
    rest = [r for r in results if r.method == "source"] + failed
    alone = plots.quality_and_cost(shift_pools(rest)).axes[0]
    assert alone.get_ylabel().endswith("mean of 8 benchmarks")  # the source alone


def test_forgetting_on_many_benchmarks_is_a_map_of_means():
    without = cell("rest", hits=[1], benchmark="mini-6", forgot=None)
    worse = cell("rest", "fog", hits=[1, 1, 0, 0], benchmark="mini-0", forgot=-4.5)
    clean = cell("rest", "none", hits=[1], benchmark="mini-0", forgot=-99.0)  # as in the tables
    results = [*many(6), without, worse, clean]
    axis = dict(plots.figures(shift_pools(results)))["forgetting.png"].axes[0]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["rest"]
    assert [t.get_text() for t in axis.get_yticklabels()] == [f"mini-{n}" for n in range(7)]
    assert texts_of(axis) == ["-3.0", *["-1.5"] * 5]  # nothing is written for mini-6


def test_angles_on_many_benchmarks_are_strips_with_their_share_of_conflicts():
    batches = [{"angle": 95.0}, {"angle": 100.0}, {"angle": 20.0}, {"angle": None}]
    results = [r for r in many() if r.method == "rest"]
    results = [replace(r, record=replace(r.record, batches=tuple(batches))) for r in results]
    figure = plots.angles(shift_pools(results))
    axis = figure.axes[0]
    assert [t.get_text() for t in axis.get_yticklabels()] == [f"mini-{n}" for n in range(7)]
    assert texts_of(axis) == [*["67 %"] * 7, "above 90°"]
    assert axis.get_title(loc="left") == "rest"
    assert figure.get_suptitle().endswith("on 7 benchmarks")
    assert plots.render(figure).startswith(b"\x89PNG")


def test_odd_runs_have_all_of_their_figures():
    """Angles without a number, names that are one file's name, streams of a single batch."""
    odd = {"probes": {"angle": np.nan}, "batches": [{"angle": np.nan}]}
    results = [
        with_numbers(cell(method, hits=[1, 0], benchmark=name), **odd)
        for method in ("source", "rest")
        for name in ("a+b", "a-b")
    ]
    found = dict(plots.figures(shift_pools(results)))
    assert {"shifts_a-b.png", "shifts_a-b__2.png"} <= set(found)
    assert "angles.png" not in found
    drawn = found["stream_a-b.png"].axes[0].lines
    assert [line.get_marker() for line in drawn] == ["o", "o"]


def test_every_figure_marks_a_method_that_lacks_cells():
    numbers = {
        "probes": {"uniformity": 0.5, "gap": 0.5, "consistency": 0.5},
        "metrics": {"forgetting": -1.0},
        "cost": {"ms_per_query": 2.0},
    }
    results = [
        with_numbers(cell(method, hits=[1, 0], seed=seed), **numbers)
        for method, seeds in {"source": 2, "tcr": 2, "rest": 1}.items()
        for seed in range(seeds)
    ]
    found, said = dict(plots.figures(shift_pools(results))), "+: some of its cells are missing"
    for kind in ("shifts_mini-a", "probes_mini-a", "leaderboard"):
        names = [text.get_text() for text in found[f"{kind}.png"].axes[0].get_yticklabels()]
        assert "rest +" in names
        assert "tcr" in names
        assert found[f"{kind}.png"].get_supxlabel() == said
    assert {"rest +", "tcr"} <= {text.get_text() for text in found["cost.png"].axes[0].texts}
    assert found["cost.png"].get_supxlabel() == said
    (legend,) = found["stream_mini-a.png"].legends
    assert legend.get_title().get_text() == "cells missing: rest"
    assert texts_of(found["forgetting.png"].axes[0]) == ["-1.0", "-1.0+"]
    drawn = plots.benchmark_map(benchmark_pools(results))
    assert texts_of(drawn.axes[0]) == ["(+0.0)", "(+0.0+)"]
    assert drawn.get_supxlabel().endswith("+: cells are missing")
    only_source_lacks = [*results[1:], cell("rest", hits=[1, 0], seed=1)]
    assert not dict(plots.figures(shift_pools(only_source_lacks)))[
        "leaderboard.png"
    ].get_supxlabel()
