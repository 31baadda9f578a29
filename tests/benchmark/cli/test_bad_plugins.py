"""Installed plugins that misbehave, on the real command line: the run ends, and says why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmark.cli import main
from benchmark.evaluation.plugins import _code
from benchmark.registry import REGISTRIES
from tests.benchmark.conftest import TOY

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
BENCH = (*("bench", "--benchmark", "toy-image", "--shift", "gaussian"), "--limit=8")
BENCH += ("--batch-size=4", "--no-figures")


def install(site: Path, code: str, kind: str = "method") -> Path:
    """A plugin with one method or backbone, as pip would leave it."""
    about = site / "bad_plugin-1.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-plugin\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[queryshift.{kind}s]\nbad = bad_plugin:Bad\n")
    (site / "bad_plugin.py").write_text(code)
    return site


def run(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join((str(site), str(TOY), str(ROOT)))
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


@pytest.fixture
def installed(toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs a plugin of this code for this process."""

    def put(code: str, kind: str = "method") -> None:
        sys.modules.pop("bad_plugin", None)
        monkeypatch.syspath_prepend(install(tmp_path / "site", code, kind))
        _code.cache_clear()
        for registry in REGISTRIES.values():
            registry.refresh()

    return put


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
    installed: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    ways = {
        "import": "import sys\nsys.exit(0)\n",
        "card": "import sys\nclass Lazy(type):\n    @property\n    def card(cls):\n"
        "        sys.exit(0)\n"
        "from methods.tent import Tent\n"
        "class Meta(Lazy, type(Tent)): pass\nclass Bad(Tent, metaclass=Meta): pass\n",
    }
    installed(ways[place])
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


KIND = """
import dataclasses, torch
from methods.base import MethodCard, StepOutput
from methods.source import Source

class Broken(Exception):
    def __str__(self):
        raise RuntimeError

class Bad(Source):
    card = MethodCard("bad", "Bad", "misbehaves", "none"{card})

    @dataclasses.dataclass(frozen=True)
    class Options:
        {options}

    def step(self, queries):
        found = super().step(queries)
        {step}
"""
PLAIN = {"card": "", "options": "k: int = 1", "step": "return found"}


@pytest.fixture
def plugin(
    installed: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str]]:
    """Runs a plugin method of this code; gives the exit code and all that was printed."""

    def run_it(code: str) -> tuple[int, str]:
        installed(code)
        code_of = main([*BENCH, "--method", "bad", "--out", str(tmp_path / "run")])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code_of, said.out + said.err

    return run_it


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"card": ", version='1.2'"}, "the card of 'bad': version is '1.2', not int"),
        ({"card": "); card = ({}"}, "Bad.card is no MethodCard, but {}"),
        ({"options": "k: int"}, "option 'k' has no default; give it a value"),
        ({"options": "k: float = float('nan')"}, "its options cannot be stored as JSON"),
        ({"options": "k: object = torch.float32"}, "its options cannot be stored as JSON"),
        ({"options": "k: 'Nowhere' = 1"}, "Bad.Options cannot be read: name 'Nowhere'"),
        (
            {"options": "def __post_init__(self): raise Broken"},
            "method 'bad': Broken: in bad_plugin.py, line",
        ),
    ],
)
def test_a_class_that_cannot_be_run_is_refused(
    plugin: Callable[[str], tuple[int, str]], change: dict[str, str], said: str
) -> None:
    code, printed = plugin(KIND.format(**{**PLAIN, **change}))
    assert code == 2
    assert said in " ".join(printed.split())


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("raise Broken", "failed: Broken: in bad_plugin.py, line 19"),
        ("assert False", "failed: AssertionError: in bad_plugin.py, line 19"),
        ("{}['k']", "failed: KeyError: 'k' (site/bad_plugin.py:19 in step)"),
        ("raise ValueError('x' * 9999)", "failed: ValueError: " + "x" * 1000 + " ..."),
        ("raise ValueError('odd \\udcff name')", "failed: ValueError: odd ? name"),
        ("return StepOutput(found.scores, found.embeddings, None)", "log must be a mapping"),
        ("return StepOutput(found.scores.to_sparse(), found.embeddings)", "must be a dense tensor"),
        ("return StepOutput(found.scores.to('meta'), found.embeddings)", "not one of device meta"),
        (
            "return StepOutput(found.scores, 3 * found.embeddings)",
            "must be rows of length 1, not 3",
        ),
    ],
)
def test_a_step_that_goes_wrong_fails_its_cell_in_one_line(
    plugin: Callable[[str], tuple[int, str]], step: str, said: str
) -> None:
    code, printed = plugin(KIND.format(**{**PLAIN, "step": step}))
    assert code == 1
    assert said in printed


def test_changed_code_and_memory_in_a_class_are_told(
    plugin: Callable[[str], tuple[int, str]],
) -> None:
    code = KIND.format(**{**PLAIN, "step": "Bad.seen.append(0); return found"})
    code = code.replace("class Bad(Source):", "class Bad(Source):\n    seen = []")
    told = "bad: Bad.seen changed during a cell"
    assert told in " ".join(plugin(code)[1].split())
    changed = "the code of method 'bad' has changed since 1 of the reused cells ran"
    for text, said in ((code, False), (f"{code}#", True)):
        assert (changed in " ".join(plugin(text)[1].split())) is said


def test_importing_a_plugin_leaves_torch_as_it_was(
    plugin: Callable[[str], tuple[int, str]],
) -> None:
    before = torch.get_num_threads()
    code = "import torch; torch.set_num_threads(before + 1); torch.set_default_dtype(torch.float64)"
    assert plugin(f"before = {before}\n{code}\n{KIND.format(**PLAIN)}")[0] == 0
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (before, torch.float32)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def Bad(spec): return None", "gave no DualEncoder, but a NoneType"),
        ("def Bad(): pass", "'bad' of bad-plugin cannot be loaded: TypeError: Bad()"),
        ("def Bad(spec): raise KeyError('x')", "cannot be loaded: KeyError: 'x'"),
    ],
)
def test_a_backbone_that_cannot_be_loaded_is_one_line(
    code: str, said: str, installed: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    installed(code, "backbone")
    assert main([*BENCH, "--method", "source", "--model", "bad", "--out", "run"]) == 2
    printed = capsys.readouterr().err
    assert said in " ".join(printed.split())
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{}[split]", "failed in line 3: KeyError: 'test'"),
        ("None", "gave a NoneType; expected ImageTextPairs, ClipPairs or ComposedQueries"),
    ],
)
def test_a_benchmark_that_cannot_be_loaded_is_one_line(
    body: str, said: str, installed: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    code = "from queryshift_toy import IMAGE, replace\ndef load(root, *, split, allow_missing):\n"
    card = "replace(IMAGE, id='bad', dataset='bad_plugin:load')"
    installed(f"{code}    return {body}\nBad = {card}\n", "benchmark")
    words = ("--benchmark", "bad", "--method", "source", "--shift", "gaussian", "--out", "run")
    assert main(["bench", *words]) == 2
    printed = capsys.readouterr().err
    assert f"the loader of bad (bad_plugin:load) {said}" in " ".join(printed.split())
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("from queryshift_toy import TEXT as Bad", "BenchmarkCard whose id is 'bad'"),
        (
            "from queryshift_toy import IMAGE, replace\nBad = replace(IMAGE, id='bad', shifts='x')",
            "the card of 'bad': shifts is a text; write ('x',)",
        ),
    ],
)
def test_a_card_that_cannot_be_is_refused(
    code: str, said: str, installed: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    installed(code, "benchmark")
    assert main(["bench", "--benchmark", "bad", "--method", "source", "--out", "run"]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


TOWERS = """
from benchmark.backbones.base import TwoTowers
from queryshift_toy import Backbone, Tower

def Bad(spec):
    toy, towers = Backbone(), {{"image": Tower(), "text": Tower()}}
    ways = {{"image": lambda item: {sign} * toy.preprocess("image")(item), "text": toy._text}}
    return TwoTowers(towers, ways, name="bad", fingerprint="same", logit_scale=20, device="cpu")
"""


def test_what_a_backbones_code_made_is_cached_for_that_code(
    installed: Callable[..., None], tmp_path: Path
) -> None:
    found = []
    for sign, cache in ((1, "kept"), (-1, "kept"), (-1, "off")):
        installed(TOWERS.format(sign=sign), "backbone")
        out = f"run{len(found)}"
        words = ("--method", "source", "--model", "bad", "--cache", cache, "--out", out)
        assert main([*BENCH, *words]) == 0
        found.append(ranks_of(tmp_path / out, "source"))
    assert found[0] != found[1] == found[2]


@pytest.mark.slow
def test_ctrl_c_while_workers_start_is_one_line(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    wait = f"open({str(begun)!r}, 'w').close(); time.sleep(20)"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        f"import sys, time\nif 'spawn_main' in ' '.join(sys.orig_argv): {wait}\n"
    )
    paths = os.pathsep.join((str(tmp_path / "site"), str(TOY), str(ROOT)))
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark", *BENCH, "--workers", "2", "--out", "run"],
        env=os.environ | {"PYTHONPATH": paths},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, which Ctrl-C reaches as a whole
    )
    deadline = time.monotonic() + 60
    while not begun.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
