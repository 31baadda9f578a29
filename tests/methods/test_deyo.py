"""DeYO: the probe, both forms, and the published loop."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from methods.base import MethodError, Setup
from methods.deyo import Deyo, DeyoOptions, smallest_of
from methods.perturb import perturbed
from tests.methods.oracle import TEMPERATURE, Oracle, double_world, entropies

Build = Callable[[Tensor], Setup]
PROBE = torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
AFTER = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.2, 0.0]])


class Known(Deyo):
    """Disturbs queries in a way that a test knows."""

    def perturb(self, queries: Tensor) -> Tensor:
        return AFTER


def test_probe(known: Build) -> None:
    deyo = Known(known(torch.eye(3)), DeyoOptions(steps=1, temperature=1.0))
    log = deyo.step(PROBE).log
    assert (log["reliable"], log["selected"]) == (1, 1)  # tau_ent 0.549306, H (0.366594, 0.665573)
    drops = 0.909443 - 0.576117, 0.786986 - 0.818613
    assert log["plpd"] == pytest.approx(sum(drops) / 2, abs=1e-5)
    assert log["loss"] == pytest.approx(0.905917, abs=1e-6)
    _, weights = deyo.select(torch.tensor([0.366594, 0.665573]), torch.tensor([drops[0], 0.0]))
    assert float(weights[0]) == pytest.approx(2.471173, abs=1e-5)


def test_nothing_selected_means_no_update(known: Build) -> None:
    deyo = Known(known(torch.eye(3)), DeyoOptions(temperature=1.0, plpd_margin=0.9))
    assert deyo.step(PROBE).log["skipped_updates"] == 3
    assert not deyo.updated


def test_tcr_form_is_strict_and_reweighs_by_rank(known: Build) -> None:
    options = DeyoOptions(form="tcr", plpd_margin=-1.0, perturbation="none")
    deyo = Deyo(known(torch.eye(20)), options)
    entropies = torch.arange(10.0)
    selected, weights = deyo.select(entropies, torch.zeros(10))
    # k = int(0.5 * 10): the fifth smallest is 4, and below it are four; e' is the int(0.4 * 4)-th.
    assert selected.nonzero().flatten().tolist() == [0, 1, 2, 3]
    expected = [1 / (math.exp(h - 0.0) + 0.1) + 1.1 for h in range(4)]
    assert weights[:4].tolist() == pytest.approx(expected, abs=1e-6)


def test_tcr_form_with_too_few_for_a_rank(known: Build) -> None:
    deyo = Deyo(known(torch.eye(20)), DeyoOptions(form="tcr", plpd_margin=-1.0))
    selected, weights = deyo.select(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.zeros(5))
    # int(0.5 * 5) = 2: one query lies below the second; int(0.4 * 1) = 0, so e' is infinite.
    assert selected.tolist() == [True, False, False, False, False]
    assert float(weights[0]) == pytest.approx(1 / 0.1 + 1.1)


def test_rank_among_the_selected() -> None:
    values = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0])
    mask = torch.tensor([True, False, True, True, True])
    assert float(smallest_of(values, mask, 0.5)) == 3.0  # int(0.5 * 4) = 2, of 2 3 4 5
    assert float(smallest_of(values, ~mask, 0.4)) == math.inf


def test_parts_of_the_batch_are_at_most_one() -> None:
    with pytest.raises(MethodError, match="'weight_margin'"):
        DeyoOptions(form="tcr", weight_margin=1.5)


def test_without_a_perturbation_no_second_pass() -> None:
    world, calls = double_world(), []
    world.encoder.register_forward_hook(lambda *_: calls.append(1))
    Deyo(world.setup(), DeyoOptions(perturbation="none")).step(world.batches[0])
    assert len(calls) == 3


@pytest.mark.parametrize("kind", ["auto", "pixels", "occlusion"])
def test_weights_and_scores_of_the_published_loop(kind: str) -> None:
    world = double_world()
    draws = world.setup().generator  # the same draws as the method's

    def loss(inputs: Tensor, outputs: Tensor) -> Tensor | None:
        entropy, nats = entropies(outputs), math.log(len(world.gallery))
        with torch.no_grad():
            after = oracle.logits(perturbed(world.encoder, inputs, draws, kind)).softmax(1)
        before = outputs.detach().softmax(1)
        first = torch.where(entropy < 0.9 * nats)[0]
        top = before[first].argmax(1)
        index = torch.arange(len(first))
        plpd = before[first][index, top] - after[first][index, top]
        second = torch.where(plpd > 0.01)[0]
        if len(second) == 0:
            return None
        kept = entropy[first][second]
        weight = 1 / torch.exp(kept.detach() - 0.4 * nats) + 1 / torch.exp(-plpd[second])
        return (kept * weight).mean()

    oracle = Oracle(double_world(), loss)
    options = DeyoOptions(
        lr=1e-2, temperature=TEMPERATURE, entropy_margin=0.9, plpd_margin=0.01, perturbation=kind
    )
    deyo, updates = Deyo(world.setup(), options), 0
    for batch in world.batches:
        output = deyo.step(batch)
        expected = oracle.step(batch) * TEMPERATURE
        torch.testing.assert_close(output.scores, expected, rtol=0, atol=1e-10)
        updates += 3 - int(output.log["skipped_updates"])
    assert updates > 3
    torch.testing.assert_close(
        [p.detach() for p in deyo.adapted.values()], oracle.weights(), rtol=0, atol=1e-10
    )
