"""Bad input, for every method that ships: what docs/methods.md says of each is what happens.

The contract (``methods.testing``) has more of it: queries of NaN, equal queries, short batches, a
gallery of one item, another gallery between batches, a reset after divergence.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from methods import BUILTINS
from methods.base import Diverged, Method, MethodCard, StepOutput
from methods.tiny import EMBED_WIDTH, INPUT_WIDTH, TinyEncoder, World

SMALL = {
    **{"views": 3, "window": 32, "queue_size": 8, "bank_size": 16, "cache_size": 2, "k": 4},
    "fisher_batches": 2,
    "steps": 1,
}
"""Options that bound what a method keeps, and its views, small enough to be reached here.

One update a batch shows what a bad query does to weights: later batches are scored with them.
"""

CENTRING = "[centred]"


def kind_of(name: str) -> type[Method]:
    module, _, cls = BUILTINS[name].partition(":")
    found: type[Method] = getattr(importlib.import_module(module), cls)
    return found


def has(name: str, option: str) -> bool:
    return option in {field.name for field in dataclasses.fields(kind_of(name).Options)}


VARIANTS = [*BUILTINS, *(n + CENTRING for n in BUILTINS if has(n, "centre") and n != "anchored")]
TRAINED = [name for name in VARIANTS if kind_of(name.removesuffix(CENTRING)).card.trains]
every = pytest.mark.parametrize("name", VARIANTS)


def made(name: str, world: World | None = None, **options: Any) -> Method:
    plain = name.removesuffix(CENTRING)
    chosen = {**SMALL, **options, **({"centre": True} if plain != name else {})}
    own = {key: value for key, value in chosen.items() if has(plain, key)}
    kind = kind_of(plain)
    return kind((world or World()).setup(), kind.Options(**own))


def sound(output: StepOutput) -> bool:
    return all(bool(torch.isfinite(t).all()) for t in (output.scores, output.embeddings))


def stream(batches: int, size: int = 8) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(5)
    for _ in range(batches):
        yield torch.randn(size, INPUT_WIDTH, generator=generator) + 0.5


@every
@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan, 1e30, 0.0])
def test_one_bad_query_costs_its_batch_mates_nothing(name: str, value: float) -> None:
    world = World()
    method = made(name, world)
    method.step(world.batches[0])
    batch = world.batches[1].clone()
    batch[2] = value
    scores = method.step(batch).scores
    mates = torch.arange(len(batch)) != 2
    assert bool(torch.isfinite(scores[mates]).all())
    assert sound(method.step(world.batches[2]))


@every
def test_a_bad_query_alone_in_its_batch_is_survived(name: str) -> None:
    world = World()
    method = made(name, world)
    for value in (torch.nan, torch.inf):
        method.step(torch.full((1, INPUT_WIDTH), value))
    assert sound(method.step(world.batches[0]))


@every
def test_a_gallery_of_equal_items_has_no_gradient_and_is_scored(name: str) -> None:
    world = World()
    world.gallery = world.gallery[:1].expand(20, -1).clone()
    method = made(name, world)
    for batch in world.batches:
        output = method.step(batch)
        assert sound(output)
        if name != "tda":  # a query is cached for one item, also where several are its top item
            spread = output.scores.amax(dim=1) - output.scores.amin(dim=1)
            assert bool((spread <= 1e-4).all()), "equal items are scored differently"


SAME_ALONE = {"source", "recentre", "bn_adapt", "tcr-untrained", "hat_vtr"} | {
    *("inverted_softmax", "qbnorm", "sinkhorn", "whiten", "anchored", "sar")
}
"""Methods that score the first query of a stream like the source where it comes alone."""


@every
def test_batches_of_one(name: str) -> None:
    world = World()
    method, source = made(name, world), made("source")
    for index, query in enumerate(world.batches[0].split(1)):
        output = method.step(query)
        assert sound(output)
        if index == 0 and name.removesuffix(CENTRING) in SAME_ALONE:
            expected = source.step(query).scores
            torch.testing.assert_close(output.scores, expected, atol=2e-6, rtol=0)
            # Nothing ties that did not: a tie counts against the query.
            assert len(output.scores.unique()) == len(expected.unique())


def test_a_bank_of_another_query_than_ones_own_does_speak() -> None:
    world = World()
    method = made("qbnorm", world, bank="earlier_queries")
    one, two = world.batches[0][:1], world.batches[0][:1]
    plain, known = method.step(one).scores, method.step(two).scores
    assert not torch.equal(plain, known)


def held(value: Any, seen: set[int]) -> int:
    """How many numbers tensors hold that can be reached from a value."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, Tensor):
        return value.numel()
    if isinstance(value, torch.nn.Module | torch.optim.Optimizer | str):
        return 0
    if isinstance(value, dict):
        return sum(held(one, seen) for one in value.values())
    if isinstance(value, list | tuple | set):
        return sum(held(one, seen) for one in value)
    inside = getattr(value, "__dict__", None)
    slots = getattr(type(value), "__slots__", ())
    found = sum(held(one, seen) for one in (inside or {}).values())
    return found + sum(held(getattr(value, one, None), seen) for one in slots)


@every
def test_what_is_kept_does_not_grow_with_the_stream(name: str) -> None:
    method = made(name)
    sizes = []
    for batch in stream(24):
        method.step(batch)
        sizes.append(held({k: v for k, v in vars(method).items() if k != "setup"}, set()))
    assert max(sizes[12:]) <= max(sizes[:12])


def test_the_search_for_what_is_kept_finds_a_growing_list() -> None:
    method = made("recentre")
    before = held(vars(method), set())
    method.everything = [torch.zeros(7)]  # type: ignore[attr-defined]
    assert held(vars(method), set()) == before + 7


@every
def test_galleries_that_come_and_go_are_never_taken_for_each_other(name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    method, rows = made(name), next(stream(1))

    def another() -> Tensor:
        drawn = torch.randn(40, EMBED_WIDTH, generator=generator)
        return functional.normalize(drawn, dim=1)

    for _ in range(3):
        method.use_gallery(another())  # freed by the next, unless the method holds on to it
        method.step(rows)
    last = another()
    method.use_gallery(last)
    output = method.step(rows)
    assert output.scores.shape == (len(rows), len(last))
    assert sound(output)
    if not method.card.trains and name not in ("whiten", "vte"):
        fresh = made(name)
        fresh.use_gallery(last)
        if name in ("inverted_softmax", "qbnorm", "sinkhorn", "nnn", "tda"):
            torch.testing.assert_close(output.scores, fresh.step(rows).scores)


def diverged(method: Method, world: World) -> bool:
    """Whether the harness sees that the method does."""
    try:
        return not all([sound(method.step(batch)) for batch in world.batches])
    except Diverged:
        return True


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("lr", [1e6, 1e30])
def test_a_diverging_learning_rate_never_leaves_numbers(name: str, lr: float) -> None:
    """Normalised embeddings can be finite whatever the weights are."""
    world = World()
    assert diverged(made(name, world, lr=lr), world)


@pytest.mark.parametrize("name", TRAINED)
def test_a_learning_rate_that_is_merely_too_large_is_measured(name: str) -> None:
    world = World()
    assert not diverged(made(name, world, lr=1.0), world)


@pytest.mark.parametrize("name", list(BUILTINS))
def test_a_card_says_where_it_comes_from_what_it_sees_and_costs(name: str) -> None:
    card = kind_of(name).card
    assert isinstance(card, MethodCard)
    for field in ("paper", "repository", "approximate", "sees", "passes", "alone"):
        assert getattr(card, field), f"the card of {name} leaves {field!r} empty; write 'none'"
    assert card.repository == "none" or card.repository.startswith("https://")
    assert (" b" in card.passes) == card.trains


class Rounded(TinyEncoder):
    """What a tower in half precision gives: float32 rows with few digits, many of them ties."""

    precision = torch.float16

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.normalize(super().forward(inputs).to(self.precision).float(), dim=1)


class Coarse(Rounded):
    precision = torch.bfloat16


@every
@pytest.mark.parametrize("tower", [Rounded, Coarse])
def test_embeddings_of_a_tower_in_half_precision(name: str, tower: type[TinyEncoder]) -> None:
    world = World()
    world.encoder = tower()
    method = made(name, world)
    for batch in world.batches:
        assert sound(method.step(batch))


# Batches of one, as docs/methods.md tells them


def alone(name: str, queries: int = 12, **options: Any) -> tuple[list[StepOutput], Method]:
    """Every query in a batch of its own."""
    world = World()
    method = made(name, world, **options)
    rows = torch.cat(world.batches)[:queries]
    return [method.step(row) for row in rows.split(1)], method


def test_alone_rest_has_nothing_to_decouple() -> None:
    (rest, one), (tcr, two) = alone("rest"), alone("tcr")
    for mine, plain in zip(rest, tcr, strict=True):
        assert torch.equal(mine.scores, plain.scores)
        assert "angle" not in mine.log
    for p, q in zip(one.adapted.values(), two.adapted.values(), strict=True):  # type: ignore[attr-defined]
        assert torch.equal(p, q)


def test_alone_shots_entropy_and_diversity_cancel() -> None:
    for output in alone("shot", pseudo_weight=0.0)[0]:
        log = output.log
        assert abs(log["loss_entropy"] + log["loss_diversity"]) < 1e-3
        assert abs(log["loss"]) < 1e-3


@pytest.mark.parametrize("name", ["eata", "rdumb"])
def test_alone_a_query_becomes_the_mean_prediction(name: str) -> None:
    skipped = [output.log["skipped_updates"] for output in alone(name, steps=3)[0]]
    assert set(skipped) <= {2.0, 3.0}
    assert 2.0 in skipped


@pytest.mark.parametrize("size", [2, 3, 4])
def test_sar_learns_next_to_nothing_below_five_queries(size: int) -> None:
    method = made("sar", steps=3)
    logs = [method.step(batch).log for batch in stream(10, size)]
    assert sum(3 - log["skipped_updates"] for log in logs) <= 1
    logs = [made("sar", steps=3).step(batch).log for batch in stream(10, 5)]
    assert sum(3 - log["skipped_updates"] for log in logs) >= 5


@pytest.mark.parametrize("name", ["recentre", "tent[centred]", "whiten"])
def test_equal_queries_are_moved_onto_the_gallerys_mean(name: str) -> None:
    world = World()
    found = made(name, world).step(world.batches[0][:1].expand(8, -1)).embeddings
    expected = functional.normalize(world.gallery.mean(dim=0), dim=0)
    torch.testing.assert_close(found, expected.expand(8, -1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["inverted_softmax", "sinkhorn"])
def test_a_bank_of_copies_ties_all_items(name: str) -> None:
    world = World()
    scores = made(name, world).step(world.batches[0][:1].expand(8, -1)).scores
    assert float((scores - scores[0, 0]).abs().max()) < 1e-6


def test_a_gradient_of_zero_lets_weights_decay_only() -> None:
    world = World()
    world.gallery = world.gallery[:1].clone()
    method = made("tent", world)
    before = [p.detach().clone() for p in method.adapted.values()]  # type: ignore[attr-defined]
    assert method.step(world.batches[0]).log["skipped_updates"] == 0
    now = [p.detach() for p in method.adapted.values()]  # type: ignore[attr-defined]
    assert max(float((a - b).abs().max()) for a, b in zip(now, before, strict=True)) < 1e-6
