"""The query tower of composed queries: both base towers and a small combiner over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.backbones.packing import map_packed, unpack
from benchmark.backbones.towers import ImageTower, TextTower
from methods.base import QueryEncoder


class Combiner(nn.Module):
    """Moves the reference's embedding by what the sentence says about what the picture shows.

    A learnt readout token and the sentence's token states attend to each other and to the
    picture's patches (torch's decoder layers); what the readout has gathered is added to the
    reference's embedding. The output layer starts at zero: an untrained combiner returns the
    reference.

    Args:
        image_width: width of the patch states.
        text_width: width of the token states.
        embed_dim: width of the embedding space.
        width: width of the combiner.
        layers: number of decoder layers.
        heads: attention heads.
    """

    def __init__(
        self,
        *,
        image_width: int,
        text_width: int,
        embed_dim: int,
        width: int,
        layers: int,
        heads: int,
    ) -> None:
        super().__init__()
        self.patch_norm = nn.LayerNorm(image_width)
        self.patch_in = nn.Linear(image_width, width)
        self.text_in = nn.Linear(text_width, width)
        self.start = nn.Linear(embed_dim, width)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(layers)
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
    """The whole query tower; ``forward`` takes the rows of ``benchmark.backbones.packing``.

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
    length = tokens.shape[1]
    x = tower.token_embedding(tokens) + tower.positional_embedding[:length]
    mask: Any = tower.attn_mask
    x = tower.ln_final(tower.transformer(x, attn_mask=mask[:length, :length]))
    end = tokens.argmax(dim=1, keepdim=True)  # the end token has the largest number, as in CLIP
    return x, torch.arange(length, device=tokens.device) > end
