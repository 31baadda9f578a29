"""``queryshift new``: each kind of package passes its own test and is found by its entry point."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmark.cli.main import main

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["method", "shift", "benchmark", "backbone"])
def test_a_new_package_passes_its_own_test(kind, tmp_path, capsys) -> None:
    assert main(["new", kind, "my_idea", "--out", str(tmp_path)]) == 0
    folder = tmp_path / "queryshift-my-idea"
    assert f"pip install --no-deps -e {folder}" in capsys.readouterr().out.replace("\n", " ")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    (target,) = project["entry-points"][f"queryshift.{kind}s"].values()
    module, _, attribute = target.partition(":")
    assert f"{attribute}" in (folder / f"{module}.py").read_text()
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
        cwd=folder,
        env={**plain, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["metod", "x"], "there is no kind 'metod'; did you mean 'method'"),
        (["method", "My-Idea"], "cannot be the name of a method"),
        (["method", "none"], "cannot be the name of a method"),  # its class would be None
        (["method", "tcr"], "there is a method 'tcr' already (built-in)"),
    ],
)
def test_bad_input(words, message, tmp_path, capsys) -> None:
    assert main(["new", *words, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(tmp_path, capsys) -> None:
    assert main(["new", "shift", "dust", "--out", str(tmp_path)]) == 0
    assert main(["new", "shift", "dust", "--out", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
