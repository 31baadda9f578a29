"""The grid is a pure product in an order that lets neighbours share work."""

from __future__ import annotations

from itertools import groupby

import pytest

from benchmark.cell import BackboneSpec, MethodSpec, ShiftSpec
from benchmark.errors import ConfigError
from benchmark.planning.grid import Grid

SOURCE = MethodSpec("source", "mini", {})
TENT = MethodSpec("tent", "mini", {"lr": 0.001})


def grid(**changes: object) -> Grid:
    values = {
        "suite": "mini",
        "benchmarks": ("a", "b"),
        "methods": (SOURCE, TENT),
        "shifts": (ShiftSpec("noise", 5), ShiftSpec("none", 0)),
        "seeds": (0, 1, 2),
    }
    return Grid(**{**values, **changes})  # type: ignore[arg-type]


def test_all_combinations_come_once() -> None:
    cells = grid().cells()
    assert len(cells) == 2 * 2 * 2 * 3
    seen = {(c.benchmark, c.method.name, c.shift.name, c.seed) for c in cells}
    assert len(seen) == len(cells)
    assert cells == grid().cells()


def test_cells_that_share_a_stream_are_neighbours() -> None:
    cells = grid(backbones=(BackboneSpec("x"), BackboneSpec("y"))).cells()
    for key in (
        lambda c: (c.benchmark, c.backbone),
        lambda c: (c.benchmark, c.backbone, c.shift.name),
        lambda c: (c.benchmark, c.backbone, c.shift.name, c.seed),
    ):
        runs = [value for value, _ in groupby(cells, key)]
        assert len(runs) == len(set(runs))


def test_duplicates_are_removed() -> None:
    twice = grid(methods=(TENT, SOURCE, MethodSpec("tent", "mini", {"lr": 0.001})))
    assert [c.method.name for c in twice.cells()][:2] == ["tent", "source"]
    assert len(twice.cells()) == len(grid().cells())
    # Another option value is another cell.
    other = grid(methods=(TENT, MethodSpec("tent", "mini", {"lr": 0.01})))
    assert len(other.cells()) == len(grid().cells())


def test_settings_reach_every_cell() -> None:
    cells = grid(limit=100, data_root="/data", seeds=(1,)).cells()
    assert {(c.seed, c.limit, c.data_root, c.suite) for c in cells} == {(1, 100, "/data", "mini")}


@pytest.mark.parametrize("axis", ["benchmarks", "methods", "shifts", "seeds", "backbones"])
def test_an_empty_axis_is_refused(axis: str) -> None:
    with pytest.raises(ConfigError, match=f"no {axis}"):
        grid(**{axis: ()})
