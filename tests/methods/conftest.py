"""Set-ups whose embeddings are known in advance, for closed-form numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from methods.base import QueryEncoder, Setup


class PassThrough(QueryEncoder):
    """Gives its input plus the (zero) bias of a norm layer: known output, real gradient."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.norm.bias


@pytest.fixture
def known() -> Callable[[Tensor], Setup]:
    """Builds a set-up for a gallery; with gallery = identity the queries are the similarities."""

    def build(gallery: Tensor) -> Setup:
        return Setup(PassThrough(gallery.shape[1]), gallery, logit_scale=50.0)

    return build


@pytest.fixture
def logits_a() -> Tensor:
    """The standard logits of the conformance probes."""
    return torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.5, 1.0]])
