"""PE-AV on tiny random instances of transformers' own classes, saved and loaded from a folder."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmark.backbones import pe_av
from benchmark.backbones.base import TwoTowers
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, DataError, WeightsError
from shifts.audio.item import Audio
from tests.benchmark.backbones.fixtures_pe_av import (
    load,
    random_model,
)


@pytest.fixture(scope="module")
def model() -> Any:
    return random_model()


@pytest.fixture(scope="module")
def folder(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pe") / "pe-av-tiny"
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def backbone(folder: Path) -> TwoTowers:
    return load(folder)


def rewritten(folder: Path, path: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    copy = shutil.copytree(folder, path)
    state = load_file(copy / "model.safetensors")
    change(state)
    save_file(state, copy / "model.safetensors")
    return copy


def test_other_names_of_the_same_weights_load(
    folder: Path, tmp_path: Path, backbone: TwoTowers
) -> None:
    """Files may keep the encoders under the fusion encoder, and timm's names without prefix."""

    def rename(state: dict[str, Tensor]) -> None:
        for key in list(state):
            new = key.replace(
                "audio_model.audio_encoder", "audio_video_encoder.embedder.audio_encoder"
            )
            new = new.replace(
                "video_model.video_encoder", "audio_video_encoder.embedder.video_encoder"
            )
            state[new.replace(".timm_model.", ".")] = state.pop(key)

    other = load(rewritten(folder, tmp_path / "renamed", rename))
    assert other.fingerprint == backbone.fingerprint


def test_sharded_weights_load(model: Any, tmp_path: Path, backbone: TwoTowers) -> None:
    model.save_pretrained(tmp_path / "shards", max_shard_size="400KB")
    assert not (tmp_path / "shards" / "model.safetensors").exists()
    assert load(tmp_path / "shards").fingerprint == backbone.fingerprint
    index = tmp_path / "shards" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "../elsewhere.safetensors"}}))
    with pytest.raises(WeightsError, match="outside its folder"):
        load(tmp_path / "shards")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("audio_model.audio_head.proj.weight"), "1 entries missing .*audio.head"),
        (lambda s: s.update({"video_model.video_encoder.gate": torch.ones(1)}), "1 unknown"),
        (
            lambda s: s.update({"video_model.video_head.proj.weight": torch.ones(2)}),
            "another shape",
        ),
        (lambda s: s.pop("audio_video_logit_scale"), "logit_scale' is nan"),
        (lambda s: s.update(audio_video_logit_scale=torch.zeros(1)), "logit_scale' is 0.0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], object], said: str
) -> None:
    with pytest.raises(WeightsError, match=said):
        load(rewritten(folder, tmp_path / "other", change))


def test_folders_that_are_not_pe_av(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json is no configuration"):
        load(tmp_path)
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="no weights can be read"):
        load(copy)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"model\.safetensors.*no other format"):
        load(copy)
    config = json.loads((folder / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "clap"}))
    with pytest.raises(WeightsError, match="of a 'clap' model"):
        load(copy)


@pytest.mark.parametrize(
    "vision",
    [{"architecture": "hf-hub:somebody/something"}, {"model_args": {"checkpoint_path": "x"}}],
)
def test_a_configuration_cannot_load_other_files(
    folder: Path, tmp_path: Path, vision: dict[str, Any]
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    config["audio_video_config"]["video_config"]["vision_config"] |= vision
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="would load files from elsewhere"):
        load(copy)


def test_missing_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="facebook/pe-av-small"):
        pe_av.load(BackboneSpec("pe_av"))
    with pytest.raises(WeightsError, match=r"no model folder.*config\.json"):
        pe_av.load(BackboneSpec("pe_av", str(tmp_path / "absent")))

    def offline(*_: object, **__: object) -> str:
        raise ConnectionError("no network\nsecond line")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(
        WeightsError, match=r"(?s)^the model 'facebook/pe-av-base' .*no network\).*folder"
    ) as info:
        pe_av.load(BackboneSpec("pe_av", "facebook/pe-av-base"))
    assert "second line" not in str(info.value)


def test_the_hub_is_asked_for_configuration_and_safetensors_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def download(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert pe_av.load(BackboneSpec("pe_av", "facebook/pe-av-small")).name == "pe-av-small"
    assert asked == {"name": "facebook/pe-av-small", "allow_patterns": ["*.json", "*.safetensors"]}


def test_without_transformers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WeightsError, match=r"queryshift\[pe-av\]"):
        load(folder)


def test_items_of_another_kind(backbone: TwoTowers) -> None:
    with pytest.raises(DataError, match="no samples"):
        backbone.preprocess("audio")(Audio(np.zeros(0, np.float32), 16_000))
    with pytest.raises(DataError, match="at least one frame"):
        backbone.preprocess("video")(np.zeros((0, 4, 4, 3), np.uint8))
