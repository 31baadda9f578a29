"""Settings that have no effect where they are given."""

from __future__ import annotations

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli.main import main
from benchmark.config.run import BenchConfig
from benchmark.errors import ConfigError
from benchmark.executors import check_settings
from benchmark.planning.gridfile import plan_grid, read_grid
from tests.benchmark.fakes import plan


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": "/data"}, "--data has no effect here: the embedded"),
        (
            {"allow_missing": True, "suite": "mini-validation", "shift": ("all",)},
            "--allow-missing has no effect",
        ),
        ({"shift": ("none",), "severity": (3,)}, "--severity has no effect here: shift none"),
        (
            {"shift": ("none",), "benchmark": ("mini-coco-c-image",), "ready_made": "x"},
            "--ready-made has no effect",
        ),
        (
            {"benchmark": ("mini-as-c-audio",), "transform": "resize"},
            "--transform has no effect here: this backbone",
        ),
        ({"pretrained": "x.pt"}, "--pretrained has no effect here: the embedded encoders"),
        ({"method": ("source",), "preset": "mini"}, "--preset has no effect here: the source"),
    ],
)
def test_a_setting_without_effect_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(dataclasses.replace(BenchConfig(), **given))


def test_the_same_settings_with_an_effect_pass() -> None:
    assert plan(dataclasses.replace(BenchConfig(), severity=(3,), preset="mini"))


GRID_RULE = "the embedded benchmarks read no data"


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("data: /x\n", [], rf"g\.yaml:1: 'data' has no effect here: {GRID_RULE}; leave it out"),
        ("seed: [0]\n", ["--data", "/x"], rf"^--data has no effect here: {GRID_RULE}"),
        ("seed: [0]\n", ["--config", "own.yaml"], r"own\.yaml:1: 'allow_missing' has no effect"),
        (
            "include:\n- benchmark: mini-as-c-audio\n  transform: pad\n",
            [],
            r"g\.yaml:3: 'transform' has no effect here: this backbone",
        ),
        ("shift: none\nseverity: 3\n", [], r"g\.yaml:2: 'severity' has no effect"),
        ("method: source\n", ["--preset", "mini"], r"^--preset has no effect here: the source"),
    ],
)
@pytest.mark.parametrize("command", ["grid", "plan"])
def test_a_grid_file_is_held_to_the_same_rule(
    command: str,
    text: str,
    flags: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("g.yaml").write_text(f"{text}")
    Path("own.yaml").write_text("allow_missing: true\n")
    assert main([command, "g.yaml", "--limit", "8", *flags]) == 2
    assert re.search(message, capsys.readouterr().err.partition("error: ")[2])


def test_what_one_part_of_a_grid_heeds_passes(tmp_path: Path) -> None:
    file = tmp_path / "g.yaml"
    file.write_text(
        "benchmark: mini-coco-c-image\nmethod: source\nshift: [none, gaussian]\nseverity: 3\n"
        "transform: clip\ninclude:\n- benchmark: mini-as-c-audio\n  shift: all\n"
    )
    assert len(plan_grid(read_grid(file), argparse.Namespace()).possible) > 2


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The flags of a file of settings, some of which have no effect in some runs."""
    folder = tmp_path_factory.mktemp("stored")
    (folder / "shared.yaml").write_text(
        "data: /data\npreset: mini\nseverity: 3\nlimit: 4\nquiet: true\n"
    )
    return ["--config", f"{folder}/shared.yaml", "--no-figures", "--out", f"{folder}/run"]


@pytest.fixture(scope="module")
def run(settings: list[str]) -> str:
    """The folder of a run that has been stored, with such a file."""
    words = ("--benchmark", "mini-base2rsitmd-t2i", "--method", "source", "--shift", "none")
    assert main(["bench", *words, "--loader-workers", "0", *settings]) == 0
    return settings[-1]


def test_a_file_of_settings_may_serve_several_runs(
    run: str, settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *settings]) == 2
    assert "shared.yaml:1: 'data' has no effect here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "/x"], "--data has no effect here"),
        (["--allow-missing"], "--allow-missing has no effect here"),
        (["--sample", "1", "--seed", "3"], "--seed has no effect with --sample 1"),
    ],
)
def test_verify_is_held_to_the_same_rule(
    flags: list[str], message: str, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", run, *flags]) == 2
    assert message in capsys.readouterr().err


def test_figures_that_are_not_drawn_have_no_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "x", "--pdf", "--no-figures"]) == 2
    assert "--pdf has no effect with --no-figures" in capsys.readouterr().err


def test_a_serial_run_has_no_time_limit() -> None:
    with pytest.raises(ConfigError, match="serial cannot stop a cell"):
        check_settings(dataclasses.replace(BenchConfig(), executor="serial", time_limit=5.0))
