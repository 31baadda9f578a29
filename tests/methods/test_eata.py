"""EATA: selection, moving mean of predictions, Fisher anchor."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from methods.base import MethodError, Setup
from methods.eata import Eata, EataOptions, StreamFisher
from methods.testing import World

Build = Callable[[Tensor], Setup]
PROBE = torch.tensor([[6.0, 1.0, 0.0], [0.0, 5.0, 1.0], [1.0, 1.0, 1.0]])


def test_first_probe(known: Build) -> None:
    eata = Eata(known(torch.eye(3)), EataOptions(steps=1, temperature=1.0))
    assert eata.margin() == pytest.approx(0.439445, abs=1e-6)
    log = eata.step(PROBE).log
    assert log["selected"] == 2
    assert log["loss"] == pytest.approx(0.130009, abs=1e-6)
    assert eata.mean_prediction.tolist() == pytest.approx([0.498720, 0.491118, 0.010162], abs=1e-6)


def test_second_probe(known: Build) -> None:
    eata = Eata(known(torch.eye(3)), EataOptions(temperature=1.0))
    eata.mean_prediction = torch.tensor([0.498720, 0.491118, 0.010162])
    new = torch.tensor([[0.0, 0.0, 1.0]])
    overlap = functional.cosine_similarity(eata.mean_prediction[None], new)
    assert float(overlap) == pytest.approx(0.014517, abs=1e-6)
    assert eata.select(torch.zeros(1), new).tolist() == [True]
    assert eata.mean_prediction.tolist() == pytest.approx([0.448848, 0.442006, 0.109146], abs=1e-6)


def test_third_probe() -> None:
    fisher = StreamFisher()
    fisher.add([torch.tensor([0.1])])
    fisher.add([torch.tensor([0.3])])
    assert [f.tolist() for f in fisher.values()] == [pytest.approx([0.05])]
    penalty = fisher.penalty([torch.tensor([1.01])], [torch.tensor([1.0])])
    assert 2000 * float(penalty) == pytest.approx(0.01, rel=1e-4)


def test_one_hot_batches_starve_as_documented(known: Build) -> None:
    eata = Eata(known(torch.eye(100)))
    one_hot, sure = torch.eye(100), torch.zeros(25)
    assert int(eata.select(sure, one_hot[:25]).sum()) == 25
    assert int(eata.select(sure, one_hot[:25]).sum()) == 0  # cosine 1/sqrt(25) = 0.2
    seen = []
    for _ in range(4):
        new = one_hot[25:50]
        seen.append(float(functional.cosine_similarity(eata.mean_prediction[None], new)[0]))
        assert int(eata.select(sure, new).sum()) == (25 if seen[-1] < 0.05 else 0)
    # Three updates fit before 0.05 is reached.
    assert seen == pytest.approx([0.0, 0.022086, 0.045674, 0.069689], abs=1e-6)


def test_margin_units(known: Build) -> None:
    setup = known(torch.zeros(5000, 2))
    assert Eata(setup).margin() == pytest.approx(3.406877, abs=1e-6)
    assert Eata(known(torch.zeros(25_000, 2))).margin() == pytest.approx(4.050652, abs=1e-6)
    assert Eata(setup, EataOptions(margin_unit="nats")).margin() == 0.4


def test_relative_margin_needs_two_items(known: Build) -> None:
    with pytest.raises(MethodError, match="at least two items"):
        Eata(known(torch.ones(1, 3))).step(PROBE)


def test_empty_selection_leaves_weights_and_memory_alone() -> None:
    world = World()
    eata = Eata(world.setup(), EataOptions(entropy_margin=1e-6, temperature=1.0))
    before = {n: t.clone() for n, t in world.encoder.state_dict().items()}
    log = eata.step(world.batches[0]).log
    assert log["skipped_updates"] == 3
    assert log["selected"] == 0
    assert all(torch.equal(t, before[n]) for n, t in world.encoder.state_dict().items())
    assert not eata.optimizer.state
    assert eata.mean_prediction.sum() == 0


def test_stream_fisher_anchors_to_the_source() -> None:
    def distance(weight: float) -> float:
        world = World()
        options = EataOptions(
            fisher="stream",
            fisher_weight=weight,
            d_margin=2.0,
            temperature=0.1,
            lr=1e-2,
            optimizer="sgd",
        )
        eata = Eata(world.setup(), options)
        for batch in world.batches[:3]:
            log = eata.step(batch).log
            assert math.isfinite(log["loss_fisher"])
        assert log["loss_fisher"] > 0
        source = eata.source_parameters()
        return sum(float((p.detach() - source[n]).norm()) for n, p in eata.adapted.items())

    assert distance(5.0) < distance(0.0)


def test_stream_fisher_stops_after_its_batches() -> None:
    world = World()
    calls = []
    world.encoder.register_forward_hook(lambda *_: calls.append(1))
    eata = Eata(world.setup(), EataOptions(fisher="stream", fisher_batches=1))
    eata.step(world.batches[0])
    assert len(calls) == 4  # three steps and one look at the source model
    eata.step(world.batches[1])
    assert len(calls) == 7


# The form behind TCR's tables


@pytest.mark.parametrize(("batch", "count"), [(1, 1), (2, 1), (3, 1), (5, 2), (16, 6), (64, 25)])
def test_tcr_form_takes_the_most_certain_part(known: Build, batch: int, count: int) -> None:
    eata = Eata(known(torch.eye(80)), EataOptions(form="tcr"))
    entropies = torch.linspace(5.0, 1.0, batch)  # far above 0.4 nats: only their order counts
    kept = eata.select(entropies, torch.eye(80)[:batch])
    assert kept.nonzero().flatten().tolist() == list(range(batch - count, batch))


def test_tcr_form_weighs_by_nats(known: Build) -> None:
    eata = Eata(known(torch.eye(3)), EataOptions(form="tcr", steps=1, temperature=1.0))
    log = eata.step(PROBE).log
    assert log["selected"] == 1  # int(0.4 * 3)
    # exp(0.4 - 0.057293) * 0.057293
    assert log["loss"] == pytest.approx(math.exp(0.4 - 0.057293) * 0.057293, abs=1e-6)


def test_tcr_form_steps_on_momentum_where_nothing_counts() -> None:
    def moved(form: str) -> tuple[float, float]:
        world = World()
        eata = Eata(world.setup(), EataOptions(form=form, steps=1, temperature=0.1, d_margin=2.0))
        eata.step(world.batches[0])
        before = [p.detach().clone() for p in eata.adapted.values()]
        eata.mean_prediction = torch.ones(len(world.gallery))  # all is redundant from now on
        object.__setattr__(eata.options, "d_margin", 1e-9)
        log = eata.step(world.batches[1]).log
        assert log["selected"] == 0
        pairs = zip(eata.adapted.values(), before, strict=True)
        return sum(float((p.detach() - b).norm()) for p, b in pairs), log["skipped_updates"]

    change, skipped = moved("tcr")
    assert change > 0
    assert skipped == 0
    assert moved("paper") == (0.0, 1)


def test_tcr_form_has_no_part_above_the_whole_batch() -> None:
    with pytest.raises(MethodError, match="expected at most 1"):
        EataOptions(form="tcr", entropy_margin=1.5)
