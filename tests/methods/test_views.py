"""Perturbed and augmented queries, and the two methods that are little else: RPL and VTE."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from methods.base import QueryEncoder
from methods.perturb import (
    augmented,
    dropped_tokens,
    inner_tokens,
    moved,
    noisy,
    occluded,
    perturbed,
    shuffled_patches,
    shuffled_tokens,
)
from methods.rpl import Rpl, RplOptions
from methods.source import Source
from methods.testing import World
from methods.vte import Vte, VteOptions
from tests.methods.oracle import TEMPERATURE, Oracle, double_world


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


IMAGES = torch.arange(2 * 3 * 8 * 8.0).reshape(2, 3, 8, 8)
TEXTS = torch.tensor([[9, 1, 2, 3, 4, 5, 8, 0], [9, 6, 7, 8, 0, 0, 0, 0], [9, 8, 0, 0, 0, 0, 0, 0]])


def blocks(image: Tensor) -> set[tuple[float, ...]]:
    return {
        tuple(image[:, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2].flatten().tolist())
        for r in range(4)
        for c in range(4)
    }


def test_patches_change_places_and_stay_whole() -> None:
    shuffled = shuffled_patches(IMAGES, draws())
    for before, after in zip(IMAGES, shuffled, strict=True):
        assert blocks(before) == blocks(after)
        assert not torch.equal(before, after)
    orders = [
        [sorted(blocks(IMAGES[i])).index(b) for b in map(tuple, _rows(shuffled[i]))] for i in (0, 1)
    ]
    assert orders[0] != orders[1]  # each query has its own order


def _rows(image: Tensor) -> list[list[float]]:
    return [
        image[:, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2].flatten().tolist()
        for r in range(4)
        for c in range(4)
    ]


def test_all_frames_of_a_clip_are_shuffled_alike() -> None:
    clip = IMAGES[:, :1].expand(2, 5, 8, 8).unsqueeze(2)
    shuffled = shuffled_patches(clip, draws())
    assert shuffled.shape == clip.shape
    assert all(torch.equal(shuffled[:, 0], shuffled[:, frame]) for frame in range(5))


def test_sides_that_patches_do_not_divide_keep_their_size() -> None:
    image = torch.rand(2, 3, 10, 9, generator=draws())
    assert shuffled_patches(image, draws()).shape == image.shape
    row = torch.arange(8.0)[None]
    assert sorted(shuffled_patches(row, draws())[0].tolist()) == row[0].tolist()


def test_pixels_are_patches_of_one() -> None:
    shuffled = shuffled_patches(IMAGES, draws(), 0)
    assert shuffled[0].flatten(1).sort().values.tolist() == IMAGES[0].flatten(1).tolist()


def test_occlusion_paints_the_middle_with_the_mean() -> None:
    painted = occluded(IMAGES)
    assert torch.equal(
        painted[0, 1, 2:6, 2:6], IMAGES[0, 1].mean().expand(4, 4)
    )  # 112 of 224 at 56
    same = painted == IMAGES
    assert int((~same[0, 1]).sum()) == 16


def test_words_lie_between_begin_and_end() -> None:
    inner, padding = inner_tokens(TEXTS)
    assert int(padding) == 0
    assert inner.sum(dim=1).tolist() == [5, 2, 0]
    repeated_end = torch.tensor([[9, 1, 2, 8, 8, 8], [9, 1, 2, 3, 4, 8]])  # padded by its end
    inner, padding = inner_tokens(repeated_end)
    assert int(padding) == 8
    assert not inner[:, 0].any()
    assert not inner[0, 3:].any()


def test_tokens_change_places_between_begin_and_end() -> None:
    shuffled = shuffled_tokens(TEXTS, draws())
    assert shuffled[:, 0].tolist() == [9, 9, 9]
    assert shuffled[0, 6:].tolist() == [8, 0]
    assert sorted(shuffled[0, 1:6].tolist()) == [1, 2, 3, 4, 5]
    assert shuffled[2].tolist() == TEXTS[2].tolist()
    seen = {tuple(shuffled_tokens(TEXTS, draws(seed))[0].tolist()) for seed in range(20)}
    assert len(seen) > 10


def test_one_token_in_ten_is_left_out() -> None:
    long = torch.cat([torch.tensor([99]), torch.arange(1, 81), torch.tensor([98])])
    rows = dropped_tokens(long.expand(200, -1), draws())
    kept = (rows != 0).sum(dim=1) - 2
    assert float(kept.float().mean()) == pytest.approx(72, abs=1)
    assert bool((rows[:, 0] == 99).all())
    for row in rows[:5]:
        words = row[row != 0].tolist()
        assert words[-1] == 98
        assert words[1:-1] == sorted(words[1:-1])


def test_views_of_planes_and_samples_stay_near() -> None:
    picture = torch.rand(4, 3, 16, 16, generator=draws(1))
    views = [moved(picture, draws(seed)) for seed in range(4)]
    assert all(view.shape == picture.shape for view in views)
    assert all(bool(torch.isfinite(view).all()) for view in views)
    assert not torch.equal(views[0], views[1])
    row = torch.rand(3, 100, generator=draws(1))
    change = (noisy(row, draws()) - row).std(dim=1) / row.std(dim=1)
    assert change.tolist() == pytest.approx([0.1] * 3, abs=0.03)


def test_half_of_the_views_of_pictures_are_mirrored_and_no_spectrogram_is() -> None:
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    for seed in range(10):
        view = augmented(World().encoder, ramp[:, 0], draws(seed))
        assert float((view - ramp[:, 0]).std()) == pytest.approx(0.1 * float(ramp.std()), rel=0.2)
    sides = [moved(ramp, draws(seed)) for seed in range(20)]
    mirrored = sum(float(v[..., 24:].mean()) < float(v[..., :8].mean()) for v in sides)
    assert 3 < mirrored < 17


class Packed(QueryEncoder):
    """Rows of a count and four samples, of which only the samples may change."""

    def map_parts(self, inputs, change):  # type: ignore[no-untyped-def]
        return torch.cat([inputs[:, :1], change(inputs[:, 1:])], dim=1)


def test_an_encoder_takes_its_parts_apart() -> None:
    rows = torch.arange(10.0).reshape(2, 5)
    for change in (augmented, perturbed):
        found = change(Packed(), rows, draws())
        assert found[:, 0].tolist() == [0.0, 5.0]
        assert not torch.equal(found, rows)


# RPL


def test_generalised_cross_entropy_by_hand() -> None:
    world = World()
    top = (world.encoder(world.batches[0]) @ world.gallery.T / 0.1).softmax(1).max(1).values
    for q in (0.3, 0.8):
        log = (
            Rpl(World().setup(), RplOptions(q=q, temperature=0.1, steps=1))
            .step(world.batches[0])
            .log
        )
        assert log["loss"] == pytest.approx(float(((1 - top.detach() ** q) / q).mean()), abs=1e-6)


def test_rpl_weights_and_scores_of_the_published_loop() -> None:
    def loss(_: Tensor, outputs: Tensor) -> Tensor:
        targets = outputs.softmax(1).argmax(dim=1)
        own = outputs.softmax(1).index_select(-1, targets).diag()
        return ((1.0 - own**0.8) / 0.8).mean(0)

    oracle, world = Oracle(double_world(), loss, optimizer="sgd"), double_world()
    options = RplOptions(lr=1e-2, temperature=TEMPERATURE, optimizer="sgd", weight_decay=0.0)
    rpl = Rpl(world.setup(), options)
    for batch in world.batches:
        torch.testing.assert_close(
            rpl.step(batch).scores, oracle.step(batch) * TEMPERATURE, rtol=0, atol=1e-10
        )
    torch.testing.assert_close(
        [p.detach() for p in rpl.adapted.values()], oracle.weights(), rtol=0, atol=1e-10
    )


# VTE


def test_one_view_is_the_source() -> None:
    world, plain = World(), World()
    found = Vte(world.setup(), VteOptions(views=1)).step(world.batches[0]).scores
    torch.testing.assert_close(found, Source(plain.setup()).step(plain.batches[0]).scores)


@pytest.mark.parametrize(("keep", "count"), [(0.5, 3), (0.1, 1), (1.0, 7)])
def test_the_surest_views_are_averaged(keep: float, count: int) -> None:
    world, seen = double_world(), []

    class Recorded(Vte):
        def augment(self, queries: Tensor) -> Tensor:
            seen.append(super().augment(queries))
            return seen[-1]

    method = Recorded(world.setup(), VteOptions(views=7, keep=keep, temperature=TEMPERATURE))
    found = method.step(world.batches[0]).scores
    views = torch.stack([world.encoder(x).detach() for x in (world.batches[0], *seen)])
    for index in range(len(found)):
        own = views[:, index]
        logits = own @ world.gallery.T / TEMPERATURE
        entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
        expected = own[entropy.argsort()[:count]].mean(0) @ world.gallery.T
        torch.testing.assert_close(found[index], expected, rtol=0, atol=1e-10)
