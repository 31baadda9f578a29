"""A suite by the path of a file: its benchmarks are found, run and named like any other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmark.cli import main
from benchmark.data.card import FILES_VARIABLE, load_suite
from benchmark.registry import BENCHMARKS

MINE = """\
suite: mine
title: Two rows of my own
defaults:
  task: image_text
  split: test
  counts: {images: 300, captions: 1500}
  setting: QS
  severity: 2
  summary: aerial scenes, corrupted
  paper: none
  named_by: our reading
  licence: mine
  preset: mini
  cleaning: none
  backbone: {loader: mini}
benchmarks:
  - id: my-rsicd
    dataset: mini-rsicd
    query: both
    shifts: [none]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FILES_VARIABLE, "")
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    yield path
    monkeypatch.undo()
    BENCHMARKS.refresh()


@pytest.mark.slow
def test_a_suite_file_runs_and_its_row_is_shown(file, capsys):
    words = ["suite", "--suite", "mine.yaml", "--method", "recentre", "--limit", "64"]
    assert main([*words, "--no-figures", "--out", "run", "--workers", "2"]) == 0
    frame = pd.read_csv("run/tidy.csv")
    assert set(frame["benchmark"]) == {"my-rsicd-i2t", "my-rsicd-t2i"}
    assert set(frame["suite"]) == {"mine"}
    assert "my-rsicd" in capsys.readouterr().out
    assert main(["show", "my-rsicd"]) == 0
    shown = capsys.readouterr().out
    assert "my-rsicd-i2t" in shown
    assert "my-rsicd-t2i" in shown
    assert main(["list", "benchmarks", "--suite", "mine", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(entry["name"], entry["origin"]) for entry in listed] == [
        ("my-rsicd-i2t", "mine"),
        ("my-rsicd-t2i", "mine"),
    ]


def test_the_variable_makes_the_file_known_to_every_command(file):
    import os

    command = [sys.executable, "-m", "benchmark", "show", "my-rsicd-i2t"]
    known = subprocess.run(
        command, env={**os.environ, FILES_VARIABLE: str(file)}, capture_output=True, text=True
    )
    assert known.returncode == 0
    assert "aerial scenes, corrupted" in known.stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("suite: mine", "suite: other"), "must be in a file called other.yaml"),
        (("my-rsicd", "mini-base2rsicd"), "mini-base2rsicd-i2t"),
        (("mini-rsicd", "mini-rscid"), "did you mean"),
    ],
)
def test_a_fault_of_the_file_is_one_line(file, capsys, change, said):
    file.write_text(MINE.replace(*change))
    assert main(["suite", "--suite", "mine.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --suite: ")
    assert said in line
    assert "mini-base2rsicd-i2t" in BENCHMARKS  # what there was is still there


def test_a_name_of_a_bundled_suite_is_refused_and_so_is_a_file_that_is_not_there(file, capsys):
    Path("mini.yaml").write_text(MINE.replace("suite: mine", "suite: mini"))
    assert main(["suite", "--suite", "mini.yaml"]) == 2
    assert "there is a suite 'mini' already" in capsys.readouterr().err
    assert main(["suite", "--suite", "absent.yaml"]) == 2
    assert "absent.yaml" in capsys.readouterr().err
    assert load_suite("mini").name == "mini"
