"""What the harness adds to the bare loop of adaptation on tensors that are loaded already.

The loop is the method's own step on every batch and nothing else: no ranking, no probes. A cell
also measures forgetting, with one more forward pass of clean queries (all for an embedded encoder,
a quarter for others); the ratio is given with and without it. A fresh process, caches warm, in
turn, one thread's processor time: wall time of two threads repeats to 3 % only.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pytest_benchmark.fixture import BenchmarkFixture

from benchmark.cell import BackboneSpec, Cell, ShiftSpec, StreamSpec
from benchmark.evaluation.builders import _make_method, clean_share
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.workers import keep_freed_memory
from methods.base import Setup
from tests.benchmark import fakes
from tests.perf.cells import done, fastest, in_child, mini_cell, without_disk
from tests.perf.vit import random_vit

VIT_QUERIES = 128
"""An eighth of a small benchmark: of fewer, copying the weights alone would be a hundredth."""


def bare_loop(cell: Cell, resources: Resources) -> Callable[[], float]:
    """Seconds of the steps alone, by a method that is built afresh each time."""
    backbone, data = resources.backbone(cell), resources.data(cell)
    gallery, queries, inputs = (
        resources.gallery(cell),
        resources.queries(cell),
        resources.inputs(cell),
    )
    batches = [inputs.batch(queries[batch.queries]) for batch in resources.stream(cell)]

    def loop() -> float:
        encoder = backbone.query_encoder(data.query_modality)
        method = _make_method(cell.method, Setup(encoder, gallery, backbone.logit_scale))
        begun = time.process_time()
        for batch in batches:
            method.step(batch)
        return time.process_time() - begun

    return loop


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
    return cell, resources, 2


def seconds_of(case: str) -> list[float]:
    """The least of a bare loop, a cell and a cell without forgetting; in a fresh process."""
    cell, resources, rounds = {"mini": mini_encoder, "vit": vit_b_32}[case]()
    without: list[float] = []

    def whole() -> float:
        begun = time.process_time()
        record = done(cell, resources)
        taken = time.process_time() - begun
        without.append(taken - record.cost["seconds_clean"])
        return taken

    keep_freed_memory()  # as every run does
    done(cell, resources)  # fills the caches
    return [*fastest([bare_loop(cell, resources), whole], rounds), min(without)]


def measure(benchmark: BenchmarkFixture, case: str) -> float:
    """Time of a cell over that of the bare loop, all measurements included."""
    asked = (__name__, "seconds_of", case)
    bare, taken, without = benchmark.pedantic(in_child, asked, rounds=1)
    benchmark.extra_info |= {
        "overhead": round(without / bare, 3),
        "with_forgetting": round(taken / bare, 3),
    }
    return float(taken / bare)


def test_mini_encoder(benchmark: BenchmarkFixture) -> None:
    assert measure(benchmark, "mini") <= 1.20, benchmark.extra_info


def test_vit_b_32(benchmark: BenchmarkFixture) -> None:
    assert measure(benchmark, "vit") <= 1.05, benchmark.extra_info
