"""Centring: the function, and the option of every trained method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from methods.adapt import AdaptOptions
from methods.base import Setup
from methods.centring import centred, sound_mean
from methods.eata import Eata, EataOptions
from methods.read import Read, ReadOptions
from methods.recentre import Recentre, RunningMean
from methods.rest import Rest, RestOptions
from methods.sar import Sar, SarOptions
from methods.tcr import Tcr, TcrOptions
from methods.tent import Tent
from methods.testing import World

TRAINED: list[tuple[Any, Any]] = [
    (Tent, AdaptOptions),
    (Eata, EataOptions),
    (Sar, SarOptions),
    (Read, ReadOptions),
    (Tcr, TcrOptions),
    (Rest, RestOptions),
]


def test_the_mean_lands_on_the_gallerys() -> None:
    queries = functional.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    target = torch.tensor([0.1, 0.2, 0.3, 0.4])
    shifted = queries + target - queries.mean(dim=0)
    assert torch.allclose(centred(queries, target), functional.normalize(shifted, dim=1))
    assert torch.allclose(shifted.mean(dim=0), target, atol=1e-6)


def test_it_is_inside_the_graph_with_the_mean() -> None:
    # All queries moved alike: the centred embeddings stay, so there is no gradient.
    queries = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    offset = torch.zeros(3, requires_grad=True)
    centred(queries + offset, torch.ones(3)).square().sum(dim=0)[0].backward()
    assert offset.grad is not None
    assert torch.allclose(offset.grad, torch.zeros(3), atol=1e-6)


def test_one_query_is_left_alone_and_a_broken_one_does_not_count() -> None:
    one = torch.tensor([[0.6, 0.8]])
    assert torch.equal(centred(one, torch.ones(2)), one)
    rows = torch.tensor([[1.0, 0.0], [torch.nan, 0.0], [0.0, 1.0]])
    assert sound_mean(rows).tolist() == [0.5, 0.5]
    assert sound_mean(rows[1:2]).tolist() == [0.0, 0.0]
    assert torch.isfinite(centred(rows, torch.ones(2))[[0, 2]]).all()


def test_running_mean() -> None:
    mean = RunningMean(torch.zeros(2))
    assert mean.value().tolist() == [0.0, 0.0]
    mean.add(torch.tensor([[1.0, 0.0], [torch.inf, 0.0]]))
    mean.add(torch.tensor([[0.0, 1.0], [2.0, 2.0]]))
    assert mean.count == 3
    assert mean.value().tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("kind", "options"), TRAINED)
def test_frozen_it_scores_like_recentre(kind: Any, options: Any) -> None:
    world = World()
    expected = [Recentre(world.setup()).step(batch) for batch in world.batches]
    frozen = {} if kind is not Sar else {"reset_below": 0.0}
    for score_from in ("last_forward", "post_update"):
        chosen = options(centre=True, lr=0.0, score_from=score_from, **frozen)
        method = kind(World().setup(), chosen)
        for batch, recentred in zip(world.batches, expected, strict=True):
            output = method.step(batch)
            assert torch.allclose(output.scores, recentred.scores, atol=1e-6)
            assert torch.allclose(output.embeddings, recentred.embeddings, atol=1e-6)


@pytest.mark.parametrize(("kind", "options"), TRAINED)
def test_the_trained_twin_differs_and_follows_the_gallery(kind: Any, options: Any) -> None:
    world, plain_world = World(), World()
    twin = kind(world.setup(), options(centre=True))
    plain = kind(plain_world.setup(), options())
    assert not torch.allclose(
        twin.step(world.batches[0]).scores, plain.step(world.batches[0]).scores
    )
    other = functional.normalize(world.gallery[:7] + 1, dim=1)
    twin.reset()
    twin.use_gallery(other)
    moved = twin.step(world.batches[0])
    assert torch.allclose(moved.scores, moved.embeddings @ other.T)
    assert moved.log["skipped_updates"] < 3


def test_forgetting_is_measured_without_a_batch() -> None:
    world = World()
    method = Tent(world.setup(), AdaptOptions(centre=True))
    assert torch.equal(method.embed(world.batches[0]), world.encoder(world.batches[0]).detach())


def test_the_source_view_of_rest_is_centred_too() -> None:
    world = World()
    rest = Rest(world.setup(), RestOptions(centre=True, lr=1e-2))
    rest.step(world.batches[0])
    rest.step(world.batches[1])
    raw = World().encoder(world.batches[1]).detach()
    expected = centred(raw, world.gallery.mean(dim=0))
    assert rest._source_view is not None
    assert torch.allclose(rest._source_view, expected, atol=1e-6)
    again = Rest(World().setup(), RestOptions(centre=True, lr=1e-2))
    again.step(world.batches[0])
    again.use_source(raw)
    again.step(world.batches[1])
    assert again._source_view is not None
    assert torch.allclose(again._source_view, expected, atol=1e-6)


def test_probe_on_the_plane(known: Callable[[Tensor], Setup]) -> None:
    gallery = torch.eye(2)
    queries = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    output = Tent(known(gallery), AdaptOptions(centre=True, steps=1)).step(queries)
    # Means: queries (0.8, 0.4), gallery (0.5, 0.5); moved rows (0.7, 0.1) and (0.3, 0.9).
    expected = functional.normalize(torch.tensor([[0.7, 0.1], [0.3, 0.9]]), dim=1)
    assert torch.allclose(output.embeddings, expected, atol=1e-6)
