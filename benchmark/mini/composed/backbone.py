"""The shipped encoders of composed queries: the base encoder and one combiner for each set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import safetensors
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmark.backbones.base import TwoTowers, fingerprint
from benchmark.backbones.composed import ComposedBackbone, map_packed, unpack
from benchmark.backbones.towers import ImageTower, TextTower
from benchmark.cell import BackboneSpec
from benchmark.data.tasks import clean
from benchmark.errors import ConfigError, WeightsError, reason_of
from benchmark.mini.pictures.backbone import WEIGHTS
from benchmark.mini.pictures.backbone import load as load_base
from methods.base import QueryEncoder

IMAGE_SHAPE = (3, 64, 64)
WEIGHTS_FILE = "combiner.safetensors"

COMBINER = {
    **{"image_width": 128, "text_width": 96, "embed_dim": 128},
    **{"width": 96, "layers": 2, "heads": 4},
}
"""Sizes of ``Combiner``; the first three are the base encoder's widths."""

COMBINERS = ("cirr", "fiq")
"""Sets that a combiner ships for."""


class Combiner(nn.Module):
    """Moves the reference's embedding by what the sentence says about what the picture shows.

    A learnt readout token and the sentence's token states attend to each other and to the
    picture's patches (torch's decoder layers); what the readout has gathered is added to the
    reference's embedding. The output layer starts at zero: an untrained combiner returns the
    reference.
    """

    def __init__(self) -> None:
        super().__init__()
        size = COMBINER
        width, embed_dim = size["width"], size["embed_dim"]
        self.patch_norm = nn.LayerNorm(size["image_width"])
        self.patch_in = nn.Linear(size["image_width"], width)
        self.text_in = nn.Linear(size["text_width"], width)
        self.start = nn.Linear(embed_dim, width)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width, size["heads"], 2 * width, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(size["layers"])
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, embed_dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, patches: Tensor, pooled: Tensor, states: Tensor, absent: Tensor) -> Tensor:
        """Embeds queries.

        Args:
            patches: (B, P, image_width) patch states of the references.
            pooled: (B, embed_dim) unit rows, the references' embeddings.
            states: (B, L, text_width) token states of the sentences.
            absent: (B, L) bool, true after a sentence's end.

        Returns:
            (B, embed_dim) float32 unit rows.
        """
        memory = self.patch_in(self.patch_norm(patches))
        x = torch.cat([self.start(pooled)[:, None], self.text_in(states)], dim=1)
        hidden = F.pad(absent, (1, 0), value=False)
        for layer in self.layers:
            x = layer(x, memory, tgt_key_padding_mask=hidden)
        return F.normalize(pooled + self.out(self.norm(x[:, 0])), dim=-1)


class ComposedTower(QueryEncoder):
    """The whole query tower; ``forward`` takes packed rows (``backbones.composed``).

    All LayerNorms are adaptable: those of the image tower, the text tower and the combiner.

    Args:
        image: the base's image tower.
        text: the base's text tower, with causal attention.
        combiner: trained for these towers.
        image_shape: shape of a preprocessed image.
    """

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        combiner: Combiner,
        image_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.image = image
        self.text = text
        self.combiner = combiner
        self.image_shape = image_shape

    def forward(self, rows: Tensor) -> Tensor:
        images, tokens = unpack(rows, self.image_shape)
        patches, pooled = image_states(self.image, images)
        states, absent = text_states(self.text, tokens)
        return self.combiner(patches, pooled, states, absent)

    def map_parts(self, inputs: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        return map_packed(inputs, self.image_shape, change)


def image_states(tower: ImageTower, images: Tensor) -> tuple[Tensor, Tensor]:
    """Patch states (B, P, W) of the last block, and the picture's embedding (B, D) as unit rows."""
    visual: Any = tower.visual
    patches, pooled = visual.states(images)
    return patches, F.normalize(pooled @ visual.proj, dim=-1)


def text_states(tower: TextTower, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Token states (B, L, W) after the final norm, and where (B, L) the text has ended."""
    end = tokens.argmax(dim=1, keepdim=True)  # the end token has the largest number, as in CLIP
    return tower.states(tokens), torch.arange(tokens.shape[1], device=tokens.device) > end


class MiniComposed(ComposedBackbone):
    """A class of its own, because caches hash the code of the part that it is in."""


def base_towers(**settings: Any) -> tuple[TwoTowers, ImageTower, TextTower]:
    """The shipped base encoder and its towers, frozen; ``settings`` of its specification."""
    base = load_base(BackboneSpec("mini", **settings))
    return base, cast(ImageTower, base.tower("image")), cast(TextTower, base.tower("text"))


def base_fingerprint(image: ImageTower, text: TextTower) -> str:
    """16 hex digits over the base's weights: a combiner fits the base that it was trained on."""
    return fingerprint({"text": fingerprint({}, text)}, image)


def read(file: Path) -> tuple[Combiner, dict[str, str]]:
    """The combiner in a file and the facts stored with it; raises what its readers raise."""
    with safetensors.safe_open(file, framework="pt") as stored:
        facts = dict(stored.metadata() or {})
    with torch.random.fork_rng(devices=[]):  # initialisers use the global generator
        combiner = Combiner()
    combiner.load_state_dict({key: value.float() for key, value in load_file(file).items()})
    return combiner, facts


def load(spec: BackboneSpec, folder: Path = WEIGHTS) -> ComposedBackbone:
    """Loads the base encoder and the combiner that ``spec.model`` names.

    Args:
        spec: model "fiq" or "cirr"; transform and device are the base's.
        folder: where ``composed-<model>/`` lies.

    Raises:
        ConfigError: another model, or weights of the user's own.
        WeightsError: the shipped files are missing, damaged, or made for another base encoder.
    """
    if spec.model not in COMBINERS or spec.pretrained:
        raise ConfigError(
            f"the mini-composed backbone has the models {' and '.join(COMBINERS)} with their own "
            f"weights (MODEL=mini-composed:cirr), not {spec.model or spec.pretrained!r}"
        )
    base, image, text = base_towers(transform=spec.transform, device=spec.device)
    file = folder / f"composed-{spec.model}" / WEIGHTS_FILE
    retrain = f"make it anew: python -m training composed-{spec.model}"
    try:
        combiner, facts = read(file)
        scale = float(facts["logit_scale"])
    except (OSError, safetensors.SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise WeightsError(f"{file} cannot be read ({reason_of(error)}); {retrain}") from None
    if facts.get("base") != base_fingerprint(image, text):
        raise WeightsError(f"{file} was trained for another base encoder than ships; {retrain}")
    told = {"base": base.fingerprint, "combiner": COMBINER, "scale": scale, "text": "cleaned"}
    return MiniComposed(
        base,
        ComposedTower(image, text, combiner, IMAGE_SHAPE),
        name=f"mini-composed-{spec.model}",
        fingerprint=fingerprint(told, combiner),
        logit_scale=scale,
        clean=clean,
        modalities=("composed", "image"),
    )
