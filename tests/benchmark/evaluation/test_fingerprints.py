"""Fingerprints kept on disk: believed while nothing has changed, and never a moment longer."""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.backbones import checkpoint
from benchmark.backbones.places import weight_files
from benchmark.cell import BackboneSpec, Cell, Status
from benchmark.data.media import ImageFiles
from benchmark.data.tasks import files_of
from benchmark.evaluation import environment, fingerprints, plugins
from benchmark.evaluation import fingerprints as file_state
from benchmark.evaluation.fingerprints import Fingerprints
from benchmark.evaluation.resources import Resources
from benchmark.executors import SerialExecutor, identify
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes
from tests.benchmark.fakes import run_cells

EMBEDDED = {"suite": "mini", "benchmark": "mini-coco-c-image", "backbone": BackboneSpec("mini")}
CELL = fakes.cell(**EMBEDDED)


@pytest.fixture(autouse=True)
def package(monkeypatch, tmp_path) -> Path:
    """A package of one file, as old as if this process had started long after it was written."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "world.py").write_text("VERSION = 1")
    monkeypatch.setattr(file_state, "PACKAGE", folder)
    monkeypatch.setattr(fingerprints, "_STARTED", time.time() + 1000)
    file_state.state_of_package.cache_clear()
    yield folder
    file_state.state_of_package.cache_clear()


class Counting:
    """Resources of the fake world that count what they load."""

    def __init__(self, **loaders: Any) -> None:
        self.loaded: list[str] = []
        self.load_data = loaders.get("load_data", fakes.load_data)
        self.load_backbone = loaders.get("load_backbone", fakes.load_backbone)

    def make(self) -> Resources:
        return fakes.resources(load_data=self._data, load_backbone=self._backbone)

    def _data(self, cell: Cell) -> Any:
        self.loaded.append(cell.benchmark)
        return self.load_data(cell)

    def _backbone(self, spec: BackboneSpec) -> Any:
        self.loaded.append(spec.loader)
        return self.load_backbone(spec)


@pytest.fixture
def kept(tmp_path) -> Path:
    """A folder that holds what an embedded cell needs."""
    Fingerprints(tmp_path / "kept").remember(CELL, fakes.resources())
    return tmp_path / "kept"


def known(folder: Path, cell: Cell) -> tuple[str, str]:
    fresh = Fingerprints(folder)
    return fresh.of_data(cell), fresh.of_backbone(cell.backbone)


def test_a_second_process_need_not_load_what_is_embedded(tmp_path):
    counting, again = Counting(), Counting()
    resources = counting.make()
    key = resources.key(CELL)
    Fingerprints(tmp_path / "kept").remember(CELL, resources)
    assert Fingerprints(tmp_path / "kept").key(CELL, again.make()) == key
    assert again.loaded == []
    assert counting.loaded == ["mini-coco-c-image", "mini"]


def test_a_change_in_the_package_ends_it(kept, package):
    assert all(known(kept, CELL))
    (package / "world.py").write_text("VERSION = 2")  # the same size
    file_state.state_of_package.cache_clear()
    assert known(kept, CELL) == ("", "")


def test_another_version_of_a_library_ends_it(kept, monkeypatch):
    monkeypatch.setattr(environment.metadata, "version", lambda name: "99.0")
    file_state.state_of_package.cache_clear()
    assert known(kept, CELL) == ("", "")


def test_what_has_changed_since_this_process_started_is_not_kept(tmp_path, monkeypatch):
    """This process may have loaded the state before the change."""
    monkeypatch.setattr(fingerprints, "_STARTED", time.time() - 1000)
    Fingerprints(tmp_path / "kept").remember(CELL, fakes.resources())
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"files": 3}', "of another subject"])
def test_a_damaged_entry_or_that_of_another_is_as_good_as_none(kept, damage):
    for path in kept.iterdir():
        other = json.dumps({**json.loads(path.read_text()), "subject": "something else"})
        path.write_text(other if damage == "of another subject" else damage)
    assert known(kept, CELL) == ("", "")
    Fingerprints(kept).remember(CELL, fakes.resources())
    assert all(known(kept, CELL))


def test_plugins_and_what_is_not_registered_are_asked_each_time(tmp_path):
    Fingerprints(tmp_path / "kept").remember(fakes.cell(), fakes.resources())
    assert not (tmp_path / "kept").exists()


def test_a_folder_that_cannot_be_written_does_not_matter(tmp_path):
    (tmp_path / "kept").write_text("a file where the folder should be")
    Fingerprints(tmp_path / "kept").remember(CELL, fakes.resources())
    assert known(tmp_path / "kept", CELL) == ("", "")


def real(tmp_path: Path, **info: Any) -> tuple[Cell, Resources, Path]:
    """A cell on data and weights on disk: pictures, a list of them, a file of weights."""
    root = tmp_path / "data"
    (root / "coco" / "annotations").mkdir(parents=True)
    (root / "coco" / "images").mkdir()
    (root / "coco" / "annotations" / "list.json").write_text("[]")
    (tmp_path / "weights.pt").write_text("weights")
    pictures = [root / "coco" / "images" / f"{index}.jpg" for index in range(30)]
    for path in pictures:
        path.write_bytes(b"picture")
    data = fakes.world()
    held = ImageFiles(data.queries.ids, pictures)
    data = replace(data, queries=held, info=info)
    cell = fakes.cell(
        suite="paper",
        benchmark="coco-c-image",
        backbone=BackboneSpec("open_clip", "ViT-B-32", str(tmp_path / "weights.pt")),
        data_root=str(root),
    )
    return cell, fakes.resources(load_data=lambda cell: data), root


def test_the_files_of_a_data_set_are_those_that_its_items_name(tmp_path):
    cell, resources, root = real(tmp_path)
    assert files_of(resources.data(cell)) == sorted((root / "coco" / "images").iterdir())


@pytest.mark.parametrize("what", ["picture", "time", "list", "new list", "gone", "weights"])
def test_any_change_on_disk_ends_it(tmp_path, what):
    cell, resources, root = real(tmp_path)
    folder = tmp_path / "kept"
    Fingerprints(folder).remember(cell, resources)
    real_data = resources.data(cell).fingerprint
    assert known(folder, cell) == (real_data, "weights-1")
    picture = root / "coco" / "images" / "7.jpg"
    if what == "picture":
        picture.write_bytes(b"another picture")
    elif what == "time":
        os.utime(picture, ns=(1, 1))
    elif what == "list":
        (root / "coco" / "annotations" / "list.json").write_text("[1]")
    elif what == "new list":
        (root / "coco" / "other.json").write_text("[]")
    elif what == "gone":
        picture.unlink()
    else:
        (tmp_path / "weights.pt").write_text("others")
    data, weights = known(folder, cell)
    assert (data, weights) == ((real_data, "") if what == "weights" else ("", "weights-1"))


def rewrite(path: Path, content: str) -> None:
    """Other content of the same size and time."""
    before = path.stat()
    path.write_text(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("place", ["images/7.jpg", "a/b/list.json"])
def test_a_copy_that_keeps_size_and_time_ends_it_too(tmp_path, place):
    """Also three folders down, as in ``cirr_dataset/cirr/captions``."""
    cell, resources, root = real(tmp_path)
    (root / "coco" / "a" / "b").mkdir(parents=True)
    (root / "coco" / "a" / "b" / "list.json").write_text("[1]list")
    Fingerprints(tmp_path / "kept").remember(cell, resources)
    assert known(tmp_path / "kept", cell)[0]
    rewrite(root / "coco" / place, "PICTURE")
    assert known(tmp_path / "kept", cell)[0] == ""


def test_weights_by_tag_are_the_file_in_the_local_cache(tmp_path, monkeypatch):
    cell, resources, _ = real(tmp_path)
    cached = tmp_path / "weights.pt"
    monkeypatch.setattr(checkpoint, "cached_weights", lambda model, tag: cached)
    tagged = replace(cell, backbone=replace(cell.backbone, pretrained="openai"))
    Fingerprints(tmp_path / "kept").remember(tagged, resources)
    assert known(tmp_path / "kept", tagged)[1] == "weights-1"
    rewrite(cached, "WEIGHTS")
    assert known(tmp_path / "kept", tagged)[1] == ""


def test_a_tag_is_looked_for_where_open_clip_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert checkpoint.cached_weights("RN50", "openai") is None
    facts = {"url": "https://models.invalid/abc/RN50.pt"}
    monkeypatch.setattr(checkpoint, "get_pretrained_cfg", lambda model, tag: facts)
    assert checkpoint.cached_weights("RN50", "openai") is None
    file = tmp_path / ".cache" / "clip" / "RN50.pt"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    assert checkpoint.cached_weights("RN50", "openai") == file


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (BackboneSpec("open_clip", "local-dir:{0}/folder", ""), ["config", "weights"]),
        (BackboneSpec("weighted_sum", "local-dir:{0}/folder@0.4", ""), ["config", "weights"]),
        (BackboneSpec("open_clip", "ViT-B-32", "{0}/folder/weights"), ["weights"]),
        (BackboneSpec("open_clip", "ViT-B-16-SigLIP", "{0}/folder/weights"), []),
        (BackboneSpec("blip", "{0}/folder", ""), ["config", "weights"]),
        (BackboneSpec("blip", "Salesforce/blip", "{0}/folder/weights"), []),
        (BackboneSpec("blip", "", "{0}/folder/weights"), ["weights"]),
        (BackboneSpec("cav_mae", "", "{0}/folder/weights"), ["weights"]),
        (BackboneSpec("cav_mae", "", "{0}/folder/none"), []),
    ],
    ids=str,
)
def test_the_files_behind_a_backbone(tmp_path, spec, expected):
    """None where a hub's cache may decide: such fingerprints are not kept."""
    (tmp_path / "folder").mkdir()
    for name in ("config", "weights"):
        (tmp_path / "folder" / name).write_bytes(b"content")
    placed = replace(
        spec, model=spec.model.format(tmp_path), pretrained=spec.pretrained.format(tmp_path)
    )
    assert [path.name for path in weight_files(placed)] == expected


def test_incomplete_data_and_weights_that_are_elsewhere_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "cached_weights", lambda model, tag: None)
    cell, resources, _ = real(tmp_path, allow_missing=True)
    tagged = replace(cell, backbone=replace(cell.backbone, pretrained="openai"))
    Fingerprints(tmp_path / "kept").remember(tagged, resources)
    assert not (tmp_path / "kept").exists()


def test_two_at_once_leave_whole_entries(tmp_path):
    cells = [
        fakes.cell(**{**EMBEDDED, "backbone": BackboneSpec("mini", transform=t)}) for t in "ab"
    ]
    threads = [
        threading.Thread(target=Fingerprints(tmp_path / "k").remember, args=(cell, resources))
        for resources in (fakes.resources(), fakes.resources())
        for cell in cells
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list((tmp_path / "k").iterdir())) == 3  # one data set, two backbones
    assert all(all(known(tmp_path / "k", cell)) for cell in cells)


def test_a_finished_run_is_told_without_loading(tmp_path):
    """The shape of the promise for a grid of a thousand cells: nothing is loaded, all is reused."""
    store, counting = RunStore(tmp_path / "run"), Counting()
    cells = [fakes.cell(seed=seed, **EMBEDDED) for seed in range(6)]
    resources = counting.make()
    first = run_cells(cells, store, SerialExecutor(resources), resources=resources)
    assert [r.status for r in first.records] == [Status.DONE] * 6
    again = Counting()
    found = identify(cells, store, again.make())
    assert (found.waiting, found.keys) == (0, [r.key for r in first.records])
    assert again.loaded == []
    one_more = [*cells, fakes.cell(seed=6, **EMBEDDED)]
    assert identify(one_more, store, again.make()).waiting == 1
    assert again.loaded == ["mini-coco-c-image", "mini"]
    forced = identify(cells, store, again.make(), again=True)
    assert (forced.waiting, forced.keys) == (6, found.keys)


def test_other_data_are_found_out_and_run(tmp_path, package):
    store = RunStore(tmp_path / "run")
    resources = fakes.resources()
    run_cells([CELL], store, SerialExecutor(resources), resources=resources)
    (package / "world.py").write_text("VERSION = 2")
    file_state.state_of_package.cache_clear()
    changed = fakes.resources(load_data=lambda cell: replace(fakes.world(), fingerprint="new"))
    assert identify([CELL], store, changed).waiting == 1


def test_the_code_of_a_plugin_is_also_what_lies_beside_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "plug_help").mkdir()
    for name, text in {
        "plug_shift.py": "from plug_table import T\ndef f(): pass",
        "plug_table.py": "import plug_help.deep\nT = 1",
        "plug_help/__init__.py": "import torch",
        "plug_help/deep.py": "import plug_shift",
    }.items():
        (tmp_path / name).write_text(text)
    function, found = importlib.import_module("plug_shift").f, []
    for changed in ("unused.py", "plug_help/deep.py", "unused.py", "plug_table.py"):
        (tmp_path / changed).write_text("D = 2")
        plugins._code.cache_clear()
        found.append(plugins.code_of(function))
    assert found[0] != found[1] == found[2] != found[3]
    (tmp_path / "plug_wide").mkdir()  # a namespace, with what an editable install adds
    (tmp_path / "plug_wide" / "one.py").write_text("def f(): pass")
    one = importlib.import_module("plug_wide.one")
    monkeypatch.setattr(sys.modules["plug_wide"], "__path__", [f"{tmp_path}/plug_wide", "__hook__"])
    assert plugins.code_of(one.f)


def test_weights_may_move_to_another_folder():
    def key(model: str) -> str:
        spec = BackboneSpec("open_clip", model)
        return fakes.cell(backbone=spec).key(data_fingerprint="d", backbone_fingerprint="w")

    assert key("local-dir:/a/net") == key("local-dir:/b/c/net/") == key("local-dir:net")
    assert len({key("local-dir:/a/net"), key("local-dir:/a/other"), key("net"), key("x/net")}) == 4
    assert key("/a/net") == key("~/net")
