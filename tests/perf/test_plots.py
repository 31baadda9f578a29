"""How long the slowest figures of 2,000 cells take: each less than 10 s, so the issue asks."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmark.cell import BackboneSpec, Cell, MethodSpec, Record, ShiftSpec, Status, StreamSpec
from benchmark.report import plots
from benchmark.report.plots.recall import curves
from benchmark.report.pools import shift_pools
from benchmark.report.results import CellResult
from methods import BUILTINS

QUERIES = 1000
METHODS = sorted(BUILTINS)[:8]
SHIFTS, SEVERITIES, SEEDS, PLACES = 5, 5, 5, 2
"""Times the methods: 2,000 cells."""


def results() -> list[CellResult]:
    """Made-up cells with all numbers that a figure draws."""
    rng = np.random.default_rng(0)
    order = np.arange(QUERIES)
    made = []
    for place, shift, severity, seed in np.ndindex(PLACES, SHIFTS, SEVERITIES, SEEDS):
        for method in METHODS:
            cell = Cell(
                suite="mini",
                benchmark=f"mini-{place}",
                backbone=BackboneSpec(),
                method=MethodSpec(method, "mini", {}),
                shift=ShiftSpec(f"shift_{shift}", severity + 1),
                stream=StreamSpec(),
                seed=seed,
            )
            record = Record(
                cell.key(data_fingerprint="d", backbone_fingerprint="w"),
                Status.DONE,
                cell.to_dict(),
                info={"data_fingerprint": "d", "backbone_fingerprint": "w"},
                metrics={"R@1": 40.0, "forgetting": -1.0},
                probes={"uniformity": 0.9, "gap": 0.4, "consistency": 0.7, "angle": 95.0},
                cost={"ms_per_query": 3.0},
                batches=tuple({"angle": float(a)} for a in rng.uniform(0, 180, 16)),
            )
            hits = (rng.random(QUERIES) < 0.4).astype(float)
            made.append(CellResult(record, np.where(hits, 1, 2), order, order))
    return made


@pytest.fixture(scope="module")
def cells() -> list[CellResult]:
    made = results()
    assert len(made) == 2000
    return made


DRAW = {
    "difference": plots.heat_map,
    "cost": plots.quality_and_cost,
    "severity": lambda pools: plots.severity_curves(
        [p for p in pools if p.first.benchmark == "mini-0"], "a", curves(pools)
    ),
    "probes": lambda pools: plots.probes([p for p in pools if p.first.benchmark == "mini-0"]),
    "angles": plots.angles,
    "forgetting": plots.forgetting_map,
}


@pytest.mark.parametrize("name", DRAW)
def test_a_figure_of_2000_cells(
    benchmark: BenchmarkFixture, cells: list[CellResult], name: str
) -> None:
    def job() -> bytes:
        # New pools each time: they remember their intervals, which are most of the work.
        return plots.render(DRAW[name](shift_pools(cells)))

    assert benchmark.pedantic(job, rounds=1).startswith(b"\x89PNG")
