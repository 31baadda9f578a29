from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.data.card import load_suite
from benchmark.data.datasets.captioned import load_coco
from benchmark.data.tasks import build_pairs
from benchmark.errors import DataError
from tests.benchmark.fixtures_karpathy import make_coco
from tests.benchmark.fixtures_pairs import LOADERS, Loader, changed


@pytest.fixture(params=LOADERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def load(name: str) -> Loader:
    return LOADERS[name][0]


@pytest.fixture
def file(name: str, tmp_path: Path) -> Path:
    """The annotation file of a made data set, whose data folder is ``tmp_path``."""
    return LOADERS[name][1](tmp_path)


# Every loader


def test_relevance_of_the_two_directions_is_each_others_transpose(
    tmp_path: Path, load: Loader, file: Path
) -> None:
    pairs = load(tmp_path)
    image = build_pairs(pairs, name="t", query="image").relevance
    text = build_pairs(pairs, name="t", query="text").relevance
    turned = image.transpose(len(pairs.captions))
    np.testing.assert_array_equal(turned.offsets, text.offsets)
    np.testing.assert_array_equal(turned.indices, text.indices)


def test_counts_ids_and_pictures(tmp_path: Path, load: Loader, file: Path) -> None:
    pairs = load(tmp_path)
    assert pairs.counts == {"images": len(pairs.images), "captions": len(pairs.captions)}
    assert len(set(pairs.caption_ids)) == len(pairs.captions)
    assert pairs.images[0].dtype == np.uint8
    assert pairs.images[0].shape[2] == 3
    assert pairs.info["missing_images"] == 0


def test_the_data_sets_own_folder_may_be_the_root(tmp_path: Path, load: Loader, file: Path) -> None:
    (own,) = tmp_path.iterdir()
    assert load(own).fingerprint == load(tmp_path).fingerprint


def test_a_flat_folder_resolves_by_bare_name(tmp_path: Path, load: Loader, file: Path) -> None:
    before = load(tmp_path)
    picture = before.images[1]
    (own,) = tmp_path.iterdir()
    for path in list(own.rglob("*.*")):
        if path.suffix in (".jpg", ".png", ".tif"):
            path.rename(own / path.name)
    after = load(tmp_path)
    assert after.fingerprint == before.fingerprint
    np.testing.assert_array_equal(after.images[1], picture)


def test_missing_images_are_counted_and_stamped(tmp_path: Path, load: Loader, file: Path) -> None:
    whole = load(tmp_path)
    gone = whole.images.paths[0]
    gone.unlink()
    with pytest.raises(DataError, match=rf"1 of {len(whole.images)} images of .*{gone.name}") as e:
        load(tmp_path)
    assert "--allow-missing" in str(e.value)
    rest = load(tmp_path, allow_missing=True)
    assert rest.info["missing_images"] == 1
    assert rest.info["id_hash"] != whole.info["id_hash"]
    assert list(rest.images.ids) == list(whole.images.ids)[1:]
    assert rest.fingerprint != whole.fingerprint


def test_the_hash_of_the_ids_is_of_the_ids_alone(tmp_path: Path, load: Loader, file: Path) -> None:
    before = load(tmp_path)
    Image.new("RGB", (70, 50)).save(before.images.paths[0])
    after = load(tmp_path)
    assert after.fingerprint != before.fingerprint
    assert after.info["id_hash"] == before.info["id_hash"]


def test_no_more_than_five_missing_images_are_named_and_none_left_is_an_error(
    tmp_path: Path, load: Loader, file: Path
) -> None:
    paths = list(load(tmp_path).images.paths)
    for path in paths:
        path.unlink()
    with pytest.raises(DataError, match="none is there") as error:
        load(tmp_path, allow_missing=True)
    assert sum(path.name in str(error.value) for path in paths) == min(5, len(paths))


def test_a_broken_image_is_named_when_decoded(tmp_path: Path, load: Loader, file: Path) -> None:
    path = load(tmp_path).images.paths[1]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=f"{path.name} cannot be decoded"):
        load(tmp_path).images[1]


def test_coco_too_refuses_links_but_takes_a_linked_folder(tmp_path: Path) -> None:
    make_coco(tmp_path / "data")
    images = tmp_path / "data" / "coco" / "images"
    (images / "val2014").rename(tmp_path / "elsewhere")
    (images / "val2014").symlink_to(tmp_path / "elsewhere")  # by its fixed name: the user's own
    first = load_coco(tmp_path / "data").images.paths[0]
    assert load_coco(tmp_path / "data").images[0].shape == (36, 48, 3)
    (tmp_path / "elsewhere" / first.name).rename(tmp_path / "secret.jpg")
    (tmp_path / "elsewhere" / first.name).symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(DataError, match=rf"{first.name} is a link to .*is refused"):
        load_coco(tmp_path / "data")


@pytest.mark.parametrize("name", [name for name in LOADERS if name not in ("coco", "flickr30k")])
def test_an_unknown_split_lists_those_that_exist(tmp_path: Path, load: Loader, file: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'tset'.*it has '(test|val)'"):
        load(tmp_path, split="tset")


def test_the_split_of_the_paper_suites_card_is_one_of_the_loaders(
    tmp_path: Path, name: str, load: Loader, file: Path
) -> None:
    cards = load_suite("paper").benchmarks
    splits = {card.split for card in cards if card.dataset.startswith(name)}
    assert len(splits) == 1
    assert load(tmp_path, split=splits.pop()).counts == load(tmp_path).counts


# Records: a change of the second record that is used, and what is said about it


RECORDS = {"nocaps": "images", "rsicd": "images", "rsitmd": "images"}
PATHS = {
    "coco": "image",
    "flickr30k": "image",
    "nocaps": "file_name",
    "fashion-gen": "img_name",
    "cuhk-pedes": "file_path",
    "icfg-pedes": "file_path",
    "rsicd": "filename",
    "rsitmd": "filename",
}


@pytest.mark.parametrize(
    "path",
    [
        "../1_secret.jpg",
        "/etc/1_passwd",
        "a/../../1_b.jpg",
        "..\\1_a",
        "C:/1_a.jpg",
        "",
        "1_a\0.jpg",
    ],
)
def test_a_path_that_leaves_the_image_folder_is_refused(
    tmp_path: Path, name: str, load: Loader, file: Path, path: str
) -> None:
    changed(file, 2, {PATHS[name]: path}, RECORDS.get(name, ""))
    with pytest.raises(DataError, match=r"(record|line) 3: image path .* is refused"):
        load(tmp_path)


def test_an_image_that_occurs_twice_is_refused(
    tmp_path: Path, name: str, load: Loader, file: Path
) -> None:
    first = load(tmp_path).images.paths[0]
    value = f"CUHK01/{first.name}" if "pedes" in name else first.name
    changed(file, 3, {PATHS[name]: value}, RECORDS.get(name, ""))
    with pytest.raises(DataError, match=r"occurs twice, as entry 1 and as entry \d"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("coco", [{"images": "a.jpg"}], "key 'image' is missing; its keys are 'images'"),
        ("coco", [{"image": "a.jpg", "captions": ["x"]}], "key 'caption' is missing; its keys are"),
        ("coco", {"image": 7}, "key 'image' must be a string, found 7"),
        ("coco", {"caption": "x"}, "key 'caption' must be a list"),
        ("coco", {"caption": []}, "key 'caption' is empty"),
        ("coco", {"caption": ["x", None]}, "caption 2 must be a string"),
        ("coco", {"caption": ["\ud800"]}, "caption 1 is not valid Unicode"),
        ("coco", [["a.jpg", "x"]], "expected an object with key 'image', found a list"),
        ("cuhk-pedes", {"captions": "one text"}, "'captions' must be a list, found a string"),
        ("icfg-pedes", {"captions": []}, "'captions' is empty; expected at least one caption"),
        ("cuhk-pedes", {"captions": ["a", None]}, "caption 2 must be a string, found null"),
        ("cuhk-pedes", {"id": "7"}, "'id' must be a whole number, found a string"),
        ("cuhk-pedes", {"id": True}, "'id' must be a whole number, found True"),
        ("rsicd", {"sentences": [{"raw": ["a"]}]}, "'raw' must be a string, found a list"),
        ("rsicd", {"sentences": []}, "'sentences' is empty"),
        ("rsitmd", {"sentences": [{"text": "a"}]}, "key 'raw' is missing; its keys are 'text'"),
        ("fashion-gen", {"captions": []}, "'captions' is empty"),
        ("fashion-gen", {"captions": 3}, "'captions' must be a string, found 3"),
        ("fashion-gen", {"captions": ["a", 3]}, "caption 2 must be a string, found 3"),
        ("fashion-gen", {"img_name": "100001.png"}, "names no product; expected <product>_<num"),
        ("nocaps", {"domain": "in_domain"}, "'in_domain' is unknown; did you mean 'in-domain'"),
        ("nocaps", {"id": 0}, "image id 0 occurs twice"),
        ("nocaps", {"id": 1 << 63}, "'id' must be a whole number"),
        ("fashion-gen", {"super_cls_name": "\ud800"}, "'super_cls_name' is not valid Unicode"),
    ],
)
def test_a_wrong_record_names_file_number_and_key(
    tmp_path: Path, name: str, load: Loader, file: Path, change: Any, expected: str
) -> None:
    changed(file, 2, change, RECORDS.get(name, ""))
    with pytest.raises(DataError, match=rf"{file.name}, (images record|record|line) 3: .*") as e:
        load(tmp_path)
    assert expected in str(e.value)
