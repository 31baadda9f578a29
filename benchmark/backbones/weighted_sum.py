"""Composed queries on any open_clip model: a weighted sum of the two embeddings.

The plainest zero-shot way to compose a reference image and a modification text: no weights beyond
those of the dual encoder. Trained combiners (CLIP4Cir, SPRC) do much better on CIRR and FashionIQ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.backbones import open_clip
from benchmark.backbones.base import DualEncoder, on_device
from benchmark.backbones.packing import map_packed, pack_staged, unpack
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError
from methods.base import QueryEncoder

DEFAULT_WEIGHT = 0.5
"""Share of the reference image where the model's name says none."""


class WeightedSum(QueryEncoder):
    """Both towers as one query encoder; ``forward`` takes (B, P + L) float32 packed rows.

    query = normalise(w * image + (1 - w) * text), of unit embeddings. Adaptable is what is
    adaptable of either tower; with w = 1 (or 0) only the image's (the text's), because the other
    one is not used.
    """

    def __init__(
        self, image: QueryEncoder, text: QueryEncoder, weight: float, image_shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.image = image
        self.text = text
        self.weight = weight
        self.image_shape = image_shape

    @property
    def adaptable(self) -> nn.Module:
        parts = {}
        if self.weight > 0:
            parts["image"] = self.image.adaptable
        if self.weight < 1:
            parts["text"] = self.text.adaptable
        return nn.ModuleDict(parts)

    def forward(self, rows: Tensor) -> Tensor:
        images, tokens = unpack(rows, self.image_shape)
        return composed(lambda: self.image(images), lambda: self.text(tokens), self.weight)

    def map_parts(self, inputs: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        return map_packed(inputs, self.image_shape, change)


def composed(image: Callable[[], Tensor], text: Callable[[], Tensor], weight: float) -> Tensor:
    """The unit rows of the weighted sum; a part of weight 0 is not computed."""
    if weight == 1:
        return image()
    if weight == 0:
        return text()
    return F.normalize(weight * image() + (1 - weight) * text(), dim=-1)


class WeightedSumBackbone:
    """A ``DualEncoder`` for "composed" queries and "image" galleries over another one.

    Args:
        base: a dual encoder of images and texts; its "text" stays usable on its own too.
        weight: share of the reference image, from 0 to 1.
    """

    def __init__(self, base: DualEncoder, weight: float = DEFAULT_WEIGHT) -> None:
        self.base = base
        self.weight = weight
        self.name = f"{base.name}@{weight:g}"
        said = f"weighted_sum {base.fingerprint} {weight!r}"
        self.fingerprint = hashlib.sha256(said.encode()).hexdigest()[:16]
        self.logit_scale = base.logit_scale
        self.device = base.device
        self.taken = getattr(base, "taken", "")
        self._image_shape: tuple[int, ...] = ()

    def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
        """One raw item -> one input tensor on the CPU; a composed query -> one packed row."""
        if modality != "composed":
            return self.base.preprocess(_part(modality))
        image, text = self.base.preprocess("image"), self.base.preprocess("text")
        return pack_staged(image, text, self._shape())

    def collate(self, modality: str, inputs: Sequence[Tensor]) -> Tensor:
        """Stacks inputs on the device; texts inside rows are cut as the base cuts them."""
        if modality != "composed":
            return self.base.collate(_part(modality), inputs)
        rows = torch.stack(list(inputs))
        images, tokens = unpack(rows, self._shape())
        cut = self.base.collate("text", list(tokens))
        flat = on_device(images.flatten(1), self.device)
        return torch.cat([flat, cut.to(torch.float32)], dim=1)

    def query_encoder(self, modality: str) -> QueryEncoder:
        """A fresh copy; for composed queries of both towers."""
        if modality != "composed":
            return self.base.query_encoder(_part(modality))
        image, text = self.base.query_encoder("image"), self.base.query_encoder("text")
        return WeightedSum(image, text, self.weight, self._shape()).eval()

    @torch.no_grad()
    def encode(self, modality: str, inputs: Tensor) -> Tensor:
        if modality != "composed":
            return self.base.encode(_part(modality), inputs)
        images, tokens = unpack(inputs, self._shape())
        return composed(
            lambda: self.base.encode("image", images),
            lambda: self.base.encode("text", tokens),
            self.weight,
        )

    def _shape(self) -> tuple[int, ...]:
        """Of one preprocessed image; every image comes out with the same."""
        if not self._image_shape:
            blank = np.zeros((8, 8, 3), dtype=np.uint8)
            self._image_shape = tuple(self.base.preprocess("image")(blank).shape)
        return self._image_shape


def load(spec: BackboneSpec) -> WeightedSumBackbone:
    """Loads an open_clip model (see its loader) and the weight that its name may end in.

    ``model`` is "ViT-B-32-quickgelu@0.4" or "local-dir:/path@0.4": the model, and the share of the
    reference image; 0.5 without it.

    Raises:
        ConfigError: a weight outside 0 to 1, and as open_clip's loader.
        UnknownNameError, WeightsError: as open_clip's loader.
    """
    model, weight = split_weight(spec.model)
    return WeightedSumBackbone(open_clip.load(replace(spec, model=model)), weight)


def split_weight(model: str) -> tuple[str, float]:
    """Model name and weight of "NAME@WEIGHT"; an "@" that no number follows belongs to the name.

    Raises:
        ConfigError: the number is outside 0 to 1.
    """
    name, at, tail = model.rpartition("@")
    try:
        weight = float(tail if at else "no number")
    except ValueError:
        return model, DEFAULT_WEIGHT
    if not 0 <= weight <= 1:
        raise ConfigError(
            f"weighted_sum: the weight of the reference image is {tail}; expected a number from "
            f"0 (text only) to 1 (image only) after the '@' of {model!r}"
        )
    return name, weight


def _part(modality: str) -> str:
    if modality not in ("image", "text"):
        raise ConfigError(
            f"the weighted_sum backbone encodes 'composed', 'image' and 'text', not {modality!r}"
        )
    return modality
