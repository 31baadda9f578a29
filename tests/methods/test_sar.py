"""SAR: sharpness-aware step, selections, resets."""

from __future__ import annotations

import pytest
import torch

from methods.objectives import entropy
from methods.sar import Sar, SarOptions, disturb, moving_average
from methods.testing import World


def test_disturbance_of_the_probe() -> None:
    (moved,) = disturb([torch.zeros(2)], [torch.tensor([3.0, 4.0])], 0.05)
    assert moved.tolist() == pytest.approx([0.03, 0.04], abs=1e-6)
    assert moved.requires_grad


def test_disturbance_takes_one_norm_over_all() -> None:
    moved = disturb([torch.zeros(1)] * 3, [torch.tensor([3.0]), None, torch.tensor([4.0])], 0.05)
    assert [m.item() for m in moved] == pytest.approx([0.03, 0.0, 0.04], abs=1e-6)


def test_moving_average_of_the_probe() -> None:
    average, seen = torch.tensor(torch.nan), []
    for value in (1.0, 0.1, torch.nan, 0.1):
        average = moving_average(average, torch.tensor(value))
        seen.append(float(average))
    assert seen == pytest.approx([1.0, 0.91, 0.91, 0.829], abs=1e-6)


def weights(world: World) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in world.encoder.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[n], two[n]) for n in one)


def test_one_step_is_descent_with_the_gradient_at_the_disturbed_point() -> None:
    world, by_hand = World(), World()
    options = SarOptions(
        steps=1,
        optimizer="sgd",
        weight_decay=0.0,
        lr=0.1,
        temperature=0.1,
        margin="entropy",
        entropy_margin=10.0,
        reset_below=0.0,
    )
    Sar(world.setup(), options).step(world.batches[0])
    # The same by moving the real weights there and back.
    encoder = by_hand.encoder
    names = [f"block.{x}.{y}" for x in ("first", "second") for y in ("weight", "bias")]
    parameters = [dict(encoder.named_parameters())[n] for n in names]

    def gradient() -> list[torch.Tensor]:
        logits = encoder(by_hand.batches[0]) @ by_hand.gallery.T / 0.1
        return list(torch.autograd.grad(entropy(logits).mean(), parameters))

    first = gradient()
    length = sum(float(g.square().sum()) for g in first) ** 0.5
    with torch.no_grad():
        for p, g in zip(parameters, first, strict=True):
            p.add_(0.05 / length * g)
    second = gradient()
    with torch.no_grad():
        for p, g, h in zip(parameters, first, second, strict=True):
            p.sub_(0.05 / length * g + 0.1 * h)
    for name, expected in zip(names, parameters, strict=True):
        assert torch.allclose(world.encoder.state_dict()[name], expected, atol=1e-5)


def test_empty_second_selection_restores_the_weights() -> None:
    # One reliable query: uphill its entropy exceeds its own first value, so none is left.
    world = World()
    before = weights(world)
    sar = Sar(world.setup(), SarOptions(fraction=0.1, temperature=0.1))
    log = sar.step(world.batches[0]).log
    assert (log["reliable"], log["selected"], log["skipped_updates"]) == (1, 0, 3)
    assert same(before, weights(world))
    assert not sar.optimizer.state
    assert sar.average.isnan()


def test_reset_rebuilds_weights_optimiser_and_average() -> None:
    world = World()
    before = weights(world)
    sar = Sar(world.setup(), SarOptions(margin="entropy", entropy_margin=10.0, reset_below=100.0))
    log = sar.step(world.batches[0]).log
    assert log["skipped_updates"] == 0
    assert log["resets"] == 3
    assert same(before, weights(world))
    assert not sar.optimizer.state
    assert sar.average.isnan()


def test_no_reset_when_switched_off_or_above_the_threshold() -> None:
    for threshold in (0.0, 1e-9):
        world = World()
        before = weights(world)
        options = SarOptions(margin="entropy", entropy_margin=10.0, reset_below=threshold)
        sar = Sar(world.setup(), options)
        assert sar.step(world.batches[0]).log["resets"] == 0
        assert not same(before, weights(world))
        assert not sar.average.isnan()


def test_top_fraction_and_entropy_margins() -> None:
    world = World()
    entropies = torch.tensor([0.1, 0.5, 0.3, 2.0, 1.9])
    kept, threshold = Sar(world.setup()).reliable(entropies)
    assert kept.tolist() == [True, False, True, False, False]
    assert float(threshold) == pytest.approx(0.3)
    kept, threshold = Sar(world.setup(), SarOptions(margin="entropy")).reliable(entropies)
    assert float(threshold) == pytest.approx(1.475552, abs=1e-6)  # 0.4 ln 40
    assert kept.tolist() == [True, True, True, False, False]


def test_scores_come_from_the_undisturbed_model() -> None:
    world = World()
    sar = Sar(world.setup(), SarOptions(steps=1))
    expected = world.encoder(world.batches[0]).detach() @ world.gallery.T
    assert torch.equal(sar.step(world.batches[0]).scores, expected)


@pytest.mark.parametrize("size", [1, 2])
def test_a_batch_of_one_or_two_has_one_reliable_query(size: int) -> None:
    world = World()
    log = Sar(world.setup(), SarOptions(steps=1)).step(world.batches[0][:size]).log
    assert log["reliable"] == 1
    assert all(torch.isfinite(p).all() for p in world.encoder.state_dict().values())


def test_the_card_names_what_differs_from_the_reference() -> None:
    said = Sar.card.approximate
    for word in ("empty second selection", "moments", "moving average", "one or two"):
        assert word in said
