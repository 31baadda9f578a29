"""The registries' methods and shifts, as cells get them."""

from __future__ import annotations

import functools
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmark.cell import Cell, MethodSpec, ShiftSpec, Status
from benchmark.config.run import BenchConfig
from benchmark.evaluation import builders as wiring
from benchmark.evaluation.runner import run_cell
from benchmark.registry import METHODS, SHIFTS
from methods import BUILTINS
from tests.benchmark import fakes


def method_cell(name: str, **options: Any) -> Cell:
    spec = MethodSpec(name, "published", options, METHODS.get(name).card.version)
    return replace(fakes.cell(), method=spec)


RESOURCES = functools.partial(fakes.resources, make_method=wiring._make_method)


@pytest.mark.parametrize("name", sorted(BUILTINS))
def test_every_method_runs_a_cell_reproducibly(name: str) -> None:
    runs = [
        run_cell(method_cell(name), fakes.resources(make_method=wiring._make_method))
        for _ in range(2)
    ]
    for record, _ in runs:
        if name == "bn_adapt":  # this tower has a LayerNorm
            assert record.status == Status.SKIPPED
            assert "BatchNorm" in record.reason
            return
        assert record.status == Status.DONE, record.reason
    (first, arrays), (second, again) = runs
    assert first.metrics == second.metrics
    assert first.probes == second.probes
    assert all(np.array_equal(arrays[key], again[key]) for key in arrays)
    trains = METHODS.get(name).card.trains
    assert (first.cost["backward_per_query"] >= 1) == trains
    assert ("seconds_source" in first.cost) == (name in ("anchored", "cotta", "rest"))
    assert first.cost["forward_per_query"] >= (2 if trains else 1)
    if not trains:
        assert first.metrics["forgetting"] == 0.0


@pytest.mark.parametrize("method", ["tent", "shot", "tcr", "cotta", "memo"])
@pytest.mark.parametrize("lr", [1e6, 1e30])
def test_a_diverged_cell_fails_and_says_so(method: str, lr: float) -> None:
    record, arrays = run_cell(
        method_cell(method, lr=lr), fakes.resources(make_method=wiring._make_method)
    )
    assert record.status == Status.FAILED
    assert record.reason.startswith("Diverged: ")
    assert record.reason.endswith("a smaller learning rate (option lr) may help")
    assert not record.metrics
    assert arrays == {}


def test_a_small_learning_rate_scores_like_the_source() -> None:
    """A frozen optimiser must leave the scores alone, however many steps are made."""
    shared = fakes.resources(make_method=wiring._make_method)
    _, source = run_cell(method_cell("source"), shared)
    _, frozen = run_cell(method_cell("tent", lr=0.0), shared)
    assert np.array_equal(source["best_rank"], frozen["best_rank"])


def test_options_reach_the_method_typed() -> None:
    record, _ = run_cell(
        method_cell("tent", steps="2"), fakes.resources(make_method=wiring._make_method)
    )
    assert record.cost["forward_per_query"] == 2


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (method_cell("tent", stepz=2), "UnknownNameError: method 'tent' has no option 'stepz'"),
        (method_cell("tent", steps="many"), "ConfigError: option 'steps' of method 'tent'"),
        (
            replace(fakes.cell(), method=MethodSpec("tent", "published", {}, 99)),
            "ConfigError: the cell asks for version 99 of method 'tent'; installed is ",
        ),
        (
            replace(fakes.cell(), method=MethodSpec("tentt", "published", {})),
            "UnknownNameError: unknown method 'tentt'; did you mean 'tent'",
        ),
    ],
)
def test_bad_specs_are_one_clear_reason(cell: Cell, reason: str) -> None:
    record, _ = run_cell(cell, fakes.resources(make_method=wiring._make_method))
    assert record.status == Status.FAILED
    assert record.reason.startswith(reason)
    assert "frames" not in record.info


def test_shifts_come_from_the_registry() -> None:
    kind = SHIFTS.get("contrast")
    shift = wiring._make_shift(ShiftSpec("contrast", 3, {}, kind.card.version))
    assert type(shift) is kind
    typed = wiring._make_shift(ShiftSpec("contrast", 3, {"constants": "mini64"}, kind.card.version))
    assert typed.options.constants == "mini64"


def test_the_factory_can_be_sent_to_workers() -> None:
    factory = functools.partial(wiring.default_resources, BenchConfig(allow_missing=True))
    pickle.loads(pickle.dumps(factory))()


def test_a_transductive_bank_is_the_whole_stream() -> None:
    """Its cells can be finished, and a query's score knows of queries that come later."""
    resources = fakes.resources(make_method=wiring._make_method)
    options = {"beta": 40.0}
    before, early = run_cell(method_cell("inverted_softmax", **options), resources)
    after, late = run_cell(
        method_cell("inverted_softmax", bank="transductive", **options), resources
    )
    assert (before.status, after.status) == (Status.DONE, Status.DONE), after.reason
    assert after.cost["forward_per_query"] == 1  # its pass over the stream is the source model's
    assert not np.array_equal(early["best_rank"], late["best_rank"])
    seen: list[int] = []
    make = resources.make_method

    def noted(spec: MethodSpec, setup: Any) -> Any:
        method = make(spec, setup)
        take = method.use_stream

        def counted(embeddings: Any) -> None:
            seen.append(len(embeddings))
            take(embeddings)

        method.__dict__["use_stream"] = counted
        return method

    resources.make_method = noted
    record, _ = run_cell(method_cell("inverted_softmax", bank="transductive"), resources)
    assert seen == [record.info["queries"]]


class Ahead(METHODS.get("recentre")):
    wants_stream = True


def test_a_method_that_sees_queries_ahead_says_so_in_its_name() -> None:
    with METHODS.lent("ahead", Ahead), METHODS.lent("transductive-ahead", Ahead):
        found = [run_cell(method_cell(n), RESOURCES())[0] for n in ("ahead", "transductive-ahead")]
    assert [record.status for record in found] == [Status.FAILED, Status.DONE]
    assert "put 'transductive' into it" in found[0].reason
