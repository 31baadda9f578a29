from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import open_clip
import pytest
import torch
from torch import nn

from benchmark.backbones.towers import OpenClipBackbone, image_tower, text_tower
from benchmark.errors import ConfigError
from tests.benchmark.backbones.contract import BackboneContract
from tests.benchmark.backbones.fixtures_open_clip import (
    CONFIG,
    TEXTS,
    VOCABULARY,
    images,
    inputs,
    layer_norm_scalars,
    load_local_dir,
    random_model,
    write_folder,
    write_weights,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("models") / "toy", CONFIG)


@pytest.fixture(scope="module")
def backbone(folder: Path) -> OpenClipBackbone:
    return load_local_dir(folder)


# Towers


class TestContract(BackboneContract):
    scalars: ClassVar = {"image": 6 * 2 * 32, "text": 4 * 2 * 24}

    def raw(self, modality: str) -> list[Any]:
        return images() if modality == "image" else TEXTS


@pytest.mark.parametrize("modality", ["image", "text"])
def test_embeddings_equal_open_clips_own(
    folder: Path, backbone: OpenClipBackbone, modality: str
) -> None:
    own = random_model(CONFIG).eval()
    batch = inputs(backbone, modality)
    rows = backbone.encode(modality, batch)
    with torch.no_grad():
        if modality == "image":
            expected = own.encode_image(batch, normalize=True)  # type: ignore[operator]
        else:
            padded = nn.functional.pad(batch, (0, 20 - batch.shape[1]))
            expected = own.encode_text(padded, normalize=True)  # type: ignore[operator]
    torch.testing.assert_close(rows, expected, atol=1e-6, rtol=0)
    assert backbone.logit_scale == pytest.approx(own.logit_scale.exp().item())  # type: ignore[operator]


def test_towers_hold_their_own_parameters_only(backbone: OpenClipBackbone) -> None:
    model = random_model(CONFIG)
    visual = sum(p.numel() for p in model.visual.parameters())  # type: ignore[union-attr]
    everything = sum(p.numel() for p in model.parameters())
    image, text = (backbone.query_encoder(side) for side in ("image", "text"))
    assert sum(p.numel() for p in image.parameters()) == visual
    assert sum(p.numel() for p in text.parameters()) == everything - visual - 1  # logit scale


def test_layer_norm_counts_of_vit_b16_are_those_of_tcr() -> None:
    with torch.device("meta"):
        model = open_clip.CLIP(**open_clip.get_model_config("ViT-B-16-quickgelu"))
    assert layer_norm_scalars(image_tower(model).adaptable) == 39_936
    assert layer_norm_scalars(text_tower(model).adaptable) == 24_576


def test_custom_text_class_gives_the_same_embeddings(tmp_path: Path, folder: Path) -> None:
    write_folder(tmp_path / "custom", {**CONFIG, "custom_text": True})
    plain = (folder / "open_clip_model.safetensors").read_bytes()
    (tmp_path / "custom" / "open_clip_model.safetensors").write_bytes(plain)
    custom, standard = load_local_dir(tmp_path / "custom"), load_local_dir(folder)
    for modality in ("image", "text"):
        batch = inputs(standard, modality)
        torch.testing.assert_close(
            custom.encode(modality, batch), standard.encode(modality, batch), atol=1e-6, rtol=0
        )
    assert custom.query_encoder("text").adaptable is not custom.query_encoder("text")


# Text


def test_a_batch_is_cut_after_its_last_end_token(backbone: OpenClipBackbone) -> None:
    full = torch.stack([backbone.preprocess("text")(text) for text in TEXTS])
    assert full.shape[1] == 20
    assert inputs(backbone, "text").shape[1] == int(full.argmax(dim=1).max()) + 1 < 20


def test_long_text_is_cut_to_the_context_and_keeps_its_end(backbone: OpenClipBackbone) -> None:
    tokens = backbone.preprocess("text")("kite " * 100)
    assert tokens.shape == (20,)
    assert tokens[-1] == VOCABULARY - 1


@pytest.mark.parametrize("change", [{"no_causal_mask": True}, {"pool_type": "last"}])
def test_no_trimming_where_it_would_change_embeddings(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    config = copy.deepcopy(CONFIG) | {"custom_text": True}
    config["text_cfg"] |= change
    bare = load_local_dir(write_folder(tmp_path / "m", config))
    batch = inputs(bare, "text")
    assert batch.shape[1] == 20
    own = random_model(config).eval()
    with torch.no_grad():
        expected = own.encode_text(batch, normalize=True)  # type: ignore[operator]
    torch.testing.assert_close(bare.encode("text", batch), expected, atol=1e-6, rtol=0)


def test_end_token_pooling_trims_too(tmp_path: Path) -> None:
    config = copy.deepcopy(CONFIG) | {"custom_text": True}
    config["text_cfg"] |= {"pool_type": "eos", "eos_id": VOCABULARY - 1}
    model = load_local_dir(write_folder(tmp_path / "m", config))
    full = torch.stack([model.preprocess("text")(text) for text in TEXTS])
    short = model.collate("text", list(full))
    assert short.shape[1] < 20
    torch.testing.assert_close(
        model.encode("text", short), model.encode("text", full), atol=1e-6, rtol=0
    )


# Images


def test_unknown_transform(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"'rezise'; did you mean 'resize'"):
        load_local_dir(folder, "rezise")


def test_model_brings_its_own_mean_and_std(tmp_path: Path) -> None:
    plain = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
    model = load_local_dir(write_folder(tmp_path / "m", CONFIG, preprocess_cfg=plain))
    white = model.preprocess("image")(np.full((9, 9, 3), 255, np.uint8))
    assert white.shape == (3, 32, 32)
    assert (white == 1).all()


# Identity


def test_fingerprint_follows_weights_transform_and_vocabulary(tmp_path: Path, folder: Path) -> None:
    copied = write_folder(tmp_path / "same", CONFIG)
    merges = copied / "bpe_simple_vocab.txt.gz"
    merges.write_bytes(gzip.compress(gzip.decompress(merges.read_bytes()), mtime=1))
    same = load_local_dir(copied).fingerprint
    assert same == load_local_dir(folder).fingerprint
    vocabulary = write_folder(tmp_path / "vocabulary", CONFIG)
    with gzip.open(vocabulary / "bpe_simple_vocab.txt.gz", "rt", encoding="utf-8") as stream:
        header, first, *rest = stream.read().split("\n")
    with gzip.open(vocabulary / "bpe_simple_vocab.txt.gz", "wt", encoding="utf-8") as stream:
        stream.write("\n".join([header, *rest, first]))
    others = {
        load_local_dir(folder, "clip").fingerprint,
        load_local_dir(write_folder(tmp_path / "weights", CONFIG, seed=1)).fingerprint,
        load_local_dir(vocabulary).fingerprint,
    }
    assert len(others | {same}) == 4


def test_fingerprint_follows_the_tokenizer_of_hugging_face_beside_the_weights(
    tmp_path: Path,
) -> None:
    tokenizers, transformers = (
        pytest.importorskip(name) for name in ("tokenizers", "transformers")
    )
    config = copy.deepcopy(CONFIG)
    config["text_cfg"]["hf_tokenizer_name"] = "mine"
    config["custom_text"] = True
    folder = tmp_path / "hf"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    write_weights(random_model(config), folder / "open_clip_model.safetensors")

    def with_words(*words: str, lower: bool = False) -> str:
        entries = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
        made = tokenizers.Tokenizer(tokenizers.models.WordLevel(entries, unk_token="[UNK]"))
        if lower:
            made.normalizer = tokenizers.normalizers.Lowercase()
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]"
        ).save_pretrained(folder)
        return load_local_dir(folder).fingerprint

    prints = [with_words("a", "dog"), with_words("dog", "a"), with_words("a", "dog", lower=True)]
    assert len(set(prints)) == 3
    assert with_words("a", "dog") == prints[0]
