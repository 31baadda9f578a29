"""``~`` and home folders, wherever a user can give a path."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from benchmark.cell import BackboneSpec
from benchmark.cli.main import main
from benchmark.config.files import expanded, user_path
from benchmark.errors import ConfigError
from benchmark.evaluation.builders import disk_cache
from benchmark.evaluation.callbacks import open_logger
from benchmark.planning.gridfile import grid_path
from benchmark.registry import BACKBONES
from shifts.base import ShiftError, user_folder
from tests.benchmark.config.fixtures_options import resolve

PATHS = ("out", "data", "ready_made", "cache", "pretrained")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a user who is in no list."""
    import pwd

    def unknown(_: object) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("QUERYSHIFT_CACHE", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)


@pytest.mark.parametrize("name", PATHS)
def test_settings_know_the_home_folder(home: Path, name: str, tmp_path: Path) -> None:
    flag = resolve(argparse.Namespace(**{name: "~/x"}))
    file = tmp_path / "run.yaml"
    file.write_text(f"{name}: ~/x\n")
    read = resolve(argparse.Namespace(config="~/run.yaml"))
    assert getattr(flag, name) == getattr(read, name) == str(home / "x")


@pytest.mark.parametrize("name", PATHS)
def test_an_unknown_home_folder_is_one_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--.*'~nobody-of-that-name'"):
        resolve(argparse.Namespace(**{name: "~nobody-of-that-name/x"}))
    file = tmp_path / "run.yaml"
    file.write_text(f"quiet: true\n{name}: ~nobody-of-that-name/x\n")
    with pytest.raises(ConfigError, match=r"run.yaml:2: .*write the whole path"):
        resolve(argparse.Namespace(config=str(file)))


def test_environment_logs_and_grids_know_it_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUERYSHIFT_CACHE", "~/c")
    cache = disk_cache("")
    assert cache is not None
    assert cache.folder == home / "c"
    monkeypatch.delenv("QUERYSHIFT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "~/d")
    cache = disk_cache("")
    assert cache is not None
    assert cache.folder == home / "d" / "queryshift"
    open_logger("~/log.jsonl").close()
    assert (home / "log.jsonl").is_file()
    assert grid_path("~/mine.yaml") == home / "mine.yaml"


@pytest.mark.parametrize("text", ["~/x", "~", "~someone/x"])
def test_no_home_at_all(homeless: None, text: str) -> None:
    with pytest.raises(ConfigError, match="no home folder"):
        user_path(text)
    with pytest.raises(ShiftError, match="no such home folder"):
        user_folder(text)


def test_without_a_home_there_is_no_disk_cache_and_a_line_says_so(
    homeless: None, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    assert disk_cache("") is None
    assert "--cache" in caplog.text
    assert disk_cache(str(tmp_path)) is not None


def test_an_empty_home_is_not_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "")
    with pytest.raises(ValueError, match="no home folder"):
        expanded("~/x")


def test_a_file_of_that_name_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("~odd").mkdir()
    assert expanded("~odd") == "~odd"
    assert expanded("a~b") == "a~b"


def test_a_zero_byte_is_refused() -> None:
    with pytest.raises(ConfigError, match="zero byte"):
        user_path("a\0b")


@pytest.mark.parametrize("loader", ["open_clip", "blip", "person_search", "cav_mae", "pe_av"])
def test_weights_below_an_unknown_home(loader: str) -> None:
    load = BACKBONES.get(loader)
    model = "" if loader in ("person_search", "cav_mae") else "ViT-B-32"
    spec = BackboneSpec(loader=loader, model=model, pretrained="~nobody-of-that-name/w.pt")
    with pytest.raises(ConfigError, match="no home folder"):
        load(spec)


@pytest.mark.parametrize(
    "words",
    [
        ["report", "~nobody-of-that-name/run"],
        ["merge", "~nobody-of-that-name/run", "--out", "x"],
        ["data", "check", "--data", "~nobody-of-that-name/data"],
        ["cache", "info", "--cache", "~nobody-of-that-name/cache"],
        ["plan", "~nobody-of-that-name/grid.yaml"],
        ["bench", "--config", "~nobody-of-that-name/run.yaml"],
    ],
)
def test_commands_say_it_in_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "no home folder '~nobody-of-that-name' is known here" in error
    assert error.count("\n") == 1
    assert not os.path.lexists("~nobody-of-that-name")
