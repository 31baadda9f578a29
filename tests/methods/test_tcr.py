"""TCR on the plane, where everything is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from methods.base import Setup
from methods.objectives import entropy
from methods.tcr import Tcr, TcrOptions
from methods.testing import World

Build = Callable[[Tensor], Setup]


def plane(*degrees: float) -> Tensor:
    radians = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([radians.cos(), radians.sin()], dim=1)


QUERIES, GALLERY = plane(2, 27, 56, 84), plane(10, 30, 50, 90, 180)


@pytest.mark.parametrize(
    ("ratio", "form", "threshold", "source_gap", "consistency", "gap"),
    [
        (0.5, "repository", 0.029621, 0.093527, 0.001575, 0.003399),
        (0.3, "repository", 0.002364, 0.104672, 0.000703, 0.004823),
        (0.5, "paper", 0.029621, 0.093527, 0.002176, 0.003399),
    ],
)
def test_probe(
    known: Build,
    ratio: float,
    form: str,
    threshold: float,
    source_gap: float,
    consistency: float,
    gap: float,
) -> None:
    tcr = Tcr(known(GALLERY), TcrOptions(steps=1, con_ratio=ratio, rem_form=form))
    output = tcr.step(QUERIES)
    assert output.scores.argmax(dim=1).tolist() == [0, 1, 2, 3]
    log = output.log
    assert log["loss_uniformity"] == pytest.approx(0.954419, abs=1e-6)
    assert log["batch_gap"] == pytest.approx(0.035223, abs=1e-6)
    assert log["entropy_threshold"] == pytest.approx(threshold, abs=1e-6)
    assert log["source_gap"] == pytest.approx(source_gap, abs=1e-6)
    assert log["loss_consistency"] == pytest.approx(consistency, abs=1e-6)
    assert log["loss_gap"] == pytest.approx(gap, abs=1e-6)
    assert log["loss"] == pytest.approx(consistency + 0.954419 + gap, abs=2e-6)


def test_refined_entropies_of_the_probe(known: Build) -> None:
    tcr = Tcr(known(GALLERY), TcrOptions(con_ratio=1.0))
    entropies = entropy(tcr.logits(tcr.forward(QUERIES, 0)))
    assert entropies.tolist() == pytest.approx([0.029621, 0.423989, 0.050248, 0.002364], abs=1e-6)


def test_queue_is_filled_once_a_batch_and_frozen() -> None:
    world = World()
    tcr = Tcr(world.setup(), TcrOptions(queue_update_batches=2))
    sizes = [int(tcr.step(world.batches[0]).log["queue"]) for _ in range(4)]
    assert sizes == [2, 4, 4, 4]  # int(0.3 * 8) = 2 for each of two batches
    tcr.reset()
    assert len(tcr.queue) == 0


def test_shared_candidates_give_at_least_ln_2(known: Build) -> None:
    tcr = Tcr(known(GALLERY))
    two = entropy(tcr.logits(tcr.forward(plane(10, 11, 90), 0)))
    assert two.tolist() == pytest.approx([0.693147, 0.693147, 0.0], abs=1e-4)


def test_a_single_query_only_closes_the_gap(known: Build) -> None:
    log = Tcr(known(GALLERY), TcrOptions(steps=1)).step(QUERIES[:1]).log
    assert log["loss_consistency"] == 0.0
    assert log["loss_uniformity"] == 1.0
    assert log["loss_gap"] == pytest.approx(0.0, abs=1e-9)  # the queue holds this very pair
    assert log["skipped_updates"] == 0


def test_scores_are_over_the_whole_gallery(known: Build) -> None:
    output = Tcr(known(GALLERY), TcrOptions(steps=1)).step(QUERIES)
    assert torch.equal(output.scores, QUERIES @ GALLERY.T)
