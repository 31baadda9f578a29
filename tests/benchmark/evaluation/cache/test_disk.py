"""The folder of entries: round trips, damage, bounds, several writers, a disk that refuses."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmark.evaluation.cache import HEADER_BYTES, PARTIAL, DiskCache, Entry

DTYPES = (torch.uint8, torch.int64, torch.float16, torch.float32, torch.bool)


def cache(folder: Path, max_bytes: int = 1 << 20) -> DiskCache:
    return DiskCache(folder / "cache", max_bytes)


def table(rows: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed))


def only_file(disk: DiskCache) -> Path:
    (path,) = disk.folder.iterdir()
    return path


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7, 3), (1, 1), (4, 3, 2, 2)])
def test_rows_come_back_as_they_were(
    tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    rows = (100 * torch.rand(shape, generator=torch.Generator().manual_seed(1))).to(dtype)
    cache(tmp_path).put("gallery-key", rows)
    found = cache(tmp_path).open("gallery-key")
    assert found is not None
    assert found.rows().dtype == dtype
    assert torch.equal(found.rows(), rows)
    assert torch.equal(found.row(len(rows) - 1), rows[-1])
    own = found.row(0)
    assert own is not None
    own.zero_()
    assert torch.equal(found.row(0), rows[0]), "a row is the reader's own"
    assert cache(tmp_path).open("source-key") is None
    assert cache(tmp_path).open("gallery-other") is None


def test_rows_are_recorded_in_any_order_and_only_a_whole_entry_has_a_name(tmp_path: Path) -> None:
    disk, rows = cache(tmp_path), table()
    recording = disk.record("queries-key", len(rows), rows[0])
    assert recording is not None
    for number in (3, 0, 5, 1, 2):
        assert disk.write(recording, number, rows[number])
    assert recording.row(4) is None
    third = recording.row(3)
    assert third is not None
    assert torch.equal(third, rows[3])
    assert disk.open("queries-key") is None
    assert disk.write(recording, 4, rows[4])
    assert torch.equal(recording.rows(), rows)
    found = disk.open("queries-key")
    assert found is not None
    assert torch.equal(found.rows(), rows)
    assert only_file(disk).name == "queries-key.safetensors"


def test_an_unfinished_recording_leaves_nothing(tmp_path: Path) -> None:
    disk = cache(tmp_path)
    recording = disk.record("queries-key", 2, table()[0])
    assert recording is not None
    assert disk.entries(PARTIAL)
    recording.discard()
    recording.discard()
    assert list(disk.folder.iterdir()) == []


def flip(path: Path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(bytes(raw))


def swap_type(path: Path) -> None:
    """A header that is sound JSON and fits the size, but says something else."""
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I32"', 1))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit of the rows": lambda path: flip(path, HEADER_BYTES + 17),
    "a bit of the header": lambda path: flip(path, 3),
    "another type": swap_type,
    "cut short": lambda path: os.truncate(path, HEADER_BYTES + 8),
    "cut within the header": lambda path: os.truncate(path, 100),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "empty": lambda path: path.write_bytes(b""),
    "no JSON object": lambda path: path.write_bytes(b"[1]".ljust(HEADER_BYTES)),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_entry_is_found_said_once_and_removed(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    disk = cache(tmp_path)
    disk.put("gallery-key", table())
    path = only_file(disk)
    DAMAGE[how](path)
    with caplog.at_level(logging.WARNING, "benchmark"):
        assert disk.open("gallery-key") is None
        assert disk.open("gallery-key") is None
    (said,) = caplog.messages
    assert "damaged" in said
    assert str(path) in said
    disk.put("gallery-key", table())
    Entry.open(only_file(disk))


def test_an_entry_under_another_name_is_refused(tmp_path: Path) -> None:
    disk = cache(tmp_path)
    disk.put("gallery-key", table())
    only_file(disk).rename(disk.folder / "gallery-other.safetensors")
    assert disk.open("gallery-other") is None


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    size = HEADER_BYTES + table().nbytes
    disk = cache(tmp_path, max_bytes=3 * size)
    for age, key in enumerate("cba"):
        disk.put(f"gallery-{key}", table())
        then = time.time() - 1000 * (3 - age)
        os.utime(disk.folder / f"gallery-{key}.safetensors", (then, then))
    assert disk.open("gallery-c") is not None  # the oldest, now the one used last
    disk.put("gallery-d", table())
    assert {stored.path.name[8] for stored in disk.entries()} == {"a", "c", "d"}
    assert sum(stored.size for stored in disk.entries()) <= disk.max_bytes
    disk.put("gallery-large", table(600))
    assert disk.open("gallery-large") is None, "larger than the bound"
    assert len(disk.entries()) == 3, "what could never fit evicts nothing"


def test_what_is_being_written_counts_and_what_was_abandoned_goes(tmp_path: Path) -> None:
    size = HEADER_BYTES + table().nbytes
    disk = cache(tmp_path, max_bytes=2 * size - 1)
    recording = disk.record("queries-key", 6, table()[0])
    assert recording is not None
    disk.put("gallery-new", table())
    assert disk.open("gallery-new") is None
    then = time.time() - 2 * 3600
    os.utime(recording.path, (then, then))
    disk.put("gallery-new", table())
    assert disk.open("gallery-new") is not None
    assert not disk.entries(PARTIAL)
    recording.discard()


def test_a_reader_keeps_what_is_evicted(tmp_path: Path) -> None:
    disk = cache(tmp_path)
    disk.put("gallery-key", table())
    found = disk.open("gallery-key")
    assert found is not None
    assert disk.clear() == (1, HEADER_BYTES + table().nbytes)
    assert torch.equal(found.rows(), table())


def test_what_is_lost_while_it_is_read_costs_time_alone(tmp_path: Path) -> None:
    """On a network's file system an evicted file is gone for its readers too."""
    disk = cache(tmp_path)
    disk.put("gallery-key", table())
    found = disk.open("gallery-key")
    assert found is not None
    os.truncate(found.path, HEADER_BYTES)
    assert found.has(5)
    assert found.row(5) is None
    assert found.rows() is None


def test_clear_leaves_what_is_not_the_caches(tmp_path: Path) -> None:
    disk = cache(tmp_path)
    disk.put("gallery-key", table())
    for name in ("notes.txt", "thesis.safetensors", "gallery-key.npz"):
        (disk.folder / name).write_text("mine")
    assert disk.clear()[0] == 1
    assert {path.name for path in disk.folder.iterdir()} == {
        "notes.txt",
        "thesis.safetensors",
        "gallery-key.npz",
    }


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_once_and_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = cache(tmp_path)
    monkeypatch.setattr(os, "pwrite", full)
    disk.put("gallery-key", table())
    disk.put("gallery-other", table())
    assert disk.record("queries-key", 2, table()[0]) is None
    (said,) = caplog.messages
    assert "No space left" in said
    assert list(disk.folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    disk = DiskCache(tmp_path / "file" / "cache", 1 << 20)
    disk.put("gallery-key", table())
    disk.put("gallery-key", table())
    assert len(caplog.messages) == 1
    assert disk.open("gallery-key") is None
    assert disk.entries() == []


def test_numbers_that_no_file_can_hold_are_not_kept(tmp_path: Path) -> None:
    disk = cache(tmp_path)
    for rows in (table().to(torch.bfloat16), torch.zeros(3, 0), torch.zeros(0, 3), torch.zeros(3)):
        disk.put("gallery-key", rows)
    assert disk.entries() == []


def write_and_read(folder: str, seconds: float) -> None:
    """Writes the same entries as others do, and reads them; wrong numbers end it with an error."""
    disk = DiskCache(Path(folder), 4 * (HEADER_BYTES + table().nbytes))
    until = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        number = (number + 1) % 8
        disk.put(f"gallery-key{number}", table(seed=number))
        other = (number * 3) % 8
        found = disk.open(f"gallery-key{other}")
        if found is not None and not torch.equal(found.rows(), table(seed=other)):
            raise SystemExit(3)


def test_several_writers_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=write_and_read, args=(str(tmp_path), 0.5)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    disk = DiskCache(tmp_path, 1 << 20)
    assert disk.entries()
    for stored in disk.entries():
        Entry.open(stored.path)  # raises where one is damaged
    assert not disk.entries(PARTIAL)


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    disk = cache(tmp_path)
    disk.put("gallery-key", table())
    assert only_file(disk).stat().st_mode & 0o077 == 0
    assert isinstance(disk.open("gallery-key"), Entry)
    recording = disk.record("queries-k", 1, table()[0])
    assert recording is not None
    assert recording.path.stat().st_mode & 0o077 == 0
