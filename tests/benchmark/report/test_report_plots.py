"""Figures: drawn without warnings (errors here), labelled from data, nothing overlapping."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from benchmark.report import plots
from benchmark.report.plots import layout
from benchmark.report.pools import shift_pools
from methods import BUILTINS
from tests.benchmark.report.cells import invented

BUILT_IN = ("source", "recentre", "tent", "eata", "sar", "read", "tcr", "rest")
ODD = ("a-plugin-with-a-remarkably-long-method-name", "cost$x^2$", "_hidden", "模型")


def cell(method, shift="contrast", *, hits=None, seed=0, benchmark="mini-a", forgot=-1.5):
    """A finished cell; ``hits`` None makes one that failed, ``forgot`` None one without probes."""
    facts = {"seed": seed, "benchmark": benchmark}
    if hits is None:
        return invented(method, shift, status="failed", reason="ValueError: odd", **facts)
    metrics = {} if forgot is None else {"forgetting": forgot}
    order = np.arange(len(hits))[::-1]
    return invented(method, shift, hits=hits, order=order, metrics=metrics, **facts)


def grid(methods, shifts, benchmarks=("mini-a",)):
    rng = np.random.default_rng(0)
    combinations = itertools.product(methods, shifts, benchmarks)
    return [cell(m, s, hits=rng.random(40) < 0.4, benchmark=b) for m, s, b in combinations]


def built(results) -> dict[str, Figure]:
    return dict(plots.figures(shift_pools(results)))


def drawn(results) -> dict[str, Figure]:
    figures = built(results)
    for figure in figures.values():
        png = plots.render(figure)
        assert png.startswith(b"\x89PNG")
        # matplotlib would otherwise write its version into the file.
        assert b"Software" not in png
    return figures


def legend_boxes(figure):
    return [legend.get_window_extent() for legend in figure.legends]


def labels_below(axis):
    low, high = axis.get_xlim()
    names = zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
    labels = [axis.xaxis.label, *(text for at, text in names if low <= at <= high)]
    return [label.get_window_extent() for label in labels if label.get_text()]


@pytest.mark.parametrize(
    "results",
    [
        grid(("source",), ("contrast",)),
        grid(("source", "rest"), ("contrast",)),
        grid(BUILT_IN + ODD, ("contrast", "none", "a_plugin_shift_with_a_very_long_name", "fog")),
        grid(BUILT_IN[:3], tuple(f"shift_{n}" for n in range(8)), ("mini-a", "mini-b")),
    ],
    ids=["one method, one shift", "two methods", "twelve methods, odd names", "many shifts"],
)
def test_nothing_lies_over_the_legend_or_outside_the_figure(results):
    for name, figure in built(results).items():
        figure.draw_without_rendering()  # places the texts at the figure's own resolution
        canvas = figure.bbox.padded(2)
        texts = [t for a in figure.axes for t in labels_below(a)] + legend_boxes(figure)
        texts += [a.yaxis.label.get_window_extent() for a in figure.axes]
        for box in texts:
            assert canvas.x0 <= box.x0, name
            assert box.x1 <= canvas.x1, name
            assert canvas.y0 <= box.y0 <= box.y1 <= canvas.y1, name
        for axis, legend in itertools.product(figure.axes, legend_boxes(figure)):
            if axis.get_visible():
                assert not axis.bbox.overlaps(legend), name
                assert not any(box.overlaps(legend) for box in labels_below(axis)), name


def test_odd_names_are_drawn():
    assert drawn(grid(("source", *ODD), ("contrast", "none")))


def test_names_of_methods_in_rows_do_not_touch():
    shifts = ("jpeg_compression", "gaussian_noise", "defocus_blur", "elastic_transform", "none")
    pools = shift_pools(grid(tuple(BUILTINS), shifts))
    figure = plots.recall_by_shift(pools, "mini-a")
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(boxes) == len(BUILTINS)
    assert all(not a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_recall_along_the_stream_is_cumulative_in_stream_order():
    # The stream runs backwards through the queries, in batches of two.
    pools = shift_pools([cell("source", hits=[1, 0, 0, 1, 1])])
    line = plots.recall_along_stream(pools).axes[0].lines[0]
    assert list(line.get_xdata()) == [2, 4, 5]
    assert list(line.get_ydata()) == pytest.approx([100.0, 50.0, 60.0])
    assert line.get_linestyle() == "--"


def test_recall_along_the_stream_averages_seeds():
    pools = shift_pools([cell("rest", hits=[1, 1]), cell("rest", hits=[0, 0], seed=1)])
    assert list(plots.recall_along_stream(pools).axes[0].lines[0].get_ydata()) == [50.0]


def test_rows_are_recall_with_intervals_and_missing_ones_are_named():
    results = [
        cell("source", hits=[1, 0]),
        cell("rest", hits=[1, 1]),
        cell("source", "fog", hits=[1, 0]),
        cell("rest", "fog"),
    ]
    figure = plots.recall_by_shift([pool for pool in shift_pools(results) if pool.done], "mini-a")
    contrast, fog = figure.axes
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["contrast 5", "fog 5"]
    assert [t.get_text() for t in contrast.get_yticklabels()] == ["source", "rest +"]
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in contrast.lines[1:]]
    assert points == [(50.0, 0), (100.0, 1)]  # after the source's line from top to bottom
    assert [text.get_text() for text in fog.texts] == ["no number"]
    assert fog.texts[0].xy[1] == 1


def test_heat_map_shows_differences_and_brackets_what_is_within_noise():
    results = [
        cell("source", hits=[0] * 8),
        cell("rest", hits=[1] * 8),
        cell("tent", hits=[0] * 8),
        cell("tcr"),
    ]
    pools = shift_pools(results)
    axis = plots.heat_map(pools).axes[0]
    rows = [label.get_text() for label in axis.get_yticklabels()]
    assert rows == ["tent", "tcr", "rest"]
    shown = {(round(t.get_position()[1]), t.get_text()) for t in axis.texts}
    assert shown == {(0, "(+0.0)"), (2, "+100.0")}  # nothing is written where tcr failed


def test_wide_heat_maps_become_one_row_per_benchmark_beside_one_map_each():
    shifts = tuple(f"shift_{n:02d}" for n in range(9))
    results = grid(("source", "rest"), shifts, ("mini-a", "mini-b"))
    figures = dict(plots.figures(shift_pools(results)))
    axis = figures["difference.png"].axes[0]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["mini-a", "mini-b"]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["rest"]
    whole = dict(plots.figures(shift_pools(results), each=False))
    assert not any("mini-a" in name for name in whole)
    assert {"difference_mini-a.png", "difference_mini-b.png"} <= figures.keys()
    assert {"stream_mini-a_1.png", "stream_mini-a_2.png"} <= figures.keys()


def test_figures_without_differences_or_forgetting_are_left_out():
    names = drawn([cell("source", hits=[1, 0], forgot=None)]).keys()
    assert names == {"stream_mini-a.png", "shifts_mini-a.png"}
    assert drawn([cell("source")]) == {}


def test_drawing_leaves_matplotlib_settings_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    drawn(grid(("source", "rest"), ("contrast",)))
    assert dict(mpl.rcParams) == before


# Many methods


def test_many_methods_are_shown_by_whether_they_train():
    results = [
        replace(result, record=replace(result.record, cost={"backward_per_query": passes}))
        for method in BUILTINS
        for passes in (float(method not in ("source", "recentre", "nnn")),)
        for result in grid((method,), ("contrast",), ("mini-a", "mini-b"))
    ]
    figures = built(results)
    trained, free = figures["forgetting.png"].axes[:2]
    assert [a.get_title(loc="left") for a in (trained, free)] == [
        "methods that train",
        "training-free methods",
    ]
    assert [t.get_text() for t in free.get_xticklabels()] == ["recentre", "nnn"]
    names = [t.get_text() for t in figures["leaderboard.png"].axes[0].get_yticklabels()]
    assert names[0] == "methods that train"
    assert set(names[-3:]) == {"training-free methods", "recentre", "nnn"}
    assert set(names) - {"methods that train", "training-free methods"} == {*BUILTINS} - {"source"}


def test_the_leaderboard_is_ordered_by_gain_and_says_what_differs_from_source():
    results = [
        cell("source", hits=[0] * 8),
        cell("rest", hits=[1, 0, 0, 0, 0, 0, 0, 0]),
        cell("tent", hits=[1] * 8),
    ]
    axis = built(results)["leaderboard.png"].axes[0]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["tent", "rest"]
    faces = [line.get_markerfacecolor() for line in axis.lines[:2]]
    assert faces == [layout.LOOKS["tent"].colour, "white"]
    assert [text.get_text() for text in axis.texts] == ["+100.0", "+12.5"]


def test_lines_are_of_the_best_methods_and_those_that_are_always_shown():
    rng = np.random.default_rng(0)
    hits = {m: rng.random(60) < place / 40 for place, m in enumerate(reversed(list(BUILTINS)))}
    hits["sinkhorn"] = np.ones(60)
    figure = built([cell(m, hits=h) for m, h in hits.items()])["stream_mini-a.png"]
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert len(names) == layout.LINES
    assert names[:2] == ["source", "recentre"]
    assert "sinkhorn" in names
    assert f"of {len(BUILTINS)} methods" in legend.get_title().get_text()


# Looks


def test_built_ins_keep_their_look_and_no_two_methods_share_one():
    names = [*BUILT_IN, *(f"plugin-{n}" for n in range(21))]
    chosen = layout.looks(names)
    assert all(chosen[name] == layout.LOOKS[name] for name in BUILT_IN)
    assert len(set(chosen.values())) == len(names)
    assert layout.looks(["rest", "zebra"])["rest"] == chosen["rest"]


def test_a_variant_of_a_built_in_keeps_its_colour_once():
    chosen = layout.looks(["rest [lr=0.1]", "rest [lr=0.2]"])
    assert chosen["rest [lr=0.1]"] == layout.LOOKS["rest"]
    assert chosen["rest [lr=0.2]"] != layout.LOOKS["rest"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("rest", "rest"),
        ("_x", " _x"),
        ("模型", "??"),
        ("a\nb", "a?b"),
        ("$x$", "$x$"),
        ("abcdefghijklmnop", "abcdef…nop"),
    ],
)
def test_labels_are_short_and_drawable(name, shown):
    assert layout.shown(name, 10) == shown
