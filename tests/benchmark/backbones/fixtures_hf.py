"""Folders of dual encoders of transformers: tiny, randomly initialised, with their processors."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch

SIZE = 32
WORDS = (
    "<pad>",
    "<s>",
    "</s>",
    "<unk>",
    "a",
    "red",
    "green",
    "blue",
    "wall",
    "plain",
    "grey",
    "the",
)

_TEXT = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 20,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "projection_dim": 8,
}
_VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIZE,
    "patch_size": 8,
    "projection_dim": 8,
}
_STAGES = {"depths": [1, 1, 1], "num_group_tokens": [4, 2, 0], "num_output_groups": [4, 2, 2]}

FAMILIES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "clip": ("CLIP", _TEXT, _VISION),
    "siglip": ("Siglip", {**_TEXT, "projection_size": 16}, _VISION),
    "siglip2": ("Siglip2", {**_TEXT, "projection_size": 16}, {**_VISION, "num_patches": 16}),
    "metaclip-2": ("MetaClip2", _TEXT, _VISION),
    "altclip": ("AltCLIP", {**_TEXT, "project_dim": 16}, _VISION),
    "chinese-clip": ("ChineseCLIP", _TEXT, _VISION),
    "clipseg": ("CLIPSeg", _TEXT, _VISION),
    "blip": ("Blip", {**_TEXT, "encoder_hidden_size": 16}, _VISION),
    "owlvit": ("OwlViT", _TEXT, _VISION),
    "owlv2": ("Owlv2", _TEXT, _VISION),
    "aimv2": ("Aimv2", _TEXT, _VISION),
    "groupvit": ("GroupViT", _TEXT, {**_VISION, **_STAGES}),
    "align": (
        "Align",
        {**_TEXT, "projection_dim": 16},
        {
            "image_size": SIZE,
            "num_channels": 3,
            "width_coefficient": 0.1,
            "depth_coefficient": 0.1,
            "hidden_dim": 16,
            "depth_divisor": 4,
        },
    ),
}
"""Family -> prefix of its classes, sizes of its text tower and of its image tower."""

TOP = {"projection_dim": 8, "project_dim": 16, "projection_intermediate_dim": 16}


def tokenizer() -> Any:
    """Words by blanks; unknown ones are one."""
    library = importlib.import_module("transformers")
    tokenizers = importlib.import_module("tokenizers")
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return library.PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=12,
    )


def build(family: str) -> Any:
    """A model of the family, the same on every call."""
    library = importlib.import_module("transformers")
    prefix, text, vision = FAMILIES[family]
    kind = getattr(library, f"{prefix}Config")
    top = {**TOP, "projection_dim": 32} if family == "align" else TOP
    config = kind(text_config=dict(text), vision_config=dict(vision), **top)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(library, f"{prefix}Model")(config)


def save(folder: Path, family: str, *, processor: bool = True, dtype: Any = None) -> Path:
    """Writes a folder as ``save_pretrained`` does."""
    library = importlib.import_module("transformers")
    build(family).to(dtype or torch.float32).save_pretrained(folder)
    if processor:
        tokenizer().save_pretrained(folder)
        if family == "siglip2":
            library.Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)
        else:
            library.CLIPImageProcessor(
                size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
            ).save_pretrained(folder)
    return folder


def save_clap(folder: Path) -> Path:
    """A tiny CLAP: sounds instead of pictures."""
    library = importlib.import_module("transformers")
    audio = {
        **{"spec_size": 64, "num_mel_bins": 16, "window_size": 4, "patch_size": 4},
        **{"patch_stride": [4, 4], "patch_embeds_hidden_size": 8, "depths": [1, 1]},
        **{"num_attention_heads": [1, 2], "hidden_size": 16, "num_hidden_layers": 2},
        **{"projection_dim": 8, "enable_fusion": False, "num_classes": 4},
    }
    config = library.ClapConfig(text_config=dict(_TEXT), audio_config=audio, projection_dim=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        library.ClapModel(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    library.ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=16000,
        hop_length=160,
        max_length_s=1,
        fft_window_size=256,
        truncation="rand_trunc",
        padding="repeatpad",
    ).save_pretrained(folder)
    return folder
