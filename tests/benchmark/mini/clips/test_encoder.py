"""The clip encoder: inputs, shapes, unit rows, and where gradients go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark.backbones.base import TwoTowers
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, WeightsError
from benchmark.mini.clips.backbone import (
    ClipEncoder,
    backbone_of,
    load,
    load_weights,
    log_mel,
    mel_filters,
)
from benchmark.mini.clips.data import load_as
from methods.parameters import select_parameters
from shifts.base import Audio
from tests.benchmark.backbones.contract import collated
from tests.benchmark.backbones.fixtures_open_clip import layer_norm_scalars
from training.clips import export

SPEC = BackboneSpec("mini-clips")
MODALITIES = ("video", "audio")


@pytest.fixture(scope="module")
def backbone() -> TwoTowers:
    """Random weights: nothing here hangs on the training."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return backbone_of(ClipEncoder())


def batch(backbone: TwoTowers, modality: str, count: int) -> Tensor:
    pairs = load_as(split="val")
    items = pairs.videos if modality == "video" else pairs.audios
    return collated(backbone, modality, [items[i] for i in range(count)])


def test_it_is_as_small_as_said() -> None:
    assert sum(p.numel() for p in ClipEncoder().parameters()) == 592_345


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("count", [1, 5])
def test_rows_are_unit_float32(backbone: TwoTowers, modality: str, count: int) -> None:
    rows = backbone.encode(modality, batch(backbone, modality, count))
    assert rows.shape == (count, 96)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(count))
    assert not rows.requires_grad


@pytest.mark.parametrize("modality", MODALITIES)
def test_rows_do_not_depend_on_their_batch(backbone: TwoTowers, modality: str) -> None:
    inputs = batch(backbone, modality, 6)
    together = backbone.encode(modality, inputs)
    alone = torch.cat([backbone.encode(modality, row[None]) for row in inputs])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("modality", MODALITIES)
def test_gradient_reaches_exactly_the_layer_norms(backbone: TwoTowers, modality: str) -> None:
    tower = backbone.query_encoder(modality)
    adapted = select_parameters(tower, "norm")
    norms = [m for m in tower.modules() if isinstance(m, nn.LayerNorm)]
    # Two norms in the stem, two in each of two blocks, one at the end.
    stems = {"video": 32 + 64, "audio": 24 + 40}
    assert len(norms) == 7
    expected = 2 * (stems[modality] + 5 * 96)
    assert sum(p.numel() for p in adapted.values()) == expected == layer_norm_scalars(tower)
    rows = tower(batch(backbone, modality, 4))
    (rows @ torch.linspace(-1, 1, 96)).square().sum().backward()
    reached = {n for n, p in tower.named_parameters() if p.grad is not None}
    assert reached == set(adapted)
    assert all(bool(p.grad.abs().sum() > 0) for p in adapted.values() if p.grad is not None)


def test_a_query_encoder_is_a_copy(backbone: TwoTowers) -> None:
    inputs = batch(backbone, "audio", 2)
    before = backbone.encode("audio", inputs)
    tower = backbone.query_encoder("audio")
    torch.testing.assert_close(tower(inputs), before, rtol=0, atol=0)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.zero_()
    torch.testing.assert_close(backbone.encode("audio", inputs), before, rtol=0, atol=0)


def test_mel_bands_cover_the_spectrum_once() -> None:
    """Neighbouring triangles add up to one between the first and the last centre."""
    filters = mel_filters()
    assert filters.shape == (40, 129)
    assert (filters.max(1).values > 0).all()
    centres = filters.argmax(1)
    between = filters[:, int(centres[0]) + 1 : int(centres[-1])].sum(0)
    torch.testing.assert_close(between, torch.ones_like(between), atol=1e-4, rtol=0)


def test_a_tone_lights_up_its_band_and_its_time() -> None:
    time = torch.arange(12800) / 8000
    samples = torch.sin(2 * torch.pi * 1000 * time) * (time >= 0.8)
    spectrogram = log_mel(samples)
    assert spectrogram.shape == (40, 100)
    hertz = torch.linspace(0, 4000, 129)
    peak = int(spectrogram[:, 75].argmax())
    assert abs(float(hertz[int(mel_filters()[peak].argmax())]) - 1000) < 100
    loud = spectrogram.mean(0) > spectrogram.mean()
    assert loud.nonzero().flatten().tolist() == list(range(49, 100))


def test_clips_of_other_lengths_and_sizes_can_be_encoded(backbone: TwoTowers) -> None:
    """Some shifts change the size of frames; sounds may be cut."""
    video = backbone.preprocess("video")
    frames = np.full((12, 64, 48, 3), 255, np.uint8)
    torch.testing.assert_close(video(frames), torch.full((8, 3, 32, 32), 2.0))
    stills = np.stack([np.full((32, 32, 3), 10 * t, np.uint8) for t in range(15)])
    seen = (video(stills) * 0.25 + 0.5)[:, 0, 0, 0] * 255
    torch.testing.assert_close(seen, 20.0 * torch.arange(8), atol=1e-3, rtol=0)
    audio = backbone.preprocess("audio")
    short, long = (Audio(np.full(n, 0.5, np.float32), 8000) for n in (6400, 20000))
    assert audio(short).shape == audio(long).shape == (40, 100)
    silence = audio(Audio(np.zeros(10, np.float32), 8000))
    assert torch.isfinite(silence).all()
    torch.testing.assert_close(audio(short)[:, 60:], silence[:, 60:])


def test_a_sound_of_another_rate_is_heard_alike(backbone: TwoTowers) -> None:
    def heard(rate: int) -> torch.Tensor:
        time = np.arange(2 * rate, dtype=np.float32) / rate
        return backbone.preprocess("audio")(Audio(np.sin(2 * np.pi * 600 * time), rate))

    torch.testing.assert_close(heard(16000)[:, 5:-5], heard(8000)[:, 5:-5], atol=0.1, rtol=0.1)


def test_other_modalities_are_refused(backbone: TwoTowers) -> None:
    with pytest.raises(ConfigError, match="'video' and 'audio', not 'image'"):
        backbone.preprocess("image")
    with pytest.raises(ConfigError, match="not 'text'"):
        backbone.query_encoder("text")


def test_the_fingerprint_stands_for_the_weights(tmp_path: Path) -> None:
    model = ClipEncoder()
    export(model, tmp_path)
    first = load_weights(tmp_path / "clips.safetensors")
    assert first.fingerprint == load_weights(tmp_path / "clips.safetensors").fingerprint
    with torch.no_grad():
        model.audio.norm.bias[0] += 1
    export(model, tmp_path)
    assert load_weights(tmp_path / "clips.safetensors").fingerprint != first.fingerprint


def test_bad_weights_are_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "clips.safetensors"
    with pytest.raises(WeightsError, match="there are no weights at"):
        load_weights(path)
    path.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        load_weights(path)
    other = ClipEncoder()
    del other.audio.blocks[1]
    export(other, tmp_path)
    with pytest.raises(WeightsError, match=r"does not fit the mini-clips encoder: .* missing"):
        load_weights(path)


def test_it_takes_no_weights_of_the_users() -> None:
    with pytest.raises(ConfigError, match="weights of its own"):
        load(replace(SPEC, pretrained="a.pt"))
