"""Records agree with themselves, or are named, left out of everything and run again."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark.cell import ShiftSpec, Status, StreamSpec, unfinished
from benchmark.errors import ResultsError
from benchmark.evaluation.runner import run_cell
from benchmark.executors import Executor, SerialExecutor, WorkQueue, identify
from benchmark.planning.estimate import stored_cells
from benchmark.report.writing import load_results, write_all
from benchmark.store import records
from benchmark.store.merge import merge_runs
from benchmark.store.records import packed, read_cell, sealed
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes
from tests.benchmark.executors import worlds
from tests.benchmark.fakes import run_cells

CELL = fakes.cell("trained")
Values = dict[str, Any]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two cells."""
    store, shared = RunStore(tmp_path_factory.mktemp("once")), fakes.resources()
    run_cells([fakes.cell(), CELL], store, SerialExecutor(shared), resources=shared)
    return store.path


@pytest.fixture
def store(once: Path, tmp_path: Path) -> RunStore:
    """A copy of that run, to be spoilt."""
    return RunStore(shutil.copytree(once, tmp_path / "run"))


def path_of(store: RunStore, method: str = "trained") -> Path:
    (path,) = store.cells.glob(f"*_{method}_*.json")
    return path


def edit(path: Path, change: Callable[[Values], object], *, seal: bool = False) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(sealed(values) if seal else values))


def forged(path: Path, content: bytes) -> None:
    """Other numbers per query, with their digest in the record, and the record sealed again."""
    path.with_suffix(".npz").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    edit(path, lambda values: values.update(arrays=digest), seal=True)


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    return dict(read_cell(path).arrays)


def changed(path: Path, **others: np.ndarray | None) -> bytes:
    arrays = {**arrays_of(path), **others}
    return packed({name: value for name, value in arrays.items() if value is not None})


def flip(path: Path) -> None:
    numbers = path.with_suffix(".npz")
    content = bytearray(numbers.read_bytes())
    content[len(content) // 2] ^= 1
    numbers.write_bytes(content)


def members(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in content.items():
            archive.writestr(name, raw)
    return buffer.getvalue()


def header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<i8", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def pickled(path: Path) -> bytes:
    buffer = io.BytesIO()
    arrays = {**arrays_of(path), "group": np.array([{}] * 30, dtype=object)}
    np.savez(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


EDITS: dict[str, Callable[[Values], object]] = {
    "R@1": lambda v: v["metrics"].update({"R@1": 99.0}),
    "a probe": lambda v: v["probes"].update(gap=0.0),
    "a cost": lambda v: v["cost"].update(ms_per_query=0.1),
    "a batch": lambda v: v["batches"][0].update(queries=9.0),
    "info": lambda v: v["info"].update(backbone_name="larger"),
    "an option": lambda v: v["cell"]["method"]["options"].update(lr=1.0),
    "torch": lambda v: v["environment"].update(torch="1.0"),
    "the status": lambda v: v.update(status="failed"),
    "a new field in info": lambda v: v["info"].update(note="x"),
}

DAMAGE: dict[str, Callable[[Path], object]] = {
    **{f"edited: {name}": (lambda path, how=how: edit(path, how)) for name, how in EDITS.items()},
    "a flipped bit": flip,
    "truncated": lambda path: os.truncate(path.with_suffix(".npz"), 300),
    "empty": lambda path: path.with_suffix(".npz").write_bytes(b""),
    "gone": lambda path: path.with_suffix(".npz").unlink(),
    "a folder": lambda path: (path.with_suffix(".npz").unlink(), path.with_suffix(".npz").mkdir()),
    "of another cell": lambda path: shutil.copy(
        next(path.parent.glob("*_source_*.npz")), path.with_suffix(".npz")
    ),
    "an array more": lambda path: path.with_suffix(".npz").write_bytes(
        changed(path, more=np.arange(30))
    ),
}

FORGED: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "better ranks": (lambda p: changed(p, best_rank=np.ones(30, np.int64)), "R@1 is"),
    "better precisions": (lambda p: changed(p, ap=np.ones(30)), "mAP is"),
    "precisions of 2": (lambda p: changed(p, ap=np.full(30, 2.0)), "not between 0 and 1"),
    "an array less": (lambda p: changed(p, query=None), "lack query"),
    "floats as ranks": (lambda p: changed(p, best_rank=np.ones(30)), "of type float64"),
    "NaN": (lambda p: changed(p, ap=np.full(30, np.nan)), "not finite"),
    "rank 0": (lambda p: changed(p, best_rank=np.zeros(30, np.int64)), "outside the gallery"),
    "rank 61": (lambda p: changed(p, best_rank=np.full(30, 61)), "outside the gallery"),
    "no order": (lambda p: changed(p, order=np.zeros(30, np.int64)), "each query once"),
    "an order of negatives": (lambda p: changed(p, order=np.arange(30) - 1), "each query once"),
    "other lengths": (lambda p: changed(p, group=np.arange(29)), "different or no length"),
    "two dimensions": (
        lambda p: changed(p, **{n: a.reshape(5, 6) for n, a in arrays_of(p).items()}),
        "different or no length",
    ),
    "fewer queries": (
        lambda p: changed(p, **{n: np.sort(a)[:29] for n, a in arrays_of(p).items()}),
        "of 30 queries",
    ),
    "objects": (pickled, "of type object"),
    "no zip": (lambda p: b"PK\x03\x04", "not a zip"),
    "an absurd shape": (
        lambda p: members({"query.npy": header((1 << 50,)) + bytes(8)}),
        "size that it says",
    ),
    "no arrays": (lambda p: members({}), "lack query"),
    "no array": (lambda p: members({"query.npy": b"hello"}), "no readable record"),
}


def said_of(store: RunStore, path: Path, caplog: pytest.LogCaptureFixture) -> str:
    """The one line that is said of a record when it is left out."""
    with caplog.at_level(logging.WARNING):
        assert [r.method for r in load_results(store)] == ["source"]
    said = caplog.text
    assert path.name in said or path.with_suffix(".npz").name in said
    assert said.count("\n") == 1
    return said


def left_out(store: RunStore, path: Path) -> None:
    """Checks that the other readers leave a record out too, and that it is run again."""
    write_all(RunStore(store.path), figures=False)
    assert set(pd.read_csv(store.path / "leaderboard.csv")["method"]) == {"source"}
    with pytest.raises(ResultsError, match=path.stem):
        merge_runs([store.path], store.path.parent / "merged")
    assert len(stored_cells(store.path)) == 1
    if path.with_suffix(".npz").is_dir():
        path.with_suffix(".npz").rmdir()
    shared = fakes.resources()
    fresh = RunStore(store.path)
    again = run_cells([fakes.cell(), CELL], fresh, SerialExecutor(shared), resources=shared)
    assert (again.reused, worlds.statuses(again.records)) == (1, ["done"] * 2)
    assert len(load_results(fresh)) == 2
    assert fresh.read()[1] == []


@pytest.mark.parametrize("how", DAMAGE)
def test_what_was_changed_is_named_left_out_and_run_again(
    store: RunStore, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(store)
    DAMAGE[how](path)
    said_of(store, path, caplog)
    if how.removeprefix("edited: ") not in list(EDITS)[1:]:  # all edits fail by the same digest
        left_out(store, path)


@pytest.mark.parametrize("how", FORGED)
def test_numbers_that_contradict_the_record_are_refused_even_where_all_digests_fit(
    store: RunStore, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, (content, reason) = path_of(store), FORGED[how]
    forged(path, content(path))
    assert reason in said_of(store, path, caplog)


def test_what_would_unpack_to_too_much_is_refused(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "LARGEST", 100_000)
    path = path_of(store)
    forged(path, members({"query.npy": header((20_000,)) + bytes(160_000)}))
    with pytest.raises(ResultsError, match="would be 160128 bytes"):
        read_cell(path)
    monkeypatch.setattr(records, "LARGEST", 100)
    with pytest.raises(ResultsError, match="at most 100 are read"):
        read_cell(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda v: v["metrics"].update({"R@1": 99.0}), "R@1 is 99.0, but its ranks give"),
        (lambda v: v["metrics"].update({"R@10": None}), "R@10 is nan"),
        (lambda v: v["metrics"].update({"mean_recall": 1.0}), "mean_recall is 1.0"),
        (lambda v: v["metrics"].update({"R@1_noise-1": 1.0}), "R@1_noise-1 is 1.0"),
        (
            lambda v: v["metrics"].update({"first_domain_R@1_during": 1.0}),
            "first_domain_R@1_during is 1.0",
        ),
        (lambda v: v["metrics"].pop("R@1"), "no R@1"),
        (lambda v: v["metrics"].update({"R@1": "5"}), "valid number"),
        (lambda v: v["batches"][1].update({"R@1": 99.0}), "R@1 of batch 1 is 99.0"),
        (lambda v: v["batches"].pop(), "its batches are of"),
        (
            lambda v: [v["batches"][i].update(queries=n) for i, n in ((0, 0.0), (1, 16.0))],
            "its batches are of",
        ),
        (lambda v: v["info"].update(queries=31), "of 31 queries"),
        (lambda v: v["info"].update(data_fingerprint="x"), "its key is not that of its cell"),
        (lambda v: v["cell"].update(seed=7), "its key is not that of its cell"),
        (lambda v: v.update(surplus=1), "surplus"),
        (lambda v: v.pop("cell"), "has no 'cell'"),
    ],
)
def test_a_record_is_checked_against_its_ranks_even_where_it_is_sealed_again(
    tmp_path: Path, change: Callable[[Values], object], reason: str
) -> None:
    noise = ShiftSpec("noise", 1), ShiftSpec("noise", 5)
    cell = fakes.cell("trained", stream=StreamSpec("mixed", batch_size=8, domains=noise))
    store = RunStore(tmp_path)
    store.save(*run_cell(cell, fakes.resources()))
    path = path_of(store)
    assert read_cell(path).done
    edit(path, change, seal=True)
    with pytest.raises(ResultsError, match=path.stem) as caught:
        read_cell(path)
    assert reason in str(caught.value)


NAMES = (
    "Copy of {stem}.json",
    "{stem} (1).json",
    "{stem}.sync-conflict-20260101-120000-ABCDEFG.json",
    "other_{stem}.json",
    "{stem}.json.bak",
    "{stem} (1).npz",
    "notes.txt",
)


@pytest.mark.parametrize("name", NAMES)
def test_copies_are_named_and_neither_counted_nor_deleted(
    store: RunStore, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(store)
    copy = store.cells / name.format(stem=path.stem)
    shutil.copy(path.with_suffix(".npz") if name.endswith(".npz") else path, copy)
    with caplog.at_level(logging.WARNING):
        write_all(store, figures=False)
    assert str(copy) in caplog.text
    assert not name.endswith(".json") or f"of another name ({path.name})" in caplog.text
    assert not pd.read_csv(store.path / "tidy.csv")["key"].duplicated().any()
    assert list(pd.read_csv(store.path / "leaderboard.csv")["cells"]) == [1, 1]
    assert identify([fakes.cell(), CELL], store, fakes.resources()).waiting == 0
    assert copy.exists()


def test_older_records_are_counted_in_one_line(
    store: RunStore, caplog: pytest.LogCaptureFixture
) -> None:
    for path in store.cells.glob("*.json"):
        edit(path, lambda values: values.update(schema=1))
    with caplog.at_level(logging.WARNING):
        assert store.records() == []
    assert len(caplog.records) == 1
    assert "2 of the records have schema 1 and are left out" in caplog.text


def test_a_problem_is_said_once_however_often_the_folder_is_read(
    store: RunStore, caplog: pytest.LogCaptureFixture
) -> None:
    flip(path_of(store))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            load_results(store)
        store.finished({record.key for record in store.records()})
    assert len(caplog.records) == 1


@pytest.mark.parametrize("key", ["", "real"])
def test_a_result_takes_the_place_of_the_failure_of_a_worker_that_died(
    tmp_path: Path, key: str
) -> None:
    """Whether or not it had told its key before it died."""
    store, shared = RunStore(tmp_path), fakes.resources()
    real = shared.key(CELL)
    store.save(unfinished(CELL, key and real, Status.FAILED, "WorkerDied: signal SIGKILL"))
    assert worlds.statuses(store.records()) == ["failed"]
    run_cells([CELL], store, SerialExecutor(shared), resources=shared)
    assert worlds.statuses(store.records()) == ["done"]
    assert sorted(path.suffix for path in store.cells.glob("[!.]*")) == [".json", ".npz"]


class Dying(Executor):
    """An executor whose worker dies before it has told the key of its cell."""

    def work(self, queue: WorkQueue) -> None:
        while len(queue):
            queue.fail(queue.take(None, frozenset()), Status.FAILED, "WorkerDied")


def test_a_worker_that_dies_early_does_not_cost_the_result_that_is_there(store: RunStore) -> None:
    cells, shared = [fakes.cell(), CELL], fakes.resources()
    found = identify(cells, store, shared, again=True)
    again = run_cells(cells, store, Dying(), resources=shared, found=found)
    assert worlds.statuses(again.records) == ["failed"] * 2
    assert worlds.statuses(store.records()) == ["done"] * 2


def test_a_failure_goes_when_the_earlier_result_is_found_again(store: RunStore) -> None:
    """Data that were away for a while: the cell failed beside its result."""
    store.save(unfinished(CELL, "", Status.FAILED, "DataError: no data"))
    assert sorted(worlds.statuses(store.records())) == ["done", "done", "failed"]
    shared = fakes.resources()
    outcome = run_cells([fakes.cell(), CELL], store, SerialExecutor(shared), resources=shared)
    assert outcome.reused == 2
    assert worlds.statuses(store.records()) == ["done"] * 2


def test_a_merge_takes_the_result_and_not_the_failure_without_a_key(
    store: RunStore, tmp_path: Path
) -> None:
    other = RunStore(tmp_path / "other")
    other.save(unfinished(CELL, "", Status.FAILED, "WorkerDied"))
    assert merge_runs([other.path, store.path], tmp_path / "both") == ({"done": 2}, 1)


def test_the_digest_is_of_the_values_and_not_of_the_text(store: RunStore) -> None:
    path = path_of(store)
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items()))))
    assert read_cell(path).record == replace(read_cell(path).record)
    assert read_cell(path).done
