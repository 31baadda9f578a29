"""The user's own data and weights, end to end: annotation files and pictures on disk, a real
open_clip architecture with random weights from a file, and the command of the README."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pandas as pd
import pytest
import torch

from benchmark.cli import main
from tests.benchmark.fixtures_karpathy import flickr_name, make_coco, make_flickr

MODEL = "ViT-S-32-alt"
"""The smallest plain CLIP among open_clip's own configurations."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A checkpoint as a user would have it: the state dict of a randomly initialised model."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(MODEL, pretrained=None)
    path = tmp_path_factory.mktemp("weights") / "vit_s.pt"
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture
def data(tmp_path) -> Path:
    root = tmp_path / "data"
    make_flickr(root, images=12)
    make_coco(root, images=12)
    return root


def bench(data: Path, weights: Path | str, name: str, shift: str, *more: str) -> int:
    return main(
        [
            *("bench", "--suite", "paper", "--data", str(data), "--benchmark", name),
            *("--model", MODEL, "--pretrained", str(weights), "--shift", shift),
            *("--method", "rest", "--batch-size", "4", "--out", "run", *more),
        ]
    )


@pytest.mark.parametrize(
    ("name", "shift"), [("flickr-c-image", "gaussian"), ("coco-c-text", "char_swap")]
)
def test_the_commands_of_the_readme_work(data, weights, name, shift, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    # Twelve pictures stand for the whole set, so the row must say that images are missing.
    assert bench(data, weights, name, shift, "--allow-missing", "--no-figures") == 0
    board = pd.read_csv("run/leaderboard.csv")
    assert set(board["method"]) == {"source", "rest"}
    assert set(board["suite"]) == {"paper"}
    assert set(board["preset"]) == {"published"}
    records = [json.loads(path.read_text()) for path in Path("run/cells").glob("*.json")]
    rest = next(r for r in records if r["cell"]["method"]["name"] == "rest")
    assert rest["info"]["queries"] == (12 if name == "flickr-c-image" else 60)
    assert rest["info"]["data"]["allow_missing"] is True
    assert rest["cell"]["method"]["options"]["lr"] == 3e-4
    # The source model's embeddings are the harness's; without them it would be a fourth pass.
    assert rest["cost"]["forward_per_query"] == 3


def test_counts_that_disagree_with_the_card_are_an_error(
    data, weights, monkeypatch, tmp_path, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bench(data, weights, "flickr-c-image", "gaussian") == 2
    error = capsys.readouterr().err
    assert "has 12 images and 60 captions" in error
    assert "--allow-missing" in error


def test_weights_of_another_architecture_are_one_clear_error(
    data, weights, monkeypatch, tmp_path, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"logit_scale": torch.zeros(())}, tmp_path / "other.pt")
    code = bench(data, tmp_path / "other.pt", "flickr-c-image", "gaussian", "--allow-missing")
    error = capsys.readouterr().err
    assert code == 2
    assert "other.pt" in error
    assert "Traceback" not in error


def test_missing_weights_say_what_is_expected(data, weights, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    code = bench(data, "/nowhere/weights.pt", "flickr-c-image", "gaussian", "--allow-missing")
    assert code == 2
    assert "/nowhere/weights.pt" in capsys.readouterr().err


def test_a_broken_picture_is_named(data, weights, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    broken = next(data.rglob(Path(flickr_name(3)).name))
    broken.write_bytes(b"no picture")
    code = bench(data, weights, "flickr-c-image", "gaussian", "--allow-missing", "--no-figures")
    shown = capsys.readouterr()
    assert code != 0
    assert broken.name in shown.out + shown.err
