"""Data sets are what their files hold: not their names, sizes, dates or folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.data.datasets.base import ClipPairs, DataSet, ImageTextPairs
from benchmark.data.datasets.composed import load_cirr
from benchmark.data.media import ImageFiles
from benchmark.data.retrieval import RetrievalSet
from benchmark.data.tasks import build_clips, build_composed, build_pairs, by_content, files_of
from benchmark.errors import DataError
from tests.benchmark import fakes
from tests.benchmark.fixtures_composed import make_cirr
from tests.benchmark.fixtures_sets import SETS

each = pytest.mark.parametrize("name", SETS)


def made(root: Path, name: str) -> Callable[..., DataSet]:
    load, make = SETS[name]
    make(root)
    return load


def built(loaded: DataSet) -> RetrievalSet:
    if isinstance(loaded, ImageTextPairs):
        return build_pairs(loaded, name="t", query="image")
    if isinstance(loaded, ClipPairs):
        return build_clips(loaded, name="t", query="video")
    return build_composed(loaded, name="t")


def files(loaded: DataSet) -> list[Path]:
    return files_of(built(loaded))


def with_other_content(path: Path) -> None:
    """Other bytes in place of a file's last one; size and date stay."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@each
def test_any_file_of_the_same_size_and_date_counts(tmp_path: Path, name: str) -> None:
    load = made(tmp_path, name)
    loaded = load(tmp_path)
    prints = {loaded.fingerprint}
    for suffix in {path.suffix for path in files(loaded)}:
        with_other_content(next(path for path in files(loaded) if path.suffix == suffix))
        prints.add(load(tmp_path).fingerprint)
    with_other_content(files(loaded)[-1])
    prints.add(load(tmp_path).fingerprint)
    assert len(prints) == 2 + len({path.suffix for path in files(loaded)})


@each
def test_a_moved_copy_is_the_same_data(tmp_path: Path, name: str) -> None:
    load = made(tmp_path / "one", name)
    first = load(tmp_path / "one").fingerprint
    shutil.copytree(tmp_path / "one", tmp_path / "deep" / "er" / "two")
    assert load(tmp_path / "deep" / "er" / "two").fingerprint == first
    (tmp_path / "linked").symlink_to(tmp_path / "one")
    assert load(tmp_path / "linked").fingerprint == first
    assert load(tmp_path / "one", allow_missing=True).fingerprint == first


@pytest.mark.parametrize("name", ["coco", "rsitmd", "cirr", "fashioniq", "audioset"])
def test_the_fingerprint_says_which_files_are_missing(tmp_path: Path, name: str) -> None:
    load = made(tmp_path, name)
    whole = load(tmp_path)
    unlike: set[str] = {whole.fingerprint}
    for path in (files(whole)[0], files(whole)[-1]):
        path.rename(tmp_path / "away")
        unlike.add(load(tmp_path, allow_missing=True).fingerprint)
        (tmp_path / "away").rename(path)
    assert len(unlike) == 3
    assert load(tmp_path).fingerprint == whole.fingerprint


def test_a_set_with_a_hole_is_not_the_smaller_set(tmp_path: Path) -> None:
    load = made(tmp_path, "rsitmd")
    gone = files(load(tmp_path))[-1]
    gone.unlink()
    holed = load(tmp_path, allow_missing=True)
    (annotation,) = tmp_path.rglob("*.json")
    records = json.loads(annotation.read_text())
    records["images"] = [r for r in records["images"] if r["filename"] != gone.name]
    annotation.write_text(json.dumps(records))
    smaller = load(tmp_path, allow_missing=True)
    assert list(built(holed).queries.ids) == list(built(smaller).queries.ids)
    assert holed.fingerprint != smaller.fingerprint


def test_the_image_sets_of_cirr_count(tmp_path: Path) -> None:
    """They order correlated streams."""
    make_cirr(tmp_path)
    before = load_cirr(tmp_path).fingerprint
    (captions,) = tmp_path.rglob("cap.rc2.val.json")
    records = json.loads(captions.read_text())
    records[0]["img_set"]["id"] += 1000
    captions.write_text(json.dumps(records))
    assert load_cirr(tmp_path).fingerprint != before


@pytest.mark.parametrize("name", ["coco", "audioset", "cirr"])
def test_a_file_that_changes_under_a_run_is_refused(tmp_path: Path, name: str) -> None:
    load = made(tmp_path, name)
    loaded = load(tmp_path)
    data = built(loaded)
    for items in (data.queries, data.gallery):
        if not isinstance(items[0], str):
            items[0]
    for path in files(loaded):
        with_other_content(path)
    with pytest.raises(DataError, match=r"has changed since|cannot be decoded"):
        [items[0] for items in (data.queries, data.gallery)]


def test_a_plugins_set_that_goes_by_names_gets_the_content_of_its_files(tmp_path: Path) -> None:
    def plugins() -> RetrievalSet:
        data = fakes.world()
        paths = [tmp_path / f"{index}.jpg" for index in range(len(data.queries))]
        return replace(data, queries=ImageFiles(data.queries.ids, paths))

    for index in range(len(fakes.world().queries)):
        (tmp_path / f"{index}.jpg").write_bytes(b"picture %d" % index)
    before = by_content(plugins())
    assert before.fingerprint == by_content(plugins()).fingerprint != plugins().fingerprint
    with_other_content(tmp_path / "7.jpg")
    assert by_content(plugins()).fingerprint != before.fingerprint
    embedded = fakes.world()
    assert by_content(embedded) is embedded
