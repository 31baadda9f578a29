"""What dual encoders of video and audio have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.backbones.base import on_device
from benchmark.backbones.towers import owned
from benchmark.errors import ConfigError, DataError
from methods.base import QueryEncoder
from shifts.audio.item import Audio
from shifts.video import item as video_item
from shifts.video.item import Frames

MODALITIES = ("video", "audio")


class VideoAudioBackbone:
    """A ``DualEncoder`` over a video and an audio tower, in float32 and eval mode.

    Args:
        towers: "video" and "audio" -> tower, weights loaded; frozen and owned from now on.
        prepare: "video" and "audio" -> one raw item to one input tensor, all of one shape.
        name: as shown in tables.
        fingerprint: see ``DualEncoder``.
        logit_scale: see ``DualEncoder``.
        device: torch device string.
    """

    def __init__(
        self,
        towers: Mapping[str, QueryEncoder],
        prepare: Mapping[str, Callable[[Any], Tensor]],
        *,
        name: str,
        fingerprint: str,
        logit_scale: float,
        device: str = "cpu",
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.logit_scale = logit_scale
        self.device = device
        self._prepare = dict(prepare)
        self._towers = {
            modality: tower.float().eval().requires_grad_(False).to(device)
            for modality, tower in towers.items()
        }

    def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
        """One raw item -> one float32 tensor on the CPU, of one shape for all items.

        The function raises DataError for an item of another kind, or an empty one.
        """
        return self._prepare[_side(modality)]

    def collate(self, modality: str, inputs: Sequence[Tensor]) -> Tensor:
        """Stacks inputs to a batch on the device."""
        _side(modality)
        return on_device(torch.stack(list(inputs)), self.device)

    def query_encoder(self, modality: str) -> QueryEncoder:
        """A fresh copy of one tower, with that tower's parameters only, all taking gradients."""
        return owned(self._towers[_side(modality)])

    @torch.no_grad()
    def encode(self, modality: str, inputs: Tensor) -> Tensor:
        """(B, D) float32 unit rows of a collated batch, without gradient."""
        rows: Tensor = self._towers[_side(modality)](inputs)
        return rows


def checked_audio(item: object) -> Audio:
    """The item, if it is a recording with at least one sample.

    Raises:
        DataError: it is something else, or empty.
    """
    if not isinstance(item, Audio):
        raise DataError(f"an audio tower takes shifts.audio.item.Audio, not {type(item).__name__}")
    if not len(item.samples):
        raise DataError("an audio recording has no samples; it cannot be encoded")
    return item


def checked_video(item: Any) -> Frames:
    """The item, if it is a (T, H, W, 3) uint8 array with at least one frame.

    Raises:
        DataError: it is something else, or empty.
    """
    problem = video_item.item_problem(item)
    if problem:
        raise DataError(f"a video tower works on {problem}")
    frames: Frames = item
    return frames


def _side(modality: str) -> str:
    if modality not in MODALITIES:
        raise ConfigError(f"this backbone encodes 'video' and 'audio', not {modality!r}")
    return modality
