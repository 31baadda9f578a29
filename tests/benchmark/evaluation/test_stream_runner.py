"""Running streams in the tiny world: which query gets which shift, what is measured afterwards."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.cell import Cell, ShiftSpec, Status, StreamSpec
from benchmark.data.interleave import join
from benchmark.errors import ConfigError, DataError
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from benchmark.evaluation.stream import KINDS, QueryStream, summary
from methods.base import Setup, StepOutput
from shifts.base import Shift, ShiftCard
from tests.benchmark import fakes


class Dim(Shift):
    """Darkens without randomness."""

    card = ShiftCard("dim", "image", (1, 5), "darkens", "none", randomised=False)

    def corrupt(self, item: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
        return (item // (severity + 1)).astype(np.uint8)


class Flip(Shift):
    card = ShiftCard("flip", "image", (5,), "turns upside down", "none", randomised=False)

    def corrupt(self, item: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
        return item[::-1].copy()


SHIFTS = {**fakes.SHIFTS, "dim": Dim, "flip": Flip}
NOISE, DIM, FLIP, CLEAN = (
    *(ShiftSpec(name, 5) for name in ("noise", "dim", "flip")),
    ShiftSpec("none", 0),
)
THREE = (NOISE, DIM, FLIP)
ONE_SHIFT = ("single", "arrival", "correlated", "interleaved")


def world() -> Any:
    data = fakes.world()
    return dataclasses.replace(data, group_keys={"block": data.groups})


def load(wanted: Cell) -> Any:
    """One world, or two with 18 and 12 queries and galleries of their own."""
    if "+" in wanted.benchmark:
        return join([fakes.world(name, count) for name, count in (("a", 18), ("b", 12))])
    return world()


def resources(**changes: Any) -> Resources:
    given = {"make_shift": lambda spec: SHIFTS[spec.name](), "load_data": load}
    return fakes.resources(**{**given, **changes})


def cell(kind: str, method: str = "source", *, domains: tuple[ShiftSpec, ...] = THREE,
         **changes: Any) -> Cell:  # fmt: skip
    if kind == "gradual":
        domains = (ShiftSpec("noise", 1), NOISE)
    if kind in ONE_SHIFT:
        domains = ()
    if kind == "interleaved":
        changes = {"benchmark": "a+b", **changes}
    key = "block" if kind == "correlated" else ""
    stream = StreamSpec(kind, changes.pop("batch_size", 8), domains, group_key=key)
    shift = summary(domains) if domains else NOISE
    return fakes.cell(method, shift=shift, stream=stream, **changes)


def best_under(domain: ShiftSpec, seed: int = 0) -> np.ndarray:
    """Best rank of every query under one shift, frozen model."""
    record, arrays = run_cell(fakes.cell(shift=domain, seed=seed), resources())
    assert record.status == Status.DONE
    return arrays["best_rank"]


@pytest.mark.parametrize("kind", ["continual", "mixed", "diverse"])
def test_a_query_is_the_same_in_every_stream(kind: str) -> None:
    """A frozen model's rank of a query is that of the domain's own single stream."""
    record, arrays = run_cell(cell(kind, seed=2), resources())
    assert record.status == Status.DONE, record.reason
    alone = np.stack([best_under(domain, seed=2) for domain in THREE])
    assert set(arrays["domain"]) == {0, 1, 2}
    expected = alone[arrays["domain"], np.arange(30)]
    assert arrays["best_rank"].tolist() == expected.tolist()
    assert not np.array_equal(alone[0], expected)


def test_domains_go_with_the_places_of_the_stream() -> None:
    _, arrays = run_cell(cell("continual"), resources())
    along = arrays["domain"][arrays["order"]]
    assert along.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert arrays["domain"].dtype == np.int64


def test_recall_by_domain_is_that_of_its_queries_and_averages_to_the_whole() -> None:
    record, arrays = run_cell(cell("mixed", "trained"), resources())
    shares, total = [], 0.0
    for number, domain in enumerate(THREE):
        hits = arrays["best_rank"][arrays["domain"] == number] == 1
        assert record.metrics[f"R@1_{domain.label}"] == pytest.approx(100 * hits.mean())
        shares.append(len(hits))
        total += record.metrics[f"R@1_{domain.label}"] * len(hits)
    assert sum(shares) == 30
    assert record.metrics["R@1"] == pytest.approx(total / 30)


def test_a_clean_domain_is_clean() -> None:
    record, arrays = run_cell(cell("continual", domains=(CLEAN, FLIP)), resources())
    first = arrays["best_rank"][arrays["domain"] == 0]
    assert first.tolist() == best_under(CLEAN)[arrays["domain"] == 0].tolist()
    assert "R@1_none-0" in record.metrics


def test_the_first_domain_is_measured_before_during_and_after() -> None:
    source, _ = run_cell(cell("continual"), resources())
    frozen = [source.metrics[f"first_domain_R@1_{when}"] for when in ("before", "during", "after")]
    hits = best_under(NOISE)[run_cell(cell("continual"), resources())[1]["domain"] == 0] == 1
    assert frozen == pytest.approx([100 * hits.mean()] * 3)
    trained, arrays = run_cell(cell("continual", "trained"), resources())
    first = arrays["best_rank"][arrays["domain"] == 0]
    assert trained.metrics["first_domain_R@1_before"] == frozen[0]
    assert trained.metrics["first_domain_R@1_during"] == pytest.approx(100 * (first == 1).mean())
    assert trained.metrics["first_domain_R@1_during"] == trained.metrics["R@1_noise-5"]
    for seed in range(4):  # a single query, of whichever domain
        lone, _ = run_cell(cell("mixed", limit=1, seed=seed), resources())
        assert lone.metrics["first_domain_R@1_during"] == lone.metrics["R@1"]


def test_after_is_the_adapted_model_on_the_first_domain_by_hand() -> None:
    shared, one = resources(), cell("continual", "trained")
    record, arrays = run_cell(one, shared)
    backbone, generator = shared.backbone(one), torch.Generator().manual_seed(0)
    setup = Setup(
        backbone.query_encoder("image"), shared.gallery(one), backbone.logit_scale, generator
    )
    method = shared.make_method(one.method, setup)
    inputs, queries = shared.inputs(one), shared.queries(one)
    for batch in QueryStream(30, one.stream, one.seed):
        method.step(inputs.batch(queries[batch.queries]))
    chosen = np.flatnonzero(arrays["domain"] == 0)
    with torch.no_grad():
        scores = method.embed(inputs.batch(chosen)) @ shared.gallery(one).T
    hits = [int(row.argmax()) // 2 == query for row, query in zip(scores, chosen, strict=True)]
    assert record.metrics["first_domain_R@1_after"] == pytest.approx(100 * np.mean(hits))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_measures_forgetting_and_single_streams_keep_their_numbers(kind: str) -> None:
    record, arrays = run_cell(cell(kind, "trained"), resources())
    assert record.status == Status.DONE, record.reason
    assert "forgetting" in record.metrics
    assert ("first_domain_R@1_after" in record.metrics) == (kind not in ("single", "arrival"))
    assert ("domain" in arrays) == (kind not in ONE_SHIFT)
    assert ("seconds_again" in record.cost) == (kind not in ("single", "arrival"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7, 64])
def test_batches_of_one_and_short_ones_work(kind: str, size: int) -> None:
    record, arrays = run_cell(cell(kind, "trained", batch_size=size), resources())
    assert record.status == Status.DONE, record.reason
    assert sum(batch["queries"] for batch in record.batches) == 30
    assert (arrays["best_rank"] >= 1).all()


def test_the_stream_does_not_depend_on_the_method() -> None:
    shared = resources()
    for kind in KINDS:
        one, two = (run_cell(cell(kind, m), shared)[1] for m in ("source", "trained"))
        assert np.array_equal(one["order"], two["order"])
        assert np.array_equal(one.get("domain", 0), two.get("domain", 0))


def test_cells_share_what_is_the_same_and_nothing_else() -> None:
    """Cells of several streams on one set of caches measure what each measures alone."""
    shared = resources()
    cells = [
        *(cell(kind, method) for kind in KINDS for method in ("source", "trained")),
        cell("mixed", seed=1),
        cell("mixed", limit=20),
        cell("mixed", domains=THREE[::-1]),
        cell("diverse", batch_size=5),
    ]
    for one in cells:
        together, alone = run_cell(one, shared), run_cell(one, resources())
        assert together[0].metrics == alone[0].metrics
        assert np.array_equal(together[1]["best_rank"], alone[1]["best_rank"])
    keys = [shared.key(one) for one in cells]
    assert len(set(keys)) == len(keys)


def test_methods_on_one_stream_share_its_corrupted_queries() -> None:
    backbone = fakes.FakeBackbone()
    shared = resources(load_backbone=lambda spec: backbone)
    run_cell(cell("diverse"), shared)
    assert backbone.preprocessed == 60  # 30 under their domain, 30 clean; the first domain again: 0
    run_cell(cell("diverse", "trained"), shared)
    assert backbone.preprocessed == 60


def test_a_correlated_stream_goes_by_the_named_key() -> None:
    tight = dataclasses.replace(cell("correlated").stream, delta=1e-4)
    _, arrays = run_cell(dataclasses.replace(cell("correlated"), stream=tight), resources())
    along = (arrays["query"] // 3)[arrays["order"]]
    assert sum(one != two for one, two in itertools.pairwise(along)) <= 11  # 10 groups of 3


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (cell("continual", limit=2), "ConfigError: a continual stream of 3 blocks"),
        (
            cell("mixed", domains=(NOISE, ShiftSpec("flip", 2))),
            "ShiftError: shift 'flip' has no severity 2",
        ),
        (fakes.cell(stream=StreamSpec("mixt")), "ConfigError: stream kind 'mixt' does not exist"),
    ],
)
def test_bad_streams_are_one_clear_reason(bad: Cell, reason: str) -> None:
    record, arrays = run_cell(bad, resources())
    assert record.status == Status.FAILED
    assert record.reason.startswith(reason)
    assert "frames" not in record.info
    assert arrays == {}


def test_a_stream_that_does_not_fit_the_data_is_refused_before_anything_runs() -> None:
    bad = fakes.cell(stream=StreamSpec("correlated", 8, group_key="blok"))
    with pytest.raises(ConfigError, match="'fake' has no group key 'blok'; did you mean 'block'"):
        resources().key(bad)


def test_a_domain_of_another_modality_is_skipped_with_its_name() -> None:
    record, _ = run_cell(cell("mixed", domains=(NOISE, ShiftSpec("typos", 1))), resources())
    assert record.status == Status.SKIPPED
    assert record.reason == "shift 'typos' works on text queries; 'fake' has image ones"


def test_interleaved_queries_are_ranked_in_their_own_gallery() -> None:
    """A frozen model's ranks are those of the sets alone, whatever the other's gallery holds."""
    record, arrays = run_cell(cell("interleaved", seed=3), resources())
    assert record.status == Status.DONE, record.reason
    alone = []
    for name, count in (("a", 18), ("b", 12)):
        data = fakes.world(name, count)
        one, own = run_cell(
            fakes.cell(shift=NOISE, seed=3), resources(load_data=lambda _, data=data: data)
        )
        assert record.metrics[f"R@1_{name}"] == pytest.approx(one.metrics["R@1"])
        alone += own["best_rank"].tolist()
    assert arrays["best_rank"].tolist() == alone
    assert arrays["section"].tolist() == [0] * 18 + [1] * 12
    mean = (record.metrics["R@1_a"] + record.metrics["R@1_b"]) / 2
    assert record.metrics["section_R@1"] == pytest.approx(mean)


def test_every_batch_of_an_interleaved_stream_meets_one_gallery() -> None:
    one = cell("interleaved", batch_size=8)
    stream = resources().stream(one)
    sections = np.repeat([0, 1], [18, 12])
    batches = list(stream)
    for batch in batches:
        assert set(sections[batch.queries]) == {batch.section}
    assert sorted(len(batch) for batch in batches) == [2, 4, 8, 8, 8]
    assert sorted(stream.order.tolist()) == list(range(30))
    assert len({batch.section for batch in batches[:3]}) == 2  # not one set after the other


def test_a_method_is_handed_the_gallery_of_each_batch() -> None:
    sizes: list[tuple[int, int]] = []

    class Watching(fakes.Trained):
        def step(self, queries: torch.Tensor) -> StepOutput:
            sizes.append((len(queries), len(self.gallery)))
            return super().step(queries)

    made = resources(make_method=lambda spec, setup: Watching(setup))
    record, _ = run_cell(cell("interleaved", "trained"), made)
    assert record.status == Status.DONE, record.reason
    assert {gallery for _, gallery in sizes} == {36, 24}


def test_an_interleaved_stream_needs_several_different_data_sets() -> None:
    with pytest.raises(ConfigError, match="needs several data sets, not 'fake' alone"):
        resources().key(cell("interleaved", benchmark="fake"))
    one = fakes.world("a", 18)
    with pytest.raises(DataError, match="two different data sets, not a, a"):
        join([one, one])
    other = dataclasses.replace(fakes.world("b", 12), query_modality="text")
    with pytest.raises(DataError, match=r"a has image queries.*b has text queries"):
        join([one, other])
    cleaned = dataclasses.replace(fakes.world("b", 12), clean_text=str.lower)
    with pytest.raises(DataError, match="the same cleaning of captions: a has none; b has"):
        join([one, cleaned])
