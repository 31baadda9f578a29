"""Small PE-AV models, their folders, and what they are fed with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.backbones import pe_av
from benchmark.backbones.base import TwoTowers
from benchmark.cell import BackboneSpec
from shifts.base import Audio
from tests.benchmark.backbones.contract import collated

transformers = pytest.importorskip(
    "transformers", reason="PE-AV's classes come with transformers (extra 'pe-av')"
)

MODALITIES = ("video", "audio")
HOP, TOKENS, SIDE, FRAMES, WIDTH = 1920, 5, 28, 4, 32
SECONDS = TOKENS * HOP / 48_000

ENCODER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "head_dim": 16,
}
TEXT: dict[str, Any] = {
    "model_type": "modernbert",
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 64,
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0),
    **dict.fromkeys(("cls_token_id", "sep_token_id"), 1),
}
AUDIO: dict[str, Any] = {
    "model_type": "pe_audio_encoder",
    "dac_config": {
        "model_type": "dac",
        "encoder_hidden_size": 4,
        "downsampling_ratios": [2, 8, 10, 12],
        "hidden_size": 16,
        "codebook_dim": 8,
    },
    **ENCODER,
}
VIDEO: dict[str, Any] = {
    "model_type": "pe_video_encoder",
    "vision_config": {
        "model_type": "timm_wrapper",
        "architecture": "vit_pe_core_large_patch14_336",
        "do_pooling": True,
        "num_classes": 24,
        "global_pool": "map",
        "model_args": {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": [SIDE, SIDE]},
    },
    **ENCODER,
}


def random_model(seed: int = 0) -> Any:
    """A whole PE-AV model of transformers, text and fusion included, with a learnt scale."""
    config = transformers.PeAudioVideoConfig(
        text_config=TEXT,
        audio_video_config={"audio_config": AUDIO, "video_config": VIDEO, **ENCODER},
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.PeAudioVideoModel(config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim > 1 and "snake" not in name:
                    parameter.normal_(std=0.3 / parameter[0].numel() ** 0.25)
                elif "snake" not in name:
                    parameter.add_(0.1 * torch.randn(parameter.shape))
            model.audio_video_logit_scale.fill_(12.5)
    return model


def load(folder: Path, transform: str = "clip") -> TwoTowers:
    spec = BackboneSpec("pe_av", str(folder), "", transform)
    return pe_av.load(spec, seconds=SECONDS, frames=FRAMES)


def clips(count: int = 3, frames: int = 10) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (frames, 40, 50, 3), dtype=np.uint8) for _ in range(count)]


def sound(seconds: float, rate: int = 48_000, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    return Audio(rng.uniform(-0.3, 0.3, round(seconds * rate)).astype(np.float32), rate)


def items(modality: str) -> list[Any]:
    sounds = [sound(s, seed=i) for i, s in enumerate((1.0, 0.9 * SECONDS, 0.3 * SECONDS))]
    return clips() if modality == "video" else sounds


def batch(backbone: TwoTowers, modality: str) -> Tensor:
    return collated(backbone, modality, items(modality))
