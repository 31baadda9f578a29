"""``queryshift cache``: what it says and what it does to the folder."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmark.cli.data import Cache
from benchmark.cli.main import OK, USER_ERROR, UsageError, main
from benchmark.errors import ConfigError
from benchmark.evaluation.cache import CacheKey, DiskCache


def call(*words: str) -> tuple[int, str]:
    screen, command = io.StringIO(), Cache()
    console = Console(width=160, file=screen)
    code = command.run(command.parser().parse_args(list(words)), console)
    return code, screen.getvalue()


@pytest.fixture
def disk(tmp_path: Path) -> DiskCache:
    found = DiskCache(tmp_path / "cache", 10**9)
    for kind, rows in (("gallery", 3), ("queries", 50), ("queries", 60)):
        found.put(CacheKey(kind, f"key{rows}"), torch.ones(rows, 100))
    return found


def test_info_says_what_is_there(disk: DiskCache, tmp_path: Path) -> None:
    code, said = call("info", "--cache", str(disk.folder))
    assert code == OK
    assert str(disk.folder) in said
    assert "of at most 10.0 GB" in said
    (queries,) = [line for line in said.splitlines() if "preprocessed queries" in line]
    assert "2" in queries
    assert "52.2 kB" in queries  # 110 rows of 400 bytes and two headers
    assert "under the source model" not in said
    assert "it is empty" in call("info", "--cache", str(tmp_path / "none"))[1]
    assert not (tmp_path / "none").exists()


def test_clear_removes_all_of_it(disk: DiskCache) -> None:
    code, said = call("clear", "--cache", str(disk.folder))
    assert code == OK
    assert "removed 3 entries" in said
    assert disk.entries() == []
    assert "removed 0 entries" in call("clear", "--cache", str(disk.folder))[1]


def test_mistakes_are_one_clear_error(
    disk: DiskCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"info or clear, not 'clean'; did you mean 'clear'"):
        call("clean")
    monkeypatch.setenv("QUERYSHIFT_CACHE", "off")
    with pytest.raises(UsageError, match=r"the disk cache is off .*--cache DIR"):
        call("info")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is not a folder"):
        call("clear", "--cache", str(tmp_path / "file"))


@pytest.mark.parametrize("action", ["info", "clear"])
def test_a_folder_that_cannot_be_read_is_not_called_empty(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").symlink_to(tmp_path / "cache")  # root may read everything but this
    assert main(["cache", action, "--cache", str(tmp_path / "cache")]) == USER_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: cannot use '{tmp_path}/cache': Too many levels of symbolic links"
