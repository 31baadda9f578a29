"""R@1 against a setting that a run varies; what a shift changes of its queries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmark.cell import StreamSpec
from benchmark.report import plots
from benchmark.report.plots.recall import BATCH, lines
from benchmark.report.pools import shift_pools
from tests.benchmark.report.cells import invented


def cell(method, hits, *, shift="fog", seed=0, batch=64, benchmark="mini-a", **options):
    """A finished cell; ``options`` are the method's."""
    facts = {"seed": seed, "stream": StreamSpec(batch_size=batch), "benchmark": benchmark}
    return invented(method, shift, hits=hits, options=options, **facts)


def swept():
    """Two methods at three learning rates, source and recentre beside them."""
    hits = {1e-5: [1, 0, 0, 0], 1e-4: [1, 1, 0, 0], 1e-3: [0, 0, 0, 0]}
    results = [cell("source", [1, 0, 0, 0]), cell("recentre", [1, 1, 1, 0])]
    return results + [
        cell(method, found, lr=lr, temperature=0.02)
        for method in ("tcr", "rest")
        for lr, found in hits.items()
    ]


def recalls(line):
    return {value: found.value for value, found in line.points.items()}


def test_a_swept_option_is_found_and_drawn_against_its_values():
    pools = shift_pools(swept())
    ((name, found),) = lines(pools).items()
    assert name == "lr"
    assert [line.method for line in found] == ["tcr", "rest"]
    assert recalls(found[0]) == {1e-5: 25.0, 1e-4: 50.0, 1e-3: 0.0}
    figure = dict(plots.figures(pools))["sensitivity_lr.png"]
    (axis,) = figure.axes
    assert axis.get_xscale() == "log"
    assert [t.get_text() for t in axis.get_xticklabels()] == ["1e-05", "0.0001", "0.001"]
    level, curves = axis.lines[:2], axis.lines[2:]
    assert [list(line.get_ydata()) for line in level] == [[25.0, 25.0], [75.0, 75.0]]
    assert [list(line.get_ydata()) for line in curves] == [[25.0, 50.0, 0.0]] * 2
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["source", "recentre", "tcr", "rest"]
    assert plots.render(figure).startswith(b"\x89PNG")


def test_of_values_close_together_one_is_named():
    found = {3e-4: [1, 0], 9e-3: [1, 0], 1e-2: [1, 1], 2.7e-2: [0, 1], 3e-2: [1, 0]}
    results = [cell("source", [1, 0]), *(cell("tcr", h, lr=lr) for lr, h in found.items())]
    (axis,) = dict(plots.figures(shift_pools(results)))["sensitivity_lr.png"].axes
    assert list(axis.get_xticks()) == list(found)
    assert [t.get_text() for t in axis.get_xticklabels()] == ["0.0003", "0.009", "", "0.027", ""]


def test_the_batch_size_is_a_setting_of_every_method():
    sizes = {1: [0, 0, 0, 0], 4: [1, 0, 0, 0], 16: [1, 1, 0, 0], 64: [1, 1, 1, 0]}
    results = [cell("source", [1, 0, 0, 0], batch=size) for size in sizes]
    results += [cell("tcr", hits, batch=size) for size, hits in sizes.items()]
    pools = shift_pools(results)
    found = lines(pools)
    assert list(found) == [BATCH]
    source, tcr = found[BATCH]
    assert recalls(source) == dict.fromkeys(sizes, 25.0)
    assert recalls(tcr) == {1: 0.0, 4: 25.0, 16: 50.0, 64: 75.0}
    figures = dict(plots.figures(pools))
    (axis,) = figures["sensitivity_batch-size.png"].axes
    assert [t.get_text() for t in axis.get_xticklabels()] == ["1", "4", "16", "64"]
    assert "shifts_mini-a-batch-16.png" in figures


def test_only_shifts_and_seeds_that_all_values_have_are_compared():
    results = [
        cell("rest", [1, 1], lr=0.1),
        cell("rest", [0, 0], lr=0.1, shift="snow"),
        cell("rest", [1, 0], lr=0.2),
    ]
    results += [cell("source", [1, 1]), cell("source", [0, 0], shift="snow")]
    (line,) = lines(shift_pools(results))["lr"]
    assert recalls(line) == {0.1: 100.0, 0.2: 50.0}
    (axis,) = dict(plots.figures(shift_pools(results)))["sensitivity_lr.png"].axes
    assert list(axis.lines[0].get_ydata()) == [100.0, 100.0]  # of source, on the same shift
    apart = [cell("rest", [1, 1], lr=0.1), cell("rest", [0, 0], lr=0.2, shift="snow")]
    assert not lines(shift_pools(apart))


def test_a_grid_of_two_options_has_a_line_for_each_value_of_the_other():
    results = [cell("rest", [1, 0], lr=lr, gap=gap) for lr in (0.1, 0.2) for gap in (0.0, 1.0)]
    found = lines(shift_pools(results))
    assert list(found) == ["gap", "lr"]
    assert [line.method for line in found["lr"]] == ["rest [gap=0.0]", "rest [gap=1.0]"]


def test_methods_that_differ_in_several_options_are_no_sweep():
    results = [cell("rest", [1, 0], lr=0.1, gap=0.0), cell("rest", [1, 1], lr=0.2, gap=1.0)]
    assert not lines(shift_pools(results))


@pytest.mark.parametrize("values", [("off", "prograd"), (False, True), ([1, 2], [3])])
def test_values_that_are_no_numbers_have_a_place_each(values):
    results = [cell("rest", [1, place], decouple=value) for place, value in enumerate(values)]
    (axis,) = dict(plots.figures(shift_pools(results)))["sensitivity_decouple.png"].axes
    assert [t.get_text() for t in axis.get_xticklabels()] == [
        value if isinstance(value, str) else str(value) for value in values
    ]
    assert list(axis.lines[0].get_ydata()) == [50.0, 100.0]


def test_the_share_of_changed_queries_and_the_size_of_the_change_are_drawn_once_a_shift():
    def changed(result, share, size, **parts):
        probes = {"coverage": share, "change_size": size, **parts}
        return replace(result, record=replace(result.record, probes=probes))

    results = [
        changed(cell("source", [1, 0]), 100.0, 12.5),
        changed(cell("rest", [1, 0]), 100.0, 12.5),
        changed(cell("rest", [1, 0], shift="char_swap"), 40.0, float("nan"), coverage_text=30.0),
        cell("rest", [1, 0], shift="none"),
    ]
    figure = dict(plots.figures(shift_pools(results)))["coverage.png"]
    share, size = figure.axes
    assert [t.get_text() for t in share.get_yticklabels()] == [
        "mini-a  char swap 5",
        "mini-a  fog 5",
    ]
    assert [bar.get_width() for bar in share.patches] == [40.0, 100.0]
    assert [bar.get_width() for bar in size.patches] == [12.5]
    assert [text.get_text() for text in size.texts] == ["no number", "12.5"]
    assert [line.get_xdata()[0] for line in share.lines] == [30.0, 5.0]  # captions; too little
    assert share.texts[0].xy == (40.0, 0), "the number stands at its bar, not at the captions' mark"
    assert 0 < share.lines[0].get_ydata()[0] < 0.5, "the mark is not on the number"
    assert figure.get_suptitle() == "Queries changed by 2 shifts, and by how much"
    assert figure.get_supxlabel().startswith("dotted line: 5 %")
    assert "coverage.png" not in dict(plots.figures(shift_pools([cell("rest", [1, 0])])))
