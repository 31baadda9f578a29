"""The towers of PE-AV, through transformers' classes, and its weight files.

Vyas et al., "Pushing the Frontier of Audiovisual Perception with Large-Scale Multimodal
Correspondence Learning", 2025. Only the audio and the video encoder with their contrastive heads
are built; the text encoder and the fusion of both modalities are not.

The towers are filled from the safetensors files here, not by ``from_pretrained``: that takes random
values where weights are missing and only warns, and in transformers 5.23 with timm 1.0.31 it fails
on this model, because it takes a buffer of timm's rotary embedding for a shared parameter.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from benchmark.errors import WeightsError, reason_of
from methods.base import QueryEncoder

logger = logging.getLogger(__name__)

INDEX_FILE = "model.safetensors.index.json"
WEIGHTS_FILE = "model.safetensors"

_PLACES = (
    # The audio-video encoder shares both encoders; a file holds them under either name.
    (r"(?:audio_model|audio_video_encoder\.embedder)\.audio_encoder\.(.+)", r"audio.encoder.\1"),
    (r"(?:video_model|audio_video_encoder\.embedder)\.video_encoder\.(.+)", r"video.encoder.\1"),
    (r"audio_model\.audio_head\.(.+)", r"audio.head.\1"),
    (r"video_model\.video_head\.(.+)", r"video.head.\1"),
    (r"(audio_video_logit_scale)", r"\1"),
)
_BUFFERS = re.compile(r"\.(rotary_emb|rope)\.[^.]+$")


class RMSNorm(nn.RMSNorm):
    """Root-mean-square norm in float32, also under autocast; equal to transformers' own class.

    It replaces that class, so that normalisation layers are found by torch's types.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., W) -> (..., W) of the same type."""
        return super().forward(x.float()).to(x.dtype)


class CodecEmbedder(nn.Module):
    """The codec in front of the audio encoder, in float32 on a CPU also under autocast.

    It takes the place of transformers' own class, with the same parts under the same names. On CPUs
    with AMX the bfloat16 kernels of torch 2.15 compute strided convolutions of few channels wrong:
    what comes out has nothing to do with what went in. On a GPU autocast decides.
    """

    def __init__(self, own: Any) -> None:
        super().__init__()
        self.dac_encoder: nn.Module = own.dac_encoder
        self.bottleneck: nn.Module = own.bottleneck
        self.data_proj: nn.Module = own.data_proj
        self.hop: int = own.config.dac_config.hop_length

    def forward(
        self, input_values: Tensor, padding_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, 1, L) samples -> (B, L / hop, W) tokens and (B, L / hop) their mask."""
        float32 = torch.autocast("cpu", enabled=False)
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=False), float32:
            states = self.bottleneck(self.dac_encoder(input_values))
        if padding_mask is not None:
            padding_mask = padding_mask[:, :: self.hop]
        return self.data_proj(states.transpose(1, 2)), padding_mask


class AudioTower(QueryEncoder):
    """``forward`` takes (B, 1 + L) float32: the number of valid samples, then the samples.

    All of it is adaptable; the codec in front has no normalisation layers and takes no gradients.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, inputs: Tensor) -> Tensor:
        samples = inputs[:, 1:]
        valid = torch.arange(samples.shape[1], device=inputs.device) < inputs[:, :1]
        output = self.encoder(samples.unsqueeze(1), padding_mask=valid.long())
        return F.normalize(self.head(output.pooler_output).float(), dim=-1)

    def map_parts(self, inputs: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Changes the samples; their number stays."""
        return torch.cat([inputs[:, :1], change(inputs[:, 1:])], dim=1)


class VideoTower(QueryEncoder):
    """``forward`` takes (B, T, 3, S, S) float32 frames. All of it is adaptable."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, frames: Tensor) -> Tensor:
        output = self.encoder(frames)
        return F.normalize(self.head(output.pooler_output).float(), dim=-1)


def build_towers(config: Any) -> dict[str, QueryEncoder]:
    """Both towers in the architecture of a configuration, with random weights.

    The global random state is left as it was.
    """
    from transformers.models.pe_audio.modeling_pe_audio import (
        PeAudioContrastiveHead,
        PeAudioEncoder,
    )
    from transformers.models.pe_video.modeling_pe_video import (
        PeVideoContrastiveHead,
        PeVideoEncoder,
    )

    audio, video = config.audio_video_config.audio_config, config.audio_video_config.video_config
    width = config.text_config.hidden_size  # the shared space is as wide as the text encoder
    with torch.random.fork_rng(devices=[]):
        towers: dict[str, QueryEncoder] = {
            "audio": AudioTower(
                PeAudioEncoder(audio), PeAudioContrastiveHead(audio.hidden_size, width)
            ),
            "video": VideoTower(
                PeVideoEncoder(video), PeVideoContrastiveHead(video.hidden_size, width)
            ),
        }
    encoder: Any = towers["audio"].encoder
    encoder.embedder = CodecEmbedder(encoder.embedder)
    for tower in towers.values():
        _use_torch_norms(tower)
    return towers


def _use_torch_norms(module: nn.Module) -> None:
    from transformers.models.pe_audio.modeling_pe_audio import PeAudioEncoderRMSNorm
    from transformers.models.pe_video.modeling_pe_video import PeVideoEncoderRMSNorm

    for name, child in module.named_children():
        if isinstance(child, PeAudioEncoderRMSNorm | PeVideoEncoderRMSNorm):
            norm = RMSNorm(len(child.weight), eps=child.variance_epsilon)
            norm.weight = child.weight
            setattr(module, name, norm)
        else:
            _use_torch_norms(child)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The entries of the two towers by their names here, and the logit scale.

    Raises:
        WeightsError: there are none, or they cannot be read.
    """
    found: dict[str, Tensor] = {}
    unused: list[str] = []
    try:
        for path in _weight_files(folder):
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118 - no mapping
                    place = _place(key)
                    if place:
                        found[place] = file.get_tensor(key)
                    else:
                        unused.append(key)
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise WeightsError(
            f"no weights can be read from {folder} ({reason_of(error)}); expected {WEIGHTS_FILE}, "
            f"or {INDEX_FILE} and the files that it names (no other format is read)"
        ) from None
    logger.info("left out %d entries of the text and fusion encoders", len(unused))
    return found


def _weight_files(folder: Path) -> Iterable[Path]:
    if not (folder / INDEX_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    names = set(
        json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))["weight_map"].values()
    )
    if any(Path(name).name != name for name in names):
        raise ValueError("the index names files outside its folder")
    return [folder / name for name in sorted(names)]


def _place(key: str) -> str:
    """Where an entry of a weight file goes, or "" where it is not needed."""
    if _BUFFERS.search(key):
        return ""  # computed, not learnt
    for pattern, place in _PLACES:
        match = re.fullmatch(pattern, key)
        if match:
            # Files may name the frame encoder's entries as timm does, without the wrapper's prefix.
            return re.sub(
                r"\.vision_model\.(?!timm_model\.)",
                ".vision_model.timm_model.",
                match.expand(place),
            )
    return ""
