"""RDumb: when it resets, its margin, and the published loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from methods.eata import Eata, EataOptions
from methods.rdumb import Rdumb, RdumbOptions
from methods.testing import World
from tests.methods.oracle import TEMPERATURE, Oracle, double_world, entropies


def test_margin_is_that_of_the_code() -> None:
    world = World()
    world.gallery = torch.zeros(1000, 16)
    assert Rdumb(world.setup()).margin() == pytest.approx(2.453878, abs=1e-6)
    assert Rdumb(world.setup(), RdumbOptions(margin_unit="relative")).margin() == pytest.approx(
        2.763102, abs=1e-6
    )


def test_between_resets_it_is_eata() -> None:
    one, two = World(), World()
    options = {"temperature": 0.1, "d_margin": 0.9, "lr": 1e-2}
    eata = Eata(one.setup(), EataOptions(**options))
    rdumb = Rdumb(two.setup(), RdumbOptions(margin_unit="relative", **options))
    for batch in one.batches:
        assert torch.equal(eata.step(batch).scores, rdumb.step(batch).scores)


def test_resets_are_counted_in_passes() -> None:
    world = World()
    rdumb = Rdumb(world.setup(), RdumbOptions(reset_every=4))
    resets = [rdumb.step(batch).log["resets"] for batch in world.batches]
    assert resets == [0.0, 1.0, 1.0, 0.0, 1.0]  # before passes 5, 9 and 13 of 15
    rdumb.reset()
    assert rdumb.passes == 0


@pytest.mark.parametrize("every", [2, 4, 1000])
def test_weights_and_scores_of_the_published_loop(every: int) -> None:
    world = double_world()
    margin, d_margin = math.log(len(world.gallery)) * 0.9, 0.6
    state: dict[str, Tensor | None] = {"mean": None}
    passes = [0]

    class Resetting(Oracle):
        def logits(self, inputs: Tensor, encoder: object = None) -> Tensor:
            if passes[0] % every == 0:
                self.encoder.load_state_dict(self.source.state_dict())
                self.build()
                state["mean"] = None
            passes[0] += 1
            return super().logits(inputs)

    def loss(_: Tensor, outputs: Tensor) -> Tensor | None:
        entropy = entropies(outputs)
        first = torch.where(entropy < margin)[0]
        kept, chosen = entropy[first], outputs[first].softmax(1).detach()
        if state["mean"] is not None:
            alike = functional.cosine_similarity(state["mean"][None], chosen, dim=1)
            second = torch.where(alike.abs() < d_margin)[0]
            kept, chosen = kept[second], chosen[second]
        if len(kept) == 0:
            return None
        old, new = state["mean"], chosen.mean(0)
        state["mean"] = new if old is None else 0.9 * old + (1 - 0.9) * new
        return (kept * (1 / torch.exp(kept.detach() - margin))).mean(0)

    oracle = Resetting(double_world(), loss)
    options = RdumbOptions(
        lr=1e-2,
        temperature=TEMPERATURE,
        margin_unit="relative",
        entropy_margin=0.9,
        d_margin=d_margin,
        reset_every=every,
    )
    rdumb, updates = Rdumb(world.setup(), options), 0
    for batch in world.batches:
        output = rdumb.step(batch)
        torch.testing.assert_close(
            output.scores, oracle.step(batch) * TEMPERATURE, rtol=0, atol=1e-10
        )
        updates += 3 - int(output.log["skipped_updates"])
    assert updates > 3
    torch.testing.assert_close(
        [p.detach() for p in rdumb.adapted.values()], oracle.weights(), rtol=0, atol=1e-10
    )


def test_a_reset_keeps_the_fisher_information() -> None:
    world = World()
    options = RdumbOptions(reset_every=3, fisher="stream", fisher_batches=1, temperature=0.1)
    rdumb = Rdumb(world.setup(), options)
    rdumb.step(world.batches[0])
    rdumb.step(world.batches[1])
    assert rdumb.fisher.values()
