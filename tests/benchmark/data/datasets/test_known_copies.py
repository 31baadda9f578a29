"""Layouts of real copies that differ from the documented one: same data set, same content."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.data.datasets.audio_visual import load_audioset
from benchmark.data.datasets.cirr import load as load_cirr
from benchmark.data.datasets.fashion_iq import load as load_fashion_iq
from benchmark.data.datasets.karpathy import load_coco, load_flickr30k
from benchmark.data.datasets.nocaps import load_nocaps
from benchmark.data.datasets.person_search import load_cuhk_pedes, load_icfg_pedes
from benchmark.data.datasets.remote_sensing import load_rsicd, load_rsitmd
from benchmark.errors import DataError
from tests.benchmark.fixtures_clips import make_clips
from tests.benchmark.fixtures_composed import make_cirr, make_fashion_iq
from tests.benchmark.fixtures_karpathy import make_coco, make_flickr
from tests.benchmark.fixtures_pairs import make_nocaps, make_person_search, make_remote_sensing


def coco_2017(root: Path) -> None:
    make_coco(root)
    pictures = sorted((root / "coco").rglob("COCO_*.jpg"))
    for number, file in enumerate(pictures):
        folder = root / "coco" / ("train2017", "val2017")[number % 2]
        folder.mkdir(exist_ok=True)
        file.rename(folder / file.name.rpartition("_")[2])


def flickr(folder: str, annotation: str, form: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        file = make_flickr(root, form=form)
        file.rename(file.with_name(annotation))
        (root / "flickr30k/flickr30k-images").rename(root / "flickr30k" / folder)

    return make


def nocaps_validation(root: Path) -> None:
    file = make_nocaps(root)
    file.rename(file.with_name("nocaps_val.json"))
    picture = next((root / "nocaps").rglob("*.jpg"))
    picture.parent.rename(root / "nocaps/validation")


def rsicd_doubled(root: Path) -> None:
    make_remote_sensing(root, "rsicd")
    folder = next((root / "rsicd").rglob("*.jpg")).parent
    folder.rename(root / "rsicd/moved")
    (root / "rsicd/RSICD_images").mkdir()
    (root / "rsicd/moved").rename(root / "rsicd/RSICD_images/RSICD_images")


def rsitmd_png(root: Path) -> None:
    file = make_remote_sensing(root, "rsitmd")
    file.rename(file.with_name("dataset_rsitmd.json"))
    for picture in (root / "rsitmd").rglob("*.tif"):
        picture.rename(picture.with_suffix(".png"))  # Pillow goes by the content


def fashion_categories(root: Path) -> None:
    folder = make_fashion_iq(root)
    images = folder / "images"
    for category in ("dress", "shirt", "toptee"):
        (images / category).mkdir()
    for picture in [*images.glob("*.jpg"), *images.glob("*.png")]:
        picture.rename(images / "dress" / picture.name)
    images.rename(folder / "resized_images")


def cirr_flat(root: Path) -> None:
    folder = make_cirr(root)
    for picture in list((folder / "img_raw").rglob("*.png")):
        picture.rename(folder / "img_raw" / f"{picture.stem}.jpg")


COPIES = {
    "coco 2017": (load_coco, make_coco, coco_2017),
    "flickr Images": (load_flickr30k, make_flickr, flickr("Images", "test.json", "blip")),
    "flickr30k_images": (
        load_flickr30k,
        make_flickr,
        flickr("flickr30k_images", "dataset.json", "karpathy"),
    ),
    "nocaps": (load_nocaps, make_nocaps, nocaps_validation),
    "rsicd": (load_rsicd, make_remote_sensing, rsicd_doubled),
    "rsitmd": (load_rsitmd, lambda root: make_remote_sensing(root, "rsitmd"), rsitmd_png),
    "fashion-iq": (load_fashion_iq, make_fashion_iq, fashion_categories),
    "cirr": (load_cirr, make_cirr, cirr_flat),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_known_copy_is_the_same_data_set(tmp_path: Path, name: str) -> None:
    load, documented, known = COPIES[name]
    documented(tmp_path / "documented")
    known(tmp_path / "known")
    assert load(tmp_path / "known").fingerprint == load(tmp_path / "documented").fingerprint


def test_captions_of_icfg_as_a_text(tmp_path: Path) -> None:
    file = make_person_search(tmp_path, "ICFG-PEDES", "ICFG-PEDES.json")
    records = json.loads(file.read_text())
    for record in records:
        record["captions"] = record["captions"][0]
    file.write_text(json.dumps(records))
    assert (
        load_icfg_pedes(tmp_path).counts["captions"] == load_icfg_pedes(tmp_path).counts["images"]
    )


def test_files_that_cannot_serve_are_named_with_what_mends_it(tmp_path: Path) -> None:
    (tmp_path / "flickr30k").mkdir()
    (tmp_path / "flickr30k/results_20130124.token").write_text("1.jpg#0\ta wall\n")
    with pytest.raises(DataError, match=r"results_20130124.token is there, but has no .*curl -o"):
        load_flickr30k(tmp_path)
    (tmp_path / "CUHK-PEDES").mkdir()
    (tmp_path / "CUHK-PEDES/caption_all.json").write_text("[]")
    with pytest.raises(DataError, match=r"caption_all.json is there, but has no splits; take reid"):
        load_cuhk_pedes(tmp_path)


def test_lists_that_name_flac(tmp_path: Path) -> None:
    file = make_clips(tmp_path)
    before = load_audioset(tmp_path).fingerprint
    file.write_text(file.read_text().replace(".wav", ".flac"))
    assert load_audioset(tmp_path).fingerprint == before
    wav = next((tmp_path / "audioset/audio").glob("*.wav"))
    wav.rename(wav.with_suffix(".flac"))
    with pytest.raises(DataError, match=r"1 of 4 clips .* 3 are there.*no wav, but a flac: .*ff"):
        load_audioset(tmp_path)


def test_a_missing_message_says_how_many_are_there_and_the_nearest(tmp_path: Path) -> None:
    make_flickr(tmp_path)
    pictures = sorted((tmp_path / "flickr30k").rglob("*.jpg"))
    pictures[0].rename(pictures[0].with_name(pictures[0].stem + "x.jpg"))
    with pytest.raises(
        DataError,
        match=rf"1 of 6 images .*missing and 5 are there: .*the nearest .*{pictures[0].stem}x",
    ):
        load_flickr30k(tmp_path)
