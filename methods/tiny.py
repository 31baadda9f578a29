"""A tiny layer-normed encoder, gallery and stream, for the contract of methods and for tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.base import Method, QueryEncoder, Setup, StepOutput

INPUT_WIDTH, EMBED_WIDTH, GALLERY_SIZE, BATCH_SIZE = 12, 16, 40, 8


class _Block(nn.Module):
    """The adaptable part: layer norms, one of them never used, as in a text-only BLIP pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LayerNorm(EMBED_WIDTH)
        self.hidden = nn.Linear(EMBED_WIDTH, EMBED_WIDTH)
        self.second = nn.LayerNorm(EMBED_WIDTH)
        self.unused = nn.LayerNorm(EMBED_WIDTH)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = functional.gelu(self.hidden(self.first(inputs)))
        return self.second(inputs + hidden)


class TinyEncoder(QueryEncoder):
    """A small query tower with buffers, and with norm layers outside the adaptable part."""

    offset: Tensor

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # torch's own initialisation draws globally
            self.stem = nn.Linear(INPUT_WIDTH, EMBED_WIDTH)
            self.block = _Block()
            self.head_norm = nn.LayerNorm(EMBED_WIDTH)
            self.head = nn.Linear(EMBED_WIDTH, EMBED_WIDTH, bias=False)
            self.stem_norm = nn.BatchNorm1d(EMBED_WIDTH)
        self.register_buffer("offset", torch.zeros(EMBED_WIDTH))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in (self.stem, self.block.hidden, self.head):
                drawn = torch.randn(layer.weight.shape, generator=generator)
                layer.weight.copy_(drawn * layer.in_features**-0.5)
                if layer.bias is not None:
                    layer.bias.copy_(0.1 * torch.randn(layer.bias.shape, generator=generator))
            self.stem_norm.running_mean = 0.1 * torch.randn(EMBED_WIDTH, generator=generator)
            self.stem_norm.running_var = 1 + torch.rand(EMBED_WIDTH, generator=generator)
        self.eval()

    @property
    def adaptable(self) -> nn.Module:
        """The block; the last norm layer stays frozen, as CLIP's final text norm does."""
        return self.block

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 12) float32 -> (B, 16) unit rows."""
        hidden = self.block(self.stem_norm(self.stem(inputs)))
        hidden = self.head(self.head_norm(hidden)) + self.offset
        return functional.normalize(hidden, dim=1)


class World:
    """A tiny set-up, the same for the same seed: encoder, gallery and a stream of batches."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed + 1)
        gallery = torch.randn(GALLERY_SIZE, EMBED_WIDTH, generator=generator)
        self.gallery = functional.normalize(gallery, dim=1)
        self.batches = [
            torch.randn(size, INPUT_WIDTH, generator=generator) + 0.5
            for size in (BATCH_SIZE, BATCH_SIZE, BATCH_SIZE, 5, 1)
        ]
        self.encoder, self.source = TinyEncoder(seed), TinyEncoder(seed)

    def setup(self) -> Setup:
        """All that a method may see; the generator is seeded."""
        generator = torch.Generator().manual_seed(7)
        return Setup(self.encoder, self.gallery, logit_scale=50.0, generator=generator)

    def offering(self, method: Method) -> Method:
        """The method, offered the source model's view of each batch where it wants that."""
        step = method.step

        def offered(queries: Tensor) -> StepOutput:
            if method.wants_source:
                with torch.no_grad():
                    method.use_source(self.source(queries))
            return step(queries)

        method.step = offered  # type: ignore[method-assign]
        return method
