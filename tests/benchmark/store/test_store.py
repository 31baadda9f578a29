"""The run folder: atomic files, damaged ones survived, the tidy table a pure function of it."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.cell import Cell, Record, Status, unfinished
from benchmark.errors import ResultsError
from benchmark.store.records import cell_from_dict
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes


def key_of(cell: Cell) -> str:
    return cell.key(data_fingerprint="d", backbone_fingerprint="w")


def finished(cell: Cell | None = None) -> Record:
    cell = cell or fakes.cell()
    return Record(
        key=key_of(cell),
        status=Status.DONE,
        cell=cell.to_dict(),
        info={
            "queries": 3,
            "gallery": 60,
            "backbone_name": "net",
            "backbone_fingerprint": "w",
            "data_fingerprint": "d",
        },
        metrics={"R@1": 100 / 3, "gain": 0.1 + 0.2},
        probes={"gap": 1e-17, "angle": math.nan},
        cost={"seconds": 1.5},
        batches=({"queries": 3.0, "loss": math.inf},),
        environment={"torch": "2"},
    )


INDEX = np.arange(3)
ARRAYS = {
    "query": INDEX,
    "best_rank": np.array([1, 5, 2]),
    "ap": np.array([1.0, 0.2, 0.5]),
    "group": INDEX,
    "order": INDEX[::-1],
}


def files(store: RunStore) -> list[str]:
    return sorted(path.suffix for path in store.cells.iterdir())


def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    store, record = RunStore(tmp_path / "run"), finished()
    assert not store.finished({record.key})
    store.save(record, ARRAYS)
    assert files(store) == [".json", ".npz"]
    assert store.finished({record.key})
    loaded = fakes.stored(store, record.key).record
    assert loaded.metrics == record.metrics  # full precision
    assert loaded.probes["gap"] == 1e-17
    assert math.isnan(loaded.probes["angle"])
    assert loaded.status is Status.DONE
    assert cell_from_dict(loaded.cell) == fakes.cell()
    same = replace(loaded, probes=record.probes, batches=record.batches, arrays="", digest="")
    assert same == record
    arrays = fakes.stored(store, record.key).arrays
    assert all(np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS)


def test_a_long_name_is_cut_to_what_a_file_may_be_called(tmp_path: Path) -> None:
    store, long = RunStore(tmp_path), fakes.cell(benchmark="数" * 200)
    store.save(unfinished(long, "", Status.FAILED, "why"))
    assert [record.key for record in store.records()] == [long.unfinished_key]


def test_files_are_strict_json_that_others_can_read(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.save(finished(), ARRAYS)
    (path,) = store.cells.glob("*.json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(path.read_text(), parse_constant=refuse)
    assert path.stat().st_mode & 0o444 == 0o444 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.DONE])
def test_only_done_counts_as_done(tmp_path: Path, status: Status) -> None:
    store = RunStore(tmp_path)
    record = replace(finished(), status=status, reason="because")
    store.save(record)
    assert not store.finished({record.key})
    assert fakes.stored(store, fakes.cell().unfinished_key).record.reason == "because"


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.DONE])
def test_only_a_finished_result_replaces_a_finished_one(tmp_path: Path, status: Status) -> None:
    store, record = RunStore(tmp_path), finished()
    store.save(record, ARRAYS)
    store.save(replace(record, status=status, reason="RuntimeError: no"))
    assert store.finished({record.key})
    assert fakes.stored(store, record.key).arrays.keys() == ARRAYS.keys()
    store.save(replace(record, metrics={**record.metrics, "gain": 1.0}), ARRAYS)
    assert fakes.stored(store, record.key).record.metrics["gain"] == 1.0


def test_failures_and_damaged_results_are_replaced(tmp_path: Path) -> None:
    store, record = RunStore(tmp_path), finished()
    store.save(record, ARRAYS)
    next(store.cells.glob("*.npz")).write_bytes(b"torn")
    with pytest.raises(ResultsError, match="they are damaged"):
        fakes.stored(store, record.key)
    store.save(replace(record, status=Status.FAILED, reason="RuntimeError: no"))
    assert not store.finished({record.key})
    store.save(replace(record, status=Status.INTERRUPTED))
    assert [one.status for one in store.records()] == [Status.INTERRUPTED]
    store.save(record, ARRAYS)
    assert [one.status for one in store.records()] == [Status.DONE]
    assert files(store) == [".json", ".npz"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"key": "12',
        "[]",
        "{}",
        '{"schema": 99}',
        '{"schema": 2, "key": "x"}',
        '{"schema": 2, "metrics": 3}',
        "\x00\xff",
    ],
)
def test_torn_and_foreign_files_are_named_and_ignored(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    store, record = RunStore(tmp_path), finished()
    store.save(record, ARRAYS)
    (store.cells / "stray.json").write_text(text, encoding="latin-1")
    with caplog.at_level(logging.WARNING):
        assert [r.key for r in store.records()] == [record.key]
    assert len(caplog.records) == 1
    assert "stray.json" in caplog.text


def test_a_kill_while_writing_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, record = RunStore(tmp_path), finished()
    store.save(record, ARRAYS)
    before = {path.name: path.read_bytes() for path in store.cells.iterdir()}

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, killed)
            with pytest.raises(KeyboardInterrupt):
                store.save(replace(record, metrics={"R@1": 0.0}), {"ap": np.zeros(9)})
        assert {path.name: path.read_bytes() for path in store.cells.iterdir()} == before


def test_json_is_the_commit_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, record = RunStore(tmp_path), finished()
    written: list[str] = []
    real = os.replace

    def watched(source: Path, target: Path) -> None:
        written.append(Path(target).suffix)
        real(source, target)

    monkeypatch.setattr(os, "replace", watched)
    store.save(record, ARRAYS)
    assert written == [".npz", ".json"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = RunStore(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultsError, match=r"cannot write results to .*: No space left") as caught:
        store.save(finished(), ARRAYS)
    assert "\n" not in str(caught.value)
    assert list(store.cells.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    store = RunStore(tmp_path / "run")
    for act in (store.check_writable, lambda: store.save(finished(), ARRAYS)):
        with pytest.raises(ResultsError, match="cannot write results"):
            act()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ResultsError, match="Permission denied"):
        RunStore(tmp_path / "run").check_writable()
    tmp_path.chmod(0o700)


def test_check_writable_leaves_nothing(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "deep" / "run")
    store.check_writable()
    assert list(store.cells.iterdir()) == []


def test_a_folder_that_is_not_there_has_no_records(tmp_path: Path) -> None:
    assert RunStore(tmp_path / "run").records() == []


def test_many_bad_files_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = RunStore(tmp_path)
    store.save(finished(), ARRAYS)
    for number in range(30):
        (store.cells / f"copy-{number}.json").write_text("{}")
    assert len(store.records()) == len(store.records()) == 1
    *named, last = caplog.messages
    assert len(named) == 8
    assert all("copy-" in line for line in named)
    assert last == "and 22 more such files; queryshift verify names all"
