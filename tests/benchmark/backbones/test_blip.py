"""BLIP retrieval on a tiny random instance of the real architecture."""

from __future__ import annotations

import copy
import json
import math
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmark.backbones import blip
from benchmark.backbones.base import TwoTowers
from benchmark.errors import ConfigError, WeightsError
from methods.base import Setup
from methods.parameters import norm_parameters, select_parameters
from methods.tent import Tent
from tests.benchmark.backbones.contract import BackboneContract
from tests.benchmark.backbones.fixtures_blip import (
    CONFIG,
    TEXTS,
    WORDS,
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
    assert prepare("kite " * 50).tolist() == [2, *[10] * 33, 3]


def test_a_batch_is_cut_after_its_longest_text(backbone: TwoTowers) -> None:
    assert inputs(backbone, "text").shape == (4, 8)  # two dog ##s , a kite, and the two ends


# Loading, and what is refused


def to_original(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the names of BLIP's own code (written down from its published files)."""
    renamed = {}
    for key, value in state.items():
        key = (
            key.replace("vision_model.embeddings.class_embedding", "visual_encoder.cls_token")
            .replace("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed")
            .replace("vision_model.embeddings.patch_embedding", "visual_encoder.patch_embed.proj")
            .replace("vision_model.encoder.layers", "visual_encoder.blocks")
            .replace("vision_model.post_layernorm", "visual_encoder.norm")
        )
        if key.startswith("visual_encoder.blocks"):
            key = key.replace("self_attn.projection", "attn.proj").replace("self_attn", "attn")
            key = key.replace("layer_norm", "norm")
        renamed[key] = value
    return renamed


def test_an_original_checkpoint_gives_the_same_embeddings(folder: Path, tmp_path: Path) -> None:
    original = to_original(dict(random_model(seed=1).state_dict()))
    assert "visual_encoder.blocks.1.attn.proj.weight" in original
    extra = {
        "temp": torch.tensor(0.05),
        "image_queue": torch.zeros(8, 4),
        "visual_encoder_m.cls_token": torch.zeros(1),
        "text_decoder.cls.predictions.bias": torch.zeros(3),
        "text_encoder.embeddings.position_ids": torch.arange(40)[None],
    }
    file = tmp_path / "model_base_retrieval_coco.pth"
    torch.save({"model": original | extra, "epoch": 5, "config": {"vit": "base"}}, file)
    read = load(folder, file)
    converted = write_folder(tmp_path / "converted", seed=1)
    other_scale = load(converted).fingerprint
    config = json.loads((converted / "config.json").read_text())
    config["logit_scale_init_value"] = math.log(20)
    (converted / "config.json").write_text(json.dumps(config))
    same = load(converted)
    assert read.name == "model_base_retrieval_coco"
    assert read.logit_scale == pytest.approx(20)
    assert read.fingerprint == same.fingerprint != other_scale  # methods may use the learnt one
    assert read.fingerprint != load(folder).fingerprint


def test_one_of_several_sets_of_weights(folder: Path, tmp_path: Path) -> None:
    original = to_original(dict(random_model(seed=1).state_dict()))
    torch.save({"model": original, "model_ema": original}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"2 sets of weights, model and model_ema; .*#model$"):
        load(folder, tmp_path / "w.pth")
    assert load(folder, f"{tmp_path / 'w.pth'}#model_ema").taken == "model_ema"


def test_positions_of_another_image_size_are_resized_bicubic(folder: Path, tmp_path: Path) -> None:
    original = to_original(dict(random_model().state_dict()))
    ramp = torch.arange(4.0)[:, None].expand(4, 4)  # rises downwards, in a 4 x 4 grid
    original["visual_encoder.pos_embed"] = torch.cat(
        [torch.full((1, 1, 24), 9.0), ramp.reshape(1, 16, 1).expand(1, 16, 24)], dim=1
    )
    torch.save({"model": original}, tmp_path / "model_base.pth")
    encoder = load(folder, tmp_path / "model_base.pth").query_encoder("image")
    found = dict(encoder.named_parameters())["vision_model.embeddings.position_embedding"]
    # bicubic (a = -0.75) half way between 0 and 1, the edge repeated: 0.5 - 0.09375
    low = 0.59375 * 0 + 0.59375 * 1 - 0.09375 * 0 - 0.09375 * 2
    expected = torch.tensor([9.0, low, low, 3 - low, 3 - low])
    torch.testing.assert_close(found[0, :, 0].detach(), expected)


def test_the_port_has_no_temperature_so_its_start_value_is_given(backbone: TwoTowers) -> None:
    assert backbone.logit_scale == pytest.approx(math.exp(2.6592))
    assert backbone.logit_scale == pytest.approx(1 / 0.07, rel=1e-3)


def test_fingerprint_and_name(folder: Path, tmp_path: Path) -> None:
    assert load(folder).name == load("", folder).name == "tiny-blip"
    assert load("Salesforce/blip-itm-base-coco", folder).name == "blip-itm-base-coco"
    words = write_folder(tmp_path / "words")
    (words / "vocab.txt").write_text("\n".join([*WORDS[:-1], "cat"]))
    other = write_folder(tmp_path / "other", seed=3)
    heads = write_folder(tmp_path / "heads")
    config = copy.deepcopy(CONFIG)
    config["vision_config"]["num_attention_heads"] = 4
    (heads / "config.json").write_text(json.dumps(config))
    cased = write_folder(tmp_path / "cased")
    (cased / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    prints = {load(f).fingerprint for f in (folder, words, other, heads, cased)}
    assert len(prints) == 5
    half = write_folder(tmp_path / "half")
    state = {k: v.half() for k, v in random_model().state_dict().items()}
    save_file(state, half / "model.safetensors")
    assert {p.dtype for p in load(half).query_encoder("text").parameters()} == {torch.float32}


def test_loading_leaves_the_global_random_state_alone(folder: Path) -> None:
    before = torch.random.get_rng_state()
    load(folder)
    assert torch.equal(before, torch.random.get_rng_state())


# Faults


def test_no_network_says_what_to_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    expected = r"no route to host.*hf download Salesforce/blip-itm-base-coco.*PRETRAINED="
    with pytest.raises(WeightsError, match=expected):
        load("Salesforce/blip-itm-base-coco")


def test_a_hub_model_is_fetched_without_pickle_where_it_can(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def fetch(name: str, *, allow_patterns: list[str]) -> str:
        assert name == "Salesforce/blip-itm-base-coco"
        asked.append(allow_patterns)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert load("Salesforce/blip-itm-base-coco").name == "blip-itm-base-coco"
    assert len(asked) == 1
    assert not any(name.endswith((".bin", ".py", ".h5")) for name in asked[0])


@pytest.mark.parametrize(
    ("model", "pretrained", "expected"),
    [
        ("", "", "needs a model: model: Salesforce/blip-itm-base-coco"),
        ("nowhere", "", "no BLIP folder 'nowhere'; expected a folder with config.json"),
        ("", "/nowhere/w.pth", "no file or folder '/nowhere/w.pth'"),
        ("", "{file}", "holds weights only; name the model"),
    ],
)
def test_missing_sources(tmp_path: Path, model: str, pretrained: str, expected: str) -> None:
    (tmp_path / "w.pth").touch()
    with pytest.raises(WeightsError, match=expected):
        load(model, pretrained.format(file=tmp_path / "w.pth"))


def test_transformers_missing(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WeightsError, match=r"pip install 'queryshift\[blip\]'"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model_type": "blip-2"}, "holds a 'blip-2' model; expected 'blip'"),
        ({"text_config": None}, "is not the configuration of a BLIP model"),
        ({"text_config": {}}, "8 attention heads; all published BLIP models have 12"),
        ({"vision_config": CONFIG["vision_config"] | {"num_attention_heads": 5}}, "no BLIP model"),
        ({"vision_config": CONFIG["vision_config"] | {"hidden_size": "x"}}, "no BLIP model"),
        ({"vision_config": CONFIG["vision_config"] | {"num_hidden_layers": 3}}, "12 entries miss"),
        ({"text_config": CONFIG["text_config"] | {"vocab_size": 6}}, "11 entries for .* of 6"),
    ],
)
def test_configurations_that_do_not_fit(
    tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    broken = write_folder(tmp_path / "m")
    (broken / "config.json").write_text(json.dumps(CONFIG | change))
    with pytest.raises(WeightsError, match=expected) as caught:
        load(broken)
    assert "\n" not in str(caught.value)


def test_folder_faults(tmp_path: Path) -> None:
    bare = write_folder(tmp_path / "m")
    (bare / "vocab.txt").write_text("no\nbert")
    with pytest.raises(WeightsError, match="must be the one that belongs to the model"):
        load(bare)
    (bare / "vocab.txt").unlink()
    with pytest.raises(WeightsError, match=r"no tokenizer; expected tokenizer\.json or vocab\.txt"):
        load(bare)
    (bare / "vocab.txt").write_text("\n".join(WORDS))
    (bare / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"looked for model\.safetensors, pytorch_model\.bin"):
        load(bare)
    (bare / "config.json").write_text("[]")
    with pytest.raises(WeightsError, match="not the configuration of a BLIP model"):
        load(bare)


def test_a_file_of_another_form_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    torch.save(dict(random_model().state_dict()), tmp_path / "plain.bin")
    assert load(folder, tmp_path / "plain.bin").fingerprint == load(folder).fingerprint


def test_unknown_entries_and_shapes_are_named(folder: Path, tmp_path: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["surprise"] = torch.zeros(1)
    state["text_proj.bias"] = torch.zeros(5)
    save_file(state, tmp_path / "w.safetensors")
    expected = r"1 unknown \(such as 'surprise'\), 1 of another shape \(such as 'text_proj.bias'"
    with pytest.raises(WeightsError, match=expected):
        load(folder, tmp_path / "w.safetensors")


def test_settings(folder: Path) -> None:
    with pytest.raises(ConfigError, match="one image transform, 'resize'"):
        load(folder, transform="clip")


def test_patch_grid_that_is_no_square_is_left_to_the_comparison() -> None:
    positions = torch.zeros(1, 7, 4)
    assert blip.resized_positions(positions, (4, 4)) is positions
