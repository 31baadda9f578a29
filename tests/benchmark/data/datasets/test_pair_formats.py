from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from benchmark.data.datasets.base import ImageTextPairs
from benchmark.data.datasets.captioned import (
    load_cuhk_pedes,
    load_fashion_gen,
    load_icfg_pedes,
    load_nocaps,
    load_nocaps_in,
    load_nocaps_near,
    load_nocaps_out,
    load_rsicd,
    load_rsitmd,
)
from benchmark.data.tasks import build_pairs
from benchmark.errors import DataError
from tests.benchmark.fixtures_karpathy import captions_for, write_json
from tests.benchmark.fixtures_pairs import (
    SHARED_TEXT,
    Loader,
    changed,
    fashion_records,
    fashion_text,
    make_cuhk,
    make_fashion_gen,
    make_icfg,
    make_nocaps,
    make_person_search,
    make_remote_sensing,
    nocaps_name,
    person_records,
)


def relevant(pairs: ImageTextPairs, query: str) -> list[set[int]]:
    found = build_pairs(pairs, name="t", query=query).relevance
    return [set(found[q].tolist()) for q in range(len(found))]


# NoCaps


def test_both_forms_of_nocaps_give_the_same_items(tmp_path: Path) -> None:
    make_nocaps(tmp_path / "a", form="official")
    make_nocaps(tmp_path / "b", form="tcr")
    one, other = load_nocaps(tmp_path / "a"), load_nocaps(tmp_path / "b")
    assert list(one.images.ids) == list(other.images.ids)
    assert list(one.captions) == list(other.captions)
    assert list(one.caption_ids) == list(other.caption_ids)
    assert one.fingerprint == other.fingerprint
    assert one.counts == {"images": 6, "captions": 60}
    assert one.captions[10:20] == captions_for(1, 10)


def test_the_order_of_the_records_does_not_matter(tmp_path: Path) -> None:
    file = make_nocaps(tmp_path, form="tcr")
    before = load_nocaps(tmp_path).fingerprint
    write_json(file, list(reversed(json.loads(file.read_text()))))
    assert load_nocaps(tmp_path).fingerprint == before


@pytest.mark.parametrize("form", ["official", "tcr"])
def test_a_domain_holds_its_images_only(tmp_path: Path, form: str) -> None:
    make_nocaps(tmp_path, images=7, form=form)
    found = {
        load: [nocaps_name(i).removesuffix(".jpg") for i in range(k, 7, 3)]
        for k, load in enumerate((load_nocaps_in, load_nocaps_near, load_nocaps_out))
    }
    for load, ids in found.items():
        pairs = load(tmp_path)
        assert list(pairs.images.ids) == ids
        assert pairs.counts == {"images": len(ids), "captions": 10 * len(ids)}
    entire = load_nocaps(tmp_path)
    assert entire.counts == {"images": 7, "captions": 70}
    assert entire.image_groups["domain"].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert len({load(tmp_path).fingerprint for load in (*found, load_nocaps)}) == 4


def test_a_domain_without_images_is_an_error(tmp_path: Path) -> None:
    make_nocaps(tmp_path, images=2)
    with pytest.raises(DataError, match="no record of split 'val out-domain'"):
        load_nocaps_out(tmp_path)


def test_a_caption_as_text_in_the_list_form_is_refused(tmp_path: Path) -> None:
    changed(make_nocaps(tmp_path, form="tcr"), 1, {"caption": "a lamp"})
    with pytest.raises(DataError, match="record 2: key 'caption' must be a list, found a string"):
        load_nocaps(tmp_path)


def test_annotations_and_images_that_do_not_belong_together(tmp_path: Path) -> None:
    file = make_nocaps(tmp_path)
    changed(file, 4, {"image_id": 99}, "annotations")
    with pytest.raises(DataError, match="annotations record 5: there is no image with id 99"):
        load_nocaps(tmp_path)
    data = json.loads(make_nocaps(tmp_path).read_text())
    data["annotations"] = [a for a in data["annotations"] if a["image_id"] != 3]
    write_json(file, data)
    with pytest.raises(DataError, match="images record 4: image 3 has no annotation"):
        load_nocaps(tmp_path)


# Fashion-Gen


def test_a_product_with_two_images_has_two_by_two_relevant_pairs(tmp_path: Path) -> None:
    make_fashion_gen(tmp_path)
    pairs = load_fashion_gen(tmp_path)
    assert pairs.counts == {"images": 6, "captions": 6}
    for query in ("image", "text"):
        assert relevant(pairs, query) == [{0, 1}, {0, 1}, {2, 3}, {2, 3}, {4, 5}, {4, 5}]


def test_a_caption_as_list_is_joined_and_stays_one(tmp_path: Path) -> None:
    records = fashion_records()
    records[1]["captions"] = ["Long sleeve coat.", "Notched lapel."]
    make_fashion_gen(tmp_path, records)
    captions = load_fashion_gen(tmp_path).captions
    assert captions[0] == fashion_text(0)
    assert captions[1] == "Long sleeve coat. Notched lapel."


def test_the_product_is_the_part_before_the_first_underscore(tmp_path: Path) -> None:
    records = fashion_records(products=1)
    records[1]["img_name"] = "100001_2_b.png"
    make_fashion_gen(tmp_path, records)
    folder = tmp_path / "fashion-gen" / "extracted_valid_images"
    (folder / "100001_2.png").rename(folder / "100001_2_b.png")
    assert relevant(load_fashion_gen(tmp_path), "text") == [{0, 1}, {0, 1}]


def test_categories_are_groups(tmp_path: Path) -> None:
    make_fashion_gen(tmp_path)
    groups = load_fashion_gen(tmp_path).image_groups
    assert groups["category"].tolist() == [1, 1, 0, 0, 1, 1]


# Person search


@pytest.mark.parametrize(
    ("load", "make"), [(load_cuhk_pedes, make_cuhk), (load_icfg_pedes, make_icfg)]
)
def test_an_identity_of_two_images_and_two_captions_each_has_two_by_four(
    tmp_path: Path, load: Loader, make: Callable[[Path], Path]
) -> None:
    make(tmp_path)
    pairs = load(tmp_path)
    assert pairs.counts == {"images": 6, "captions": 12}
    images, captions = relevant(pairs, "image"), relevant(pairs, "text")
    assert images[0] == images[1] == {0, 1, 2, 3}
    assert captions[4] == captions[7] == {2, 3}
    assert sum(map(len, images)) == sum(map(len, captions)) == 3 * 2 * 4


def test_captions_of_persons_stay_as_they_are(tmp_path: Path) -> None:
    make_cuhk(tmp_path)
    assert load_cuhk_pedes(tmp_path).captions[1] == person_records()[1]["captions"][1]


def test_icfg_under_its_other_name(tmp_path: Path) -> None:
    make_person_search(tmp_path, "ICFG-PEDES", "ICFG_PEDES.json")
    assert load_icfg_pedes(tmp_path).counts == {"images": 6, "captions": 12}


def test_the_other_splits_of_the_file_are_left_out_and_can_be_had(tmp_path: Path) -> None:
    make_cuhk(tmp_path)
    Image.new("RGB", (4, 9)).save(tmp_path / "CUHK-PEDES" / "imgs" / "9999001.png")
    assert load_cuhk_pedes(tmp_path, split="train").counts == {"images": 1, "captions": 2}
    with pytest.raises(DataError, match="no split 'val'; it has 'test', 'train'"):
        load_cuhk_pedes(tmp_path, split="val")


def test_equal_file_names_in_two_folders_are_two_images_and_never_mixed_up(tmp_path: Path) -> None:
    file = make_cuhk(tmp_path)
    name = Path(person_records()[1]["file_path"]).name
    imgs = tmp_path / "CUHK-PEDES" / "imgs"
    changed(file, 2, {"file_path": f"Market/{name}"})
    (imgs / "Market").mkdir()
    Image.new("RGB", (4, 9)).save(imgs / "Market" / name)
    pairs = load_cuhk_pedes(tmp_path)
    assert pairs.images[1].shape == (9, 4, 3)
    assert pairs.images[0].shape == (36, 48, 3)
    (imgs / "Market" / name).rename(imgs / name)  # flat: whose is it?
    with pytest.raises(DataError, match=f"1 of 6 images .*Market/{name}"):
        load_cuhk_pedes(tmp_path)


# Remote sensing


@pytest.mark.parametrize(("name", "load"), [("rsicd", load_rsicd), ("rsitmd", load_rsitmd)])
def test_a_text_of_two_images_has_one_relevant_image(
    tmp_path: Path, name: str, load: Loader
) -> None:
    make_remote_sensing(tmp_path, name)
    pairs = load(tmp_path)
    shared = [i for i, text in enumerate(pairs.captions) if text == SHARED_TEXT]
    assert shared == [2, 7]
    assert [relevant(pairs, "text")[i] for i in shared] == [{0}, {1}]
    assert relevant(pairs, "image")[1] == {5, 6, 7, 8, 9}
