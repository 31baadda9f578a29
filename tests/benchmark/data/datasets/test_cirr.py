from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.data.datasets.composed import load_cirr as load
from benchmark.errors import DataError
from tests.benchmark.fixtures_composed import cirr_name, make_cirr
from tests.benchmark.fixtures_karpathy import write_json

CAPTIONS = Path("captions") / "cap.rc2.val.json"
SPLIT = Path("image_splits") / "split.rc2.val.json"


def test_queries_gallery_and_subsets(tmp_path: Path) -> None:
    make_cirr(tmp_path)
    data = load(tmp_path)
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


def test_annotations_one_folder_further_down(tmp_path: Path) -> None:
    folder = make_cirr(tmp_path)
    expected = load(tmp_path).fingerprint
    inner = folder / "cirr"
    inner.mkdir()
    for name in ("captions", "image_splits"):
        (folder / name).rename(inner / name)
    (folder / "img_raw" / "dev").rename(folder / "dev")
    folder.rename(tmp_path / "cirr_dataset")
    assert load(tmp_path).fingerprint == expected


def test_missing_pictures_are_counted_and_named(tmp_path: Path) -> None:
    folder = make_cirr(tmp_path)
    for index in range(6, 12):
        (folder / "img_raw" / "dev" / f"{cirr_name(index)}.png").unlink()
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert "6 of 14 images of 'cirr' are missing" in message
    assert ", ".join(f"dev/{cirr_name(i)}.png" for i in range(6, 11)) + ", ...;" in message
    assert cirr_name(11) not in message


def test_allow_missing_drops_queries_gallery_and_members(tmp_path: Path) -> None:
    folder = make_cirr(tmp_path)
    whole = load(tmp_path)
    for index in (2, 13):  # target of the second query, member of three; in the gallery only
        (folder / "img_raw" / "dev" / f"{cirr_name(index)}.png").unlink()
    data = load(tmp_path, allow_missing=True)
    assert data.counts == {"queries": 3, "images": 12}
    assert data.query_ids == ["7", "12", "5"]
    assert data.info["missing_images"] == 2
    assert data.info["dropped_queries"] == 1
    assert data.info["id_hash"] != whole.info["id_hash"]
    assert data.subset is not None
    assert [data.images.ids[i] for i in data.subset[0]] == [cirr_name(i) for i in (1, 3, 4, 5)]
    assert all(set(t) <= set(s) for t, s in zip(data.targets, data.subset, strict=True))


def test_no_query_left_is_an_error(tmp_path: Path) -> None:
    folder = make_cirr(tmp_path)
    for index in range(12):
        (folder / "img_raw" / "dev" / f"{cirr_name(index)}.png").unlink()
    with pytest.raises(DataError, match="no query has both its pictures"):
        load(tmp_path, allow_missing=True)


@pytest.mark.parametrize(
    ("split", "said"), [("test1", "only the server scores it"), ("vall", "did you mean 'val'")]
)
def test_wrong_splits(tmp_path: Path, split: str, said: str) -> None:
    make_cirr(tmp_path)
    with pytest.raises(DataError, match=said):
        load(tmp_path, split=split)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pairid": 7}, "pairid 7 occurs twice"),
        ({"pairid": "3"}, "key 'pairid' must be a whole number"),
        ({"reference": "dev-99-0-img0"}, "reference 'dev-99-0-img0' is not a member"),
        ({"target_hard": cirr_name(8)}, "target_hard 'dev-8-0-img0' is not a member"),
        ({"target_hard": cirr_name(1)}, "are the same image"),
        ({"caption": ["a list"]}, "key 'caption' must be a string"),
        ({"img_set": {"id": 0}}, "key 'members' is missing"),
        ({"img_set": {"id": 0, "members": [cirr_name(1), cirr_name(2)]}}, "6 different names"),
        (
            {"img_set": {"id": 0, "members": [cirr_name(i) for i in (1, 2, 3, 4, 5)] + ["x"]}},
            "img_set member 'x' is not in",
        ),
    ],
)
def test_bad_records_are_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    file = make_cirr(tmp_path) / CAPTIONS
    records = json.loads(file.read_text())
    records[1] |= change
    write_json(file, records)
    with pytest.raises(DataError, match=f"cap.rc2.val.json, record 2.*{said}"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../../secret.png", "refused"),
        ("/etc/passwd", "refused"),
        (f"./dev/{cirr_name(0)}.png", "occurs twice, as entry 1 and as entry 2"),
        (["dev"], "must be a string"),
    ],
)
def test_bad_paths_are_refused(tmp_path: Path, path: object, said: str) -> None:
    file = make_cirr(tmp_path) / SPLIT
    listed = json.loads(file.read_text())
    listed[cirr_name(1)] = path
    write_json(file, listed)
    with pytest.raises(DataError, match=f"split.rc2.val.json.*{said}"):
        load(tmp_path)


def test_a_folder_of_pictures_linked_out_by_the_data_is_refused(tmp_path: Path) -> None:
    folder = make_cirr(tmp_path / "data")
    (folder / "img_raw" / "dev").rename(tmp_path / "outside")
    (folder / "img_raw" / "dev").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match=r"is a link to .*outside.*refused"):
        load(tmp_path / "data")
