"""The image-text worlds: determinism, splits, relevance, captions that tell the truth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from benchmark.data.datasets.base import ImageTextPairs
from benchmark.data.tasks import build_pairs, clean
from benchmark.errors import ConfigError
from benchmark.mini.pictures import data
from benchmark.mini.pictures.backbone import CONTEXT, tokenizer
from benchmark.mini.pictures.scenes import (
    COLOUR_WORDS,
    COLOURS,
    NOVEL,
    SHAPES,
    outlines,
    silhouettes,
)
from benchmark.mini.worlds import aerial, fashion, people, poster
from benchmark.mini.worlds.drawn import SPLITS, Look, World, filmed
from benchmark.mini.worlds.poster import captions as poster_captions

LOADERS: dict[str, tuple[Callable[..., ImageTextPairs], World, int, int]] = {
    "mini": (data.load, data.WORLD, 1000, 5),
    "mini-flickr": (poster.load, poster.WORLD, 400, 5),
    "mini-nocaps-in": (data.load_in, data.NOCAPS["in"], 150, 10),
    "mini-nocaps-near": (data.load_near, data.NOCAPS["near"], 150, 10),
    "mini-nocaps-out": (data.load_out, data.NOCAPS["out"], 150, 10),
    "mini-fashion": (fashion.load, fashion.WORLD, 400, 1),
    "mini-cuhk": (people.load_cuhk, people.CUHK, 400, 2),
    "mini-icfg": (people.load_icfg, people.ICFG, 400, 1),
    "mini-rsicd": (aerial.load_rsicd, aerial.RSICD, 300, 5),
    "mini-rsitmd": (aerial.load_rsitmd, aerial.RSITMD, 200, 5),
}
FROZEN: dict[str, tuple[str, list[float]]] = {
    "mini-flickr": ("59198211807f293b", [126.06, 128.59, 118.65, 125.49]),
    "mini-nocaps-in": ("488eeebdc3f6ea20", [93.29, 58.73, 167.85, 136.59]),
    "mini-nocaps-near": ("6963719a114b8d73", [106.71, 156.46, 96.63, 61.93]),
    "mini-nocaps-out": ("579e8d6cf2dda684", [69.01, 152.77, 59.57, 103.87]),
    "mini-fashion": ("06228ab5199575d0", [196.56, 169.81, 190.01, 186.18]),
    "mini-cuhk": ("65b4a8d1187176dc", [146.54, 121.05, 136.65, 127.16]),
    "mini-icfg": ("89f53576e7c73cb8", [77.11, 71.65, 68.96, 27.24]),
    "mini-rsicd": ("491d714428c63ca2", [136.97, 88.47, 133.2, 174.68]),
    "mini-rsitmd": ("db63d02af6ea1682", [113.58, 79.66, 99.75, 68.17]),
}
"""Hash of the test captions, means of the pictures 0, 50, 100, 149."""
HELD_OUT = tuple(split for split in SPLITS if split != "train")
EVERY = pytest.mark.parametrize("name", LOADERS)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@EVERY
def test_sizes_and_names(name: str) -> None:
    load, _, images, per_image = LOADERS[name]
    pairs = load(split="test")
    assert pairs.name == f"{name} test"
    assert pairs.counts == {"images": images, "captions": images * per_image}
    assert np.array_equal(np.bincount(pairs.caption_image), np.full(images, per_image))
    assert load(split="val").counts["images"] >= 100


@EVERY
def test_drawing_again_gives_the_same(name: str) -> None:
    load, world, *_ = LOADERS[name]
    pairs, again = load(split="val"), world.load("val")
    assert pairs is not again
    assert list(pairs.captions) == list(again.captions)
    assert pairs.fingerprint == again.fingerprint != load(split="test").fingerprint
    later = pairs.images[5]
    assert later.shape == (64, 64, 3)
    assert later.dtype == np.uint8
    _ = again.images[2]
    assert np.array_equal(later, again.images[5])
    assert not np.array_equal(later, pairs.images[6])


@pytest.mark.parametrize("name", FROZEN)
def test_world_is_frozen_at_its_version(name: str) -> None:
    """When this fails on purpose, raise WORLDS_VERSION: stored results of the old world are stale.

    Pixels are compared coarsely: the last bit may differ between builds of NumPy and Pillow.
    """
    pairs = LOADERS[name][0](split="test")
    text, means = FROZEN[name]
    assert hashlib.sha256("\n".join(pairs.captions).encode()).hexdigest()[:16] == text
    drawn = [pairs.images[i].mean() for i in (0, 50, 100, 149)]
    np.testing.assert_allclose(drawn, means, atol=0.05)


@EVERY
def test_scenes_of_the_splits_have_nothing_in_common(name: str) -> None:
    _, world, *_ = LOADERS[name]
    for split, count in world.counts.items():
        seen = list(world.scenes(split, count // len(world.views)))
        assert len({scene.signature() for scene in seen}) == count // len(world.views)
        assert {scene.split() for scene in seen} == {split}


@EVERY
def test_unknown_splits_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"no split 'tset'.*'test'"):
        LOADERS[name][0](split="tset")


def test_every_data_set_has_a_fingerprint_of_its_own() -> None:
    prints = [load(split=split).fingerprint for load, *_ in LOADERS.values() for split in HELD_OUT]
    assert len(set(prints)) == len(prints)


@EVERY
def test_captions_fit_the_context_and_survive_the_cleaning(name: str) -> None:
    texts = [clean(text) for text in LOADERS[name][0](split="test").captions[:600]]
    assert all(len(text.split()) <= 30 for text in texts)
    assert int((tokenizer()(texts) != 0).sum(1).max()) <= CONTEXT


@EVERY
def test_every_caption_names_a_colour_that_the_base_encoder_knows(name: str) -> None:
    known = {word for words in COLOUR_WORDS.values() for word in words}
    texts = LOADERS[name][0](split="val").captions
    named = [bool(known & set(clean(text).replace(",", " ").split())) for text in texts]
    assert np.mean(named) > 0.9


# ---- the second style


def test_training_scenes_of_the_poster_style_are_no_test_scenes() -> None:
    train = {s.signature() for s in poster.WORLD.scenes("train", 500, 0)}
    held = {s.signature() for split in HELD_OUT for s in poster.WORLD.scenes(split, 300, 0)}
    base = {s.signature() for split in HELD_OUT for s in data.WORLD.scenes(split, 300)}
    assert not train & (held | base)


def test_things_on_a_poster_stand_in_a_row_inside_the_margin() -> None:
    for scene in poster.WORLD.scenes("val", 80, 3):
        xs = [thing.x for thing in scene.things]
        assert xs == sorted(xs)
        assert min(xs) > poster.MARGIN
        assert max(xs) < 64 - poster.MARGIN
        picture = poster.render(scene, generator(1)).astype(float)
        assert np.abs(picture[0].mean(0) - poster.PAPER).max() < 4


def test_poster_captions_say_left_and_right_as_it_is() -> None:
    for scene in poster.WORLD.scenes("val", 120, 4):
        if len(scene.things) != 2:
            continue
        sides = poster_captions(scene, generator(2))[2].lower()
        left, right = scene.things
        said_left, said_right = sides.split("on the left", 1)
        assert any(word in said_left for word in SHAPES[left.shape])
        assert any(word in said_right for word in SHAPES[right.shape])


# ---- novel objects


def test_novel_things_have_outlines_and_are_not_known_ones() -> None:
    assert set(outlines("novel")) == set(NOVEL)
    assert not set(NOVEL) & set(silhouettes())
    known = {word for words in SHAPES.values() for word in words}
    assert not known & {word for words in NOVEL.values() for word in words}


def test_domains_of_nocaps_hold_known_mixed_and_novel_things() -> None:
    for domain, world in data.NOCAPS.items():
        for scene in world.scenes("test", 60):
            strange = [thing.shape in NOVEL for thing in scene.things]
            if domain == "in":
                assert not any(strange)
            elif domain == "near":
                assert any(strange)
                assert not all(strange)
            else:
                assert strange == [True]


# ---- garments and people: several pictures of one identity


def test_pictures_of_a_product_share_their_caption_and_answer_each_other() -> None:
    pairs = fashion.load(split="test")
    products = np.asarray(pairs.identities)
    assert np.array_equal(np.unique(np.bincount(products)), [2])
    for product in range(20):
        rows = np.flatnonzero(products[pairs.caption_image] == product)
        assert len({pairs.captions[row] for row in rows}) == 1
    for query in ("image", "text"):
        side = build_pairs(pairs, name="x", query=query)
        for row in (0, 7, 311):
            mates = np.flatnonzero(products == products[row])
            assert sorted(side.relevance[row]) == mates.tolist()


@pytest.mark.parametrize("name", ["mini-cuhk", "mini-icfg"])
def test_a_person_is_seen_by_both_cameras_and_found_by_every_caption(name: str) -> None:
    load, _, _, per_image = LOADERS[name]
    pairs = load(split="test")
    who = np.asarray(pairs.identities)
    camera = pairs.image_groups["camera"]
    for person in range(0, 200, 20):
        assert sorted(camera[np.flatnonzero(who == person)]) == [0, 1]
    i2t, t2i = (build_pairs(pairs, name="x", query=query) for query in ("image", "text"))
    assert {len(i2t.relevance[row]) for row in range(len(who))} == {2 * per_image}
    assert {len(t2i.relevance[row]) for row in range(len(pairs.captions))} == {2}
    for row in (0, 101):
        found = {int(pairs.caption_image[c]) for c in i2t.relevance[row]}
        assert found == set(np.flatnonzero(who == who[row]).tolist())


def test_people_of_the_two_sets_differ() -> None:
    sets = [
        {person.signature() for person in world.scenes("test", 200)}
        for world in (people.CUHK, people.ICFG)
    ]
    assert all(len(people_) == 200 for people_ in sets)
    assert len(sets[0] & sets[1]) < 5


def test_a_top_has_its_colour() -> None:
    camera = people.Camera(("concrete",), Look((1.0, 1.0), noise=0.0), (1.0, 1.0))
    base = next(people.CUHK.scenes("val", 1, 0))
    for colour, rgb in COLOURS.items():
        fields = {n: getattr(base, n) for n in type(base).__dataclass_fields__}
        looks = {"top": "shirt", "top_texture": "plain", "bag": "", "top_colour": colour}
        person = people.Person(**{**fields, **looks})
        picture = people.draw(person, camera, generator(3))
        chest = picture[24:30, 29:36].mean(axis=(0, 1))
        nearest = min(COLOURS, key=lambda c: np.abs(np.array(COLOURS[c]) - chest).sum())
        assert nearest == colour, (colour, rgb, chest)


# ---- aerial views


def test_some_texts_serve_more_than_one_view_and_only_the_own_view_counts() -> None:
    pairs = aerial.load_rsicd(split="test")
    assert len(set(pairs.captions)) < len(pairs.captions)
    side = build_pairs(pairs, name="x", query="text")
    assert all(list(side.relevance[row]) == [row // 5] for row in range(0, 1500, 50))


def test_roads_are_where_the_captions_say() -> None:
    rng = generator(4)
    seen = aerial.Satellite(Look((1.0, 1.0), noise=0.0), (8.0, 9.0))
    for road, down in (("across", False), ("down", True)):
        view = aerial.View("grass", road, ())
        picture = aerial.draw(view, seen, rng).astype(float)
        grey = np.ptp(picture, axis=2) < 12
        band = grey[:, 30:34].mean(1) if not down else grey[30:34].mean(0)
        along = grey.mean(0) if down else grey.mean(1)
        assert along.max() > 0.5
        assert band.max() == 1.0
        assert grey.mean(1 if down else 0).max() < 0.4


# ---- looks


def test_a_neutral_look_changes_nothing() -> None:
    picture = generator(0).integers(0, 256, (64, 64, 3)).astype(np.float32)
    same = filmed(picture, Look((1.0, 1.0), noise=0.0), generator(1))
    assert np.array_equal(same, picture.astype(np.uint8))


def test_what_a_look_does() -> None:
    picture = generator(0).integers(60, 196, (64, 64, 3)).astype(np.float32)

    def see(**changes: float) -> np.ndarray:
        return filmed(picture, Look((1.0, 1.0), noise=0.0, **changes), generator(1)).astype(float)

    assert see(contrast=0.5).std() == pytest.approx(picture.std() / 2, rel=0.02)
    assert np.ptp(see(grey=1.0), axis=2).max() == 0
    assert (
        np.abs(np.diff(see(blur=2.0), axis=0)).mean() < np.abs(np.diff(picture, axis=0)).mean() / 2
    )
    tinted = filmed(picture, Look((1.0, 1.0), (1.0, 1.0, 0.5), noise=0.0), generator(1))
    assert tinted[..., 2].mean() == pytest.approx(picture[..., 2].mean() / 2, abs=1)


def test_first_pictures_of_the_base_world_are_a_split_of_their_own() -> None:
    whole, part = data.load(split="test"), data.load(split="test-400")
    assert part.counts == {"images": 400, "captions": 2000}
    assert part.captions == whole.captions[:2000]
    assert part.fingerprint != whole.fingerprint
    assert np.array_equal(part.images[399], whole.images[399])
