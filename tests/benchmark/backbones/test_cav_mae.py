"""CAV-MAE on tiny weights in the public form, written from the public list of names."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark.backbones import cav_mae
from benchmark.backbones.base import TwoTowers
from benchmark.backbones.cav_mae import Shape, Tower, infer_shape
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, DataError, WeightsError
from methods.parameters import select_parameters
from shifts.base import Audio
from tests.benchmark.backbones.contract import BackboneContract, collated
from tests.benchmark.backbones.fixtures_open_clip import layer_norm_scalars

WIDTH, DEPTH, SIDE, WINDOWS = 64, 2, 32, 64
MODALITIES = ("video", "audio")


def block(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of one of the public code's blocks: three pairs of norms in each."""
    shapes: dict[str, tuple[int, ...]] = {
        "attn.qkv.weight": (3 * width, width),
        "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "mlp.fc1.weight": (4 * width, width),
        "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width),
        "mlp.fc2.bias": (width,),
    }
    for norm in ("norm1", "norm1_a", "norm1_v", "norm2", "norm2_a", "norm2_v"):
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    return {f"{name}.{key}": shape for key, shape in shapes.items()}


def public_shapes() -> dict[str, tuple[int, ...]]:
    """What a pre-training checkpoint of the public code holds, at small sizes."""
    tokens = {"a": 8 * WINDOWS // 16, "v": (SIDE // 16) ** 2}
    shapes: dict[str, tuple[int, ...]] = {"mask_token": (1, 1, 32)}
    for letter, channels in (("a", 1), ("v", 3)):
        shapes |= {
            f"modality_{letter}": (1, 1, WIDTH),
            f"pos_embed_{letter}": (1, tokens[letter], WIDTH),
            f"patch_embed_{letter}.proj.weight": (WIDTH, channels, 16, 16),
            f"patch_embed_{letter}.proj.bias": (WIDTH,),
            f"norm_{letter}.weight": (WIDTH,),
            f"norm_{letter}.bias": (WIDTH,),
            f"decoder_modality_{letter}": (1, 1, 32),
            f"decoder_pos_embed_{letter}": (1, tokens[letter], 32),
            f"decoder_pred_{letter}.weight": (256 * channels, 32),
            f"decoder_pred_{letter}.bias": (256 * channels,),
        }
        for i in range(DEPTH):
            shapes |= block(f"blocks_{letter}.{i}", WIDTH)
    shapes |= block("blocks_u.0", WIDTH) | block("decoder_blocks.0", 32)
    shapes |= {"norm.weight": (WIDTH,), "norm.bias": (WIDTH,)}
    shapes |= {"decoder_norm.weight": (32,), "decoder_norm.bias": (32,)}
    return shapes | {"decoder_embed.weight": (32, WIDTH), "decoder_embed.bias": (32,)}


def public_state(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {k: 0.1 * torch.randn(s, generator=generator) for k, s in public_shapes().items()}
    return {k: v + 1 if "norm" in k and k.endswith("weight") else v for k, v in state.items()}


def write(path: Path, state: dict[str, Tensor]) -> str:
    torch.save({f"module.{key}": value for key, value in state.items()}, path)
    return str(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("cav") / "tiny.pth", public_state())


def load(weights: str, model: str = "", transform: str = "clip") -> TwoTowers:
    return cav_mae.load(BackboneSpec("cav_mae", model, weights, transform))


@pytest.fixture(scope="module")
def backbone(weights: str) -> TwoTowers:
    return load(weights)


def clips(count: int = 3, frames: int = 10) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (frames, 40, 50, 3), dtype=np.uint8) for _ in range(count)]


def sounds(count: int = 3, seconds: float = 0.7, rate: int = 16_000) -> list[Audio]:
    rng = np.random.default_rng(1)
    size = round(seconds * rate)
    return [Audio(rng.uniform(-0.3, 0.3, size).astype(np.float32), rate) for _ in range(count)]


def batch(backbone: TwoTowers, modality: str, count: int = 3) -> Tensor:
    raw = clips(count) if modality == "video" else sounds(count)
    return collated(backbone, modality, raw)


# Architecture


class TestContract(BackboneContract):
    scalars: ClassVar = dict.fromkeys(MODALITIES, (2 * (DEPTH + 1) + 1) * 2 * WIDTH)
    near = 0.999

    def raw(self, modality: str) -> list[Any]:
        return clips() if modality == "video" else sounds()


def test_the_published_sizes() -> None:
    """768 wide, 12 blocks of two norms and a last one: 25 x 1,536 scalars a tower."""
    with torch.device("meta"):
        towers = (Tower("audio", Shape()), Tower("video", Shape()))
    for tower in towers:
        assert layer_norm_scalars(tower) == 38_400
        adapted = select_parameters(tower, "norm")
        assert sum(p.numel() for p in adapted.values()) == 38_400
    assert towers[0].positions.shape == (1, 512, 768)
    assert towers[1].positions.shape == (1, 196, 768)
    assert towers[0].blocks[0].attn.num_heads == 12  # type: ignore[union-attr]


def test_sizes_are_read_off_the_weights() -> None:
    assert infer_shape(public_state()) == Shape(WIDTH, DEPTH, 1, 16, WINDOWS, SIDE)


def functional_forward(state: dict[str, Tensor], letter: str, image: Tensor) -> Tensor:
    """One modality's pass written out, straight from the public names. ``image`` is (C, H, W)."""
    f = nn.functional

    def norm(x: Tensor, name: str) -> Tensor:
        return f.layer_norm(x, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"])

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    rows, columns = image.shape[1] // 16, image.shape[2] // 16
    kernel = state[f"patch_embed_{letter}.proj.weight"].flatten(1)
    tokens = [
        kernel @ image[:, 16 * r : 16 * r + 16, 16 * c : 16 * c + 16].flatten()
        for r in range(rows)
        for c in range(columns)
    ]
    x = torch.stack(tokens) + state[f"patch_embed_{letter}.proj.bias"]
    x = x + state[f"pos_embed_{letter}"][0] + state[f"modality_{letter}"][0]
    names = [(f"blocks_{letter}.{i}", "") for i in range(DEPTH)] + [("blocks_u.0", f"_{letter}")]
    for name, suffix in names:
        qkv = linear(norm(x, f"{name}.norm1{suffix}"), f"{name}.attn.qkv")
        query, key, value = qkv.split(WIDTH, dim=-1)  # one head at this width
        mixed = (query @ key.T / WIDTH**0.5).softmax(dim=-1) @ value
        x = x + linear(mixed, f"{name}.attn.proj")
        hidden = f.gelu(linear(norm(x, f"{name}.norm2{suffix}"), f"{name}.mlp.fc1"))
        x = x + linear(hidden, f"{name}.mlp.fc2")
    return f.normalize(norm(x, f"norm_{letter}").mean(dim=0), dim=0)


@pytest.mark.parametrize("modality", MODALITIES)
def test_embeddings_follow_the_paper(backbone: TwoTowers, modality: str) -> None:
    inputs = batch(backbone, modality)
    rows = backbone.encode(modality, inputs)
    images = inputs[:, 0] if modality == "video" else inputs.transpose(1, 2).unsqueeze(1)
    expected = [functional_forward(public_state(), modality[0], image) for image in images]
    torch.testing.assert_close(rows, torch.stack(expected), atol=1e-5, rtol=0)


def test_the_last_block_is_the_shared_one(backbone: TwoTowers) -> None:
    adapted = select_parameters(backbone.query_encoder("audio"), "last-block")
    assert {name.rpartition("blocks.")[2][:2] for name in adapted} == {f"{DEPTH}."}


# Inputs


def test_an_audio_input_is_resampled_padded_and_then_normalised(backbone: TwoTowers) -> None:
    prepare = backbone.preprocess("audio")
    padding, silence = 5.081 / 4.4849, (np.log(2.0**-23) + 5.081) / 4.4849
    silent = prepare(Audio(np.zeros(4_400, np.float32), 16_000))
    assert silent.shape == (WINDOWS, 128)
    torch.testing.assert_close(silent[:26], torch.full((26, 128), silence), check_dtype=False)
    torch.testing.assert_close(silent[26:], torch.full((WINDOWS - 26, 128), padding))
    short = prepare(Audio(np.full(10, 0.1, np.float32), 16_000))
    torch.testing.assert_close(short, torch.full((WINDOWS, 128), padding))
    time = np.arange(48_000) / 48_000
    wave = (0.4 * np.sin(2 * np.pi * 700 * time)).astype(np.float32)
    high, low = prepare(Audio(wave, 48_000)), prepare(Audio(wave[::3].copy(), 16_000))
    peaks = [spectrogram[5:-5].argmax(dim=1) for spectrogram in (high, low)]
    assert torch.equal(*peaks)
    offset = prepare(Audio((wave[::3] + 0.2).copy(), 16_000))
    torch.testing.assert_close(offset[5:], low[5:], atol=0.05, rtol=0)


def test_long_audio_is_cut_at_the_end(backbone: TwoTowers) -> None:
    (long,) = sounds(1, seconds=3.0)
    prepared = backbone.preprocess("audio")(long)
    centred = long.samples - long.samples.mean()
    first = backbone.preprocess("audio")(Audio(centred[: 160 * 63 + 400], 16_000))
    assert prepared.shape == first.shape == (WINDOWS, 128)
    torch.testing.assert_close(prepared, first, atol=0.05, rtol=0)  # means differ a little


@pytest.mark.parametrize(("total", "chosen"), [(10, 5), (1, 0), (3, 1)])
def test_which_frame_is_encoded(total: int, chosen: int) -> None:
    video = np.zeros((total, 4, 4, 3), np.uint8)
    video += np.arange(total, dtype=np.uint8)[:, None, None, None]
    first: Callable[[np.ndarray], Tensor] = lambda frame: torch.tensor([int(frame[0, 0, 0])])  # noqa: E731
    assert cav_mae.middle_frame(video, first).flatten().tolist() == [chosen]


def test_frames_are_cropped_or_resized(weights: str, backbone: TwoTowers) -> None:
    video = np.zeros((1, SIDE, 2 * SIDE, 3), np.uint8)
    video[:, :, : SIDE // 2] = 255  # outside the central square
    black = -torch.tensor([0.485, 0.456, 0.406]) / torch.tensor([0.229, 0.224, 0.225])
    cropped = backbone.preprocess("video")(video)
    assert cropped.shape == (1, 3, SIDE, SIDE)
    torch.testing.assert_close(cropped[0, :, :, SIDE // 4], black[:, None].expand(3, SIDE))
    squeezed = load(weights, transform="resize").preprocess("video")(video)
    assert squeezed[0, 0, 0, 0] > 2.0


# Files


def test_facts_of_a_loaded_backbone(weights: str, backbone: TwoTowers) -> None:
    assert backbone.logit_scale == 20.0
    assert backbone.name == "CAV-MAE"
    prints = {load(weights).fingerprint, load(weights, transform="resize").fingerprint}
    assert len(prints) == 2
    assert backbone.fingerprint in prints


def test_loading_leaves_the_global_random_state_and_logs_what_it_left_out(
    weights: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = torch.get_rng_state()
    with caplog.at_level(logging.INFO, logger="benchmark.backbones.cav_mae"):
        load(weights)
    assert torch.equal(before, torch.get_rng_state())
    assert "decoder_embed.weight" in caplog.text
    assert "blocks_a.0.norm1_v.bias" in caplog.text
    assert "patch_embed" not in caplog.text


def test_fine_tuned_weights_load_without_their_classifier(tmp_path: Path) -> None:
    state = {k: v for k, v in public_state().items() if not k.startswith(("decoder", "mask"))}
    state |= {"mlp_head.0.weight": torch.ones(WIDTH), "mlp_head.1.weight": torch.ones(5, WIDTH)}
    path = write(tmp_path / "ft.pth", state)
    assert load(path).encode("audio", torch.zeros(1, WINDOWS, 128)).shape == (1, WIDTH)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"drop": "blocks_u.0.norm1_a.weight"}, "1 entry missing .*blocks_u.0.norm1_a.weight"),
        ({"drop": "blocks_v.1.attn.qkv.bias"}, "1 entry missing .*blocks_v.1.attn.qkv.bias"),
        ({"add": "blocks_a.0.attn.gate"}, "1 unknown .*blocks_a.0.attn.gate"),
        ({"add": "text_encoder.weight"}, "1 unknown .*text_encoder.weight"),
        ({"drop": "pos_embed_v"}, "'pos_embed_v' is missing"),
        ({"shape": "pos_embed_v"}, "do not tile"),
        ({"shape": "norm_a.bias"}, "1 of another shape .*norm_a.bias"),
        ({"add": "blocks_a.7.norm1.weight"}, "entries missing .*blocks_a.2.norm1.weight"),
        ({"drop all": "blocks_u."}, "0 shared ones"),
    ],
)
def test_other_weights_are_refused(tmp_path: Path, change: dict[str, str], said: str) -> None:
    ((how, key),) = change.items()
    state = public_state()
    if how == "drop":
        del state[key]
    elif how == "add":
        state[key] = torch.ones(3)
    elif how == "shape":
        state[key] = torch.ones(1, 7, WIDTH)
    else:
        state = {k: v for k, v in state.items() if not k.startswith(key)}
    with pytest.raises(WeightsError, match=said):
        load(write(tmp_path / "other.pth", state))


def test_files_that_are_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"needs weights.*PRETRAINED="):
        load("")
    with pytest.raises(WeightsError, match=r"no such file.*PRETRAINED="):
        load(str(tmp_path / "absent.pth"))
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        load(str(damaged))


def test_user_mistakes(weights: str, backbone: TwoTowers) -> None:
    with pytest.raises(ConfigError, match="unknown image transform 'crop'"):
        load(weights, transform="crop")
    with pytest.raises(DataError, match="no samples"):
        backbone.preprocess("audio")(Audio(np.zeros(0, np.float32), 16_000))
    with pytest.raises(DataError, match=r"an audio tower takes .* not ndarray"):
        backbone.preprocess("audio")(np.zeros(8, np.float32))
    with pytest.raises(DataError, match="at least one frame"):
        backbone.preprocess("video")(np.zeros((0, 4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"\(T, H, W, 3\) uint8"):
        backbone.preprocess("video")(np.zeros((4, 4, 3), np.uint8))


def test_one_of_several_sets_of_weights(tmp_path: Path) -> None:
    state = public_state()
    torch.save({"state_dict": state, "state_dict_ema": state}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="2 sets of weights, state_dict and state_dict_ema"):
        load(str(tmp_path / "w.pth"))
    assert load(f"{tmp_path / 'w.pth'}#state_dict_ema").taken == "state_dict_ema"
