"""TCR's training-free form on the plane."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from methods.base import MethodError, Setup
from methods.tcr_untrained import TcrUntrained, TcrUntrainedOptions
from methods.testing import World
from tests.methods.test_tcr import GALLERY, QUERIES, plane

Build = Callable[[Tensor], Setup]


def test_probe(known: Build) -> None:
    output = TcrUntrained(known(GALLERY), TcrUntrainedOptions(con_ratio=0.5)).step(QUERIES)
    assert output.log["source_gap"] == pytest.approx(0.093527, abs=1e-6)
    assert output.log["batch_gap"] == pytest.approx(0.035223, abs=1e-6)
    rate = output.log["source_gap"] / output.log["batch_gap"]
    assert rate == pytest.approx(2.655254, abs=1e-4)
    for query, expected in (
        (0, [0.847628, 0.615037, 0.308264, -0.375340, -0.926887]),
        (3, [-0.114613, 0.232065, 0.550753, 0.958416, 0.285376]),
    ):
        assert output.scores[query].tolist() == pytest.approx(expected, abs=2e-6)
    assert output.scores.argmax(dim=1).tolist() == [0, 0, 2, 3]


def test_the_moved_queries_are_the_sources_gap_away() -> None:
    world = World()
    method = TcrUntrained(world.setup(), TcrUntrainedOptions(scale=1.5))
    z = world.encoder(world.batches[0]).detach()
    c = world.gallery[(z @ world.gallery.T).argmax(dim=1)]
    log = method.step(world.batches[0]).log
    toward = c.mean(dim=0) - z.mean(dim=0)
    moved = 1.5 * (z - z.mean(dim=0)) + z.mean(dim=0)
    moved = moved + (1 - log["source_gap"] / log["batch_gap"]) * toward
    distance = float((moved.mean(dim=0) - c.mean(dim=0)).norm())
    assert distance == pytest.approx(log["source_gap"], abs=1e-5)


def test_the_queue_freezes_and_reset_empties_it() -> None:
    world = World()
    method = TcrUntrained(world.setup(), TcrUntrainedOptions(queue_update_batches=2))
    for _ in range(4):
        method.step(world.batches[0])
    assert len(method.queue) == 4  # int(0.3 * 8) = 2 for each of two batches
    method.reset()
    assert len(method.queue) == 0


def test_one_query_alone_keeps_its_scores(known: Build) -> None:
    output = TcrUntrained(known(GALLERY)).step(QUERIES[:1])
    assert torch.allclose(output.scores, QUERIES[:1] @ GALLERY.T, atol=1e-6)


def test_equal_means_are_left_where_they_are(known: Build) -> None:
    queries = plane(10, 30)
    output = TcrUntrained(known(GALLERY), TcrUntrainedOptions(scale=1.0)).step(queries)
    assert torch.allclose(output.embeddings, queries, atol=1e-6)


def test_a_broken_query_spoils_no_other() -> None:
    world = World()
    batch = world.batches[0].clone()
    batch[3] = torch.nan
    scores = TcrUntrained(world.setup()).step(batch).scores
    assert torch.isfinite(scores).all(dim=1).tolist() == [i != 3 for i in range(8)]


def test_no_queries() -> None:
    world = World()
    with pytest.raises(MethodError, match="no queries"):
        TcrUntrained(world.setup()).step(world.batches[0][:0])
