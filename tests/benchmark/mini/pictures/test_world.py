"""The mini world: splits, determinism, captions that tell the truth, and what ships."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from benchmark.data.tasks import clean
from benchmark.mini.pictures.backbone import CONTEXT, tokenizer
from benchmark.mini.pictures.data import WORLD, load, render
from benchmark.mini.pictures.scenes import (
    BACKGROUNDS,
    COLOUR_WORDS,
    COLOURS,
    RADIUS,
    SHAPES,
    Scene,
    Thing,
    captions,
    draw_scene,
    silhouettes,
)
from benchmark.mini.worlds.drawn import SIDE, SPLITS

FROZEN_TEXT = "d908ad1923740f2a"
FROZEN_MEANS = [
    75.954,
    184.065,
    186.098,
    96.2,
    104.638,
    143.051,
    108.895,
    203.324,
    170.634,
    247.579,
]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.fixture(scope="module")
def test_split():
    return load(split="test")


def test_splits_are_disjoint_whatever_the_seed() -> None:
    """A scene's split is a function of what can be seen in it, so no seed can mix them."""
    seen = {
        split: {s.signature() for seed in range(2) for s in WORLD.scenes(split, 400, seed)}
        for split in SPLITS
    }
    for split, signatures in seen.items():
        assert not signatures & set().union(*(seen[o] for o in SPLITS if o != split))


def test_split_ignores_where_things_are() -> None:
    thing = Thing("star", "red", "plain", "small", 20.0, 20.0)
    other = Thing("fish", "blue", "dotted", "large", 44.0, 40.0)
    moved = Thing("star", "red", "plain", "small", 50.0, 12.0)
    assert Scene("sand", (thing, other)).split() == Scene("sand", (other, moved)).split()


def test_shares_of_the_splits_are_as_declared() -> None:
    rng = generator()
    found = [draw_scene(rng).split() for _ in range(3000)]
    for split, (low, high) in SPLITS.items():
        assert found.count(split) / 3000 == pytest.approx((high - low) / 100, abs=0.03)


def test_things_stay_inside_the_picture() -> None:
    for scene in WORLD.scenes("val", 100, 0):
        for thing in scene.things:
            radius = RADIUS[thing.size]
            assert radius <= thing.x <= SIDE - radius
            assert radius <= thing.y <= SIDE - radius


def test_world_is_frozen_at_its_version(test_split) -> None:
    """When this fails on purpose, raise WORLD_VERSION: stored results of the old world are stale.

    Pixels are compared coarsely: the last bit may differ between builds of NumPy and Pillow.
    """
    text = hashlib.sha256("\n".join(test_split.captions).encode()).hexdigest()[:16]
    means = np.array([test_split.images[i].mean() for i in range(0, 1000, 100)])
    assert text == FROZEN_TEXT
    np.testing.assert_allclose(means, FROZEN_MEANS, atol=0.05)


def test_captions_name_only_what_is_there() -> None:
    rng = generator(5)
    for scene in WORLD.scenes("val", 120, 1):
        shapes = {t.shape for t in scene.things}
        colours = {w for t in scene.things for w in COLOUR_WORDS[t.colour]}
        places = BACKGROUNDS[scene.background]
        texts = captions(scene, rng)
        assert len(texts) == 5
        for text in texts:
            rest = text.lower()
            assert any(place in rest for place in places) or not any(
                place in rest for all_places in BACKGROUNDS.values() for place in all_places
            )
            for all_places in BACKGROUNDS.values():  # "red bricks", "green grass" are no colours
                for place in sorted(all_places, key=len, reverse=True):
                    rest = rest.replace(place, "")
            words = set(clean(rest).replace(",", " ").split())
            said = {w for w in words for ws in COLOUR_WORDS.values() if w in ws}
            assert said <= colours
            for shape, names in SHAPES.items():
                if shape not in shapes:
                    assert not {n for n in names if " " not in n} & words


def test_captions_say_where_things_are() -> None:
    left = Thing("star", "red", "plain", "medium", 15.0, 32.0)
    right = Thing("fish", "blue", "plain", "medium", 48.0, 32.0)
    scene = Scene("sand", (left, right))
    rng = generator(2)
    related = [captions(scene, rng)[1].lower() for _ in range(40)]
    for text in related:
        star_first = text.index("star") < text.index("fish")
        assert ("left of" in text) == star_first
        assert ("right of" in text) != star_first


def test_every_silhouette_is_drawn_and_differs_from_the_others() -> None:
    assert set(silhouettes()) == set(SHAPES)
    pictures = {}
    for shape in SHAPES:
        scene = Scene("concrete", (Thing(shape, "red", "plain", "large", 32.0, 32.0),))
        masks: list[np.ndarray] = []
        picture = render(scene, generator(3), masks=masks)
        assert masks[0].sum() > 4 * 64 * 0.25, shape
        pictures[shape] = picture.astype(float)
    names = list(pictures)
    for i, a in enumerate(names):
        for b in names[:i]:
            assert np.abs(pictures[a] - pictures[b]).mean() > 1.0, (a, b)


def test_the_colour_of_a_thing_is_the_colour_of_its_pixels() -> None:
    for colour, rgb in COLOURS.items():
        scene = Scene("concrete", (Thing("square", colour, "plain", "large", 32.0, 32.0),))
        centre = render(scene, generator(4))[28:36, 28:36].mean(axis=(0, 1))
        nearest = min(COLOURS, key=lambda c: np.abs(np.array(COLOURS[c]) - centre).sum())
        assert nearest == colour, (colour, rgb, centre)


def test_captions_fit_the_context(test_split) -> None:
    tokens = tokenizer()([clean(text) for text in test_split.captions])
    assert int((tokens != 0).sum(1).max()) < CONTEXT - 6
