"""LAME: affinities, and the published iteration."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from methods.lame import Lame, LameOptions, affinity, smoothed
from methods.source import Source
from methods.testing import World
from tests.methods.oracle import TEMPERATURE, double_world

ANGLES = torch.tensor([0.0, 0.1, 0.25, 2.0])
ROWS = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)


def test_nearest_neighbours_are_linked_one_way() -> None:
    assert affinity(ROWS, "knn", 1).tolist() == [
        [0, 1, 0, 0],
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
    ]
    assert affinity(ROWS[:1], "knn", 5).tolist() == [[0.0]]


def test_width_of_rbf_is_the_mean_distance_to_a_neighbour() -> None:
    distance = (ROWS[None] - ROWS[:, None]).norm(dim=-1)
    width = distance.sort(dim=1).values[:, 1].mean()  # the first is the query itself
    expected = torch.exp(-(distance**2) / (2 * width**2))
    torch.testing.assert_close(affinity(ROWS, "rbf", 2), expected)


def test_equal_queries_have_no_width() -> None:
    same = ROWS[:1].expand(3, -1)
    assert affinity(same, "rbf", 5).tolist() == [[1.0] * 3] * 3
    apart = torch.cat([same, -same[:1]])
    assert affinity(apart, "rbf", 2).round().tolist()[3] == [0, 0, 0, 1]


def test_an_unsure_query_follows_its_sure_neighbours() -> None:
    p = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.48, 0.52]])
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    log_y, iterations = smoothed(p.log(), kernel)
    assert log_y.argmax(dim=1).tolist() == [0, 0, 0]
    assert 2 < iterations < 100


def test_alone_a_query_keeps_its_order() -> None:
    world, plain = World(), World()
    for kind in ("knn", "linear", "rbf"):
        options = LameOptions(affinity=kind, temperature=0.1)
        found = Lame(world.setup(), options).step(world.batches[4]).scores
        expected = Source(plain.setup()).step(plain.batches[4]).scores
        assert torch.equal(found.argsort(), expected.argsort())


@pytest.mark.parametrize("kind", ["rbf", "knn", "linear"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_scores_of_the_published_iteration(kind: str, symmetric: bool) -> None:
    world = double_world()
    options = LameOptions(affinity=kind, symmetric=symmetric, temperature=TEMPERATURE)
    found = Lame(world.setup(), options).step(world.batches[0]).scores
    rows = functional.normalize(world.encoder(world.batches[0]).detach(), dim=-1)
    unary = -torch.log((rows @ world.gallery.T / TEMPERATURE).softmax(1) + 1e-10)
    kernel = affinity(rows, kind, 5)
    if symmetric:
        kernel = (kernel + kernel.T) / 2
    y, old = (-unary).softmax(-1), float("inf")
    for step in range(100):
        pull = kernel @ y
        y = (pull - unary).softmax(-1)
        energy = float((unary * y - pull * y + y * torch.log(y.clip(1e-20))).sum())
        if step > 1 and abs(energy - old) <= 1e-8 * abs(old):
            break
        old = energy
    torch.testing.assert_close(found.exp(), y, rtol=0, atol=1e-10)


def test_scores_of_a_broken_query_are_not_hidden() -> None:
    world = World()
    broken: Tensor = world.batches[0].clone()
    broken[3] = torch.nan
    output = Lame(world.setup()).step(broken)
    assert bool(output.scores[3].isnan().all())
    assert int(output.scores.isfinite().all(dim=1).sum()) == len(broken) - 1
