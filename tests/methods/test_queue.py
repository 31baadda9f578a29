"""TCR's queue of source-like pairs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from methods.queue import ReliableQueue, source_likeness


def plane(*degrees: float) -> Tensor:
    radians = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([radians.cos(), radians.sin()], dim=1)


QUERIES, CANDIDATES = plane(2, 27, 56, 84), plane(10, 30, 50, 90)
ENTROPIES = torch.tensor([0.029621, 0.423989, 0.050248, 0.002364])


def test_indicator_of_the_probe() -> None:
    assert source_likeness(QUERIES, CANDIDATES).tolist() == pytest.approx(
        [-0.939648, -0.442990, -0.211145, -1.203209], abs=1e-6
    )


@pytest.mark.parametrize(
    ("ratio", "pairs", "threshold", "gap"),
    [(0.5, 2, 0.029621, 0.093527), (0.3, 1, 0.002364, 0.104672)],
)
def test_reference_of_the_probe(ratio: float, pairs: int, threshold: float, gap: float) -> None:
    queue = ReliableQueue(64, ratio)
    queue.update(QUERIES, CANDIDATES, ENTROPIES)
    assert len(queue) == pairs
    reference = queue.reference()
    assert reference is not None
    assert [float(x) for x in reference] == pytest.approx([threshold, gap], abs=1e-6)


def test_empty_queue_has_no_reference() -> None:
    assert ReliableQueue(4, 0.5).reference() is None


def test_keeps_all_below_its_size_and_the_smallest_from_there() -> None:
    queue = ReliableQueue(3, 0.5)
    queue.update(QUERIES, CANDIDATES, ENTROPIES)
    assert len(queue) == 2
    # A second batch like the first: pairs 3, 0, 3, 0; the three smallest SI are 3, 3, 0.
    queue.update(QUERIES, CANDIDATES, ENTROPIES)
    assert len(queue) == 3
    reference = queue.reference()
    assert reference is not None
    z, c = (torch.stack([t[3], t[3], t[0]]).mean(dim=0) for t in (QUERIES, CANDIDATES))
    assert float(reference[1]) == pytest.approx(float((z - c).norm()), abs=1e-6)


def test_one_query_is_enough() -> None:
    queue = ReliableQueue(64, 0.3)
    queue.update(QUERIES[:1], CANDIDATES[:1], torch.zeros(1))
    assert len(queue) == 1
    reference = queue.reference()
    assert reference is not None
    assert float(reference[1]) == pytest.approx(2 * math.sin(math.radians(4)), abs=1e-6)


def test_broken_queries_stay_out() -> None:
    queue = ReliableQueue(64, 0.5)
    broken = QUERIES.clone()
    broken[0] = torch.nan
    queue.update(broken, CANDIDATES, ENTROPIES)
    assert len(queue) == 0
    queue.update(QUERIES, CANDIDATES, torch.full((4,), torch.nan))
    assert len(queue) == 0


def test_stored_pairs_carry_no_gradient() -> None:
    queue = ReliableQueue(64, 0.5)
    queue.update(QUERIES.clone().requires_grad_(), CANDIDATES, ENTROPIES.clone().requires_grad_())
    reference = queue.reference()
    assert reference is not None
    assert not any(x.requires_grad for x in reference)
