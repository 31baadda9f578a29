"""What the harness adds to the bare loop of adaptation on tensors that are loaded already.

The loop is the method's own step on every batch and nothing else: no ranking, no probes. A cell
also measures forgetting, with one more forward pass of clean queries (all for an embedded encoder,
a quarter for others); the ratio is given with and without it. In a fresh process with caches warm,
in one thread's processor time; the loop takes its step right after each of the cell's, since a
machine's speed drifts by more within a minute than the harness adds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import replace

from pytest_benchmark.fixture import BenchmarkFixture

from benchmark.cell import BackboneSpec, Cell, ShiftSpec, StreamSpec
from benchmark.evaluation.builders import _make_method, clean_share
from benchmark.evaluation.callbacks import CallbackList
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.workers import keep_freed_memory
from methods.base import Setup
from tests.benchmark import fakes
from tests.perf.cells import done, finished, in_child, mini_cell, without_disk
from tests.perf.vit import random_vit

VIT_QUERIES = 512
"""Half of a small benchmark: of fewer, what a cell does once would count for more than there."""


class BareLoop(CallbackList):
    """The steps alone, of a method of its own: each when the cell has ended the same batch."""

    def __init__(self, cell: Cell, resources: Resources) -> None:
        super().__init__()
        backbone, data, queries = (
            resources.backbone(cell),
            resources.data(cell),
            resources.queries(cell),
        )
        inputs, encoder = resources.inputs(cell), backbone.query_encoder(data.query_modality)
        self.batches = iter(
            [inputs.batch(queries[batch.queries]) for batch in resources.stream(cell)]
        )
        setup = Setup(encoder, resources.gallery(cell), backbone.logit_scale)
        self.method, self.seconds = _make_method(cell.method, setup), 0.0

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        batch, begun = next(self.batches), time.process_time()
        self.method.step(batch)
        self.seconds += time.process_time() - begun


def mini_encoder() -> tuple[Cell, Resources, int]:
    return mini_cell("tent", limit=512), without_disk(), 5


def vit_b_32() -> tuple[Cell, Resources, int]:
    cell = Cell(
        suite="test",
        benchmark="pictures",
        backbone=BackboneSpec("random"),
        method=mini_cell("tent").method,
        shift=ShiftSpec("noise", 5),
        stream=StreamSpec(batch_size=32),
    )
    resources = Resources(
        load_data=lambda _: fakes.world("pictures", count=VIT_QUERIES),
        load_backbone=lambda _: random_vit("ViT-B-32"),
        make_method=_make_method,
        make_shift=fakes.make_shift,
        clean_share=clean_share,
    )
    return cell, resources, 1


def ratios_of(case: str) -> list[float]:
    """Median over rounds of a cell's time over the bare loop's: without forgetting, with it."""
    cell, resources, rounds = {"mini": mini_encoder, "vit": vit_b_32}[case]()
    keep_freed_memory()  # as every run does
    done(replace(cell, method=mini_cell("source").method), resources)  # fills the caches
    done(replace(cell, limit=1), resources)  # a process's first backward pass is slow
    found = []
    for _ in range(rounds):
        loop = BareLoop(cell, resources)
        begun = time.process_time()
        record, _ = finished(cell, resources, loop)
        taken = time.process_time() - begun - loop.seconds
        found.append([(taken - record.cost["seconds_clean"]) / loop.seconds, taken / loop.seconds])
    return [statistics.median(ratios) for ratios in zip(*found, strict=True)]


def measure(benchmark: BenchmarkFixture, case: str) -> float:
    """Time of a cell over that of the bare loop, all measurements included."""
    asked = (__name__, "ratios_of", case)
    overhead, with_forgetting = benchmark.pedantic(in_child, asked, rounds=1)
    benchmark.extra_info |= {
        "overhead": round(overhead, 3),
        "with_forgetting": round(with_forgetting, 3),
    }
    return float(with_forgetting)


def test_mini_encoder(benchmark: BenchmarkFixture) -> None:
    assert measure(benchmark, "mini") <= 1.20, benchmark.extra_info


def test_vit_b_32(benchmark: BenchmarkFixture) -> None:
    assert measure(benchmark, "vit") <= 1.05, benchmark.extra_info
