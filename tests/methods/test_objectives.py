"""Losses against closed-form numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from methods.objectives import (
    balance,
    entropy,
    masked_mean,
    modality_gap,
    noise_robust_entropy,
    reliability,
    smallest_count,
    source_agreement,
    uniformity,
)

E_PROBE = torch.tensor([0.029621, 0.423989, 0.050248, 0.002364])


def near(values: list[float], *, abs: float = 1e-6) -> object:
    return pytest.approx(values, abs=abs)


def test_softmax_and_entropy(logits_a: Tensor) -> None:
    p = logits_a.softmax(dim=1)
    assert p[0].tolist() == near([0.665241, 0.244728, 0.090031])
    assert p[1].tolist() == near([0.186324, 0.307196, 0.506480])
    assert entropy(logits_a).tolist() == near([0.832396, 1.020191])


def test_entropy_of_uniform_and_of_sharp_rows() -> None:
    assert float(entropy(torch.zeros(1, 5000))) == pytest.approx(math.log(5000), abs=1e-4)
    sharp = torch.tensor([[0.9, 0.1, -1.0]], requires_grad=True)
    value = entropy(sharp / 1e-4)
    torch.autograd.backward(value.sum())
    assert float(value.detach()) == 0.0
    assert sharp.grad is not None
    assert torch.isfinite(sharp.grad).all()


def test_entropy_gradient(logits_a: Tensor) -> None:
    logits = logits_a.requires_grad_()
    loss = entropy(logits).mean()
    torch.autograd.backward(loss)
    assert float(loss.detach()) == pytest.approx(0.926293, abs=1e-6)
    assert logits.grad is not None
    assert logits.grad[0].tolist() == near([-0.141294, 0.070385, 0.070909])
    assert logits.grad[1].tolist() == near([0.061494, 0.024588, -0.086082])


def test_masked_mean_is_nan_where_nothing_is_selected() -> None:
    values = torch.tensor([1.0, 2.0, torch.nan])
    assert float(masked_mean(values, torch.tensor([True, True, False]))) == 1.5
    assert masked_mean(values, torch.zeros(3, dtype=torch.bool)).isnan()


@pytest.mark.parametrize(
    ("batch", "count"), [(1, 1), (2, 1), (3, 1), (5, 2), (16, 6), (40, 16), (64, 25)]
)
def test_smallest_count(batch: int, count: int) -> None:
    assert smallest_count(0.40, batch) == count


def test_noise_robust_entropy_repository() -> None:
    two_pairs = noise_robust_entropy(E_PROBE, E_PROBE[0])
    one_pair = noise_robust_entropy(E_PROBE, E_PROBE[3])
    assert float(two_pairs) == pytest.approx(0.001575, abs=1e-6)
    assert float(one_pair) == pytest.approx(0.000703, abs=1e-6)


def test_noise_robust_entropy_paper() -> None:
    assert float(noise_robust_entropy(E_PROBE, E_PROBE[0], "paper")) == pytest.approx(
        0.002176, abs=1e-6
    )


@pytest.mark.parametrize("form", ["repository", "paper"])
def test_noise_robust_entropy_without_selection_or_threshold(form: str) -> None:
    entropies = E_PROBE.clone().requires_grad_()
    loss = noise_robust_entropy(entropies, torch.tensor(0.001), form)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0.0
    assert entropies.grad is not None
    assert entropies.grad.tolist() == [0.0] * 4
    assert float(noise_robust_entropy(torch.zeros(1), torch.tensor(0.0), form)) == 0.0


def test_noise_robust_entropy_weight_is_constant() -> None:
    entropies = torch.tensor([0.5, 2.0], requires_grad=True)
    torch.autograd.backward(noise_robust_entropy(entropies, torch.tensor(1.0)))
    assert entropies.grad is not None
    assert entropies.grad.tolist() == near([1 - 0.5 / 1.001, 0.0])


def test_uniformity_of_one_query_has_no_gradient() -> None:
    one = torch.tensor([[0.6, 0.8]], requires_grad=True)
    value = uniformity(one)
    torch.autograd.backward(value)
    assert float(value.detach()) == 1.0
    assert one.grad is not None
    assert one.grad.tolist() == [[0.0, 0.0]]


def test_uniformity_of_two_opposite_queries() -> None:
    pair = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert float(uniformity(pair, 0.1)) == pytest.approx(math.exp(-0.1), abs=1e-6)


def test_modality_gap() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    items = torch.tensor([[-1.0, 0.0], [0.0, -1.0]])
    assert float(modality_gap(queries, items)) == pytest.approx(math.sqrt(2), abs=1e-6)


def test_read_terms(logits_a: Tensor) -> None:
    p = logits_a.softmax(dim=1)
    assert p.amax(dim=1).tolist() == near([0.665241, 0.506480])
    assert p.sum(dim=0).tolist() == near([0.851565, 0.551924, 0.596511])
    assert p.sum(dim=0).softmax(dim=0).tolist() == near([0.397463, 0.294554, 0.307984])
    assert float(reliability(logits_a)) == pytest.approx(0.307850, abs=1e-6)
    assert float(balance(logits_a)) == pytest.approx(-1.089467, abs=1e-6)


@pytest.mark.parametrize(
    ("on_one_item", "of_softmax", "of_mean"),
    [(1, 8.504904, 4.158883), (8, 6.024987, 3.898953), (12, 0.393736, 3.692963), (64, 0.0, 0.0)],
)
def test_read_balance_of_one_hot_predictions(
    on_one_item: int, of_softmax: float, of_mean: float
) -> None:
    target = torch.arange(64)
    target[:on_one_item] = 0
    logits = torch.nn.functional.one_hot(target, 5000).double() * 1000
    assert float(-balance(logits)) == pytest.approx(of_softmax, abs=1e-6)
    assert float(-balance(logits, "mean")) == pytest.approx(of_mean, abs=1e-6)


def test_read_mean_balance_has_a_finite_gradient_at_zero_probability() -> None:
    logits = torch.tensor([[0.0, 500.0]], requires_grad=True)
    torch.autograd.backward(balance(logits, "mean"))
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_reliability_gradient_changes_sign_at_one_over_e() -> None:
    for top, sign in ((0.36, 1), (0.375, -1)):
        # Three items: the top one and two equal others.
        logits = torch.tensor([[math.log(top), *[math.log((1 - top) / 2)] * 2]], requires_grad=True)
        torch.autograd.backward(reliability(logits))
        assert logits.grad is not None
        assert math.copysign(1, float(logits.grad[0, 0])) == sign


def test_source_agreement() -> None:
    p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.9, 0.1]])
    current = q.log().requires_grad_()
    loss = source_agreement(current, p.log())
    torch.autograd.backward(loss)
    assert float(loss.detach()) == pytest.approx(
        0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(5), abs=1e-6
    )
    assert current.grad is not None
    assert current.grad[0].tolist() == near([0.4, -0.4])  # softmax minus target
    assert float(source_agreement(p.log(), p.log())) == 0.0
