"""``queryshift show MODEL``: which layers adapt."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.cli.main import main
from tests.benchmark.backbones.fixtures_hf import save


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
    assert ["text", "LayerNorm", "adapts", "5", "160"] in rows


def test_the_embedded_model(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("mini:base", "mini", "mini-clips", "mini-composed:cirr"):
        assert any("adapts" in row for row in shown(capsys, name)), name
