"""Installed plugins that misbehave, on the real command line: the run ends, and says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.registry import REGISTRIES

ROOT = Path(__file__).resolve().parents[3]
METHOD = """
import sys, threading, time
from methods.base import MethodCard
from methods.tent import Tent

class Bad(Tent):
    card = MethodCard(name="bad", title="Bad", summary="misbehaves", paper="none")

    def step(self, queries):
        {step}
        return super().step(queries)
"""
BENCH = ("bench", "--shift", "gaussian", "--limit", "8", "--batch-size", "4", "--no-figures")


def install(site: Path, code: str) -> Path:
    """A plugin with one method, as pip would leave it."""
    about = site / "bad_plugin-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-plugin\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[queryshift.methods]\nbad = bad_plugin:Bad\n")
    (site / "bad_plugin.py").write_text(code)
    return site


def run(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join((str(site), str(ROOT)))
    return subprocess.run(
        [sys.executable, "-m", "benchmark", *words],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        cwd=site.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def ranks_of(folder: Path, method: str) -> list[object]:
    records = [json.loads(path.read_text()) for path in (folder / "cells").glob("*.json")]
    return [r["metrics"] for r in records if r["cell"]["method"]["name"] == method]


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("--workers", "2")])
def test_a_thread_that_never_ends_does_not_keep_the_run(
    how: tuple[str, ...], tmp_path: Path
) -> None:
    thread = "threading.Thread(target=time.sleep, args=(600,), name='mine').start()"
    site = install(tmp_path / "site", METHOD.format(step=thread))
    begun = time.monotonic()
    ended = run(site, *BENCH, "--method", "bad", *how, "--out", "run")
    assert time.monotonic() - begun < 100
    assert ended.returncode == 0, ended.stderr
    assert "R@1" in ended.stdout
    if not how:
        assert "threads that a plugin left running: 'mine'" in ended.stderr


@pytest.mark.slow
def test_a_closed_standard_output_is_opened_again(tmp_path: Path) -> None:
    site = install(tmp_path / "site", METHOD.format(step="sys.stdout.close()"))
    ended = run(site, *BENCH, "--method", "bad,tent", "--out", "run")
    assert ended.returncode == 0, ended.stderr
    assert "R@1" in ended.stdout
    assert len(ranks_of(tmp_path / "run", "tent")) == 1


@pytest.mark.parametrize("place", ["import", "card"])
@pytest.mark.parametrize(
    "words",
    [
        ("list", "methods"),
        ("show", "bad"),
        ("check", "bad"),
        (*BENCH, "--method", "bad", "--out", "run"),
    ],
)
def test_an_exit_never_ends_a_command_in_silence(
    place: str,
    words: tuple[str, ...],
    toy: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ways = {
        "import": "import sys\nsys.exit(0)\n",
        "card": "import sys\nclass Lazy(type):\n    @property\n    def card(cls):\n"
        "        sys.exit(0)\n"
        "from methods.tent import Tent\n"
        "class Meta(Lazy, type(Tent)): pass\nclass Bad(Tent, metaclass=Meta): pass\n",
    }
    sys.modules.pop("bad_plugin", None)
    monkeypatch.syspath_prepend(install(tmp_path / "site", ways[place]))
    for registry in REGISTRIES.values():
        registry.refresh()
    code = main(list(words))  # an exit that gets through ends the test
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    if words[0] == "list":  # the others are listed, and this one with what is wrong
        assert "tent" in said.out
        return
    assert code != 0
    if place == "import":  # the registry says whose it is, and that nothing is to be had of it
        told = "method 'bad' of bad-plugin (bad_plugin:Bad) cannot be loaded: SystemExit: 0"
        assert " ".join(said.err.split()).endswith(f"error: {told}")
    else:
        assert "exit" in (said.out + said.err).lower()
