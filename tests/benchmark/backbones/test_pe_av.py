"""PE-AV on tiny random instances of transformers' own classes, saved and loaded from a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark.backbones import pe_av
from benchmark.backbones.audio import at_rate
from benchmark.backbones.base import TwoTowers
from benchmark.cell import BackboneSpec
from methods.parameters import select_parameters
from shifts.audio.item import Audio
from tests.benchmark.backbones.contract import BackboneContract
from tests.benchmark.backbones.fixtures_pe_av import (
    FRAMES,
    HOP,
    MODALITIES,
    SECONDS,
    SIDE,
    TOKENS,
    batch,
    clips,
    items,
    load,
    random_model,
    sound,
    transformers,
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


def own_embeddings(model: Any, modality: str, inputs: Tensor) -> Tensor:
    """What transformers' classes give, head included."""
    with torch.no_grad():
        if modality == "video":
            output = model.video_model.video_encoder(inputs)
            return model.video_model.video_head(output.pooler_output)
        mask = (torch.arange(inputs.shape[1] - 1) < inputs[:, :1]).long()
        return model.get_audio_embeds(inputs[:, None, 1:], padding_mask=mask)


@pytest.mark.parametrize("modality", MODALITIES)
def test_embeddings_are_those_of_transformers_at_unit_length(
    model: Any, backbone: TwoTowers, modality: str
) -> None:
    inputs = batch(backbone, modality)
    rows = backbone.encode(modality, inputs)
    expected = nn.functional.normalize(own_embeddings(model, modality, inputs), dim=-1)
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=0)


class TestContract(BackboneContract):
    scalars: ClassVar = {
        # Two group norms, two layers of two and two of the heads, the last one: and the head's.
        "audio": 2 * 2 * 32 + 2 * (2 * 32 + 2 * 16) + 32 + 2 * 32,
        # The same, and the frame encoder's: before, two a block, after, pooling.
        "video": 2 * 2 * 32 + 2 * (2 * 32 + 2 * 16) + 32 + 2 * 32 + (1 + 2 * 2 + 1 + 1) * 2 * 32,
    }

    def raw(self, modality: str) -> list[Any]:
        return items(modality)


def test_a_tower_owns_nothing_of_the_other_side(model: Any, backbone: TwoTowers) -> None:
    for modality in MODALITIES:
        part = getattr(model, f"{modality}_model")
        expected = [getattr(part, f"{modality}_encoder"), getattr(part, f"{modality}_head")]
        size = sum(p.numel() for module in expected for p in module.parameters())
        assert sum(p.numel() for p in backbone.query_encoder(modality).parameters()) == size


def test_scalars_of_the_librarys_own_sizes() -> None:
    """transformers' default configuration: width 1792, 6 layers of heads 128 wide, PE-Core L/14."""
    with torch.device("meta"):
        towers = pe_av.build_towers(transformers.PeAudioVideoConfig())
    temporal = 4 * 1792 + 6 * (2 * 1792 + 2 * 128) + 1792 + 2 * 1792
    counts = {m: sum(p.numel() for p in select_parameters(t).values()) for m, t in towers.items()}
    assert counts == {"audio": temporal, "video": temporal + (1 + 2 * 24 + 1 + 1) * 2 * 1024}
    assert counts == {"audio": 35_584, "video": 140_032}


def test_on_a_cpu_the_codec_computes_in_float32_also_under_autocast(
    backbone: TwoTowers,
) -> None:
    """Some CPUs compute its strided convolutions of few channels wrong in bfloat16."""
    tower: Any = backbone.query_encoder("audio")
    seen: list[Tensor] = []
    tower.encoder.embedder.data_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    inputs = batch(backbone, "audio")
    with torch.no_grad():
        tower(inputs)
        with torch.autocast("cpu", torch.bfloat16):
            tower(inputs)
    assert seen[1].dtype == torch.float32
    assert torch.equal(*seen)


# Inputs


def test_short_audio_is_reflected_to_a_token_and_the_rest_is_masked(folder: Path) -> None:
    backbone = pe_av.load(BackboneSpec("pe_av", str(folder)), seconds=12 * HOP / 48_000)
    prepare = backbone.preprocess("audio")
    item = sound(3000 / 48_000)
    inputs = prepare(item)
    samples = torch.from_numpy(item.samples)
    assert inputs.shape == (1 + 12 * HOP,)
    assert inputs[0] == 2 * HOP
    assert torch.equal(inputs[1:3001], samples)
    assert torch.equal(inputs[3001:3841], samples[-841:-1].flip(0))
    assert not inputs[3841:].any()
    changed, counted = inputs.clone(), inputs.clone()
    changed[8 * HOP + 1 :] = 0.5  # six tokens behind the last that counts: the codec sees five
    counted[0] = 12 * HOP
    rows = backbone.encode("audio", torch.stack([inputs, changed, counted]))
    torch.testing.assert_close(rows[0], rows[1], atol=1e-6, rtol=0)
    assert (rows[0] - rows[2]).abs().max() > 1e-3


def test_long_silent_and_single_sample_audio(backbone: TwoTowers) -> None:
    prepare = backbone.preprocess("audio")
    long = prepare(sound(3 * SECONDS))
    assert long[0] == TOKENS * HOP
    assert torch.equal(long[1:], torch.from_numpy(sound(3 * SECONDS).samples)[: TOKENS * HOP])
    silent = prepare(Audio(np.zeros(48_000, np.float32), 48_000))
    single = prepare(Audio(np.full(1, 0.5, np.float32), 48_000))
    assert single[0] == HOP
    assert torch.isfinite(backbone.encode("audio", torch.stack([silent, single]))).all()


def test_audio_of_another_rate_is_resampled(backbone: TwoTowers) -> None:
    item = sound(0.1, rate=16_000)
    inputs = backbone.preprocess("audio")(item)
    expected = at_rate(item, 48_000)
    assert inputs[0] == 3 * HOP  # 4,800 samples
    assert torch.equal(inputs[1 : 1 + len(expected)], expected)


@pytest.mark.parametrize(
    ("count", "total", "chosen"),
    [
        (4, 10, [0, 3, 6, 9]),
        (4, 4, [0, 1, 2, 3]),
        (4, 2, [0, 0, 0, 1]),
        (1, 5, [0]),
        (2, 1, [0, 0]),
    ],
)
def test_which_frames_are_encoded(count: int, total: int, chosen: list[int]) -> None:
    video = np.zeros((total, 4, 4, 3), np.uint8)
    video += np.arange(total, dtype=np.uint8)[:, None, None, None]

    def first(frame: np.ndarray) -> Tensor:
        return torch.tensor([int(frame[0, 0, 0])])

    assert pe_av.video_input(video, count, first).flatten().tolist() == chosen


def test_frames_are_prepared_as_the_librarys_own_processor_does(
    folder: Path, backbone: TwoTowers
) -> None:
    (video,) = clips(1, FRAMES)
    inputs = backbone.preprocess("video")(video)
    processor = transformers.PeVideoVideoProcessor(
        size={"height": SIDE, "width": SIDE},
        do_resize=True,
        do_rescale=True,
        do_normalize=True,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    frames = torch.from_numpy(video).permute(0, 3, 1, 2)
    own = processor([frames], return_tensors="pt")["pixel_values_videos"][0]
    assert inputs.shape == own.shape == (FRAMES, 3, SIDE, SIDE)
    torch.testing.assert_close(inputs, own, atol=2.1 / 127.5, rtol=0)  # rounding to 8 bits
    bicubic = load(folder, "resize").preprocess("video")(video)
    assert (bicubic - inputs).abs().max() > 0.1


def test_a_folders_processor_file_is_followed(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "own")
    facts = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3, "resample": 3}
    (copy / "preprocessor_config.json").write_text('{"feature_extractor_type": "PeAudio"}')
    (copy / "processor_config.json").write_text(json.dumps({"video_processor": facts}))
    white = np.full((2, 30, 30, 3), 255, np.uint8)
    other = load(copy)
    torch.testing.assert_close(other.preprocess("video")(white), torch.ones(FRAMES, 3, SIDE, SIDE))
    assert other.fingerprint != load(folder).fingerprint


# Files


def test_facts_of_a_loaded_backbone(folder: Path, backbone: TwoTowers) -> None:
    assert backbone.logit_scale == 12.5
    before = torch.get_rng_state()
    whole = pe_av.load(BackboneSpec("pe_av", str(folder), "", "clip"))
    assert torch.equal(before, torch.get_rng_state())
    assert whole.name == "pe-av-tiny"
    assert whole.preprocess("audio")(sound(0.1)).shape == (1 + 480_000,)
    assert whole.preprocess("video")(clips(1)[0]).shape == (16, 3, SIDE, SIDE)
    named = pe_av.load(BackboneSpec("pe_av", "facebook/pe-av-small", str(folder), "clip"))
    assert named.name == "pe-av-small"
    prints = {b.fingerprint for b in (backbone, whole, load(folder, "resize"))}
    assert len(prints) == 3
    assert named.fingerprint == whole.fingerprint
