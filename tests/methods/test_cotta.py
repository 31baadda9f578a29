"""CoTTA: teacher, views, restoring, and the published loop."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from methods.cotta import Cotta, CottaOptions
from methods.perturb import augmented
from methods.testing import World
from tests.methods.oracle import TEMPERATURE, Oracle, double_world


def test_scores_are_the_teachers() -> None:
    world = World()
    cotta = Cotta(world.setup(), CottaOptions(lr=1e-2, steps=1, restore=0.0, view_threshold=0.0))
    cotta.step(world.batches[0])
    expected = cotta.score(cotta.embed(world.batches[1]))
    assert torch.equal(cotta.step(world.batches[1]).scores, expected)
    assert not torch.equal(world.encoder(world.batches[1]), cotta.embed(world.batches[1]))


def test_embed_uses_the_teacher_and_leaves_the_student_alone() -> None:
    world = World()
    options = CottaOptions(lr=1e-2, teacher_momentum=1.0, restore=0.0)
    cotta = Cotta(world.setup(), options)
    before = cotta.embed(world.batches[0])
    cotta.step(world.batches[0])
    assert torch.equal(cotta.embed(world.batches[0]), before)  # a teacher that never moves
    assert cotta.updated


def test_everything_can_be_restored_at_once() -> None:
    world = World()
    cotta = Cotta(world.setup(), CottaOptions(lr=1e-2, restore=1.0))
    source = {n: v.clone() for n, v in cotta.source_parameters().items()}
    cotta.step(world.batches[0])
    assert all(torch.equal(p.detach(), source[n]) for n, p in cotta.adapted.items())


@pytest.mark.parametrize(("threshold", "passes"), [(0.0, 3 + 3), (2.0, 3 + 3 * 5)])
def test_views_are_made_where_the_source_is_unsure(threshold: float, passes: int) -> None:
    world, calls = World(), []
    world.encoder.register_forward_hook(lambda *_: calls.append(1))
    cotta = Cotta(world.setup(), CottaOptions(view_threshold=threshold, views=5))
    assert cotta.step(world.batches[0]).log["averaged"] == float(threshold > 1)
    assert len(calls) == passes  # before any update the student is the source: no pass for it
    calls.clear()
    cotta.step(world.batches[1])
    assert len(calls) == passes + 1
    calls.clear()
    cotta.use_source(cotta.encode_with(cotta.source_parameters(), world.batches[2]).detach())
    cotta.step(world.batches[2])
    assert len(calls) == passes + 1  # the one above, made by the test


@pytest.mark.parametrize("threshold", [0.0, 2.0])
def test_weights_and_scores_of_the_published_loop(threshold: float) -> None:
    world = double_world()
    draws = world.setup().generator
    views = 4

    def loss(inputs: Tensor, outputs: Tensor) -> Tensor:
        with torch.no_grad():
            sure = oracle.logits(inputs, oracle.source).softmax(1).max(1).values
            target = oracle.logits(inputs, teacher)
            if sure.mean(0) < threshold:
                stack = [
                    oracle.logits(augmented(world.encoder, inputs, draws), teacher)
                    for _ in range(views)
                ]
                target = torch.stack(stack).mean(0)
        said.append(target)
        both = -0.5 * (target.softmax(1) * outputs.log_softmax(1)).sum(1)
        return (both - 0.5 * (outputs.softmax(1) * target.log_softmax(1)).sum(1)).mean(0)

    def after() -> None:
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), oracle.encoder.parameters(), strict=True):
                slow.copy_(0.9 * slow + (1 - 0.9) * fast)
            source = dict(oracle.source.named_parameters())
            for name, p in oracle.encoder.named_parameters():
                if p.requires_grad:
                    mask = (torch.rand(p.shape, generator=draws) < 0.2).double()
                    p.copy_(source[name] * mask + p * (1.0 - mask))

    said: list[Tensor] = []
    oracle = Oracle(double_world(), loss, after=after)
    teacher = copy.deepcopy(oracle.source)
    options = CottaOptions(
        lr=1e-2,
        temperature=TEMPERATURE,
        views=views,
        view_threshold=threshold,
        restore=0.2,
        teacher_momentum=0.9,
    )
    cotta = Cotta(world.setup(), options)
    for batch in world.batches:
        oracle.step(batch)
        expected = said[-1] * TEMPERATURE
        torch.testing.assert_close(cotta.step(batch).scores, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(
        [p.detach() for p in cotta.adapted.values()], oracle.weights(), rtol=0, atol=1e-10
    )
