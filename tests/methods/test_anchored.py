"""The anchored method: its formulas against loops; gate, hubs, window, pull and reset."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from methods.adapt import Forward
from methods.anchored import LEAST, Anchored, AnchoredOptions, distinct, hubness, shrinkage
from methods.base import MethodError
from methods.gradients import prograd
from methods.objectives import entropy, modality_gap, noise_robust_entropy, uniformity
from methods.source import Source
from methods.testing import World

SMALL = {"window": 8, "lr": 3e-3}


def many(size: int, seed: int = 5) -> Tensor:
    """(size, width) queries of the world, as many as wanted."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, World().batches[0].shape[1], generator=generator) + 0.5


def built(**options: Any) -> tuple[Anchored, World]:
    world = World()
    return Anchored(world.setup(), AnchoredOptions(**options)), world


def test_gate_from_the_equations() -> None:
    rows = functional.normalize(torch.randn(7, 5, generator=torch.Generator().manual_seed(0)))
    gallery_mean = torch.tensor([0.3, 0.2, -0.1, 0.4, 0.0])
    mean = sum(rows) / 7
    variance = sum(float((row - mean).square().sum()) for row in rows) / 6
    distance = sum(float(g - m) ** 2 for g, m in zip(gallery_mean, mean, strict=True))
    expected = max(0.0, 1 - variance / 7 / distance)
    assert 0 < expected < 1
    found = shrinkage(rows.mean(dim=0), torch.tensor(7.0), gallery_mean)
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_gate_at_its_two_ends() -> None:
    offset, one = torch.zeros(16), torch.zeros(16)
    offset[0] = one[1] = 1.0
    # Equal queries away from the gallery's mean: nothing is chance.
    assert float(shrinkage(one, torch.tensor(4.0), offset)) == pytest.approx(1.0)
    # A single query, a mean on the gallery's, a distance below that of chance.
    assert float(shrinkage(one, torch.tensor(1.0), offset)) == 0.0
    assert float(shrinkage(one, torch.tensor(0.0), offset)) == 0.0
    assert float(shrinkage(0.1 * one, torch.tensor(9.0), 0.1 * one)) == 0.0
    assert float(shrinkage(0.1 * one, torch.tensor(9.0), 0.2 * one)) == 0.0


def test_scores_of_a_frozen_model_from_the_equations() -> None:
    method, world = built(lr=0.0)
    queries = many(80)
    raw = World().encoder(queries).detach()
    mean, gallery_mean = raw.mean(dim=0), world.gallery.mean(dim=0)
    variance = (raw - mean).square().sum() / (len(raw) - 1)
    distance = (gallery_mean - mean).square().sum()
    gate = float((1 - variance / len(raw) / distance).clamp_min(0))
    assert 0 < gate < 1
    moved = functional.normalize(raw + gate * (gallery_mean - mean), dim=1)
    output = method.step(queries)
    assert output.log["gate"] == pytest.approx(gate, abs=1e-5)
    expected = without_hubs(moved @ world.gallery.T)
    torch.testing.assert_close(output.scores, expected, atol=1e-5, rtol=0)


def without_hubs(similarities: Tensor, beta: float = 10.0, prior: float = 128.0) -> Tensor:
    """s_ij - h_j over these queries alone, in loops of plain numbers."""
    columns = similarities.double().T.tolist()
    sums = [sum(math.exp(beta * s) for s in column) for column in columns]
    added = prior / len(similarities) * sum(sums) / len(sums)
    hubs = torch.tensor([math.log(total + added) / beta for total in sums])
    return similarities - hubs


def test_hubness_from_the_equations() -> None:
    similarities = torch.tensor([[0.9, 0.1, 0.3], [0.8, 0.2, -0.4]], dtype=torch.float64)
    sums = (5 * similarities).logsumexp(dim=0)
    found = hubness(sums, torch.tensor(2.0, dtype=torch.float64), 5, 4)
    expected = (similarities - without_hubs(similarities, 5, 4))[0]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("memory", [20, 60])
def test_hubs_are_known_by_the_latest_queries(memory: int) -> None:
    """A memory of 20 holds the second batch alone; one of 60 holds both."""
    method, world = built(lr=0.0, memory=memory)
    similarities = []
    for seed in (1, 2):
        output = method.step(many(20, seed))
        similarities.append(output.embeddings @ world.gallery.T)
    known = similarities[-1] if memory == 20 else torch.cat(similarities)
    torch.testing.assert_close(output.scores, without_hubs(known)[-20:], atol=1e-5, rtol=0)


def test_hubs_of_another_gallery_are_kept_apart() -> None:
    method, world = built(lr=0.0)
    one, other = world.gallery, world.gallery.flip(0).clone()
    method.step(many(20, 1))
    method.use_gallery(other)
    output = method.step(many(20, 2))
    expected = without_hubs(output.embeddings @ other.T)
    torch.testing.assert_close(output.scores, expected, atol=1e-5, rtol=0)
    method.use_gallery(one)
    method.reset()
    fresh = built(lr=0.0)[0].step(many(20, 2))
    torch.testing.assert_close(method.step(many(20, 2)).scores, fresh.scores)


def test_without_hubs_the_scores_are_similarities() -> None:
    method, world = built(beta=0.0)
    output = method.step(many(20))
    torch.testing.assert_close(output.scores, output.embeddings @ world.gallery.T)


def test_a_first_single_query_is_left_alone() -> None:
    method, world = built()
    output = method.step(world.batches[0][:1])
    source = Source(World().setup()).step(world.batches[0][:1])
    torch.testing.assert_close(output.scores, source.scores, atol=1e-6, rtol=0)
    assert output.log["gate"] == 0.0
    assert not method.updated


def test_the_centre_rests_on_the_window_whatever_the_batches() -> None:
    queries = many(64)
    gates = []
    for size in (1, 4, 16, 64):
        method, _ = built(lr=0.0)
        for batch in queries.split(size):
            output = method.step(batch)
        gates.append(output.log["gate"])
    assert gates == pytest.approx([gates[0]] * 4, abs=1e-5)


def test_the_centre_forgets_what_lies_before_the_window() -> None:
    method, _ = built(lr=0.0, window=32, memory=32)
    fresh, _ = built(lr=0.0, window=32, memory=32)
    method.step(many(40, seed=1))
    later = many(32, seed=2)
    torch.testing.assert_close(method.step(later).scores, fresh.step(later).scores)


def test_one_query_that_is_no_number_takes_no_part_in_the_centre() -> None:
    queries = many(20)
    broken = torch.cat([queries, torch.full_like(queries[:1], torch.nan)])
    whole, other = built(lr=0.0)[0].step(queries), built(lr=0.0)[0].step(broken)
    torch.testing.assert_close(other.scores[:20], whole.scores, atol=1e-5, rtol=0)


def test_nothing_is_learnt_from_fewer_than_the_least_known_queries() -> None:
    method, _ = built(lr=3e-3)
    for index, query in enumerate(many(LEAST + 1).split(1)):
        method.step(query)
        assert method.updated == (index + 1 >= LEAST)


@pytest.mark.parametrize("strength", [1.0, 0.0])
def test_the_gradient_from_the_equations(strength: float) -> None:
    """TCR's terms and the source's KL, written out; the projection at the embeddings."""
    queries = many(24)
    method, world = built(lr=1e-2, window=16, decouple_strength=strength)
    method.step(queries)
    forward = method.forward(queries, 1)
    z, gallery = forward.embeddings, world.gallery
    items = gallery[(z @ gallery.T).argmax(dim=1)].detach()
    logits = z @ items.T / method.temperature
    threshold, gap = method.queue.reference() or (torch.nan, torch.nan)
    entropies = entropy(logits)
    assert isinstance(threshold, Tensor)
    loss = (
        noise_robust_entropy(entropies, threshold)
        + uniformity(z)
        + (modality_gap(z, items) - gap).square()
    )
    source = method.place(World().encoder(queries).detach()) @ items.T / method.temperature
    p = source.softmax(dim=1)
    general = (p * (p.log() - logits.log_softmax(dim=1))).sum(dim=1).mean()
    a = torch.autograd.grad(loss, [z], retain_graph=True)
    b = torch.autograd.grad(general, [z], retain_graph=True)
    against = float((a[0] * b[0]).sum())
    (wanted,) = prograd(a, b, strength=strength)
    assert wanted is not None
    expected = torch.autograd.grad(z, list(method.adapted.values()), wanted, allow_unused=True)
    assert against != 0
    found = method.gradients(method.forward(queries, 1))
    assert found is not None
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_one_pass_back_an_update_and_the_offered_view_saves_a_pass_forward() -> None:
    world, source = World(), World().encoder.eval()
    method = Anchored(world.setup(), AnchoredOptions(lr=1e-3))
    back: list[int] = []
    ahead: list[int] = []
    world.encoder.block.second.register_full_backward_hook(lambda *_: back.append(1))
    world.encoder.register_forward_hook(lambda *_: ahead.append(1))
    for offered in (False, True):
        if offered:
            method.use_source(source(many(20)).detach())
        back.clear()
        ahead.clear()
        method.step(many(20))
        assert len(back) == 2
        assert len(ahead) == (2 if offered else 3)


def test_what_is_offered_changes_nothing_and_must_fit() -> None:
    one, other = built(**SMALL)[0], built(**SMALL)[0]
    source = World().encoder.eval()
    for seed in (1, 2):
        other.use_source(source(many(20, seed)).detach())
        assert torch.equal(one.step(many(20, seed)).scores, other.step(many(20, seed)).scores)
    one.use_source(source(many(3)).detach())
    with pytest.raises(MethodError, match="embeddings have shape"):
        one.step(many(4))


def test_short_batches_learn_among_remembered_queries() -> None:
    method, _ = built(lr=1e-3, window=32)
    seen: list[int] = []
    inner = method.objective

    def noted(forward: Forward) -> Tensor | None:
        seen.append(len(forward.embeddings))
        return inner(forward)

    method.objective = noted  # type: ignore[method-assign]
    for batch in many(48).split(8):
        method.step(batch)
    assert seen[::2] == [16, 24, 32, 32, 32]


def test_updates_of_short_batches_are_shorter_and_weights_are_pulled() -> None:
    method, _ = built(lr=1e-2, window=40, pull=0.5, steps=1, weight_decay=0.0)
    start = {n: p.detach().clone() for n, p in method.adapted.items()}
    method.step(many(20))
    # Adam's first step is lr in each coordinate: half of it, and then a quarter of it back.
    largest = max(float((p - start[n]).abs().max().detach()) for n, p in method.adapted.items())
    assert largest == pytest.approx(1e-2 * 0.5 * 0.75, rel=1e-3)


@pytest.mark.parametrize(("reset_below", "expected"), [(0.5, 1.0), (0.0, 0.0)])
def test_a_collapse_resets_the_weights_and_is_logged(reset_below: float, expected: float) -> None:
    method, _ = built(lr=0.0, pull=0.0, window=16, reset_below=reset_below)
    assert method.step(many(16)).log["resets"] == 0.0
    with torch.no_grad():  # all queries are embedded alike
        for parameter in method.adapted.values():
            parameter.zero_()
    assert method.step(many(16, seed=6)).log["resets"] == expected
    kept = [torch.equal(p, method.source.parameters[n]) for n, p in method.adapted.items()]
    assert all(kept) == (expected == 1.0)
    assert len(method.queue) == (0 if expected else 8)


def test_distinct_counts_each_column() -> None:
    assert distinct(torch.tensor([[3, 1], [3, 2], [0, 5]])).tolist() == [2, 3]


def test_centring_twice_is_refused() -> None:
    with pytest.raises(MethodError, match="centres by itself"):
        AnchoredOptions(centre=True)


def test_card_says_what_it_is() -> None:
    assert "experimental, ours" in Anchored.card.summary
    assert Anchored.card.paper == "none"
