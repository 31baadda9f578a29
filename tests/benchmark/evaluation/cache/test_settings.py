"""Where the cache lies: flag, environment, default; and what is no size or no folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.errors import ConfigError
from benchmark.evaluation.builders import DEFAULT_BYTES, disk_cache


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("QUERYSHIFT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


def test_flag_then_environment_then_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    default = disk_cache()
    assert default is not None
    assert (default.folder, default.max_bytes) == (tmp_path / "xdg" / "queryshift", DEFAULT_BYTES)
    assert not default.folder.exists(), "nothing is made before there is something to keep"
    monkeypatch.setenv("QUERYSHIFT_CACHE", str(tmp_path / "named"))
    named, flag = disk_cache(), disk_cache(str(tmp_path / "flag"))
    assert named is not None
    assert flag is not None
    assert (named.folder.name, flag.folder.name) == ("named", "flag")
    assert disk_cache("Off") is None
    monkeypatch.setenv("QUERYSHIFT_CACHE", "off")
    assert disk_cache() is None
    assert disk_cache(str(tmp_path / "flag")) is not None


@pytest.mark.parametrize(
    ("text", "size"),
    [("500", 500), ("1.5k", 1500), ("3 MB", 3 * 10**6), ("", DEFAULT_BYTES), ("0", 0)],
)
def test_sizes(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("QUERYSHIFT_CACHE_BYTES", text)
    found = disk_cache()
    assert (found.max_bytes if found else 0) == size


@pytest.mark.parametrize("text", ["much", "-3", "1e9", "10 gigabytes"])
def test_what_is_no_size(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("QUERYSHIFT_CACHE_BYTES", text)
    with pytest.raises(ConfigError, match=r"QUERYSHIFT_CACHE_BYTES is .* expected a size"):
        disk_cache()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--cache: .*file is not a folder"):
        disk_cache(str(tmp_path / "file"))
