"""HAT-VTR: the probes of its refinement, its memory, its losses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from methods.base import Setup
from methods.hat_vtr import HatVtr, HatVtrOptions, covariance_distance, hub_suppressed, log_sums
from methods.testing import World

Build = Callable[[Tensor], Setup]


def test_first_probe() -> None:
    stacked = torch.tensor([[0.30, 0.28], [0.29, 0.20]])
    for row, expected in ((0, [0.192134, 0.202976]), (1, [0.142084, 0.028939])):
        past = log_sums(stacked[[1 - row]], 100.0)
        found = hub_suppressed(stacked[[row]], past, alpha=100.0, beta=10.0, mix=0.5)
        assert found[0].tolist() == pytest.approx(expected, abs=1e-6)
    columns = hub_suppressed(stacked[:1], log_sums(stacked[1:], 100.0), alpha=100, beta=10, mix=1)
    assert (columns / stacked[:1]).tolist()[0] == pytest.approx([0.731059, 0.999665], abs=1e-6)
    rows = hub_suppressed(stacked[1:], log_sums(stacked[:1], 100.0), alpha=100, beta=10, mix=0)
    assert (rows / stacked[1:]).tolist()[0] == pytest.approx([0.710950, 0.289050], abs=1e-6)


def test_second_probe_by_steps(known: Build) -> None:
    """With the gallery as axes and a frozen optimiser, queries are the similarities."""
    method = HatVtr(known(torch.eye(2)), HatVtrOptions(lr=0.0))
    memory = torch.tensor([[0.30, 0.20], [0.31, 0.22]])
    assert torch.equal(method.step(memory).scores, memory)  # nothing is remembered yet
    scores = method.step(torch.tensor([[0.30, 0.295]])).scores
    assert scores[0].tolist() == pytest.approx([0.108666, 0.219314], abs=1e-6)
    assert int(scores.argmax()) == 1


def test_memory_of_sums_is_the_memory_of_matrices() -> None:
    """The published form stacks raw matrices; over several batches the scores are the same."""
    world = World()
    method = HatVtr(world.setup(), HatVtrOptions(lr=0.0, memory_ratio=0.05))  # two batches
    past: list[Tensor] = []
    for batch in world.batches:
        similarities = world.encoder(batch).detach() @ world.gallery.T
        expected = similarities
        if past:
            stacked = torch.cat([*past, similarities])
            weights = (100 * stacked).softmax(dim=0) + (10 * stacked).softmax(dim=1)
            expected = (0.5 * stacked * weights)[-len(batch) :]
        past = [*past, similarities][-2:]
        assert torch.allclose(method.step(batch).scores, expected, atol=1e-6)
        assert len(method.memory) == min(2, len(past))


def test_each_gallery_has_its_memory() -> None:
    world = World()
    method = HatVtr(world.setup(), HatVtrOptions(lr=0.0))
    method.step(world.batches[0])
    other = functional.normalize(world.gallery[:9] + 1, dim=1)
    method.use_gallery(other)
    output = method.step(world.batches[1])
    assert torch.allclose(output.scores, output.embeddings @ other.T)
    assert len(method.memory) == 1


def test_losses_of_one_batch_by_hand() -> None:
    world = World()
    log = HatVtr(world.setup(), HatVtrOptions(steps=1, queue_size=2)).step(world.batches[0]).log
    z = World().encoder(world.batches[0]).detach()
    c = world.gallery[(z @ world.gallery.T).argmax(dim=1)]
    probabilities = (z @ c.T / 0.02).softmax(dim=1)
    entropies = -(probabilities * probabilities.clamp_min(1e-30).log()).sum(dim=1)
    distances = (z - z.mean(dim=0)).norm(dim=1)
    best = distances.argsort(descending=True)[:2]  # int(0.3 * 8), the farthest from the centre
    threshold = entropies[best].max()
    chosen = entropies <= threshold
    consistency = ((1 - entropies / (threshold + 1e-3)).clamp_min(0) * entropies)[chosen].mean()
    gap = (z.mean(dim=0) - c.mean(dim=0)).norm()
    own_gap = (z[best].mean(dim=0) - c[best].mean(dim=0)).norm()
    covariance = z.T @ c / 8 - z[best].T @ c[best] / 2
    match = (gap - own_gap) ** 2 + functional.mse_loss(covariance, torch.zeros(16, 16))
    assert log["loss_consistency"] == pytest.approx(float(consistency), abs=1e-5)
    assert log["loss_uniformity"] == pytest.approx(float((-0.1 * distances).exp().mean()), abs=1e-6)
    assert log["loss_match"] == pytest.approx(float(match), abs=1e-6)


def test_covariance_distance_is_a_mean_over_all_entries() -> None:
    unit, none = torch.eye(2), torch.zeros(2, 2)
    assert float(covariance_distance((unit, unit), (none, none))) == pytest.approx(0.125)
