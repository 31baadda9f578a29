"""FashionIQ and CIRR as they are published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.data.datasets.base import ComposedQueries
from benchmark.data.datasets.composed import joined, load_cirr, load_fashion_iq
from benchmark.errors import DataError
from tests.benchmark.fixtures_composed import (
    CATEGORIES,
    SHARED,
    cirr_name,
    item_id,
    make_cirr,
    make_fashion_iq,
)
from tests.benchmark.fixtures_karpathy import write_json

Load = Callable[..., ComposedQueries]
LOADERS: dict[str, tuple[Load, Callable[[Path], Path]]] = {
    "cirr": (load_cirr, make_cirr),
    "fashioniq": (load_fashion_iq, make_fashion_iq),
}
FILES = {
    "cirr": ("captions/cap.rc2.val.json", "image_splits/split.rc2.val.json"),
    "fashioniq": ("captions/cap.dress.val.json", "image_splits/split.dress.val.json"),
}


def written(file: Path, change: Callable[[Any], Any]) -> None:
    """Writes a JSON file anew; ``change`` gives the new content, or changes it in place."""
    content = json.loads(file.read_text())
    write_json(file, change(content) or content)


# Loading


def test_cirrs_queries_gallery_and_subsets(tmp_path: Path) -> None:
    make_cirr(tmp_path)
    data = load_cirr(tmp_path)
    assert data.counts == {"queries": 4, "images": 14}
    assert list(data.images.ids) == [cirr_name(i) for i in range(14)]
    assert data.query_ids == ["7", "3", "12", "5"]
    assert data.references.tolist() == [0, 1, 3, 6]
    assert [list(found) for found in data.targets] == [[1], [2], [0], [7]]
    assert data.subset is not None
    assert [sorted(members) for members in data.subset] == [
        [1, 2, 3, 4, 5],
        [0, 2, 3, 4, 5],
        [0, 1, 2, 4, 5],
        [7, 8, 9, 10, 11],
    ]
    assert data.exclude_reference
    assert data.sections is None
    assert data.recall_at == (1, 5, 10, 50)
    assert data.texts[0] == "show the other one, number 7."
    assert data.query_groups["image_set"].tolist() == [0, 0, 0, 6]
    assert data.images[13].shape == (30, 20, 3)


def test_cirrs_annotations_one_folder_further_down(tmp_path: Path) -> None:
    folder = make_cirr(tmp_path)
    expected = load_cirr(tmp_path).fingerprint
    inner = folder / "cirr"
    inner.mkdir()
    for name in ("captions", "image_splits"):
        (folder / name).rename(inner / name)
    (folder / "img_raw" / "dev").rename(folder / "dev")
    folder.rename(tmp_path / "cirr_dataset")
    assert load_cirr(tmp_path).fingerprint == expected


def test_three_categories_with_galleries_of_their_own(tmp_path: Path) -> None:
    make_fashion_iq(tmp_path)
    data = load_fashion_iq(tmp_path)
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
    ids = data.images.ids
    assert ids[data.references[4]] == f"shirt/{item_id('shirt', 1)}"
    assert [ids[i] for i in data.targets[4]] == [f"shirt/{item_id('shirt', 2)}"]
    assert data.texts[4] == "Is darker by 2 and has longer sleeves"
    assert data.query_ids[4] == "shirt#2"
    assert data.images[0].shape == (30, 20, 3)
    assert (data.info["missing_images"], data.info["dropped_queries"]) == (0, 0)


def test_a_picture_of_two_categories_is_one_group_of_references(tmp_path: Path) -> None:
    folder = make_fashion_iq(tmp_path)
    written(folder / FILES["fashioniq"][0], lambda records: records[0].update(candidate=SHARED))
    data = load_fashion_iq(tmp_path)
    groups = data.query_groups["image"]
    assert data.references[0] != data.references[9]
    assert groups[0] == groups[9]
    assert len(set(groups.tolist())) == 6 + 1


@pytest.mark.parametrize(
    ("captions", "text"),
    [
        (["is darker", "has longer sleeves."], "Is darker and has longer sleeves"),
        ([" .Is V-neck?", ",has, one?. "], "Is v-neck and has, one"),
        (["", "is blue"], " and is blue"),
    ],
)
def test_the_two_captions_are_joined(captions: list[str], text: str) -> None:
    assert joined(captions) == text


def test_pictures_beside_the_captions_are_found(tmp_path: Path) -> None:
    folder = make_fashion_iq(tmp_path)
    before = load_fashion_iq(tmp_path).fingerprint
    for path in list((folder / "images").iterdir()):
        path.rename(folder / path.name)
    assert load_fashion_iq(tmp_path).fingerprint == before


def test_a_train_split_reads_the_same(tmp_path: Path) -> None:
    make_fashion_iq(tmp_path, split="train")
    assert load_fashion_iq(tmp_path, split="train").name == "fashioniq train"


def test_the_fingerprint_follows_the_texts(tmp_path: Path) -> None:
    folder = make_fashion_iq(tmp_path)
    before = load_fashion_iq(tmp_path).fingerprint
    written(
        folder / FILES["fashioniq"][0],
        lambda records: records[1].update(captions=["is darker", "has shorter sleeves"]),
    )
    assert load_fashion_iq(tmp_path).fingerprint != before


# Missing pictures


@pytest.mark.parametrize(
    ("name", "gone", "said"),
    [
        ("cirr", [f"{cirr_name(i)}.png" for i in range(6, 12)], "6 of 14"),
        ("fashioniq", [f"{item_id('shirt', i)}.*" for i in range(6)], "6 of 19"),
    ],
)
def test_missing_pictures_are_counted_and_named(
    tmp_path: Path, name: str, gone: list[str], said: str
) -> None:
    load, make = LOADERS[name]
    folder = make(tmp_path)
    for pattern in gone:
        for path in folder.rglob(pattern):
            path.unlink()
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert f"{said} images of {name!r} are missing" in message
    names = [f"dev/{one}" if name == "cirr" else one.removesuffix(".*") for one in gone]
    assert ", ".join(names[:5]) + ", ...;" in message
    assert names[5] not in message
    assert "--allow-missing" in message


def test_allow_missing_drops_queries_gallery_and_members(tmp_path: Path) -> None:
    folder = make_cirr(tmp_path)
    whole = load_cirr(tmp_path)
    for index in (2, 13):  # target of the second query, member of three; in the gallery only
        (folder / "img_raw" / "dev" / f"{cirr_name(index)}.png").unlink()
    data = load_cirr(tmp_path, allow_missing=True)
    assert data.counts == {"queries": 3, "images": 12}
    assert data.query_ids == ["7", "12", "5"]
    assert (data.info["missing_images"], data.info["dropped_queries"]) == (2, 1)
    assert data.info["id_hash"] != whole.info["id_hash"]
    assert data.subset is not None
    assert [data.images.ids[i] for i in data.subset[0]] == [cirr_name(i) for i in (1, 3, 4, 5)]
    assert all(set(t) <= set(s) for t, s in zip(data.targets, data.subset, strict=True))


def test_allow_missing_drops_from_one_category(tmp_path: Path) -> None:
    folder = make_fashion_iq(tmp_path)
    whole = load_fashion_iq(tmp_path)
    (folder / "images" / f"{item_id('dress', 1)}.png").unlink()  # target of 1, reference of 2
    (folder / "images" / f"{item_id('dress', 4)}.jpg").unlink()  # gallery only
    data = load_fashion_iq(tmp_path, allow_missing=True)
    assert data.counts == {"queries": 8, "images": 18}
    assert (data.info["missing_images"], data.info["dropped_queries"]) == (2, 2)
    assert data.info["id_hash"] != whole.info["id_hash"]
    assert data.query_ids[:2] == ["dress#3", "shirt#1"]
    kept = dict(zip(whole.query_ids, whole.targets, strict=True))
    for query, (found,) in zip(data.query_ids, data.targets, strict=True):
        assert data.images.ids[found] == whole.images.ids[kept[query][0]]
    assert f"dress/{item_id('dress', 4)}" not in data.images.ids


@pytest.mark.parametrize(
    ("name", "gone", "said"),
    [
        ("cirr", [f"{cirr_name(i)}.png" for i in range(12)], "no query has both its pictures"),
        ("fashioniq", ["images/*"], r"19 of 19.*nothing to run on"),
        ("fashioniq", ["BS*"], "no query of category 'shirt'"),
    ],
)
def test_no_query_left_is_an_error(tmp_path: Path, name: str, gone: list[str], said: str) -> None:
    load, make = LOADERS[name]
    folder = make(tmp_path)
    for path in [path for pattern in gone for path in folder.rglob(pattern)]:
        path.unlink()
    with pytest.raises(DataError, match=said):
        load(tmp_path, allow_missing=True)


# Faults


@pytest.mark.parametrize(
    ("name", "split", "said"),
    [
        ("cirr", "test1", "only the server scores it"),
        ("fashioniq", "test", "not published"),
        ("fashioniq", "vall", "did you mean 'val'"),
    ],
)
def test_wrong_splits(tmp_path: Path, name: str, split: str, said: str) -> None:
    load, make = LOADERS[name]
    make(tmp_path)
    with pytest.raises(DataError, match=said):
        load(tmp_path, split=split)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("cirr", {"pairid": 7}, "pairid '7' occurs twice, as entry "),
        ("cirr", {"pairid": "3"}, "key 'pairid' must be a whole number"),
        ("cirr", {"reference": "dev-99-0-img0"}, "reference 'dev-99-0-img0' is not a member"),
        ("cirr", {"target_hard": cirr_name(8)}, "target_hard 'dev-8-0-img0' is not a member"),
        ("cirr", {"target_hard": cirr_name(1)}, "are the same image"),
        ("cirr", {"caption": ["a list"]}, "key 'caption' must be a string"),
        ("cirr", {"img_set": {"id": 0}}, "key 'members' is missing"),
        ("cirr", {"img_set": {"id": 0, "members": [cirr_name(1), cirr_name(2)]}}, "6 different"),
        (
            "cirr",
            {"img_set": {"id": 0, "members": [cirr_name(i) for i in (1, 2, 3, 4, 5)] + ["x"]}},
            "img_set member 'x' is not in",
        ),
        ("fashioniq", {"captions": ["only one"]}, "exactly two captions, found 1"),
        ("fashioniq", {"captions": "is darker"}, "must be a list"),
        ("fashioniq", {"captions": ["is darker", None]}, "caption 2 must be a string"),
        ("fashioniq", {"target": "B0000GONE0"}, "target 'B0000GONE0' is not in .*split.dress.val"),
        ("fashioniq", {"candidate": "B0000GONE0"}, "candidate 'B0000GONE0' is not in"),
        ("fashioniq", {"target": 5}, "key 'target' must be a string"),
        ("fashioniq", None, "key 'target' is missing"),
    ],
)
def test_bad_records_are_named(
    tmp_path: Path, name: str, change: dict[str, object] | None, said: str
) -> None:
    load, make = LOADERS[name]
    file = make(tmp_path) / FILES[name][0]
    written(file, lambda rows: [rows[0], {} if change is None else rows[1] | change, *rows[2:]])
    with pytest.raises(DataError, match=f"{file.name}(, record 2.*|: ){said}"):
        load(tmp_path)


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../../secret.png", ", entry {number}: .*refused"),
        ("/etc/passwd", ", entry {number}: .*refused"),
        (7, ", entry {number}: .*must be a string"),
        ("", ": .*occurs twice, as entry 1 and as entry {number};"),
    ],
)
def test_bad_gallery_entries_are_named(tmp_path: Path, name: str, path: object, said: str) -> None:
    load, make = LOADERS[name]
    file = make(tmp_path) / FILES[name][1]
    listed = json.loads(file.read_text())
    if name == "cirr":
        listed[cirr_name(1)] = path or f"./dev/{cirr_name(0)}.png"
    else:
        listed.append(path or item_id("dress", 0))
    write_json(file, listed)
    with pytest.raises(
        DataError, match=file.name + said.format(number={"cirr": 2, "fashioniq": 8}[name])
    ):
        load(tmp_path)


def test_a_folder_of_pictures_linked_out_by_the_data_is_refused(tmp_path: Path) -> None:
    folder = make_cirr(tmp_path / "data")
    (folder / "img_raw" / "dev").rename(tmp_path / "outside")
    (folder / "img_raw" / "dev").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match=r"is a link to .*outside.*refused"):
        load_cirr(tmp_path / "data")
