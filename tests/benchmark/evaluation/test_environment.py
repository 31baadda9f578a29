"""What is stored about the machine and the checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.evaluation import environment as module
from benchmark.evaluation.environment import environment


def test_versions_and_machine_are_named() -> None:
    found = environment()
    assert found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert found["python"].startswith("3.")
    assert found["threads"] == torch.get_num_threads()
    assert found["cores"] >= 1
    assert found["device"] == "cpu"
    assert found["cpu"] == found["device_name"] != ""


def test_missing_packages_are_none() -> None:
    assert module.version_of("no-such-distribution") is None


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_commit_of_a_checkout_and_whether_it_is_changed(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    assert module._git_state(tmp_path) == (git(tmp_path, "rev-parse", "HEAD"), False)
    (tmp_path / "file").write_text("two")
    assert module._git_state(tmp_path)[1] is True
    # Installed below somebody else's checkout: that commit says nothing about this package.
    (tmp_path / "site-packages").mkdir()
    assert module._git_state(tmp_path / "site-packages") == (None, None)


def test_no_git_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert module._git_state(tmp_path) == (None, None)
    monkeypatch.setenv("PATH", "")
    assert module._git_state(Path(__file__).resolve().parents[3]) == (None, None)
