"""Digests of files: right for every state of a file, taken once for each, safe to keep on disk."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shifts import digests


@pytest.fixture(autouse=True)
def memo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for digests, a process that knows none yet, and files that count as settled."""
    monkeypatch.setattr(digests, "TICK", 0)
    monkeypatch.setattr(digests, "_recent", {})
    folder = tmp_path / "memo"
    digests.keep_in(folder)
    yield folder
    digests.keep_in(None)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read."""
    names: list[str] = []
    real = digests._read

    def read(place: str) -> tuple[digests.State | None, str]:
        names.append(os.path.basename(place))
        return real(place)

    monkeypatch.setattr(digests, "_read", read)
    return names


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def another_process() -> None:
    digests._recent.clear()


def test_many_files_in_any_order_and_number(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a" / str(i % 7) / f"{i}.bin", bytes([i]) * i) for i in range(100)]
    asked = [*reversed(paths), *paths[:3]]
    assert digests.digests_of(asked) == [sha(path.read_bytes()) for path in asked]
    assert digests.digests_of([]) == []


def test_a_file_is_read_once_in_this_process_and_in_the_next(
    tmp_path: Path, reads: list[str]
) -> None:
    paths = [write(tmp_path / "a" / f"{i}.bin", b"%d" % i) for i in range(40)]
    first = digests.digests_of(paths)
    assert len(reads) == 40
    assert digests.digests_of(paths) == first
    another_process()
    assert digests.digests_of(paths) == first
    assert [digests.digest_of(path) for path in paths] == first
    assert len(reads) == 40


def in_place(path: Path, before: os.stat_result) -> None:
    with path.open("r+b") as file:
        file.write(b"TWO")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path, before: os.stat_result) -> None:
    other = write(path.with_name("other"), b"TWO")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, path)


def linked_anew(path: Path, before: os.stat_result) -> None:
    other = write(path.with_name("elsewhere"), b"TWO")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.unlink()
    path.symlink_to(other)


@pytest.mark.parametrize("change", [in_place, replaced, linked_anew])
@pytest.mark.parametrize("process", ["the same", "another"])
def test_size_and_date_may_be_kept(
    tmp_path: Path, change: Callable[[Path, os.stat_result], None], process: str
) -> None:
    path = write(tmp_path / "a" / "file", b"one")
    before = path.stat()
    assert digests.digests_of([path]) == [sha(b"one")]
    change(path, before)
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    if process == "another":
        another_process()
    assert digests.digests_of([path]) == [sha(b"TWO")]
    assert digests.digest_of(path) == sha(b"TWO")


def test_two_changes_within_one_tick_of_the_clock(
    tmp_path: Path, memo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second leaves no trace but the content: what has just changed is not trusted."""
    monkeypatch.setattr(digests, "TICK", 2_000_000_000)
    path = write(tmp_path / "a" / "file", b"one")
    state = digests._state(path.stat())
    monkeypatch.setattr(digests, "_state", lambda found: state)
    assert digests.digests_of([path]) == [sha(b"one")]
    path.write_bytes(b"TWO")
    assert digests.digests_of([path]) == [sha(b"TWO")]
    assert not memo.exists()


def test_a_moved_folder_has_the_same_digests(tmp_path: Path) -> None:
    path = write(tmp_path / "a" / "file", b"one")
    first = digests.digests_of([path])
    (tmp_path / "a").rename(tmp_path / "b")
    assert digests.digests_of([tmp_path / "b" / "file"]) == first
    with pytest.raises(FileNotFoundError):
        digests.digests_of([path])


def forged(memo: Path, **changes: Any) -> None:
    """Damages what is kept: every entry claims the digest of nothing."""
    (kept,) = memo.iterdir()
    values = json.loads(kept.read_text())
    files = {name: [*entry[:5], sha(b"")] for name, entry in values["files"].items()}
    kept.write_text(json.dumps({**values, "files": files, **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"root": "/another/folder"},
        {"schema": 99},
        {"files": 3},
        {"files": {"file": None}},
        {"files": {"file": [1, 2, 3, 4, 5, "../../etc"]}},
    ],
    ids=str,
)
def test_what_others_have_written_is_not_believed(
    tmp_path: Path, memo: Path, changes: dict[str, Any]
) -> None:
    path = write(tmp_path / "a" / "file", b"one")
    digests.digests_of([path])
    forged(memo, **changes)
    another_process()
    assert digests.digests_of([path]) == [sha(b"one")]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_memo_is_as_good_as_none(tmp_path: Path, memo: Path, damage: bytes) -> None:
    path = write(tmp_path / "a" / "file", b"one")
    digests.digests_of([path])
    (kept,) = memo.iterdir()
    kept.write_bytes(damage)
    another_process()
    assert digests.digests_of([path]) == [sha(b"one")]
    assert json.loads(kept.read_text())["files"].keys() == {"file"}


@pytest.mark.parametrize("where", ["a file", "none"])
def test_where_nothing_can_be_kept_digests_are_right(tmp_path: Path, where: str) -> None:
    path = write(tmp_path / "a" / "file", b"one")
    digests.keep_in(write(tmp_path / "blocked", b"") if where == "a file" else None)
    assert digests.digests_of([path]) == [sha(b"one")]
    in_place(path, path.stat())
    assert digests.digests_of([path]) == [sha(b"TWO")]


def test_several_at_once_leave_a_whole_memo(tmp_path: Path, memo: Path) -> None:
    paths = [write(tmp_path / "a" / f"{i}.bin", b"%d" % i) for i in range(60)]
    jobs = [threading.Thread(target=digests.digests_of, args=(paths,)) for _ in range(6)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    (kept,) = memo.iterdir()
    assert json.loads(kept.read_text())["files"]  # the last one's, and what it found there
    another_process()
    assert digests.digests_of(paths) == [sha(path.read_bytes()) for path in paths]


def test_an_interrupted_reading_keeps_what_it_has(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(tmp_path / "a" / f"{i:03}.bin", b"%d" % i) for i in range(64)]
    real = digests._read

    def stop(place: str) -> tuple[digests.State | None, str]:
        if place.endswith("063.bin"):
            raise KeyboardInterrupt
        return real(place)

    monkeypatch.setattr(digests, "_read", stop)
    with pytest.raises(KeyboardInterrupt):
        digests.digests_of(paths)
    monkeypatch.setattr(digests, "_read", real)
    another_process()
    before = len(reads)
    assert digests.digests_of(paths) == [sha(path.read_bytes()) for path in paths]
    assert len(reads) - before < 64


def test_a_file_that_is_being_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a" / "file", b"one")
    real = hashlib.file_digest

    def meanwhile(file: Any, name: str) -> Any:
        found = real(file, name)
        path.write_bytes(path.read_bytes() + b"more")
        return found

    monkeypatch.setattr(hashlib, "file_digest", meanwhile)
    with pytest.raises(OSError, match="being written to") as refused:
        digests.digests_of([path])
    assert refused.value.filename == str(path)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/a/\xff\xe9.bin")), b"one")
    assert digests.digests_of([path]) == [sha(b"one")]
    another_process()
    assert digests.digests_of([path]) == [sha(b"one")]


def test_a_folder_is_its_names_and_their_content(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write(folder / "config.json", b"{}")
    write(folder / "sub" / "weights.bin", b"one")
    first = digests.folder_fingerprint(str(folder))
    assert len(first) == 16
    write(folder / ".cache" / "download.metadata", b"of today")
    assert digests.folder_fingerprint(str(folder)) == first
    in_place(folder / "sub" / "weights.bin", (folder / "sub" / "weights.bin").stat())
    second = digests.folder_fingerprint(str(folder))
    (folder / "config.json").rename(folder / "other.json")
    third = digests.folder_fingerprint(str(folder))
    folder.rename(tmp_path / "moved")
    assert len({first, second, third}) == 3
    assert digests.folder_fingerprint(str(tmp_path / "moved")) == third
