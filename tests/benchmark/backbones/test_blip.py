"""BLIP retrieval on a tiny random instance of the real architecture."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from benchmark.backbones import blip
from benchmark.backbones.base import TwoTowers
from methods.base import Setup
from methods.parameters import norm_parameters, select_parameters
from methods.tent import Tent
from tests.benchmark.backbones.contract import BackboneContract
from tests.benchmark.backbones.fixtures_blip import (
    TEXTS,
    inputs,
    load,
    random_model,
    transformers,
    write_folder,
)
from tests.benchmark.backbones.fixtures_open_clip import images, layer_norm_scalars

FULL: dict[str, Any] = {
    "model_type": "blip",
    "text_config": {"num_attention_heads": 12},
    "vision_config": {},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("models") / "tiny-blip")


@pytest.fixture(scope="module")
def backbone(folder: Path) -> TwoTowers:
    return load(folder)


class TestContract(BackboneContract):
    scalars: ClassVar = {"image": 5 * 2 * 24, "text": 7 * 2 * 16}
    near = 0.995
    idle = "crossattention"  # declared in BERT, but a text-only pass does not run it

    def raw(self, modality: str) -> list[Any]:
        return images() if modality == "image" else TEXTS


def test_scores_are_transformers_own_contrastive_ones(backbone: TwoTowers) -> None:
    pixels, tokens = inputs(backbone, "image"), inputs(backbone, "text")
    rows = {m: backbone.encode(m, x) for m, x in (("image", pixels), ("text", tokens))}
    mask = (tokens != 0).long()
    with torch.no_grad():
        own = random_model()(
            input_ids=tokens, pixel_values=pixels[:1], attention_mask=mask, use_itm_head=False
        ).itm_score
    torch.testing.assert_close(rows["image"][:1] @ rows["text"].T, own, atol=1e-5, rtol=0)
    assert {table.shape[1] for table in rows.values()} == {8}


def test_the_matching_head_is_nowhere(folder: Path, tmp_path: Path) -> None:
    names = {n for m in ("image", "text") for n, _ in load(folder).query_encoder(m).named_modules()}
    assert not any("itm" in name for name in names)
    state = load_file(folder / "model.safetensors")
    headless = write_folder(tmp_path / "headless")
    save_file({k: v for k, v in state.items() if "itm" not in k}, headless / "model.safetensors")
    assert load(headless).fingerprint == load(folder).fingerprint


@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_query_encoder_holds_one_tower(backbone: TwoTowers, modality: str) -> None:
    parts = ("vision",) if modality == "image" else ("text",)
    wanted = sum(p.numel() for n, p in random_model().named_parameters() if n.startswith(parts))
    assert sum(p.numel() for p in backbone.query_encoder(modality).parameters()) == wanted


def test_counts_of_probe_1a_without_allocating_weights() -> None:
    large = copy.deepcopy(FULL)
    large["vision_config"] = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    }
    with torch.device("meta"):
        model, other = (
            transformers.BlipForImageTextRetrieval(transformers.BlipConfig.from_dict(settings))
            for settings in (FULL, large)
        )
    image = blip.BlipImageTower(model.vision_model, model.vision_proj)
    text = blip.BlipTextTower(model.text_encoder, model.text_proj, 0)
    wide = blip.BlipImageTower(other.vision_model, other.vision_proj)
    assert all(p.is_meta for p in image.parameters())
    assert layer_norm_scalars(image.adaptable) == 38_400
    assert layer_norm_scalars(wide.adaptable) == 100_352
    assert layer_norm_scalars(text.adaptable) == 56_832
    norms = norm_parameters(text.adaptable)
    assert sum(p.numel() for n, p in norms.items() if "crossattention" in n) == 18_432


@pytest.mark.parametrize(
    ("modality", "start"),
    [("image", "vision_model.encoder.layers.1."), ("text", "text_encoder.encoder.layer.1.")],
)
def test_the_last_block_is_found(backbone: TwoTowers, modality: str, start: str) -> None:
    encoder = backbone.query_encoder(modality)
    adapted = select_parameters(encoder, "last-block")
    assert set(adapted) == {n for n, _ in encoder.named_parameters() if n.startswith(start)}
    assert len(adapted) > 10


def test_a_method_leaves_the_unused_cross_attention_alone(backbone: TwoTowers) -> None:
    encoder, batch = backbone.query_encoder("text"), inputs(backbone, "text")
    before = {n: p.detach().clone() for n, p in encoder.named_parameters()}
    setup = Setup(encoder, backbone.encode("image", inputs(backbone, "image")), logit_scale=14.0)
    Tent(setup, Tent.Options(lr=1e-2, weight_decay=0.1)).step(batch)
    moved = {n for n, p in encoder.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {n for n in norm_parameters(encoder) if "crossattention" not in n}


def test_images_are_squeezed_with_clips_statistics(backbone: TwoTowers) -> None:
    image = images(1)[0]
    squeezed = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC))
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    expected = (squeezed / 255 - mean) / std
    result = backbone.preprocess("image")(image).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_texts_are_word_pieces_of_at_most_35_tokens(backbone: TwoTowers) -> None:
    prepare = backbone.preprocess("text")
    tokens = prepare("Two DOGS, zebra")
    assert tokens.shape == (35,)
    assert tokens.dtype == torch.int64
    assert tokens[:7].tolist() == [2, 8, 6, 7, 9, 1, 3]
    assert not tokens[7:].any()
    long = prepare("kite " * 50)
    assert long.tolist() == [2, *[10] * 33, 3]


def test_a_batch_is_cut_after_its_longest_text(backbone: TwoTowers) -> None:
    assert inputs(backbone, "text").shape == (4, 8)  # two dog ##s , a kite, and the two ends
