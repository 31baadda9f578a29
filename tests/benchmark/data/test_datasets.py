from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from benchmark.data.datasets.base import ImageTextPairs
from benchmark.data.datasets.captioned import load_coco, load_flickr30k
from benchmark.data.retrieval import Texts
from benchmark.data.tasks import build_pairs
from benchmark.errors import ConfigError, DataError
from tests.benchmark.fixtures_karpathy import (
    captions_for,
    coco_name,
    make_coco,
    make_flickr,
    write_json,
)
from tests.benchmark.fixtures_pairs import changed

# Loading


@pytest.mark.parametrize("form", ["blip", "karpathy"])
def test_coco_in_both_formats(tmp_path: Path, form: str) -> None:
    make_coco(tmp_path, images=3, form=form)
    pairs = load_coco(tmp_path)
    assert list(pairs.images.ids) == [coco_name(i).removesuffix(".jpg") for i in range(3)]
    assert list(pairs.captions) == [text for i in range(3) for text in captions_for(i)]
    assert pairs.caption_image.tolist() == [i for i in range(3) for _ in range(5)]
    assert pairs.caption_ids[6] == "COCO_val2014_000000000002#1"
    assert pairs.images[0].shape == (36, 48, 3)
    assert pairs.images[0].dtype == np.uint8
    assert pairs.info["missing_images"] == 0


def test_a_sixth_caption_is_left_out(tmp_path: Path) -> None:
    make_coco(tmp_path, images=2, extra=2)
    assert len(load_coco(tmp_path).captions) == 10


def test_both_formats_of_flickr_are_one_data_set(tmp_path: Path) -> None:
    make_flickr(tmp_path / "a", images=2, form="blip")
    make_flickr(tmp_path / "b", images=2, form="karpathy")
    pairs = load_flickr30k(tmp_path / "a")
    assert pairs.fingerprint == load_flickr30k(tmp_path / "b").fingerprint
    assert list(pairs.images.ids) == ["1000000001", "1000000002"]
    assert pairs.images[1].shape == (36, 48, 3)
    assert pairs.captions[9] == captions_for(1)[4]


def test_fingerprint_follows_captions(tmp_path: Path) -> None:
    file = make_coco(tmp_path)
    before = load_coco(tmp_path).fingerprint
    changed(file, 2, {"caption": captions_for(7)})
    assert load_coco(tmp_path).fingerprint != before


def test_annotated_path_wins_over_base_name(tmp_path: Path) -> None:
    make_coco(tmp_path)
    images = tmp_path / "coco" / "images"
    (images / coco_name(0)).write_text("a decoy")
    assert load_coco(tmp_path).images[0].shape == (36, 48, 3)


def test_many_records_are_no_slower_each_than_few(tmp_path: Path) -> None:
    def seconds(count: int, again: int = 0) -> float:
        root = tmp_path / f"{count}-{again}"
        folder = root / "coco" / "val2014"
        folder.mkdir(parents=True)
        records = []
        for i in range(count):
            (folder / coco_name(i)).touch()
            records.append({"image": f"val2014/{coco_name(i)}", "caption": captions_for(i)})
        write_json(root / "coco" / "coco_karpathy_test.json", records)
        start = time.process_time()
        pairs = load_coco(root)
        build_pairs(pairs, name="x", query="image")
        build_pairs(pairs, name="x", query="text")
        assert (len(pairs.images), len(pairs.captions)) == (count, 5 * count)
        return time.process_time() - start

    seconds(10)  # what is imported once
    # Of three, as the collector looks through all that earlier tests have left.
    few, many = (min(seconds(count, again) for again in range(3)) for count in (500, 4000))
    assert many / few < 24  # eight times the records; quadratic: 64


# Faults


def test_not_utf8_names_file_and_line(tmp_path: Path) -> None:
    file = make_coco(tmp_path)
    file.write_bytes('[\n{"image": "a.jpg",\n "caption": ["bäume"]}]'.encode("latin-1"))
    with pytest.raises(
        DataError, match=r"coco_karpathy_test\.json is not UTF-8: byte 0xe4 in line 3"
    ):
        load_coco(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[" * 100_000, "nested too deeply|not valid JSON"), ("[]", "no record"), ("3", "'images'")],
)
def test_other_malformed_files(tmp_path: Path, text: str, expected: str) -> None:
    make_coco(tmp_path).write_text(text)
    with pytest.raises(DataError, match=expected):
        load_coco(tmp_path)


# Pairs and the retrieval task


def pairs_of(owner: list[int], images: int) -> ImageTextPairs:
    return ImageTextPairs(
        name="toy",
        images=Texts([f"i{k}" for k in range(images)], ["picture"] * images),
        captions=[f"caption {k}" for k in range(len(owner))],
        caption_ids=[f"c{k}" for k in range(len(owner))],
        caption_image=np.array(owner, dtype=np.int64),
        fingerprint="f",
        info={"missing_images": 0},
    )


@pytest.mark.parametrize(("owner", "images"), [([0, 0], 2), ([0, 2], 2), ([], 0)])
def test_pairs_must_match(owner: list[int], images: int) -> None:
    with pytest.raises(DataError):
        pairs_of(owner, images)


def test_image_queries_are_answered_by_all_their_captions() -> None:
    data = build_pairs(pairs_of([0, 1, 0, 2], 3), name="toy-image", query="image")
    assert [data.relevance[q].tolist() for q in range(3)] == [[0, 2], [1], [3]]
    assert (data.query_modality, data.gallery_modality) == ("image", "text")
    assert data.gallery[2] == "caption 2"
    assert data.groups.tolist() == [0, 1, 2]
    assert data.info == {"missing_images": 0}


def test_text_queries_are_answered_by_their_own_image() -> None:
    data = build_pairs(pairs_of([0, 1, 0, 2], 3), name="toy-text", query="text")
    assert [data.relevance[q].tolist() for q in range(4)] == [[0], [1], [0], [2]]
    assert data.groups.tolist() == [0, 1, 0, 2]
    assert data.queries[1] == "caption 1"


def test_cleaning_is_a_function_not_done_to_the_raw_captions() -> None:
    data = build_pairs(pairs_of([0], 1), name="t", query="text", max_words=1)
    assert data.queries[0] == "caption 0"
    assert data.clean_text is not None
    assert data.clean_text("Two Words.") == "two"
    assert build_pairs(pairs_of([0], 1), name="t", query="text", cleaning="none").clean_text is None


def test_fingerprint_follows_side_and_cleaning() -> None:
    pairs = pairs_of([0, 1, 0, 2], 3)
    prints = {
        build_pairs(pairs, name="t", query=query, cleaning=cleaning).fingerprint
        for query in ("image", "text")
        for cleaning in ("blip", "none")
    }
    assert len(prints) == 4


def test_an_unknown_side() -> None:
    with pytest.raises(ConfigError):
        build_pairs(pairs_of([0], 1), name="t", query="audio")


def test_everything_of_an_identity_is_relevant_both_ways() -> None:
    """Two pictures with two captions each of one person: 2 x 4 relevant pairs each way."""
    pairs = dataclasses.replace(
        pairs_of([0, 0, 1, 1, 2], 3), identities=np.array([7, 7, 4], dtype=np.int64)
    )
    image, text = (build_pairs(pairs, name="t", query=side) for side in ("image", "text"))
    assert [image.relevance[q].tolist() for q in range(3)] == [[0, 1, 2, 3]] * 2 + [[4]]
    assert [text.relevance[q].tolist() for q in range(5)] == [[0, 1]] * 4 + [[2]]
    assert image.groups.tolist() == [7, 7, 4]
    assert text.group_keys["identity"].tolist() == [7, 7, 7, 7, 4]
    there = image.relevance.transpose(len(image.gallery))
    assert there.indices.tolist() == text.relevance.indices.tolist()
    with pytest.raises(DataError, match="identities"):
        dataclasses.replace(pairs, identities=np.zeros(2, np.int64))
