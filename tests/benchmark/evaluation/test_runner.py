"""Running a cell in a tiny world: what is measured, what is shared, what goes wrong."""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.cell import Cell, ShiftSpec, Status, StreamSpec
from benchmark.evaluation.cache import LRUCache
from benchmark.evaluation.environment import counted
from benchmark.evaluation.loader import StreamCache
from benchmark.evaluation.runner import run_cell
from benchmark.metrics import recall as metrics
from methods.base import Method, Setup, StepOutput
from shifts.base import item_generator
from tests.benchmark import fakes


def by_hand(cell: Cell) -> list[int]:
    """Best ranks of the frozen model, query by query, without the runner or the metrics."""
    data, encoder, backbone = fakes.world(), fakes.FakeEncoder().eval(), fakes.FakeBackbone()
    text = backbone.preprocess("text")
    with torch.no_grad():
        gallery = encoder(torch.stack([text(item) for item in data.gallery.values]))
        best = []
        for query, name in enumerate(data.queries.ids):
            generator = item_generator(cell.seed, "noise", cell.shift.severity, name)
            item = fakes.Noise().apply(data.queries[query], cell.shift.severity, generator)
            scores = (encoder(backbone.preprocess("image")(item)[None]) @ gallery.T)[0]
            best.append(min(1 + int((scores > scores[a]).sum()) for a in data.relevance[query]))
    return best


def test_a_frozen_model_is_measured_as_by_hand() -> None:
    cell = fakes.cell(seed=3)
    record, arrays = run_cell(cell, fakes.resources())
    assert record.status == Status.DONE
    assert record.reason == ""
    assert arrays["best_rank"].tolist() == by_hand(cell)
    assert {record.metrics[name] for name in ("R@1", "R@5", "R@10", "mean_recall", "mAP")} <= {
        *metrics.of_queries(arrays).values()
    }
    assert 5 < record.metrics["R@1"] < 95, "the world must be able to tell good from bad"
    assert arrays["group"].tolist() == (np.arange(30) // 3).tolist()
    assert arrays["query"].tolist() == list(range(30))
    assert {name: a.dtype.name for name, a in arrays.items()} == {
        "query": "int64",
        "best_rank": "int64",
        "ap": "float64",
        "group": "int64",
        "order": "int64",
    }


def test_a_record_says_what_a_row_must_say() -> None:
    record, _ = run_cell(fakes.cell(), fakes.resources())
    assert record.info == {
        "data": {"missing": 0},
        "data_fingerprint": "data-fake-30-2",
        "backbone_fingerprint": "weights-1",
        "backbone_name": "fake-net",
        "queries": 30,
        "gallery": 60,
        "query_modality": "image",
        "task": "image-to-text",
        "embed_dim": 8,
        "headline": ["R@1"],
        "home": "fake",
        "home_queries": 30,
    }
    for name in ("", "_data", "_gallery", "_setup", "_step", "_rank", "_clean"):
        assert 0 <= record.cost[f"seconds{name}"] < 60
    assert record.cost["ms_per_query"] <= record.cost["ms_per_query_p95"]
    assert 10 < record.cost["peak_mb"] < 100_000
    geometry = {"uniformity", "gap", "consistency", "effective_rank", "hubness"}
    assert set(record.probes) == {*geometry, "seen", "coverage", "change_size"}
    assert 1 <= record.probes["effective_rank"] <= 8
    assert 0 < record.probes["consistency"] < 1
    assert record.environment["torch"] == torch.__version__
    assert record.environment["started"].endswith("+00:00")


def test_batches_follow_the_stream_and_log_the_method() -> None:
    record, arrays = run_cell(fakes.cell("trained"), fakes.resources())
    assert [batch["queries"] for batch in record.batches] == [8, 8, 8, 6]
    hits = (arrays["best_rank"] == 1)[arrays["order"]]
    expected = [100 * part.mean() for part in np.split(hits, [8, 16, 24])]
    assert [batch["R@1"] for batch in record.batches] == pytest.approx(expected)
    assert [batch["angle"] for batch in record.batches] == [120, 120, 120, 60]
    assert record.probes["angle"] == 105
    assert record.probes["conflict"] == 0.75


def test_passes_are_counted_from_outside() -> None:
    frozen, _ = run_cell(fakes.cell("source"), fakes.resources())
    assert (frozen.cost["forward_per_query"], frozen.cost["backward_per_query"]) == (1, 0)
    trained, _ = run_cell(fakes.cell("trained"), fakes.resources())
    assert (trained.cost["forward_per_query"], trained.cost["backward_per_query"]) == (3, 3)


def test_counting_sees_copies_functional_calls_and_second_gradients() -> None:
    encoder, inputs = fakes.FakeEncoder(), torch.rand(5, 48)
    with counted(encoder) as passes:
        loss = encoder(inputs).sum()
        first = torch.autograd.grad(loss, encoder.norm.weight, retain_graph=True)
        second = torch.autograd.grad(loss, encoder.norm.weight)
        assert torch.equal(first[0], second[0])
        assert (passes.forward, passes.backward) == (5, 10)
        with torch.no_grad():
            copy.deepcopy(encoder)(inputs)
        assert (passes.forward, passes.backward) == (10, 10)
        weights = dict(encoder.named_parameters())

        def loss_of(values: dict[str, torch.Tensor]) -> torch.Tensor:
            return torch.func.functional_call(encoder, values, (inputs,)).sum()

        loss_of(weights).backward()
        assert (passes.forward, passes.backward) == (15, 15)
        torch.func.grad(loss_of)(weights)
        assert (passes.forward, passes.backward) == (20, 20)
    encoder(inputs)
    assert passes.forward == 20


def test_forgetting_compares_clean_recall_before_and_after() -> None:
    source, _ = run_cell(fakes.cell("source"), fakes.resources())
    clean, _ = run_cell(fakes.cell(shift=ShiftSpec("none", 0)), fakes.resources())
    assert source.metrics["clean_R@1_before"] == clean.metrics["R@1"]
    assert source.metrics["clean_R@1_after"] == clean.metrics["R@1"]
    assert source.metrics["forgetting"] == 0
    trained, _ = run_cell(fakes.cell("trained"), fakes.resources())
    before, after = (trained.metrics[f"clean_R@1_{when}"] for when in ("before", "after"))
    assert before == clean.metrics["R@1"]
    assert after != before
    assert trained.metrics["forgetting"] == after - before


def test_what_changes_the_encoder_but_no_weight_is_measured_too() -> None:
    def hooked(spec: Any, setup: Setup) -> Method:
        setup.encoder.register_forward_hook(lambda module, inputs, rows: rows.flip(1))
        return fakes.Source(setup)

    record, _ = run_cell(fakes.cell("source"), fakes.resources(make_method=hooked))
    assert record.metrics["clean_R@1_after"] < record.metrics["clean_R@1_before"]


def test_a_log_does_not_stand_for_what_is_not_measured_of_clean_queries() -> None:
    class Logs(fakes.Source):
        def step(self, queries: Tensor) -> StepOutput:
            return replace(super().step(queries), log={"coverage": 1.0, "own": 2.0})

    shared = fakes.resources(make_method=lambda spec, setup: Logs(setup))
    record, _ = run_cell(fakes.cell(shift=ShiftSpec("none", 0)), shared)
    assert "coverage" not in record.probes
    assert record.probes["own"] == 2.0


def test_same_seed_same_ranks_other_seed_other_stream() -> None:
    shared = fakes.resources()
    for method in ("source", "trained", "random"):
        one = run_cell(fakes.cell(method), shared)[1]
        two = run_cell(fakes.cell(method), fakes.resources())[1]
        other = run_cell(fakes.cell(method, seed=1), shared)[1]
        assert all(np.array_equal(one[name], two[name]) for name in one)
        assert not np.array_equal(one["order"], other["order"])
        assert not np.array_equal(one["best_rank"], other["best_rank"])


def test_batch_size_does_not_change_a_frozen_model() -> None:
    ranks = [
        run_cell(fakes.cell(stream=StreamSpec(batch_size=size)), fakes.resources())[1]["best_rank"]
        for size in (1, 8, 30, 64)
    ]
    assert all(np.array_equal(ranks[0], other) for other in ranks[1:])


def test_cells_share_gallery_queries_and_clean_recall() -> None:
    backbone = fakes.FakeBackbone()
    loaded: list[str] = []

    def load_data(cell: Cell) -> Any:
        loaded.append(cell.benchmark)
        return fakes.world()

    shared = fakes.resources(load_data=load_data, load_backbone=lambda spec: backbone)
    run_cell(fakes.cell("source"), shared)
    assert backbone.encoded.count("text") == 3  # 60 texts in blocks of 32; one alone
    assert backbone.encoded.count("image") == 3  # the clean recall before, of 30; one to compare
    assert backbone.preprocessed == 60  # shifted and clean
    run_cell(fakes.cell("trained"), shared)
    assert (len(backbone.encoded), backbone.preprocessed, loaded) == (6, 60, ["fake"])
    run_cell(fakes.cell("source", seed=1), shared)
    assert (len(backbone.encoded), backbone.preprocessed) == (7, 90)


def test_a_small_cache_changes_nothing_but_work(monkeypatch: pytest.MonkeyPatch) -> None:
    ample = run_cell(fakes.cell("trained"), fakes.resources())[1]["best_rank"]
    monkeypatch.setattr("benchmark.evaluation.resources.CACHE_BYTES", 10 * 48 * 4)
    backbone = fakes.FakeBackbone()
    tight = fakes.resources(load_backbone=lambda spec: backbone)
    ranks = [run_cell(fakes.cell("trained"), tight)[1]["best_rank"] for _ in range(2)]
    assert np.array_equal(ranks[0], ample)
    assert np.array_equal(ranks[1], ample)
    # Shifted, clean before, clean after: 90. Then 10 shifted ones are kept, and "before" is known.
    assert backbone.preprocessed == 90 + 50


def test_queries_of_the_two_streams_in_use_are_kept_and_never_evict_each_other() -> None:
    streams = LRUCache[StreamCache](2, StreamCache.close)

    def used() -> int:
        return sum(stream.nbytes for stream in streams.values())

    def stream(name: str, queries: int) -> StreamCache:
        found = streams.get(name, lambda: StreamCache(np.arange(queries), lambda: 40 - used()))
        for index in range(queries):
            found.put(index, torch.zeros(5, dtype=torch.uint8))
        return found

    old, other = stream("old", 4), stream("stream", 4)
    assert used() == 40
    clean = stream("clean", 6)
    assert old.get(0) is None
    assert other.get(3) is not None
    assert [clean.get(i) is not None for i in range(6)] == [True] * 4 + [False] * 2
    assert used() == 40


def test_kept_queries_of_every_form_come_back_as_they_were() -> None:
    queries = np.arange(0, 3000, 3)
    kept = StreamCache(queries, lambda: 1 << 30)
    forms = ((16,), torch.int64), ((3, 8, 8), torch.float32), ((16,), torch.bfloat16), ((), None)
    values = {}
    for index in np.random.default_rng(0).permutation(queries).tolist():
        shape, dtype = forms[index % 4]
        values[index] = torch.full(shape, index, dtype=dtype)
        kept.put(index, values[index])
    kept.put(1, torch.zeros(16))
    assert not kept.has(1)  # no query of the stream
    wide = (torch.int64,)  # whole numbers are kept in half the room
    assert kept.nbytes == sum(v.nbytes // (1 + (v.dtype in wide)) for v in values.values())
    for index, value in values.items():
        found = kept.get(index)
        assert found is not None
        assert found.dtype == value.dtype
        assert torch.equal(found, value)
        found.fill_(-1)  # its own memory
        assert torch.equal(kept.get(index), value)
    kept.close()
    assert not kept.has(0)
    assert kept.get(0) is None


def test_limit_uses_a_fixed_subset() -> None:
    record, arrays = run_cell(fakes.cell(limit=12), fakes.resources())
    _, whole = run_cell(fakes.cell(), fakes.resources())
    assert record.info["queries"] == len(arrays["query"]) == 12
    assert record.info["gallery"] == 60
    assert sorted(arrays["order"]) == list(range(12))
    assert np.array_equal(arrays["best_rank"], whole["best_rank"][arrays["query"]])
    assert np.array_equal(arrays["group"], arrays["query"] // 3)


def test_text_is_cleaned_after_the_shift() -> None:
    seen: list[str] = []

    def clean(text: str) -> str:
        seen.append(text)
        return "3 1"

    swapped = dataclasses.replace(
        fakes.world(),
        query_modality="text",
        gallery_modality="image",
        queries=fakes.world().gallery,
        gallery=fakes.world(count=60).queries,
        relevance=fakes.Relevance.from_lists([[i] for i in range(60)]),
        groups=np.arange(60),
        clean_text=clean,
    )
    record, _ = run_cell(
        fakes.cell(shift=ShiftSpec("typos", 1)), fakes.resources(load_data=lambda cell: swapped)
    )
    assert record.status == Status.DONE
    assert record.info["task"] == "text-to-image"
    reversed_texts = [text[::-1] for text in swapped.queries.values]  # type: ignore[attr-defined]
    assert sorted(seen[:120:2]) == sorted(reversed_texts)
    # Beside each shifted one its clean one, to see whether it changed; then the clean queries. The
    # image gallery is not cleaned.
    assert len(seen) == 180
    assert record.probes["coverage"] == record.probes["change_size"] == 0.0


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raises", "RuntimeError: the norm exploded"),
        ("refuses", "MethodError: no batch of that size"),
        ("nan", "Diverged: scores hold NaN or infinity for 1 of 8 queries"),
        ("narrow", r"MethodError: scores must have shape (8, 60), not (8, 59)"),
        ("integers", "MethodError: scores must be a floating-point tensor, not torch.int64"),
        ("tuple", "MethodError: step must return a StepOutput, not tuple"),
        ("flat", "MethodError: embeddings must have shape (8, 8), not (8, 2)"),
        ("words", "MethodError: log entry 'loss' is not a number: 'high'"),
        (
            "scribbles",
            "MethodError: method 'bad' wrote into the gallery; it must work on a copy, and so must "
            "the model's own forward",
        ),
    ],
)
def test_a_misbehaving_method_fails_its_own_cell_only(how: str, reason: str) -> None:
    shared = fakes.resources()
    expected = run_cell(fakes.cell(), shared)[1]["best_rank"]
    record, arrays = run_cell(fakes.cell("bad", how=how), shared)
    assert (record.status, record.reason, arrays) == (Status.FAILED, reason, {})
    assert record.info["queries"] == 30
    assert all(":" in frame and "/home" not in frame for frame in record.info["frames"])
    if how == "raises":
        assert "fakes.py" in record.info["frames"][-1]
        assert record.info["frames"][-1].endswith("in _raises")
    after, arrays = run_cell(fakes.cell(), shared)
    assert after.status == Status.DONE
    assert np.array_equal(arrays["best_rank"], expected)


def test_ctrl_c_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        run_cell(fakes.cell("bad", how="interrupts"), fakes.resources())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"benchmark": "missing"}, "DataError: no data in /nowhere; put the images there"),
        (
            {"benchmark": "small"},
            "DataError: benchmark 'small' has a gallery of 9; recall at 10 needs at least 10 "
            "items: use a larger gallery",
        ),
        ({"benchmark": "broken"}, "DataError: image image-4 cannot be read; replace the file"),
        ({"shift": ShiftSpec("noise", 9)}, "ShiftError: shift 'noise' has no severity 9"),
        ({"stream": StreamSpec(batch_size=0)}, "ConfigError: batch_size is 0"),
        ({"limit": 0}, "ConfigError: limit is 0"),
    ],
)
def test_bad_input_is_one_clear_reason(changes: dict[str, Any], reason: str) -> None:
    record, arrays = run_cell(fakes.cell(**changes), fakes.resources())
    assert record.status == Status.FAILED
    assert record.reason.startswith(reason)
    assert "frames" not in record.info
    assert arrays == {}


def test_a_shift_of_another_modality_is_skipped() -> None:
    record, _ = run_cell(fakes.cell(shift=ShiftSpec("typos", 1)), fakes.resources())
    assert record.status == Status.SKIPPED
    assert record.reason == "shift 'typos' works on text queries; 'fake' has image ones"
    assert record.key == fakes.resources().key(fakes.cell(shift=ShiftSpec("typos", 1)))


def test_progress_is_told_of_every_batch() -> None:
    log = fakes.Log()
    run_cell(fakes.cell(), fakes.resources(), progress=log)
    assert log.events == [
        ("started", "source", (4, 30)),
        *[("batch", "source", size) for size in (8, 8, 8, 6)],
    ]


def test_global_generators_are_not_touched() -> None:
    backbone = fakes.FakeBackbone()
    shared = fakes.resources(load_backbone=lambda spec: backbone)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    record, _ = run_cell(fakes.cell("random"), shared)
    assert record.status == Status.DONE
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_damaged_weights_are_named() -> None:
    backbone = fakes.FakeBackbone()
    backbone.encoder.linear.weight.data[0, 0] = math.nan
    shared = fakes.resources(load_backbone=lambda spec: backbone)
    record, _ = run_cell(fakes.cell(), shared)
    assert record.reason.startswith("WeightsError: text embeddings are NaN")


@pytest.mark.parametrize("value", [math.nan, 0.0])
@pytest.mark.parametrize("side", ["image", "text"])
def test_an_item_without_a_direction_is_named(side: str, value: float) -> None:
    """Neither has the method diverged then, nor are the weights damaged."""
    data = fakes.world()
    items = data.queries if side == "image" else data.gallery
    broken = fakes.FakeBackbone().preprocess(side)(items[13])

    def undefined(module: Any, inputs: Any, rows: torch.Tensor) -> torch.Tensor:
        return torch.where((inputs[0] == broken).all(dim=1)[:, None], value, rows)

    backbone = fakes.FakeBackbone()
    backbone.encoder.register_forward_hook(undefined)
    shared = fakes.resources(load_backbone=lambda spec: backbone)
    record, _ = run_cell(fakes.cell(shift=ShiftSpec("none", 0)), shared)
    assert f"1 of {8 if side == 'image' else 60} {side} embeddings have no" in record.reason
    assert f"that of {items.ids[13]!r} first" in record.reason


class Rewritten(fakes.Noise):
    """Its files change while it is at work."""

    seen: list[int] = []  # noqa: RUF012

    @property
    def fingerprint(self) -> str:
        return "new" if self.seen else "old"

    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        self.seen.append(severity)
        return super().corrupt(item, severity, rng)


def test_files_of_a_shift_that_change_during_a_cell_fail_it():
    resources = fakes.resources(make_shift=lambda spec: Rewritten())
    record, arrays = run_cell(fakes.cell(), resources)
    assert (record.status, arrays) == (Status.FAILED, {})
    assert "changed while the cell ran" in record.reason
