"""Training-free methods with a bank: the probes, the banks, what is bounded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from methods.bank import BANKS, BankMethod
from methods.base import Method, MethodError, Setup
from methods.inverted_softmax import InvertedSoftmax
from methods.nnn import NNN
from methods.qbnorm import QBNorm, QBNormOptions
from methods.recentre import Recentre
from methods.sinkhorn import Sinkhorn, SinkhornOptions, potentials
from methods.tda import Tda, TdaOptions
from methods.testing import World
from methods.whiten import Whiten, WhitenOptions

Build = Callable[[Tensor], Setup]
WITH_BANK: list[type[BankMethod]] = [InvertedSoftmax, QBNorm, Sinkhorn, NNN, Whiten, Tda]

BANK = torch.tensor([[0.30, 0.10], [0.28, 0.12]])
SCORES = torch.tensor([[0.25, 0.24], [0.20, 0.26]])


def probed(known: Build, kind: type[BankMethod], bank: Tensor, **options: Any) -> Tensor:
    """Scores of the probe's queries by its bank: the gallery is the axes."""
    method = kind(known(torch.eye(2)), kind.Options(bank="transductive", **options))
    method.use_stream(bank)
    return method.step(SCORES).scores


def test_inverted_softmax_of_the_probe(known: Build) -> None:
    found = probed(known, InvertedSoftmax, BANK, beta=20.0)
    assert found[0].tolist() == pytest.approx([0.220245, 6.599440], abs=1e-5)
    assert found[1].tolist() == pytest.approx([0.081024, 9.845207], abs=1e-5)
    method = InvertedSoftmax(known(torch.eye(2)))
    sums = method.observe(None, BANK, BANK)
    assert sums.exp().tolist() == pytest.approx([673.855201, 18.412232], rel=1e-6)
    shifted = (SCORES - sums / 20).flatten().tolist()
    assert shifted == pytest.approx([-0.075651, 0.094349, -0.125651, 0.114349], abs=1e-6)
    assert torch.equal(found.argsort(dim=1), (SCORES - sums / 20).argsort(dim=1))


def test_dynamic_inverted_softmax_of_the_probe(known: Build) -> None:
    found = probed(known, QBNorm, BANK)
    assert found[0].tolist() == pytest.approx([0.220245, 6.599440], abs=1e-5)
    assert found[1].tolist() == pytest.approx([0.20, 0.26], abs=1e-6)
    everything = probed(known, QBNorm, BANK, k=2)
    assert torch.allclose(everything, probed(known, InvertedSoftmax, BANK))


def test_sinkhorn_of_the_probe(known: Build) -> None:
    found = potentials(BANK, 0.05, 10)
    assert float(found[0] - found[1]) == pytest.approx(0.18, abs=1e-6)
    scores = probed(known, Sinkhorn, BANK, tau=0.05)
    assert torch.allclose(scores, SCORES - found, atol=1e-6)


def test_sinkhorn_agrees_with_the_log_domain() -> None:
    bank = torch.rand(30, 70, generator=torch.Generator().manual_seed(2)) * 2 - 1
    log_plan, f = (bank.double() - 1) / 0.01, torch.zeros(70, dtype=torch.float64)
    for _ in range(10):
        v = -math.log(30) - (log_plan + f).logsumexp(dim=1)
        f = -math.log(70) - (log_plan + v[:, None]).logsumexp(dim=0)
    assert torch.allclose(potentials(bank, 0.01, 10).double(), -0.01 * f, atol=1e-6)
    assert potentials(bank.double(), 0.01, 10).tolist() == pytest.approx((-0.01 * f).tolist())


def test_nearest_neighbours_of_the_probe(known: Build) -> None:
    bank = torch.cat([BANK, torch.tensor([[0.05, 0.20]])])
    found = probed(known, NNN, bank, k=2, weight=0.75)
    assert found[0].tolist() == pytest.approx([0.0325, 0.12], abs=1e-6)
    assert found[1].tolist() == pytest.approx([-0.0175, 0.14], abs=1e-6)


def test_fewer_neighbours_than_asked_for(known: Build) -> None:
    found = probed(known, NNN, BANK, k=128, weight=1.0)
    assert torch.allclose(found, SCORES - BANK.mean(dim=0), atol=1e-6)


def by_hand(kind: type[BankMethod], bank: Tensor, similarities: Tensor) -> Tensor:
    """The formulas on a whole bank of similarities at once."""
    if kind is InvertedSoftmax:
        return (20 * similarities).exp() / (20 * bank).exp().sum(dim=0)
    if kind is QBNorm:
        inverted = (20 * similarities).exp() / (20 * bank).exp().sum(dim=0)
        active = torch.isin(similarities.argmax(dim=1), bank.argmax(dim=1))
        return torch.where(active[:, None], inverted, similarities)
    if kind is NNN:
        return similarities - 0.75 * bank.topk(min(128, len(bank)), dim=0).values.mean(dim=0)
    return similarities - potentials(bank, 0.01, 10)


@pytest.mark.parametrize("kind", [InvertedSoftmax, QBNorm, NNN, Sinkhorn])
@pytest.mark.parametrize("bank", BANKS)
def test_batch_by_batch_is_as_all_at_once(kind: type[BankMethod], bank: str) -> None:
    world = World()
    method = kind(world.setup(), kind.Options(bank=bank))
    rows = [world.encoder(batch).detach() for batch in world.batches]
    method.use_stream(torch.cat(rows))
    if bank == "train":
        method.use_training(rows[1])
    seen: list[Tensor] = []
    for batch, embeddings in zip(world.batches, rows, strict=True):
        similarities = embeddings @ world.gallery.T
        before, seen = seen, [*seen, similarities]
        chosen = {
            "past_queries": seen,
            "earlier_queries": before,
            "train": [rows[1] @ world.gallery.T],
            "transductive": [row @ world.gallery.T for row in rows],
        }[bank]
        expected = by_hand(kind, torch.cat(chosen), similarities) if chosen else similarities
        assert torch.allclose(method.step(batch).scores, expected, atol=1e-5)


def test_with_the_batch_in_its_bank_qbnorm_is_the_inverted_softmax() -> None:
    # Each query activates its own top item; that is why earlier_queries is its default.
    world = World()
    dynamic = QBNorm(world.setup(), QBNormOptions(bank="past_queries"))
    plain = InvertedSoftmax(World().setup())
    for batch in world.batches:
        assert torch.equal(dynamic.step(batch).scores, plain.step(batch).scores)
    assert QBNormOptions().bank == "earlier_queries"


@pytest.mark.parametrize("kind", WITH_BANK)
def test_the_whole_stream_must_be_given(kind: type[BankMethod]) -> None:
    world = World()
    method = kind(world.setup(), kind.Options(bank="transductive"))
    assert method.wants_stream
    with pytest.raises(MethodError, match="use_stream"):
        method.step(world.batches[0])
    assert not kind(world.setup()).wants_stream
    trained = kind(world.setup(), kind.Options(bank="train"))
    assert not trained.wants_stream
    with pytest.raises(MethodError, match=r"training split.*use_training"):
        trained.step(world.batches[0])


@pytest.mark.parametrize("kind", WITH_BANK)
def test_broken_queries_stay_out_of_the_bank(kind: type[BankMethod]) -> None:
    world = World()
    plain, broken = kind(world.setup()), kind(world.setup())
    batch = world.batches[0].clone()
    batch[2] = torch.nan
    whole = torch.arange(len(batch)) != 2
    plain.step(batch[whole])
    scores = broken.step(batch).scores
    assert torch.isfinite(scores).all(dim=1).tolist() == whole.tolist()
    expected = plain.step(world.batches[1]).scores
    assert torch.allclose(broken.step(world.batches[1]).scores, expected, atol=1e-5)


@pytest.mark.parametrize("kind", WITH_BANK)
def test_each_gallery_has_its_bank(kind: type[BankMethod]) -> None:
    world = World()
    method, fresh = kind(world.setup()), kind(World().setup())
    other = functional.normalize(world.gallery[:9] + 1, dim=1)
    first = method.step(world.batches[0]).scores
    method.use_gallery(other)
    fresh.use_gallery(other)
    batch = world.batches[1]
    assert torch.allclose(method.step(batch).scores, fresh.step(batch).scores, atol=1e-5)
    method.reset()
    method.use_gallery(world.gallery)
    assert torch.equal(method.step(world.batches[0]).scores, first)


@pytest.mark.parametrize("kind", [*WITH_BANK])
def test_a_gallery_of_one_and_identical_queries(kind: type[Method]) -> None:
    world = World()
    same = world.batches[0][:1].repeat(8, 1)
    for rows in (1, 40):
        method = kind(replace(world.setup(), gallery=world.gallery[:rows]))
        output = method.step(same)
        assert torch.isfinite(output.scores).all()
        assert (output.scores - output.scores[0]).abs().max() < 1e-4


def test_sinkhorn_keeps_the_latest_queries() -> None:
    world = World()
    method = Sinkhorn(world.setup(), SinkhornOptions(bank_size=10))
    rows = torch.cat([world.encoder(batch).detach() for batch in world.batches[:3]])
    for batch in world.batches[:3]:
        output = method.step(batch)
    bank = rows[-10:] @ world.gallery.T
    expected = output.embeddings @ world.gallery.T - potentials(bank, 0.01, 10)
    assert torch.allclose(output.scores, expected, atol=1e-5)


# Whitening


def cloud(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return rows @ torch.randn(4, 4, generator=generator, dtype=torch.float64) + seed


def test_whitening_moves_mean_and_covariance(known: Build) -> None:
    """Before rows are normalised, the moments are the gallery's."""
    gallery, queries = cloud(60, 1), cloud(50, 2)
    method = Whiten(known(gallery), WhitenOptions(prior=0.0))
    output = method.step(queries)
    centre, spread = gallery.mean(dim=0), torch.cov(gallery.T, correction=0)
    own = torch.cov(queries.T, correction=0)

    def root(matrix: Tensor, power: float) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        return vectors @ torch.diag(values**power) @ vectors.T

    moved = (queries - queries.mean(dim=0)) @ root(own, -0.5) @ root(spread, 0.5) + centre
    assert torch.allclose(moved.mean(dim=0), centre, atol=1e-9)
    assert torch.allclose(torch.cov(moved.T, correction=0), spread, atol=1e-9)
    assert torch.allclose(output.embeddings, functional.normalize(moved, dim=1), atol=1e-6)


def test_a_strong_prior_moves_the_mean_alone() -> None:
    world = World()
    whitened = Whiten(world.setup(), WhitenOptions(prior=1e9)).step(world.batches[0])
    recentred = Recentre(World().setup()).step(world.batches[0])
    assert torch.allclose(whitened.embeddings, recentred.embeddings, atol=1e-4)


def test_whitening_leaves_a_single_query_alone() -> None:
    world = World()
    method = Whiten(world.setup())
    output = method.step(world.batches[0][:1])
    assert torch.equal(output.scores, output.embeddings @ world.gallery.T)
    assert not torch.equal(method.embed(world.batches[0][:1]), method.step(world.batches[0]).scores)


# TDA


def one_by_one(queries: Tensor, gallery: Tensor) -> list[Tensor]:
    """The published loop: dictionaries of lists, a query at a time."""
    positive: dict[int, list[Any]] = {}
    negative: dict[int, list[Any]] = {}

    def enter(cache: dict[int, list[Any]], item: int, entry: Any, capacity: int) -> None:
        held = cache.setdefault(item, [])
        if len(held) < capacity:
            held.append(entry)
        elif entry[1] < held[-1][1]:
            held[-1] = entry
        held.sort(key=lambda each: each[1])

    found = []
    for query in queries:
        logits = 100 * query @ gallery.T
        p = logits.softmax(dim=0)
        h = float(-(p * p.log()).sum())
        top = int(logits.argmax())
        enter(positive, top, (query, h), 3)
        if 0.2 < h / math.log2(len(gallery)) < 0.5:
            enter(negative, top, (query, h, (p > 0.03) & (p < 1.0)), 2)
        scores = logits.clone()
        for item, held in positive.items():
            for key, _ in held:
                scores[item] += 2.0 * math.exp(-5.0 * (1 - float(query @ key)))
        for held in negative.values():
            for key, _, likely in held:
                scores -= 0.117 * math.exp(-1.0 * (1 - float(query @ key))) * likely
        found.append(scores)
    return found


def test_tda_query_by_query_is_the_published_loop(known: Build) -> None:
    generator = torch.Generator().manual_seed(5)
    gallery = functional.normalize(torch.randn(6, 24, generator=generator).double(), dim=1)
    near = gallery[torch.randint(0, 6, (60,), generator=generator)]
    noise = torch.randn(60, 24, generator=generator).double()
    queries = functional.normalize(0.15 * near + noise * 0.12, dim=1)
    queries = torch.cat([queries, functional.normalize(near[:9] + 0.1 * noise[:9], dim=1)])
    # Close calls, so that the negative cache is used too.
    halfway = functional.normalize(gallery[:4] + 0.98 * gallery[1:5], dim=1)
    queries = torch.cat([queries, halfway, halfway[:2]])
    method = Tda(known(gallery))
    against = 0.0
    for query, expected in zip(queries, one_by_one(queries, gallery), strict=True):
        output = method.step(query[None])
        against = output.log["cached_against"]
        assert torch.allclose(output.scores[0], expected, atol=1e-9)
    assert against > 2
    assert output.log["cached"] <= 18


def test_tdas_caches_are_bounded() -> None:
    world = World()
    method = Tda(world.setup(), TdaOptions(cache_size=4, temperature=0.2))
    logs = [method.step(batch).log for batch in world.batches]
    assert max(log["cached"] for log in logs) == 4
    assert max(log["cached_against"] for log in logs) <= 4
