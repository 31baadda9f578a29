"""The two composed sets: what a query says is what changes, and splits never meet."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from benchmark.errors import ConfigError
from benchmark.mini.composed.data import CANDIDATES, draw_cirr, draw_fiq, load_cirr, load_fiq
from benchmark.mini.composed.families import (
    CATEGORIES,
    MEMBERS,
    Change,
    draw_garment,
    families,
    garment_caption,
    grow_garment,
    placed,
    scene_change,
    scene_sentence,
)
from benchmark.mini.pictures.scenes import (
    BACKGROUNDS,
    COLOUR_WORDS,
    RADIUS,
    SHAPES,
    TEXTURES,
    Scene,
    Thing,
    draw_scene,
)
from benchmark.mini.worlds.drawn import SIDE

LOADERS = {"fiq": load_fiq, "cirr": load_cirr}
FROZEN = {"fiq": "d8efcc26fe4fb71b", "cirr": "5ca83bc3faa97cd5"}
FROZEN_MEANS = {
    "fiq": [80.893, 191.835, 61.99, 114.33, 150.533],
    "cirr": [117.525, 195.938, 123.736, 98.551, 91.858],
}
STAR = Thing("star", "red", "plain", "small", 20.0, 20.0)
FISH = Thing("fish", "blue", "striped", "large", 44.0, 44.0)
SCENE = Scene("sand", (STAR, FISH))


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def looks(scene: Scene) -> list[tuple[str, str, str, str]]:
    return sorted((t.shape, t.colour, t.texture, t.size) for t in scene.things)


def differences(a: Scene, b: Scene) -> int:
    """Least number of looks, things and backgrounds to change, over all ways to match things."""
    more, fewer = sorted((looks(a), looks(b)), key=len, reverse=True)
    told = min(
        sum(sum(x != y for x, y in zip(*pair, strict=True)) for pair in zip(order, fewer))  # noqa: B905
        for order in permutations(more)
    )
    return (a.background != b.background) + len(more) - len(fewer) + told


@pytest.mark.parametrize("name", LOADERS)
def test_the_same_data_every_time(name) -> None:
    """When it fails on purpose, raise WORLD_VERSION: stored results of the old world are stale."""
    data = LOADERS[name](split="val")
    again = {"fiq": draw_fiq, "cirr": draw_cirr}[name]("val")
    assert again.fingerprint == data.fingerprint == FROZEN[name]
    assert list(again.texts) == list(data.texts)
    means = [float(data.images[i].mean()) for i in range(0, 600, 120)]
    # Coarse: the last bit may differ between builds of NumPy and Pillow.
    assert means == pytest.approx(FROZEN_MEANS[name], abs=0.5)


@pytest.mark.parametrize("name", LOADERS)
def test_a_picture_does_not_depend_on_the_order_of_access(name) -> None:
    images = LOADERS[name](split="val").images
    later = images[7]
    _ = images[3]
    assert np.array_equal(later, images[7])
    assert later.shape == (SIDE, SIDE, 3)
    assert later.dtype == np.uint8


@pytest.mark.parametrize("name", LOADERS)
def test_splits_share_no_scene_with_each_other_or_with_training(name) -> None:
    seen: dict[str, set[str]] = {}
    for split in ("val", "test"):
        images = LOADERS[name](split=split).images
        seen[split] = {images.scenes[i].signature() for i in range(len(images))}
        assert all(images.scenes[i].split() == split for i in range(len(images)))
    kind = "cirr" if name == "cirr" else CATEGORIES[0]
    drawn = families(kind, "train", 40, generator(3))
    seen["train"] = {scene.signature() for family in drawn for scene in family.scenes}
    assert not seen["val"] & seen["test"]
    assert not seen["train"] & (seen["val"] | seen["test"])


@pytest.mark.parametrize("name", LOADERS)
def test_no_two_pictures_of_a_gallery_show_the_same(name) -> None:
    images = LOADERS[name](split="test").images
    signatures = [images.scenes[i].signature() for i in range(len(images))]
    assert len(set(signatures)) == len(signatures)


@pytest.mark.parametrize(
    ("name", "split", "counts"),
    [
        ("cirr", "test", {"queries": 752, "images": 1504}),
        ("cirr", "val", {"queries": 300, "images": 600}),
        ("fiq", "test", {"queries": 756, "images": 1512}),
        ("fiq", "val", {"queries": 300, "images": 600}),
    ],
)
def test_sizes(name, split, counts) -> None:
    data = LOADERS[name](split=split)
    assert data.counts == counts
    assert all(len(found) == 1 for found in data.targets)


def test_a_scene_query_is_one_change_and_garments_two() -> None:
    for name, wanted in (("cirr", 1), ("fiq", 2)):
        data = LOADERS[name](split="val")
        for reference, (target,) in zip(data.references, data.targets, strict=True):
            a, b = data.images.scenes[reference], data.images.scenes[target]
            assert differences(a, b) == wanted


def test_cirr_leaves_the_reference_out_and_has_five_look_alikes() -> None:
    data = load_cirr(split="test")
    assert data.exclude_reference
    assert data.sections is None
    for reference, (target,), candidates in zip(
        data.references, data.targets, data.subset, strict=True
    ):
        assert target in candidates
        assert reference not in candidates
        assert len(set(candidates)) == CANDIDATES == 5
        assert {i // MEMBERS for i in candidates} == {reference // MEMBERS}
    # The target's place among the candidates tells nothing.
    places = [list(c).index(t) for c, (t,) in zip(data.subset, data.targets, strict=True)]
    assert max(np.bincount(places)) < 0.4 * len(places)


def test_fiq_keeps_the_reference_and_has_a_gallery_for_each_category() -> None:
    data = load_fiq(split="test")
    assert not data.exclude_reference
    assert data.subset is None
    assert data.sections.names == CATEGORIES
    assert np.bincount(data.sections.of_query).tolist() == [252, 252, 252]
    for query, section in enumerate(data.sections.of_query):
        gallery = data.sections.gallery(section)
        for index in (data.references[query], *data.targets[query]):
            assert gallery.start <= index < gallery.stop
    for section, category in enumerate(CATEGORIES):
        own = range(*data.sections.gallery(section).indices(len(data.images)))
        assert all(data.images.scenes[i].things[0].shape == category for i in own)
    assert all(" and " in text and text[0].isupper() for text in data.texts)


def test_an_unknown_split_is_refused() -> None:
    for load in LOADERS.values():
        with pytest.raises(ConfigError, match="test and val"):
            load(split="train")


@pytest.mark.parametrize("kind", ["colour", "shape", "texture", "size", "add", "remove"])
def test_scene_changes_do_what_they_say(kind) -> None:
    rng, done = generator(1), 0
    while done < 60:
        scene = draw_scene(rng)
        found = scene_change(scene, kind, rng)
        if found is None:
            continue
        done += 1
        changed, _ = found
        assert differences(scene, changed) == 1
        assert len(changed.things) - len(scene.things) == {"add": 1, "remove": -1}.get(kind, 0)
        for thing in changed.things:
            assert RADIUS[thing.size] <= thing.x <= SIDE - RADIUS[thing.size]


def test_what_does_not_fit_is_refused() -> None:
    crowd = [Thing("star", "red", "plain", "large", x, y) for x in (16, 48) for y in (16, 48)]
    assert placed(Thing("fish", "red", "plain", "large", 0, 0), crowd, generator()) is None
    full = Scene("sand", (STAR, FISH, Thing("cup", "red", "plain", "small", 20.0, 48.0)))
    assert scene_change(full, "add", generator()) is None
    assert scene_change(Scene("sand", (STAR,)), "remove", generator()) is None


def every(change: Change, scene: Scene = SCENE) -> list[str]:
    return [scene_sentence(change, scene, generator(i)).lower() for i in range(40)]


def test_sentences_name_what_changes_and_what_it_becomes() -> None:
    blue = Thing("star", "blue", "plain", "small", 20.0, 20.0)
    for text in every(Change("colour", STAR, blue)):
        assert "star" in text
        assert "blue" in text
    for text in every(Change("remove", FISH, None)):
        assert "fish" in text
        assert "star" not in text
    for text in every(Change("add", None, FISH)):
        assert any(word in text for word in SHAPES["fish"])
        assert "blue" in text
        assert any(word in text for word in TEXTURES["striped"][0])
    for text in every(Change("background", "sand", "snow")):
        assert any(place in text for place in BACKGROUNDS["snow"])
    larger = Thing("star", "red", "plain", "large", 20.0, 20.0)
    assert all("much bigger" in text for text in every(Change("size", STAR, larger)))
    assert all("much smaller" in text for text in every(Change("size", larger, STAR)))


def test_a_noun_that_two_things_share_is_told_apart_by_colour() -> None:
    other = Thing("star", "green", "plain", "small", 44.0, 20.0)
    texts = every(Change("remove", other, None), Scene("sand", (STAR, other)))
    assert all("green star" in text for text in texts)


def test_articles() -> None:
    hourglass = Thing("hourglass", "red", "plain", "small", 20.0, 20.0)
    texts = [
        garment_caption(Change("badge shape", STAR, hourglass), generator(i)) for i in range(20)
    ]
    assert all("an hourglass" in text for text in texts)


def test_garments_change_two_different_things_to_say() -> None:
    rng = generator(2)
    kinds = set()
    for _ in range(300):
        scene = draw_garment("hat", rng)
        grown = grow_garment(scene, rng)
        if grown is None:
            continue
        changed, changes = grown
        assert changed.things[0].shape == "hat"
        assert len(changed.things) <= 2
        kinds |= {change.kind for change in changes}
        if len(changes) == 2:
            assert changes[0].kind != changes[1].kind
        for change in changes:
            text = garment_caption(change, rng)
            if change.kind == "colour":
                assert any(word in text for word in COLOUR_WORDS[change.new.colour])
    assert len(kinds) >= 7
