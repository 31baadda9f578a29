"""Names of files as people's disks have them: odd spaces, capitals, two forms of an accent."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path, PurePosixPath

import pytest

from benchmark.data.datasets.annotations import relative_path
from benchmark.data.datasets.captioned import load_coco
from benchmark.data.datasets.folders import Files
from benchmark.errors import DataError
from tests.benchmark.fixtures_karpathy import make_coco


def renamed(root: Path, annotated: str, stored: str) -> Path:
    """A COCO folder whose first image has one name in the annotations and one on the disk."""
    make_coco(root, form="karpathy")
    path = load_coco(root).images.paths[0]
    file = next(root.rglob("dataset_coco.json"))
    content = json.loads(file.read_text())
    record = next(r for r in content["images"] if r["filename"] == path.name)
    record["filename"] = annotated
    file.write_text(json.dumps(content))
    return path.rename(path.with_name(stored))


@pytest.mark.parametrize(
    "name",
    [
        "Screenshot 2026-11-26 at 3.04.05\u202fPM.jpg",
        "a\u00a0b.jpg",
        "क्\u200dष.jpg",
        "\u200eWhatsApp.jpg",
        "👩\u200d🔬.jpg",
    ],
)
def test_odd_but_harmless_characters_are_part_of_names(tmp_path: Path, name: str) -> None:
    assert renamed(tmp_path, name, name) in load_coco(tmp_path).images.paths


@pytest.mark.parametrize("name", ["a\x1b[2Jb.jpg", "a\nb.jpg", "a\0b.jpg", "\x9bb.jpg", "a\udc80"])
def test_control_characters_in_names_are_refused_as_such(name: str) -> None:
    with pytest.raises(DataError, match="holds a control character"):
        relative_path(name, "file.json")


@pytest.mark.parametrize(("annotated", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_the_other_form_of_an_accent_is_the_same_name(
    tmp_path: Path, annotated: str, stored: str
) -> None:
    name = "café à la carte.jpg"
    forms = [unicodedata.normalize(form, name) for form in (annotated, stored)]  # type: ignore[arg-type]
    assert renamed(tmp_path, *forms) in load_coco(tmp_path).images.paths


def test_folders_have_two_forms_too_and_an_exact_name_comes_first(tmp_path: Path) -> None:
    composed, parted = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    (tmp_path / parted).mkdir()
    (tmp_path / parted / f"{parted}.jpg").touch()
    wanted = PurePosixPath(composed) / f"{composed}.jpg"
    assert Files([tmp_path]).find(wanted) == tmp_path / parted / f"{parted}.jpg"
    (tmp_path / parted / f"{composed}.jpg").touch()
    exact = PurePosixPath(parted) / f"{composed}.jpg"
    assert Files([tmp_path]).find(exact) == tmp_path / exact


def test_a_link_of_the_other_form_is_refused_as_any(tmp_path: Path) -> None:
    composed, parted = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    (tmp_path / "secret").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / parted).symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match="is a link to"):
        Files([tmp_path / "data"]).find(PurePosixPath(composed))


@pytest.mark.parametrize("stored", ["one.JPG", "One.jpg", "one.png", "one.jpeg"])
def test_a_near_name_is_named(tmp_path: Path, stored: str) -> None:
    renamed(tmp_path, "one.jpg", stored)
    with pytest.raises(DataError, match=rf"one.jpg' there is '.*/{stored}'.*must have the same"):
        load_coco(tmp_path)


def test_nothing_near_is_not_made_up(tmp_path: Path) -> None:
    renamed(tmp_path, "one.jpg", "two.jpg")
    with pytest.raises(DataError) as caught:
        load_coco(tmp_path)
    assert "there is" not in str(caught.value).replace("what is there", "")
