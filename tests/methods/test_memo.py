"""MEMO: marginal entropy, each query alone, and the published loop."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from methods.memo import Memo, MemoOptions, marginal_entropy
from methods.source import Source
from methods.testing import World
from tests.methods.oracle import TEMPERATURE, Oracle, double_world


def test_marginal_entropy_by_hand(logits_a: Tensor) -> None:
    mean = logits_a.softmax(1).mean(0)  # (0.425782, 0.275962, 0.298255)
    expected = -float((mean * mean.log()).sum())
    assert expected == pytest.approx(1.079674, abs=1e-5)
    assert float(marginal_entropy(logits_a)) == pytest.approx(expected, abs=1e-6)
    assert float(marginal_entropy(torch.tensor([[1e4, 0.0], [1e4, 0.0]]))) == 0.0


def test_queries_are_adapted_to_one_by_one() -> None:
    world = World()
    options = MemoOptions(views=6, lr=1e-2, temperature=0.1)
    memo = Memo(world.setup(), options)
    together = memo.step(world.batches[0]).scores
    memo.reset()
    alone = torch.cat([memo.step(query).scores for query in world.batches[0].split(1)])
    torch.testing.assert_close(together, alone)
    plain = Source(World().setup()).step(world.batches[0]).scores
    assert float((together - plain).abs().max()) > 1e-3


def test_nothing_is_kept_of_a_batch() -> None:
    world = World()
    before = {n: t.clone() for n, t in world.encoder.state_dict().items()}
    Memo(world.setup(), MemoOptions(views=4, lr=1e-2)).step(world.batches[0])
    assert all(torch.equal(t, before[n]) for n, t in world.encoder.state_dict().items())


def test_centred_queries_are_moved_by_the_batch() -> None:
    world = World()
    memo = Memo(world.setup(), MemoOptions(views=4, lr=0.0, centre=True))
    found = memo.step(world.batches[0]).embeddings
    rows = world.encoder(world.batches[0]).detach()
    expected = rows + world.gallery.mean(0) - rows.mean(0)
    torch.testing.assert_close(found, expected / expected.norm(dim=1, keepdim=True))


@pytest.mark.parametrize(("keep", "steps"), [(1.0, 1), (1.0, 2), (0.5, 2)])
def test_scores_of_the_published_loop(keep: float, steps: int) -> None:
    world = double_world()
    drawn: list[Tensor] = []

    class Recorded(Memo):
        def views(self, query: Tensor) -> Tensor:
            drawn.append(super().views(query))
            return drawn[-1]

    def loss(_: Tensor, outputs: Tensor) -> Tensor:
        logits = outputs - outputs.logsumexp(dim=-1, keepdim=True)
        average = logits.logsumexp(dim=0) - torch.tensor(len(logits)).double().log()
        return -(average * torch.exp(average)).sum(dim=-1)

    options = MemoOptions(views=6, keep=keep, steps=steps, lr=1e-2, temperature=TEMPERATURE)
    found = Recorded(world.setup(), options).step(world.batches[0]).scores
    per_query = steps if keep == 1 else 1
    assert len(drawn) == per_query * len(found)
    for index, query in enumerate(world.batches[0].split(1)):
        oracle = Oracle(double_world(), loss)
        own, chosen = drawn[per_query * index : per_query * (index + 1)], None
        for step in range(steps):
            outputs = oracle.logits(own[min(step, len(own) - 1)])
            if keep < 1:
                if chosen is None:
                    entropy = -(outputs.softmax(1) * outputs.log_softmax(1)).sum(1)
                    chosen = entropy.argsort()[: int(len(entropy) * keep)]
                    assert torch.equal(own[0][:1], query)
                outputs = outputs[chosen]
            oracle.optim.zero_grad()
            loss(query, outputs).backward()
            oracle.optim.step()
        expected = oracle.logits(query).detach()[0] * TEMPERATURE
        torch.testing.assert_close(found[index], expected, rtol=0, atol=1e-10)


def test_the_encoder_is_not_copied() -> None:
    world = World()
    encoder = world.encoder
    memo = Memo(world.setup(), MemoOptions(views=2))
    assert memo.encoder is encoder
    assert copy.copy(memo).encoder is encoder
