"""Composed queries: one row for image and tokens, an encoder of them, and the weighted sum.

Methods take one input tensor per query and one batch tensor whose rows are queries. A composed
query has two parts of different types, so they travel as one float32 row: the preprocessed image,
flattened in C order, followed by the tokens as floats. The encoder alone knows the layout.

A token keeps its value exactly: float32 holds every integer up to 2**24, and the largest
vocabularies in use have under 2**19 entries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.backbones.base import Staged, TwoTowers, on_device
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError
from methods.base import QueryEncoder


def pack(image: Tensor, tokens: Tensor) -> Tensor:
    """Packs one query.

    Args:
        image: one preprocessed image of any shape, usually (3, S, S), float32.
        tokens: (L,) integer tokens, each in [0, 2**24].

    Returns:
        (image.numel() + L,) float32 row.

    >>> pack(torch.zeros(3, 2, 2), torch.tensor([5, 7])).shape
    torch.Size([14])
    """
    return torch.cat([image.reshape(-1), tokens.to(torch.float32)])


def pack_staged(
    image: Callable[[Any], Tensor], text: Callable[[str], Tensor], image_shape: Sequence[int]
) -> Callable[[Any], Tensor]:
    """The preprocessing of composed queries, in two stages where that of images is.

    Args:
        image: (H, W, 3) uint8 array -> preprocessed image; ``Staged`` for two stages.
        text: text -> (L,) integer tokens.
        image_shape: shape of one image, before and after its second stage.

    Returns:
        ``shifts.base.Composed`` -> packed row (see ``pack``). Between the stages a query is a
        row of uint8: the pixels, then four bytes for each token.
    """
    if not isinstance(image, Staged):
        return lambda query: pack(image(query.image), text(query.text))
    pixels, stages = prod(image_shape), image

    def compact(query: Any) -> Tensor:
        tokens = text(query.text).to(torch.int32)
        return torch.cat([stages.compact(query.image).reshape(-1), tokens.view(torch.uint8)])

    def expand(row: Tensor) -> Tensor:
        tokens = row[pixels:].clone().view(torch.int32)
        return pack(stages.expand(row[:pixels].reshape(*image_shape)), tokens)

    return Staged(compact, expand)


def unpack(rows: Tensor, image_shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Takes a batch apart again.

    Args:
        rows: (B, P + L) float32 rows made by ``pack``, P pixel values and L tokens each.
        image_shape: shape of one image, P values.

    Returns:
        Images, (B, *image_shape) float32, and tokens, (B, L) int64. Images share memory with the
        rows where the layout allows; tokens do not.
    """
    pixels = prod(image_shape)
    images = rows[:, :pixels].reshape(len(rows), *image_shape)
    # Rounded, not cut: a cast that passed through a wider or narrower type must not lose one.
    return images, rows[:, pixels:].round().to(torch.int64)


def map_packed(
    rows: Tensor, image_shape: Sequence[int], change: Callable[[Tensor], Tensor]
) -> Tensor:
    """Packed rows with their images and their tokens changed; the arguments are ``unpack``'s."""
    images, tokens = (change(part) for part in unpack(rows, image_shape))
    return torch.cat([images.reshape(len(rows), -1), tokens.to(rows.dtype)], dim=1)


class ComposedBackbone(TwoTowers):
    """Towers of "composed" queries and "image" galleries over a dual encoder of images and texts.

    Args:
        base: a dual encoder of images and texts.
        tower: takes rows made by ``pack``; frozen and owned from now on, but for the base's towers.
        clean: what is done to a query's text first.
        modalities: what it encodes; images and texts as the base does.
        facts: name, fingerprint and logit_scale of ``TwoTowers``.
    """

    def __init__(
        self,
        base: TwoTowers,
        tower: QueryEncoder,
        *,
        clean: Callable[[str], str] = str,
        modalities: tuple[str, ...] = ("composed", "image", "text"),
        **facts: Any,
    ) -> None:
        self.base, self._shape = base, image_shape(base)
        image, text = base.preprocess("image"), base.preprocess("text")
        packed = pack_staged(image, lambda words: text(clean(words)), self._shape)
        towers = {"composed": tower, "image": base.tower("image"), "text": base.tower("text")}
        prepare = {"composed": packed, "image": image, "text": text}
        super().__init__(
            {modality: towers[modality] for modality in modalities},
            {modality: prepare[modality] for modality in modalities},
            device=base.device,
            taken=base.taken,
            **facts,
        )

    def collate(self, modality: str, inputs: Sequence[Tensor]) -> Tensor:
        """Stacks inputs on the device; texts inside rows are cut as the base cuts them."""
        if modality != "composed":
            return super().collate(modality, inputs)
        images, tokens = unpack(torch.stack(list(inputs)), self._shape)
        cut = self.base.collate("text", list(tokens))
        flat = on_device(images.flatten(1), self.device)
        return torch.cat([flat, cut.to(torch.float32)], dim=1)


def image_shape(base: TwoTowers) -> tuple[int, ...]:
    """Of one preprocessed image; every image comes out with the same."""
    return tuple(base.preprocess("image")(np.zeros((8, 8, 3), dtype=np.uint8)).shape)


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
        if self.weight == 1:  # a part of weight 0 is not computed
            return self.image(images)
        if self.weight == 0:
            return self.text(tokens)
        both = self.weight * self.image(images) + (1 - self.weight) * self.text(tokens)
        return F.normalize(both, dim=-1)

    def map_parts(self, inputs: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        return map_packed(inputs, self.image_shape, change)


def weighted(base: TwoTowers, weight: float = DEFAULT_WEIGHT) -> ComposedBackbone:
    """Composed queries on any dual encoder of images and texts, as a weighted sum.

    The plainest zero-shot way: no weights beyond those of the dual encoder. Trained combiners
    (CLIP4Cir, SPRC) do much better on CIRR and FashionIQ.

    Args:
        base: the dual encoder; its "text" stays usable on its own too.
        weight: share of the reference image, from 0 to 1.
    """
    said = f"weighted_sum {base.fingerprint} {weight!r}"
    return ComposedBackbone(
        base,
        WeightedSum(base.tower("image"), base.tower("text"), weight, image_shape(base)),
        name=f"{base.name}@{weight:g}",
        fingerprint=hashlib.sha256(said.encode()).hexdigest()[:16],
        logit_scale=base.logit_scale,
    )


def load(spec: BackboneSpec) -> ComposedBackbone:
    """Loads an open_clip model (see its loader) and the weight that its name may end in.

    ``model`` is "ViT-B-32-quickgelu@0.4" or "local-dir:/path@0.4": the model, and the share of the
    reference image; 0.5 without it.

    Raises:
        ConfigError: a weight outside 0 to 1, and as open_clip's loader.
        UnknownNameError, WeightsError: as open_clip's loader.
    """
    from benchmark.backbones import open_clip  # the embedded encoders do without

    model, weight = split_weight(spec.model)
    return weighted(open_clip.load(replace(spec, model=model)), weight)


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
