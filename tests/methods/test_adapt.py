"""The loop that trained methods share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.adapt import AdaptedMethod, AdaptOptions, Forward, StepLog, gradients_of
from methods.base import Method, MethodCard, MethodError, QueryEncoder, Setup
from methods.eata import Eata, EataOptions
from methods.read import Read, ReadOptions
from methods.rest import Rest, RestOptions
from methods.sar import Sar, SarOptions
from methods.source import Source
from methods.tcr import Tcr, TcrOptions
from methods.tent import Tent
from methods.testing import World

TRAINED = (
    (Tent, AdaptOptions),
    (Eata, EataOptions),
    (Sar, SarOptions),
    (Read, ReadOptions),
    (Tcr, TcrOptions),
    (Rest, RestOptions),
)
CARD = MethodCard(name="test", title="Test", summary="for tests", paper="none")


class Quadratic(AdaptedMethod):
    """Half the squared length of the sum of embeddings: a gradient that is known by hand."""

    card = CARD

    def objective(self, forward: Forward) -> Tensor | None:
        return forward.embeddings.sum(dim=0).square().sum() / 2


def weights(world: World) -> dict[str, Tensor]:
    return {n: t.clone() for n, t in world.encoder.state_dict().items()}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[n], two[n]) for n in one)


@pytest.mark.parametrize(("method", "options"), TRAINED)
def test_frozen_optimiser_scores_as_source(method: type[Method], options: type) -> None:
    world, plain = World(), World()
    adapted, source = method(world.setup(), options(lr=0.0)), Source(plain.setup())
    for batch in world.batches:
        assert torch.equal(adapted.step(batch).scores, source.step(batch).scores)


@pytest.mark.parametrize(("method", "options"), TRAINED)
def test_one_step_scores_the_first_batch_as_source(method: type[Method], options: type) -> None:
    world, plain = World(), World()
    adapted = method(world.setup(), options(lr=1e-2, steps=1))
    expected = Source(plain.setup()).step(world.batches[0])
    first = adapted.step(world.batches[0])
    assert torch.equal(first.scores, expected.scores)
    assert torch.equal(first.embeddings, expected.embeddings)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_last_forward_shows_all_updates_but_the_last(steps: int) -> None:
    world, longer = World(), World()
    short = Tent(world.setup(), AdaptOptions(steps=steps, lr=1e-3))
    after = Tent(longer.setup(), AdaptOptions(steps=steps, lr=1e-3, score_from="post_update"))
    before_last = short.step(world.batches[0]).scores
    output = after.step(world.batches[0])
    assert not torch.equal(before_last, output.scores)
    assert torch.equal(output.scores, after.score(after.embed(world.batches[0])))
    one_more = World()
    longer_run = Tent(one_more.setup(), AdaptOptions(steps=steps + 1, lr=1e-3))
    assert torch.allclose(longer_run.step(world.batches[0]).scores, output.scores, atol=1e-6)


def test_one_sgd_step_by_hand(known: Callable[[Tensor], Setup]) -> None:
    options = AdaptOptions(steps=1, lr=0.1, optimizer="sgd", weight_decay=0.0)
    method = Quadratic(known(torch.eye(2)), options)
    method.step(torch.tensor([[1.0, 2.0], [3.0, -4.0]]))
    # d/db of |sum z|^2 / 2 is B * sum z = 2 * (4, -2).
    assert method.adapted["norm.bias"].tolist() == pytest.approx([-0.8, 0.4])
    assert method.adapted["norm.weight"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)],
)
def test_optimiser_by_name(name: str, kind: type) -> None:
    method = Tent(World().setup(), AdaptOptions(optimizer=name, lr=0.5, weight_decay=0.25))
    assert type(method.optimizer).__base__ is kind
    group = method.optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.25)
    if name == "sgd":
        assert group["momentum"] == 0.9
    else:
        assert group["betas"] == (0.9, 0.999)


def test_unused_parameters_are_left_alone_by_weight_decay() -> None:
    world = World()
    tent = Tent(world.setup(), AdaptOptions(weight_decay=0.9, lr=0.1))
    before = weights(world)
    tent.step(world.batches[0])
    after = weights(world)
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    layers = ("first", "second")
    assert moved == {f"block.{x}.{y}" for x in layers for y in ("weight", "bias")}


@pytest.mark.parametrize(("method", "options"), TRAINED)
def test_one_broken_query_costs_the_update_not_the_model(
    method: type[AdaptedMethod], options: type
) -> None:
    world = World()
    adapted = method(world.setup(), options(temperature=0.1))
    adapted.step(world.batches[0])
    before = weights(world)
    moments = [
        {k: v.clone() for k, v in state.items()} for state in adapted.optimizer.state.values()
    ]
    broken = world.batches[1].clone()
    broken[2, 0] = torch.inf
    log = adapted.step(broken).log
    assert log["skipped_updates"] == 3
    assert all(math.isfinite(value) for value in log.values())
    assert same(before, weights(world))
    for old, new in zip(moments, adapted.optimizer.state.values(), strict=True):
        assert all(torch.equal(old[k], new[k]) for k in old)


class Scripted(AdaptedMethod):
    """An objective that a test chooses."""

    card = CARD
    rule: Any = None

    def objective(self, forward: Forward) -> Tensor | None:
        result: Tensor | None = type(self).rule(forward)
        return result


@pytest.mark.parametrize(
    "rule",
    [
        lambda forward: None,
        lambda forward: torch.tensor(1.0),
        lambda forward: forward.embeddings.sum() * torch.nan,
        lambda forward: forward.embeddings.sum() * torch.inf,
        lambda forward: forward.embeddings[:0].mean(),
        lambda forward: (forward.embeddings.sum() * 0).sqrt(),
    ],
    ids=["none", "constant", "nan", "inf", "empty", "infinite gradient"],
)
def test_no_usable_gradient_means_no_update(rule: Any) -> None:
    world = World()
    before = weights(world)
    method = type("Case", (Scripted,), {"rule": staticmethod(rule)})(world.setup())
    assert method.step(world.batches[0]).log["skipped_updates"] == 3
    assert not method.updated
    assert not method.optimizer.state
    assert same(before, weights(world))


def test_gradients_of_an_empty_mean_are_nan_not_zero() -> None:
    x = torch.ones(3, requires_grad=True)
    (gradient,) = gradients_of(x[:0].mean(), [x])
    assert gradient is not None
    assert gradient.isnan().all()


def test_reset_restores_the_methods_own_random_draws() -> None:
    class Random(Tent):
        def objective(self, forward: Forward) -> Tensor:
            noise = torch.rand((), generator=self.setup.generator)
            return super().objective(forward) * noise

    world = World()
    method = Random(world.setup(), AdaptOptions(lr=1e-2, optimizer="sgd"))
    first = method.step(world.batches[0]).scores
    method.reset()
    assert torch.equal(method.step(world.batches[0]).scores, first)


def test_learnt_temperature() -> None:
    setup = World().setup()
    assert Tent(setup, AdaptOptions(temperature="learnt")).temperature == pytest.approx(0.02)
    assert Tent(setup).temperature == 0.01


def test_empty_batch_is_refused() -> None:
    world = World()
    with pytest.raises(MethodError, match="no queries"):
        Tent(world.setup()).step(world.batches[0][:0])


def test_an_encoder_without_gradient_is_refused() -> None:
    class Detached(QueryEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.LayerNorm(2)

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs

    with pytest.raises(MethodError, match="carry no gradient"):
        Tent(Setup(Detached(), torch.eye(2), 1.0)).step(torch.eye(2))


def test_works_inside_no_grad_as_a_harness_may_call_it() -> None:
    world, plain = World(), World()
    with torch.no_grad():
        inside = Tent(world.setup()).step(world.batches[0]).scores
    assert torch.equal(inside, Tent(plain.setup()).step(plain.batches[0]).scores)


def test_notes() -> None:
    log = StepLog()
    log.add("loss", torch.tensor(1.0))
    log.add("loss", 3.0)
    log.add("loss", torch.tensor(torch.nan))
    log.add("angle", torch.tensor(torch.nan))
    log.add("selected", torch.tensor([True, True]).sum())
    log.count("resets")
    log.count("resets")
    assert log.collect() == {"loss": 2.0, "selected": 2.0, "resets": 2.0, "skipped_updates": 0.0}
