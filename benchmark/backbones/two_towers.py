"""Two towers as a dual encoder: what the loaders of this room have in common."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.backbones.base import on_device
from benchmark.errors import ConfigError
from methods.base import QueryEncoder


class TwoTowers:
    """A ``DualEncoder`` with one tower for each of its modalities, in float32 and eval mode.

    Args:
        towers: modality -> tower, weights loaded; frozen and owned from now on. One with a method
            ``trimmed`` is given batches cut by it: texts without the padding that all share.
        prepare: modality -> one raw item to one input tensor on the CPU, all of one shape; raises
            DataError for an item of another kind, or an empty one.
        name: as shown in tables.
        fingerprint: see ``DualEncoder``.
        logit_scale: see ``DualEncoder``.
        device: torch device string.
        taken: which entry of a checkpoint the weights were; "" for a plain one.
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
        taken: str = "",
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.logit_scale = logit_scale
        self.taken = taken
        self.device = device
        self._prepare = dict(prepare)
        self._towers = {
            modality: tower.float().eval().requires_grad_(False).to(device)
            for modality, tower in towers.items()
        }

    def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
        """One raw item -> one input tensor on the CPU."""
        self._tower(modality)
        return self._prepare[modality]

    def collate(self, modality: str, inputs: Sequence[Tensor]) -> Tensor:
        """Stacks inputs on the device; texts are cut after the longest of the batch."""
        trimmed = getattr(self._tower(modality), "trimmed", None)
        batch = torch.stack(list(inputs))
        return on_device(trimmed(batch) if trimmed else batch, self.device)

    def query_encoder(self, modality: str) -> QueryEncoder:
        """A fresh copy of one tower, with that tower's parameters only, all taking gradients."""
        return owned(self._tower(modality))

    @torch.no_grad()
    def encode(self, modality: str, inputs: Tensor) -> Tensor:
        """(B, D) float32 unit rows of a collated batch, without gradient."""
        rows: Tensor = self._tower(modality)(inputs)
        return rows

    def _tower(self, modality: str) -> QueryEncoder:
        if modality not in self._towers:
            known = " and ".join(map(repr, self._prepare))
            raise ConfigError(f"this backbone encodes {known}, not {modality!r}")
        return self._towers[modality]


def owned(tower: QueryEncoder) -> QueryEncoder:
    """A deep copy in eval mode whose parameters all take gradients."""
    fresh = copy.deepcopy(tower).eval()
    for parameter in fresh.parameters():
        parameter.requires_grad_(True)
    return fresh
