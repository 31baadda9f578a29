"""Person search: checkpoints in IRRA's form, of a tiny random CLIP with a 12 x 4 position grid."""

from __future__ import annotations

import copy
import logging
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmark.backbones.person_search import load, person_tokenizer, person_transform
from benchmark.backbones.towers import OpenClipBackbone, image_tower, text_tower
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, WeightsError
from tests.benchmark.backbones.contract import BackboneContract
from tests.benchmark.backbones.fixtures_open_clip import layer_norm_scalars

CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {
        "image_size": [384, 128],
        "layers": 2,
        "width": 64,
        "head_width": 64,
        "patch_size": 32,
    },
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}
TEXTS = ["A woman in a green coat.", "He walks, with a red cap &amp; jeans", ""]


def random_model() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model: nn.Module = open_clip.CLIP(**copy.deepcopy(CONFIG)).eval()
        for name, parameter in model.named_parameters():
            if name != "logit_scale":
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return random_model()


@pytest.fixture(scope="module")
def state(model: nn.Module) -> dict[str, Tensor]:
    """As IRRA saves it: towers with a prefix and without a scale, and the parts for training."""
    towers = {f"base_model.{k}": v for k, v in model.state_dict().items() if k != "logit_scale"}
    other = {
        "classifier.weight": torch.zeros(10, 16),
        "cross_attn.in_proj_weight": torch.zeros(48, 16),
        "cross_modal_transformer.resblocks.0.ln_1.weight": torch.ones(16),
        "ln_pre_t.weight": torch.ones(16),
        "ln_pre_i.weight": torch.ones(16),
        "ln_post.bias": torch.zeros(16),
        "mlm_head.fc.bias": torch.zeros(49408),
    }
    return towers | other


def write(state: dict[str, Tensor], path: Path, **other: Any) -> Path:
    torch.save({"model": state, "epoch": 60, "optimizer": {"lr": 1e-5}, **other}, path)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, state: dict[str, Tensor]) -> Path:
    return write(state, tmp_path_factory.mktemp("weights") / "irra_icfg_pedes.pth")


@pytest.fixture(scope="module")
def backbone(file: Path) -> OpenClipBackbone:
    return load_file(file)


def load_file(path: Path | str, model: str = "", **other: str) -> OpenClipBackbone:
    return load(BackboneSpec("person_search", model, str(path), **other))


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (60 + 9 * i, 25, 3), dtype=np.uint8) for i in range(2)]


class TestContract(BackboneContract):
    scalars: ClassVar = {"image": 2 * 64 * 6, "text": 2 * 64 * 2}

    def raw(self, modality: str) -> list[Any]:
        return images() if modality == "image" else TEXTS


@pytest.mark.parametrize("modality", ["image", "text"])
def test_embeddings_are_those_of_the_towers(
    backbone: OpenClipBackbone, model: nn.Module, modality: str
) -> None:
    batch = TestContract().batch(backbone, modality)
    rows = backbone.encode(modality, batch)
    with torch.no_grad():
        if modality == "image":
            assert batch.shape == (2, 3, 384, 128)
            expected = model.encode_image(batch, normalize=True)  # type: ignore[operator]
        else:
            padded = nn.functional.pad(batch, (0, 77 - batch.shape[1]))
            expected = model.encode_text(padded, normalize=True)  # type: ignore[operator]
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=0)
    assert rows.shape[1] == 16


def test_irras_fixed_temperature_or_a_learnt_one(
    backbone: OpenClipBackbone, state: dict[str, Tensor], tmp_path: Path
) -> None:
    assert backbone.logit_scale == pytest.approx(50)
    scale = torch.tensor([math.log(30.0)])
    learnt = load_file(write(state | {"base_model.logit_scale": scale}, tmp_path / "l.pth"))
    assert learnt.logit_scale == pytest.approx(30)


def test_counts_of_the_full_size() -> None:
    config = copy.deepcopy(open_clip.get_model_config("ViT-B-16-quickgelu"))
    config["vision_cfg"]["image_size"] = [384, 128]
    with torch.device("meta"):
        full = open_clip.CLIP(**config)
    assert full.visual.grid_size == (24, 8)
    assert layer_norm_scalars(image_tower(full).adaptable) == 39_936
    assert layer_norm_scalars(text_tower(full).adaptable) == 24_576


def test_the_activation_is_quickgelu(backbone: OpenClipBackbone) -> None:
    """Whatever the file is called: IRRA starts from OpenAI's weights."""
    for modality in ("image", "text"):
        kinds = {type(m).__name__ for m in backbone.query_encoder(modality).modules()}
        assert "QuickGELU" in kinds
        assert "GELU" not in kinds


def test_images_are_squeezed_bilinearly() -> None:
    image = images()[0]
    squeezed = np.asarray(Image.fromarray(image).resize((128, 384), Image.Resampling.BILINEAR))
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    result = person_transform()(image)
    assert result.shape == (3, 384, 128)
    expected = (squeezed / 255 - mean) / std
    np.testing.assert_allclose(result.permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_the_tokenizer_is_clips_without_its_last_merge() -> None:
    ours, clips = person_tokenizer(), open_clip.SimpleTokenizer()
    for text in [*TEXTS, "long " * 100]:
        assert torch.equal(ours([text]), clips([text])), text
    assert clips.encode("jekyll") == [49405]
    pieces = ours.encode("a jekyll")
    assert len(pieces) == 3
    assert max(pieces) < 49405  # the mask token's id is never given to text
    assert ours.decode(pieces) == "a jekyll "
    long = ours(["long " * 100])[0]
    assert long.shape == (77,)
    assert (long[0], long[-1]) == (49406, 49407)


def test_what_is_left_out_is_said_and_changes_nothing(
    file: Path,
    backbone: OpenClipBackbone,
    state: dict[str, Tensor],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="benchmark.backbones.person_search"):
        assert load_file(file, "irra-icfg").name == "irra-icfg"
    assert "7 entries of IRRA's cross-modal part are left out" in caplog.text
    towers = {k: v for k, v in state.items() if k.startswith("base_model.")}
    bare = load_file(write(towers, tmp_path / "bare.pth"))
    assert (bare.name, bare.fingerprint) == ("bare", backbone.fingerprint)
    save_file(towers, tmp_path / "same.safetensors")
    assert load_file(tmp_path / "same.safetensors").fingerprint == backbone.fingerprint
    parallel = {f"module.{k}": v.half() for k, v in state.items()}
    half = load_file(write(parallel, tmp_path / "half.pth"))
    assert {p.dtype for p in half.query_encoder("image").parameters()} == {torch.float32}
    assert half.fingerprint != backbone.fingerprint


def without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if k != name}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("missing", r"1 entry missing \(such as 'visual.ln_post.bias'\)"),
        ("unknown in the towers", r"1 unknown \(such as 'visual.adapter'\)"),
        ("unknown beside them", "1 entries are neither CLIP's towers nor .* such as 'decoder.w'"),
        ("no patches", "'visual.conv1.weight' is missing"),
        ("positions", "196 patch positions; .* 12 x 4 = 48: .* another image size"),
        ("vocabulary", "vocabulary of 100"),
        ("plain", "none of its 56 entries starts with 'base_model.'"),
        ("objects", "cannot be read as weights"),
    ],
)
def test_checkpoints_that_do_not_fit(
    tmp_path: Path, state: dict[str, Tensor], change: str, expected: str
) -> None:
    other: dict[str, Any] = {
        "missing": without(state, "base_model.visual.ln_post.bias"),
        "unknown in the towers": state | {"base_model.visual.adapter": torch.zeros(1)},
        "unknown beside them": state | {"decoder.w": torch.zeros(1)},
        "no patches": without(state, "base_model.visual.conv1.weight"),
        "positions": state | {"base_model.visual.positional_embedding": torch.zeros(197, 64)},
        "vocabulary": state | {"base_model.token_embedding.weight": torch.zeros(100, 64)},
        "plain": {k.removeprefix("base_model."): v for k, v in state.items()},
        "objects": {"base_model.a": Path("x")},
    }
    with pytest.raises(WeightsError, match=expected) as caught:
        load_file(write(other[change], tmp_path / "w.pth"))
    assert "\n" not in str(caught.value)


def test_one_of_several_sets_of_weights(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = write(state, tmp_path / "best.pth", model_ema=state)
    with pytest.raises(WeightsError, match=r"2 sets of weights, model and model_ema; .*#model$"):
        load_file(path)
    assert load_file(f"{path}#model_ema").taken == "model_ema"


def test_settings(file: Path) -> None:
    with pytest.raises(WeightsError, match=r"trained on ICFG-PEDES .*PRETRAINED="):
        load_file("", "irra-icfg")
    with pytest.raises(WeightsError, match="there is no checkpoint /nowhere"):
        load_file("/nowhere/w.pth")
    with pytest.raises(ConfigError, match="one image transform, 'resize'"):
        load_file(file, transform="clip")
