"""Tent, and Source and Recentre beside it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from methods.adapt import AdaptOptions
from methods.base import Setup
from methods.recentre import Recentre, RecentreOptions
from methods.source import Source
from methods.tent import Tent

Build = Callable[[Tensor], Setup]


def test_tent_lowers_entropy(known: Build, logits_a: Tensor) -> None:
    tent = Tent(known(torch.eye(3)), AdaptOptions(steps=1, lr=1e-3))
    losses = [tent.step(logits_a * 0.01).log["loss"] for _ in range(10)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def test_source_scores_are_similarities(known: Build, logits_a: Tensor) -> None:
    output = Source(known(torch.eye(3))).step(logits_a)
    assert torch.equal(output.scores, logits_a)
    assert (output.scores * 1.0).softmax(dim=1)[0].tolist() == pytest.approx(
        [0.665241, 0.244728, 0.090031], abs=1e-6
    )


UNIT = torch.tensor([[1.0, 0.0], [0.0, 1.0]])


def test_recentre_moves_mean_onto_mean(known: Build) -> None:
    gallery = torch.tensor([[-1.0, 0.0], [0.0, 1.0]])  # mean (-0.5, 0.5); queries' (0.5, 0.5)
    output = Recentre(known(gallery)).step(UNIT)
    # (1, 0) -> (0, 0) has no direction left; (0, 1) -> (-1, 1) / sqrt(2).
    assert output.embeddings[0].tolist() == [0.0, 0.0]
    assert output.embeddings[1].tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5], abs=1e-6)
    assert output.log == {"batch_gap": pytest.approx(1.0)}


def test_recentre_strength(known: Build) -> None:
    gallery = torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
    still = Recentre(known(gallery), RecentreOptions(strength=0.0)).step(UNIT)
    assert still.embeddings.tolist() == UNIT.tolist()
    half = Recentre(known(gallery), RecentreOptions(strength=0.5)).step(UNIT)
    assert half.embeddings[0].tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_recentre_leaves_a_single_query_alone(known: Build) -> None:
    output = Recentre(known(torch.eye(2))).step(UNIT[:1])
    assert output.embeddings.tolist() == [[1.0, 0.0]]


def test_recentre_over_the_stream_uses_all_queries_so_far(known: Build) -> None:
    gallery = torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
    method = Recentre(known(gallery), RecentreOptions(center="stream"))
    method.step(UNIT[:1])
    second = method.step(UNIT[1:])  # mean of both is (0.5, 0.5), as in one batch of two
    together = Recentre(known(gallery)).step(UNIT)
    assert torch.allclose(second.embeddings, together.embeddings[1:])
    method.reset()
    assert method.step(UNIT[:1]).embeddings.tolist() == [[1.0, 0.0]]
