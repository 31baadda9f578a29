"""The table of a query log without labels, against a plain loop over invented cells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from benchmark.cell import StreamSpec
from benchmark.report import unlabelled
from benchmark.report.results import CellResult
from tests.benchmark.report.cells import invented

METRICS = ("changed@1", "changed@10", "clean_changed@1", "shift_changed@10", "clean_gap")
PROBES = ("uniformity", "gap", "prediction_entropy", "effective_rank", "hubness")
FAILURES = ("failed", "skipped", "timeout", "interrupted")


def log(rng: np.random.Generator) -> list[CellResult]:
    """Cells of some logs, shifts, streams, methods and seeds; some are missing, some failed."""
    cells = []
    for benchmark in ("own:a-i2t", "own:b-i2t")[: rng.integers(1, 3)]:
        for shift in ("none", "fog")[: rng.integers(1, 3)]:
            for method in ("source", "tcr", "tent", "mine"):
                for seed in range(rng.integers(0, 4)):
                    facts: dict[str, Any] = {"benchmark": benchmark, "seed": seed}
                    facts["stream"] = StreamSpec(batch_size=2)
                    if rng.random() < 0.25:
                        facts |= {"status": rng.choice(FAILURES), "reason": f"odd {seed}"}
                    sections = {
                        "metrics": dict(zip(METRICS, rng.uniform(0, 100, 5), strict=True)),
                        "probes": dict(zip(PROBES, rng.uniform(0.3, 30, 5), strict=True)),
                        "cost": {"ms_per_query": rng.uniform(1, 9)},
                    }
                    for numbers in sections.values():
                        for name in list(numbers):
                            if rng.random() < 0.1:
                                numbers.pop(name)
                    info = {"unlabelled": True, "gallery": 9, "home": "coco"}
                    made = invented(method, shift, hits=[1] * 7, info=info, **sections, **facts)
                    cells.append(CellResult(made.record))
    return cells


def mean(cells: list[CellResult], section: str, name: str) -> float:
    found = [getattr(cell.record, section).get(name, math.nan) for cell in cells]
    return sum(found) / len(found) if found else math.nan


def by_loop(cells: list[CellResult], row: dict[str, Any]) -> dict[str, Any]:
    """What a row should say, from the cells of its benchmark, shift and method."""
    here = [c for c in cells if (c.benchmark, c.named_shift) == (row["benchmark"], row["shift"])]
    own = sorted((c for c in here if c.method == row["method"]), key=lambda c: c.seed)
    done = [c for c in own if c.record.status == "done"]
    source = {c.seed: c for c in here if c.method == "source" and c.record.status == "done"}
    both = [c for c in done if c.seed in source]
    theirs = [source[c.seed] for c in both]
    ratio = mean(both, "cost", "ms_per_query") / mean(theirs, "cost", "ms_per_query")
    gain = unlabelled.Gain()
    if both and row["method"] != "source":
        probes = [{n: mean(of, "probes", n) for n in PROBES} for of in (both, theirs)]
        known = [{n: v for n, v in of.items() if math.isfinite(v)} for of in probes]
        gain = unlabelled.expected(row["method"], *known, mean(both, "metrics", "changed@1"))
    return {
        "seeds": len(done),
        "status": "+".join(sorted({c.record.status.value for c in own})),
        "reason": next((c.record.reason for c in own if c.record.reason), ""),
        "reference": "coco" if any("clean_gap" in c.record.metrics for c in done) else "",
        **{name: mean(done, "metrics", name) for name in METRICS},
        **{name: mean(done, "probes", name) for name in PROBES},
        "ms_per_query": mean(done, "cost", "ms_per_query"),
        "ms_per_query_ratio": ratio,
        **gain._asdict(),
    }


def test_every_column_is_what_a_plain_loop_gives() -> None:
    rng, rows = np.random.default_rng(0), 0
    for _ in range(60):
        if not (cells := log(rng)):
            continue
        found = unlabelled.unlabelled_frame([cells[at] for at in rng.permutation(len(cells))])
        assert len(found) == len({(c.benchmark, c.named_shift, c.method) for c in cells})
        for row in found.to_dict("records"):
            for name, value in by_loop(cells, row).items():
                assert row[name] == pytest.approx(value, nan_ok=True), (name, row)
            rows += 1
    assert rows > 300
