"""The command that trains the shipped encoders: which there are, and where each one goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.mini.pictures.backbone import WEIGHTS
from training import __main__ as command


def test_every_shipped_encoder_can_be_trained_alone_and_all_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained: list[tuple[str, int, Path, Path]] = []

    def note(name: str) -> Any:
        return lambda recipe, work, weights: trained.append((name, recipe.steps, work, weights))

    recipes = {name: recipe for name, (_, recipe) in command.ENCODERS.items()}
    fakes = {name: (note(name), recipe) for name, recipe in recipes.items()}
    monkeypatch.setattr(command, "ENCODERS", fakes)
    assert command.main(["clips", "--work", str(tmp_path), "--steps", "3"]) == 0
    assert trained == [("clips", 3, tmp_path / "clips", WEIGHTS)]
    trained.clear()
    command.main([])
    assert [(name, steps) for name, steps, _, _ in trained] == [
        (name, recipe.steps) for name, recipe in recipes.items()
    ]
    shipped = {folder.name for folder in WEIGHTS.iterdir() if folder.is_dir()}
    assert set(recipes) == shipped | {"base"}
    # The second combiner starts from the first.
    assert list(recipes).index("composed-cirr") < list(recipes).index("composed-fiq")


def test_an_unknown_encoder_is_one_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["clip"])
    assert "no encoder clip; there are base, flickr" in capsys.readouterr().err
