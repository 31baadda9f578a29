from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmark.data.datasets.composed import joined
from benchmark.data.datasets.composed import load_fashion_iq as load
from benchmark.errors import DataError
from tests.benchmark.fixtures_composed import CATEGORIES, SHARED, item_id, make_fashion_iq
from tests.benchmark.fixtures_karpathy import write_json


def captions_file(root: Path, category: str = "dress") -> Path:
    return root / "fashion-iq" / "captions" / f"cap.{category}.val.json"


def split_file(root: Path, category: str = "dress") -> Path:
    return root / "fashion-iq" / "image_splits" / f"split.{category}.val.json"


# Loading


def test_three_categories_with_galleries_of_their_own(tmp_path: Path) -> None:
    make_fashion_iq(tmp_path)
    data = load(tmp_path)
    assert data.counts == {"queries": 10, "images": 20}
    assert data.sections is not None
    assert data.sections.names == CATEGORIES
    assert data.sections.bounds.tolist() == [0, 7, 13, 20]
    assert data.sections.of_query.tolist() == [0] * 3 + [1] * 3 + [2] * 4
    for query, section in enumerate(data.sections.of_query):
        own = range(data.sections.bounds[section], data.sections.bounds[section + 1])
        assert set(data.targets[query]) <= set(own)
        assert data.references[query] in own  # the reference is in its query's gallery
    assert data.recall_at == (1, 10, 50)
    assert not data.exclude_reference
    assert data.subset is None


def test_references_targets_and_texts_are_those_of_the_records(tmp_path: Path) -> None:
    make_fashion_iq(tmp_path)
    data = load(tmp_path)
    ids = data.images.ids
    assert ids[data.references[4]] == f"shirt/{item_id('shirt', 1)}"
    assert [ids[i] for i in data.targets[4]] == [f"shirt/{item_id('shirt', 2)}"]
    assert data.texts[4] == "Is darker by 2 and has longer sleeves"
    assert data.query_ids[4] == "shirt#2"
    assert data.images[0].shape == (30, 20, 3)
    assert data.info["missing_images"] == 0
    assert data.info["dropped_queries"] == 0


def test_a_picture_of_two_categories_is_one_group_of_references(tmp_path: Path) -> None:
    make_fashion_iq(tmp_path)
    file = captions_file(tmp_path)
    records = json.loads(file.read_text())
    records[0]["candidate"] = SHARED
    write_json(file, records)
    data = load(tmp_path)
    groups = data.query_groups["image"]
    assert data.references[0] != data.references[9]
    assert groups[0] == groups[9]
    assert len(set(groups.tolist())) == 6 + 1


@pytest.mark.parametrize(
    ("captions", "text"),
    [
        (["is darker", "has longer sleeves."], "Is darker and has longer sleeves"),
        (["is red ", "and has a logo"], "Is red and and has a logo"),
        ([" .Is V-neck?", ",has, one?. "], "Is v-neck and has, one"),
        (["", "is blue"], " and is blue"),
    ],
)
def test_the_two_captions_are_joined(captions: list[str], text: str) -> None:
    assert joined(captions) == text


def test_pictures_beside_the_captions_are_found(tmp_path: Path) -> None:
    folder = make_fashion_iq(tmp_path)
    before = load(tmp_path).fingerprint
    for path in list((folder / "images").iterdir()):
        path.rename(folder / path.name)
    assert load(tmp_path).fingerprint == before


def test_a_train_split_reads_the_same(tmp_path: Path) -> None:
    make_fashion_iq(tmp_path, split="train")
    assert load(tmp_path, split="train").name == "fashioniq train"


def test_fingerprint_follows_texts_and_pictures(tmp_path: Path) -> None:
    folder = make_fashion_iq(tmp_path)
    prints = {load(tmp_path).fingerprint}
    file = captions_file(tmp_path)
    records = json.loads(file.read_text())
    records[1]["captions"][1] = "has shorter sleeves"
    write_json(file, records)
    prints.add(load(tmp_path).fingerprint)
    changed = folder / "images" / f"{item_id('dress', 5)}.png"
    changed.write_bytes(changed.read_bytes() + b"\0")
    prints.add(load(tmp_path).fingerprint)
    assert len(prints) == 3


# Dead shop links


def test_missing_pictures_are_counted_and_named(tmp_path: Path) -> None:
    folder = make_fashion_iq(tmp_path)
    names = [item_id("shirt", i) for i in range(6)]
    for name in names:
        for path in (folder / "images").glob(f"{name}.*"):
            path.unlink()
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert "6 of 19 images of 'fashioniq' are missing" in message
    assert ", ".join(names[:5]) + ", ...;" in message
    assert names[5] not in message
    assert "--allow-missing" in message


def test_allow_missing_drops_queries_and_gallery_images_and_says_so(tmp_path: Path) -> None:
    folder = make_fashion_iq(tmp_path)
    whole = load(tmp_path)
    (folder / "images" / f"{item_id('dress', 1)}.png").unlink()  # target of 1, reference of 2
    (folder / "images" / f"{item_id('dress', 4)}.jpg").unlink()  # gallery only
    data = load(tmp_path, allow_missing=True)
    assert data.counts == {"queries": 8, "images": 18}
    assert data.info["missing_images"] == 2
    assert data.info["dropped_queries"] == 2
    assert data.info["id_hash"] != whole.info["id_hash"]
    assert data.query_ids[:2] == ["dress#3", "shirt#1"]
    kept = dict(zip(whole.query_ids, whole.targets, strict=True))
    for query, (found,) in zip(data.query_ids, data.targets, strict=True):
        assert data.images.ids[found] == whole.images.ids[kept[query][0]]
    assert f"dress/{item_id('dress', 4)}" not in data.images.ids


def test_a_category_without_any_query_left_is_refused(tmp_path: Path) -> None:
    folder = make_fashion_iq(tmp_path)
    for path in (folder / "images").glob("BS*"):
        path.unlink()
    with pytest.raises(DataError, match="no query of category 'shirt'"):
        load(tmp_path, allow_missing=True)


def test_no_picture_at_all_is_an_error_even_when_missing_ones_are_allowed(tmp_path: Path) -> None:
    folder = make_fashion_iq(tmp_path)
    shutil.rmtree(folder / "images")
    with pytest.raises(DataError, match=r"19 of 19.*nothing to run on"):
        load(tmp_path, allow_missing=True)


# Faults


@pytest.mark.parametrize(
    ("split", "said"), [("test", "not published"), ("vall", "did you mean 'val'")]
)
def test_wrong_splits(tmp_path: Path, split: str, said: str) -> None:
    make_fashion_iq(tmp_path)
    with pytest.raises(DataError, match=said):
        load(tmp_path, split=split)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"captions": ["only one"]}, "exactly two captions, found 1"),
        ({"captions": "is darker"}, "must be a list"),
        ({"captions": ["is darker", None]}, "caption 2 must be a string"),
        ({"target": "B0000GONE0"}, "target 'B0000GONE0' is not in .*split.dress.val.json"),
        ({"candidate": "B0000GONE0"}, "candidate 'B0000GONE0' is not in"),
        ({"target": 5}, "key 'target' must be a string"),
    ],
)
def test_bad_records_are_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    make_fashion_iq(tmp_path)
    file = captions_file(tmp_path)
    records = json.loads(file.read_text())
    records[1] |= change
    write_json(file, records)
    with pytest.raises(DataError, match=f"cap.dress.val.json, record 2: .*{said}"):
        load(tmp_path)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    make_fashion_iq(tmp_path)
    file = captions_file(tmp_path)
    records = json.loads(file.read_text())
    del records[2]["target"]
    write_json(file, records)
    with pytest.raises(DataError, match="record 3: key 'target' is missing"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (item_id("dress", 0), "occurs twice, as entry 1 and as entry 8"),
        ("../../etc/passwd", "refused"),
        ("/etc/passwd", "refused"),
        (7, "must be a string"),
    ],
)
def test_bad_gallery_entries_are_named(tmp_path: Path, entry: object, said: str) -> None:
    make_fashion_iq(tmp_path)
    file = split_file(tmp_path)
    write_json(file, [*json.loads(file.read_text()), entry])
    with pytest.raises(DataError, match=f"split.dress.val.json.*{said}"):
        load(tmp_path)


def test_the_folder_of_pictures_may_be_a_link_of_the_users(tmp_path: Path) -> None:
    folder = make_fashion_iq(tmp_path / "data")
    (folder / "images").rename(tmp_path / "big-disk")
    (folder / "images").symlink_to(tmp_path / "big-disk")
    assert load(tmp_path / "data").images[0].shape == (30, 20, 3)
