"""PE-AV on tiny random instances of transformers' own classes, saved and loaded from a folder."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmark.backbones import pe_av
from benchmark.backbones.audio import at_rate
from benchmark.backbones.base import TwoTowers
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, DataError, WeightsError
from methods.parameters import select_parameters
from shifts.base import Audio
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


def test_on_a_cpu_the_codec_computes_in_float32_also_under_autocast(backbone: TwoTowers) -> None:
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


# Loading, and what is refused


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
    with pytest.raises(WeightsError, match=r"shards/elsewhere\.safetensors cannot be read"):
        load(tmp_path / "shards")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("audio_model.audio_head.proj.weight"), "1 entry missing .*audio.head"),
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
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        load(copy)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"no weights in .*expected model\.safetensors"):
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
