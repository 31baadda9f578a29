"""Tuning: the same trials for every method, validation data only, a preset that can be read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmark.cli.main import main
from benchmark.config.presets import MODALITIES, Place, resolve, shipped_path
from benchmark.data.card import load_suite
from benchmark.errors import ConfigError
from benchmark.evaluation import builders
from benchmark.planning import tune
from benchmark.registry import METHODS
from benchmark.store.run_store import RunStore
from tests.benchmark.fixtures_own import COLOURS, make_pictures, write_csv
from tests.benchmark.fixtures_short import shortened


@pytest.mark.slow
def test_a_small_search_end_to_end(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tune, "QUERIES", 24)
    resources = builders.default_resources()
    load = resources._load_data
    resources._load_data = lambda cell: shortened(load(cell), 64)
    monkeypatch.setattr(builders, "default_resources", lambda *settings: resources)
    target = tmp_path / "presets" / "mini.yaml"
    target.parent.mkdir()
    target.write_text("image: {sar: {lr: 0.5}}\n")
    assert main(["tune", "--method", "tent", "--out", str(target), "--budget", "3"]) == 0
    assert "chosen on validation data" in capsys.readouterr().out
    table = pd.read_csv(target.with_name("mini-tuning.csv"))
    preset = yaml.safe_load(target.read_text())
    assert set(table["query"]) == set(MODALITIES)
    for side, tried in table.groupby("query"):
        best = tried.loc[tried["mean"].idxmax()]
        assert preset[side]["tent"] == {"lr": best["lr"], "temperature": best["temperature"]}
        assert {1e-3, 3e-3, 9e-3} <= set(tried["lr"])
        # A best value at the end of its range was followed, with as many trials again at most.
        inside = all(tried[name].lt(best[name]).any() for name in ("lr", "temperature"))
        inside &= all(tried[name].gt(best[name]).any() for name in ("lr", "temperature"))
        assert len(tried) == 6 or (inside and len(tried) < 6)
    assert preset["image"]["sar"] == {"lr": 0.5}  # what was not tuned stays
    found = resolve("tent", METHODS.get("tent").Options, str(target), Place("image"))
    assert (found.preset, found.options["lr"]) == ("mini", preset["image"]["tent"]["lr"])
    assert found.origins["lr"] == "mini-validation"
    # What the user's file does not speak of is as shipped.
    assert resolve("tcr", METHODS.get("tcr").Options, str(target), Place("text")).preset == "mini"
    records = RunStore(tune.RUN).records()
    assert {record.cell["suite"] for record in records} == {"mini-validation"}


def test_validation_shares_no_shift_and_no_split_with_the_benchmarks() -> None:
    validation, mini = load_suite(tune.SUITE), load_suite("mini")
    used = {shift for card in mini.benchmarks for shift in card.shifts} - {"composed"}
    for card in validation.benchmarks:
        assert card.split == "val"
        assert not used & set(card.shifts)
    assert {card.split for card in mini.benchmarks} == {"test", "test-400"}
    # A composed shift is what its two parts are, by default gaussian_noise and char_swap.
    (composed,) = [card for card in validation.benchmarks if card.query == "composed"]
    assert composed.shift_options["image"] not in used | {"gaussian_noise"}
    assert composed.shift_options["text"] not in used | {"char_swap"}


def test_a_method_with_nothing_to_tune_is_refused() -> None:
    with pytest.raises(ConfigError, match="source: no learning rate"):
        tune.tunable(["source"])
    assert "source" not in tune.tunable(None)
    assert {"recentre", "tent", "nnn"} <= set(tune.tunable(None))


def test_a_broken_preset_file_is_refused_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mini.yaml").write_text("- no mapping\n")
    assert main(["tune", "--method", "tent", "--out", "mini.yaml"]) == 2
    assert "mini.yaml:1: expected a mapping" in capsys.readouterr().err
    assert not tune.RUN.exists()
    Path("c.yaml").write_text("option: {steps: 2}\n")
    assert main(["tune", "--method", "tent", "--config", "c.yaml"]) == 2
    assert "c.yaml:1: tuning takes no 'option'" in capsys.readouterr().err


def test_the_shipped_preset_is_written_by_name_only() -> None:
    assert not tune.is_shipped(tune.PRESET)
    assert tune.is_shipped(shipped_path("mini"))


@pytest.mark.parametrize("where", [{"suite": "mini"}, {"suite": "mini", "benchmark": "x"}])
def test_what_methods_are_judged_on_is_refused(where, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--benchmark", "mini-coco-c-image"] if "benchmark" in where else []
    assert main(["tune", "--method", "tent", "--suite", "mini", *flags]) == 2
    assert "is what methods are judged on (split 'test')" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_own_data_with_splits(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    make_pictures(tmp_path / "pics")
    rows = [
        {"image": f"pics/{name}.png", "caption": name, "split": split}
        for name in COLOURS
        for split in ("val", "test")
    ]
    write_csv(tmp_path / "pairs.csv", rows)
    common = ["tune", "--method", "tent", "--data", "pairs.csv", "--model", "mini", "--quiet"]
    common += ["--budget", "2", "--shift", "contrast", "--seed", "0"]
    assert main(common) == 2
    assert "is read at its split 'test'; options that were chosen" in capsys.readouterr().err
    assert main([*common, "--split", "val", "--out", str(shipped_path("mini"))]) == 2
    assert "is the shipped preset" in capsys.readouterr().err
    assert main([*common, "--split", "val"]) == 0
    assert "2 validation cells of own:pairs (split val)" in capsys.readouterr().out
    preset = yaml.safe_load(Path("queryshift-preset.yaml").read_text())
    assert (preset["data"], preset["extends"]) == ("own:pairs (split val)", "mini")
    assert set(preset["image"]["tent"]) == {"lr", "temperature"}
    tried = len(pd.read_csv("queryshift-preset-tuning.csv"))
    assert 2 < tried <= 4  # one of two learning rates is at the end of the range
    assert main([*common, "--split", "val", "--if-exists", "always"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert len(RunStore(tune.RUN).records()) == tried
    # One file is for one validation set.
    assert main(["tune", "--method", "tent", "--quiet"]) == 2
    assert "were chosen on own:pairs (split val), not on mini-validation" in capsys.readouterr().err
