"""``list``, ``show``, ``new``: filters, rows, bounds and layers on a narrow terminal; packages."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import benchmark.data
from benchmark.cli import main
from benchmark.registry import METHODS, SHIFTS
from tests.benchmark.backbones.fixtures_hf import save

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT / "benchmark" / "cli" / "templates"
SUITES = Path(benchmark.data.__file__).parent / "suites"


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("trains", ["yes", "no"])
def test_methods_that_train_or_do_not(call, trains):
    names = {entry["name"] for entry in json.loads(call(*LIST, "--trains", trains, "--json")[1])}
    wanted = {n for n in METHODS.usable() if METHODS.get(n).card.trains is (trains == "yes")}
    assert names == wanted
    assert names


LIST = ("list", "methods")


def test_shifts_of_a_modality_with_those_that_fit_any(call):
    _, out, _ = call("list", "shifts", "--modality", "text", "--json")
    names = [entry["name"] for entry in json.loads(out)]
    wanted = [n for n in SHIFTS.usable() if SHIFTS.get(n).card.modality in ("text", "any")]
    assert names == wanted
    assert "keyboard" in names
    assert "fog" not in names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("methods", "--modality", "text"), "is for shifts and benchmarks and backbones"),
        (("shifts", "--modality", "txt"), "did you mean 'text'"),
        (("methods", "--trains", "maybe"), "known: no, yes"),
        (("benchmarks", "--suite", "papr"), "did you mean 'paper'"),
    ],
)
def test_a_filter_that_cannot_be_is_one_line(call, words, said):
    code, out, err = call("list", *words)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert said in line


@pytest.mark.parametrize("kind", ["methods", "shifts", "benchmarks", "backbones"])
def test_a_list_has_one_line_for_each_name_and_fits_80_columns(call, kind):
    names = [entry["name"] for entry in json.loads(call("list", kind, "--json")[1])]
    lines = call("list", kind)[1].splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[3:]] == names
    assert len(lines) == len(names) + 3
    assert any(line.endswith("…") for line in lines)  # what is cut is seen to be cut


def test_the_benchmarks_of_a_suite_file_are_listed(call, tmp_path, monkeypatch):
    monkeypatch.setenv("QUERYSHIFT_SUITES", "")
    text = (SUITES / "mini-validation.yaml").read_text()
    text = text.replace("suite: mini-validation", "suite: mine").replace("id: mini-", "id: mine-")
    (tmp_path / "mine.yaml").write_text(text)
    found = json.loads(call("list", "benchmarks", "--suite", f"{tmp_path}/mine.yaml", "--json")[1])
    assert {"mine-validation-image", "mine-validation-text"} <= {one["name"] for one in found}
    assert "cannot read" in call("list", "benchmarks", "--suite", f"{tmp_path}/none.yaml")[2]


@pytest.mark.parametrize("name", ["base2rsicd", "benchmark/base2rsicd"])
def test_a_row_of_the_tables_shows_both_directions(call, name):
    code, out, _ = call("show", name)
    assert code == 0
    assert "benchmark base2rsicd-i2t" in out
    assert "benchmark base2rsicd-t2i" in out


def test_options_are_shown_with_their_bounds(call):
    said = " ".join(call("show", "nnn")[1].replace("│", " ").split())
    assert "bank queries nearest to an item that count [at least 1]" in said
    assert "'train' or 'transductive']" in said
    said = " ".join(call("show", "tent")[1].replace("│", " ").split())
    assert "--option lr 0.0003" in said
    assert "[above 0" in said


def test_benchmarks_of_a_plugin_are_shown_checked_and_run_as_a_suite(call, toy, tmp_path):
    assert "benchmark toy-image" in call("show", "toy-image")[1]
    code, out, err = call("data", "check", "--data", str(tmp_path), "toy-image")
    assert (code, [line for line in err.splitlines() if line.startswith("error")]) == (0, [])
    assert "complete" in out
    flags = ("--method", "recentre", "--limit", "8", "--no-figures", "--out", "run")
    code, out, err = call("suite", "--suite", "toy", *flags)
    assert code == 0, err
    assert {"toy-image", "toy-text", "toy-natural"} <= set(out.split())
    assert "did you mean 'toy'" in call("suite", "--suite", "toi")[2]


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> list[list[str]]:
    """The rows of the table that is printed, as words."""
    assert main(["show", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [[word for word in line.split() if word != "│"] for line in lines]


def test_a_resnet_adapts_its_batch_norm(capsys: pytest.CaptureFixture[str]) -> None:
    rows = shown(capsys, "RN50")
    assert ["image", "BatchNorm2d", "adapts", "55", "53,248"] in rows
    assert any(row == ["text", "LayerNorm", "adapts", "24", "24,576"] for row in rows)
    assert any("outside" in row for row in rows)  # the final norm of the text tower


def test_a_folder_of_transformers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path, "clip")
    rows = shown(capsys, f"hf:{tmp_path}")
    assert ["image", "LayerNorm", "adapts", "6", "192"] in rows
    assert ["text", "LayerNorm", "adapts", "4", "128"] in rows


def test_the_embedded_model(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("mini:base", "mini", "mini-clips", "mini-composed:cirr"):
        assert any("adapts" in row for row in shown(capsys, name)), name


@pytest.mark.parametrize("template", sorted(TEMPLATES.glob("*.txt")), ids=lambda path: path.stem)
def test_what_a_new_package_imports_from_here_exists(template) -> None:
    imports = r"^from ((?:benchmark|methods|shifts)[\w.]*) import (.+)$"
    for module, names in re.findall(imports, template.read_text(), re.M):
        found = importlib.import_module(module)
        assert all(hasattr(found, name.strip()) for name in names.split(",")), module


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
        (["metod", "x"], "unknown kind 'metod'; did you mean 'method'"),
        (["method", "My-Idea"], "cannot be the name of a method"),
        (["method", "none"], "cannot be the name of a method"),  # its class would be None
        (["shift", "all"], "cannot be the name of a shift"),  # --shift all means every one
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
