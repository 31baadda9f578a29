"""Layouts of real copies that differ from the documented one: same data set, same content."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.data.datasets.audio_visual import load_audioset
from benchmark.data.datasets.captioned import (
    load_coco,
    load_cuhk_pedes,
    load_flickr30k,
    load_icfg_pedes,
    load_nocaps,
    load_rsicd,
    load_rsitmd,
)
from benchmark.data.datasets.composed import load_cirr, load_fashion_iq
from benchmark.errors import DataError
from tests.benchmark.fixtures_clips import make_clips
from tests.benchmark.fixtures_composed import make_cirr, make_fashion_iq
from tests.benchmark.fixtures_karpathy import make_coco, make_flickr
from tests.benchmark.fixtures_pairs import (
    Loader,
    make_cuhk,
    make_icfg,
    make_nocaps,
    make_person_search,
    make_remote_sensing,
    make_rsitmd,
)
from tests.benchmark.fixtures_sets import SETS


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
    next((root / "nocaps").rglob("*.jpg")).parent.rename(root / "nocaps/validation")


def rsicd_doubled(root: Path) -> None:
    make_remote_sensing(root, "rsicd")
    next((root / "rsicd").rglob("*.jpg")).parent.rename(root / "rsicd/moved")
    (root / "rsicd/RSICD_images").mkdir()
    (root / "rsicd/moved").rename(root / "rsicd/RSICD_images/RSICD_images")


def doubled(root: Path) -> None:
    """As an archive that was unpacked into a folder of its own name, once more below."""
    make_cuhk(root)
    (root / "CUHK-PEDES").rename(root / "moved")
    (root / "cuhk-pedes").mkdir()
    (root / "moved").rename(root / "cuhk-pedes/CUHK-PEDES")
    (root / "cuhk-pedes/CUHK-PEDES/imgs").rename(root / "cuhk-pedes/CUHK-PEDES/moved")
    (root / "cuhk-pedes/CUHK-PEDES/imgs").mkdir()
    (root / "cuhk-pedes/CUHK-PEDES/moved").rename(root / "cuhk-pedes/CUHK-PEDES/imgs/imgs")


def capitals(root: Path) -> None:
    make_nocaps(root)
    (root / "nocaps/images").rename(root / "nocaps/Validation")
    (root / "nocaps").rename(root / "NoCaps")


def rsitmd_png(root: Path) -> None:
    file = make_rsitmd(root)
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
    "doubled": (load_cuhk_pedes, make_cuhk, doubled),
    "capitals": (load_nocaps, make_nocaps, capitals),
    "rsicd": (load_rsicd, make_remote_sensing, rsicd_doubled),
    "rsitmd": (load_rsitmd, make_rsitmd, rsitmd_png),
    "fashion-iq": (load_fashion_iq, make_fashion_iq, fashion_categories),
    "cirr": (load_cirr, make_cirr, cirr_flat),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_known_copy_is_the_same_data_set(tmp_path: Path, name: str) -> None:
    load, documented, known = COPIES[name]
    documented(tmp_path / "documented")
    known(tmp_path / "known")
    assert load(tmp_path / "known").fingerprint == load(tmp_path / "documented").fingerprint


MEDIA = (".jpg", ".png", ".tif", ".wav")


def media_folder(root: Path) -> Path:
    """The topmost folder with pictures or sounds in it."""
    folders = {path.parent for path in root.rglob("*") if path.suffix in MEDIA}
    return min(folders, key=lambda folder: len(folder.parts))


def nested(folder: Path) -> None:
    """As an archive that was unpacked into a folder of its own name, twice."""
    moved = folder.rename(folder.with_name("moved"))
    (folder / folder.name).mkdir(parents=True)
    moved.rename(folder / folder.name / folder.name)


def with_junk(root: Path) -> None:
    """What macOS and Windows leave in archives."""
    for path in [path for path in root.rglob("*") if path.suffix in MEDIA]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
        (path.parent / "Thumbs.db").write_bytes(b"\0")
    (root / "__MACOSX").mkdir()


def shouted(root: Path) -> None:
    folder = media_folder(root)
    folder.rename(folder.with_name(folder.name.upper()))


ODD: dict[str, Callable[[Path], None]] = {
    "nested": lambda root: nested(next(path for path in root.iterdir() if path.is_dir())),
    "nested media": lambda root: nested(media_folder(root)),
    "capitals": shouted,
    "junk": with_junk,
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", SETS)
def test_every_data_set_is_read_however_it_was_unpacked(
    tmp_path: Path, name: str, odd: str
) -> None:
    load, make = SETS[name]
    make(tmp_path / "documented")
    make(tmp_path / "odd")
    ODD[odd](tmp_path / "odd")
    assert load(tmp_path / "odd").fingerprint == load(tmp_path / "documented").fingerprint


@pytest.mark.parametrize("name", SETS)
def test_a_link_out_of_the_data_is_refused(tmp_path: Path, name: str) -> None:
    load, make = SETS[name]
    make(tmp_path / "data")
    inside = next(path for path in (tmp_path / "data").rglob("*") if path.suffix in MEDIA)
    inside.symlink_to(inside.rename(tmp_path / "secret"))
    with pytest.raises(DataError, match=rf"{inside.name} is a link to .*secret.*is refused"):
        load(tmp_path / "data")


@pytest.mark.parametrize("name", SETS)
def test_a_broken_annotation_file_is_named(tmp_path: Path, name: str) -> None:
    load, make = SETS[name]
    make(tmp_path)
    for file in tmp_path.rglob("*.json*"):
        text = file.read_text()
        broken = {
            text[: len(text) // 2]: r" is not valid JSON.*line \d+, column",
            '"text"': ".*expected an? (list|object)",
        }
        for content, said in broken.items():
            file.write_text(content)
            with pytest.raises(DataError, match=rf"{file.name}{said}"):
                load(tmp_path)
        file.write_text(text)


@pytest.mark.parametrize("what", ["media", "all"])
@pytest.mark.parametrize("name", SETS)
def test_a_packed_archive_is_named_with_the_command_that_unpacks_it(
    tmp_path: Path, name: str, what: str
) -> None:
    load, make = SETS[name]
    make(tmp_path)
    before = load(tmp_path).fingerprint
    folder = media_folder(tmp_path) if what == "media" else next(tmp_path.iterdir())
    shutil.make_archive(str(folder), "gztar", folder.parent, folder.name)
    shutil.rmtree(folder)
    with pytest.raises(DataError) as error:
        load(tmp_path)
    said = re.search(r"(\S+) is still packed: ([^;\n]+)", str(error.value))
    assert said is not None, str(error.value)
    assert said[1] == f"{folder}.tar.gz"
    subprocess.run(shlex.split(said[2]), check=True)
    assert load(tmp_path).fingerprint == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("val2014.ZIP", "unzip -q '{0}' -d '{1}'"),
        ("images.tar", "tar -xf '{0}' -C '{1}'"),
        ("my images.7z", "7z x '{0}' -o'{1}'"),
    ],
)
def test_archives_of_every_kind(tmp_path: Path, name: str, said: str) -> None:
    make_coco(tmp_path / "my data")
    shutil.rmtree(tmp_path / "my data/coco/images")
    archive = tmp_path / "my data/coco" / name
    archive.touch()
    with pytest.raises(DataError, match=re.escape(said.format(archive, archive.parent))):
        load_coco(tmp_path / "my data")


def test_a_missing_picture_is_not_likened_to_what_macos_adds(tmp_path: Path) -> None:
    folder = make_flickr(tmp_path).parent
    with_junk(tmp_path)
    next(path for path in folder.rglob("*.jpg") if not path.name.startswith(".")).unlink()
    with pytest.raises(DataError, match="1 of 6 images") as error:
        load_flickr30k(tmp_path)
    assert "._" not in str(error.value)


def test_all_captions_of_cuhk_serve_where_they_say_their_splits(tmp_path: Path) -> None:
    documented = make_cuhk(tmp_path / "a")
    known = make_person_search(tmp_path / "b", "CUHK-PEDES", "caption_all.json")
    assert load_cuhk_pedes(tmp_path / "b").fingerprint == (
        load_cuhk_pedes(documented.parent.parent).fingerprint
    )
    records = [{k: v for k, v in r.items() if k != "split"} for r in json.loads(known.read_text())]
    known.write_text(json.dumps(records))
    with pytest.raises(DataError, match="is there, but has no splits"):
        load_cuhk_pedes(tmp_path / "b")


def test_captions_of_icfg_as_a_text(tmp_path: Path) -> None:
    file = make_icfg(tmp_path)
    records = json.loads(file.read_text())
    for record in records:
        record["captions"] = record["captions"][0]
    file.write_text(json.dumps(records))
    assert (
        load_icfg_pedes(tmp_path).counts["captions"] == load_icfg_pedes(tmp_path).counts["images"]
    )


@pytest.mark.parametrize(
    ("load", "file", "said"),
    [
        (load_flickr30k, "flickr30k/results_20130124.token", "has no such split; .* curl -O http"),
        (load_flickr30k, "Flickr30k/flickr30k_images/results.csv", "has no such split; .* curl -O"),
        (load_coco, "coco/annotations/captions_val2014.json", "has no such .*coco_karpathy_test"),
        (load_nocaps, "nocaps/nocaps_val_image_info.json", "has no captions; .*curl -O http"),
        (load_cuhk_pedes, "CUHK-PEDES/caption_all.json", "has no splits; take reid_raw"),
    ],
)
def test_files_that_cannot_serve_are_named_with_what_mends_it(
    tmp_path: Path, load: Loader, file: str, said: str
) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text("[]")
    with pytest.raises(DataError, match=rf"{file} is there, but {said}"):
        load(tmp_path)


def test_a_list_of_nocaps_without_domains(tmp_path: Path) -> None:
    file = make_nocaps(tmp_path, form="tcr")
    records = [{"image": r["image"], "img_id": 0} for r in json.loads(file.read_text())]
    file.with_name("nocaps_val.json").write_text(json.dumps(records))
    with pytest.raises(DataError, match=r"nocaps_val.json is BLIP's list, without .*: curl -O"):
        load_nocaps(tmp_path)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("downloads/dataset_rsicd.json", "is there: --data {root}/downloads reads it"),
        ("RSICD_optimal/annotations/dataset_rsicd.json", "--data {root}/RSICD_optimal reads it"),
        ("rsicd/text/dataset_rsicd.json", "mv {root}/rsicd/text/{name} {root}/rsicd/{name}"),
        ("rsicd/Dataset_RSICD.json", "mv {root}/rsicd/Dataset_RSICD.json {root}/rsicd/{name}"),
    ],
)
def test_annotations_in_another_place(tmp_path: Path, place: str, said: str) -> None:
    file = make_remote_sensing(tmp_path, "rsicd")
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    file.rename(tmp_path / place)
    wanted = said.format(root=tmp_path, name="dataset_rsicd.json")
    with pytest.raises(DataError, match=re.escape(wanted)):
        load_rsicd(tmp_path)


def test_a_file_of_a_common_name_is_not_taken_for_annotations(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/test.json").write_text("[]")
    with pytest.raises(DataError, match="no annotations") as error:
        load_flickr30k(tmp_path)
    assert "is there" not in str(error.value)


@pytest.mark.parametrize("suffix", [".flac", ".FLAC", ".mp3"])
def test_lists_that_name_other_sounds(tmp_path: Path, suffix: str) -> None:
    file = make_clips(tmp_path)
    before = load_audioset(tmp_path).fingerprint
    file.write_text(file.read_text().replace(".wav", suffix))
    assert load_audioset(tmp_path).fingerprint == before
    wav = next((tmp_path / "audioset/audio").glob("*.wav"))
    wav.rename(wav.with_suffix(suffix))
    loop = re.escape(f"for f in {wav.parent}/*{suffix}; do ffmpeg ")
    with pytest.raises(DataError, match=rf"1 of 4 clips .* 3 are there.*\(no wav\).*{loop}"):
        load_audioset(tmp_path)


def test_sounds_that_are_there_in_another_form_than_the_list_says(tmp_path: Path) -> None:
    make_clips(tmp_path)
    wav = next((tmp_path / "audioset/audio").glob("*.wav"))
    wav.rename(wav.with_suffix(".flac"))
    with pytest.raises(DataError, match=r"Only wav is read, and there is .*\.flac: for f in"):
        load_audioset(tmp_path)


@pytest.mark.parametrize(("begins", "said"), [("/data/sls/as", "/data/sls/as"), ("/x/y", "/x/y")])
def test_absolute_paths_of_another_machine(tmp_path: Path, begins: str, said: str) -> None:
    file = make_clips(tmp_path)
    file.write_text(file.read_text().replace('"audio/', f'"{begins}/audio/'))
    command = re.escape(f"""sed -i 's#"{said}/#"#' {file}""")
    with pytest.raises(DataError, match=f"wav leads to .*, which is refused; .*{command}"):
        load_audioset(tmp_path)
    file.write_text(file.read_text().replace(f'"{said}/', '"'))  # what the command does
    assert load_audioset(tmp_path).counts == {"clips": 4}


def test_a_missing_message_says_how_many_are_there_and_the_nearest(tmp_path: Path) -> None:
    make_flickr(tmp_path)
    pictures = sorted((tmp_path / "flickr30k").rglob("*.jpg"))
    pictures[0].rename(pictures[0].with_name(pictures[0].stem + "x.jpg"))
    with pytest.raises(
        DataError,
        match=rf"1 of 6 images .*missing, 5 are there: .*the nearest .*{pictures[0].stem}x",
    ):
        load_flickr30k(tmp_path)


@pytest.mark.parametrize("folder", ["img_raw/dev", "elsewhere"])
def test_pictures_of_another_suffix_or_in_another_place_are_named(
    tmp_path: Path, folder: str
) -> None:
    cirr = make_cirr(tmp_path)
    (cirr / folder).mkdir(exist_ok=True)
    for picture in list((cirr / "img_raw/dev").iterdir()):
        picture.rename(cirr / folder / f"{picture.stem}.JPG")
    with pytest.raises(DataError, match=r"nothing to run on") as error:
        load_cirr(tmp_path, split="val", allow_missing=True)
    assert re.search(
        rf"(instead of|nearest to) 'dev/.*\.png' .*{folder}/.*\.JPG'", str(error.value)
    )
