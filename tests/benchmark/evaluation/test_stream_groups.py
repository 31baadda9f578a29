"""The named keys that correlated streams go by: from a data set's images to its queries."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmark.data.datasets.base import ImageTextPairs
from benchmark.data.retrieval import Texts
from benchmark.data.tasks import build_pairs
from benchmark.errors import DataError
from benchmark.mini.pictures import data as mini

OWNER = np.array([0, 0, 1, 2, 2, 2])


def pairs() -> ImageTextPairs:
    return ImageTextPairs(
        name="three pictures",
        images=Texts(["a", "b", "c"], ["", "", ""]),
        captions=[f"text {n}" for n in range(6)],
        caption_ids=[f"id-{n}" for n in range(6)],
        caption_image=OWNER,
        fingerprint="three",
        image_groups={"place": np.array([7, 9, 7])},
    )


def test_captions_are_grouped_by_image_and_take_its_groups() -> None:
    keys = build_pairs(pairs(), name="t", query="text").group_keys
    assert {name: groups.tolist() for name, groups in keys.items()} == {
        "image": OWNER.tolist(),
        "place": [7, 7, 9, 7, 7, 7],
    }


def test_images_have_the_groups_of_the_data_set() -> None:
    keys = build_pairs(pairs(), name="t", query="image").group_keys
    assert keys["image"].tolist() == [0, 1, 2]
    assert keys["place"].tolist() == [7, 9, 7]


def test_groups_of_the_wrong_number_are_refused() -> None:
    with pytest.raises(DataError, match="group key 'place' must give each image its group"):
        dataclasses.replace(pairs(), image_groups={"place": np.zeros(2, int)})


def test_the_mini_world_has_backgrounds_and_shapes() -> None:
    scenes = mini.load(split="val")
    assert set(scenes.image_groups) == {"background", "shape"}
    for groups in scenes.image_groups.values():
        sizes = np.bincount(groups)
        assert len(sizes) > 3
        assert sizes.min() > 5
