"""The published loop, written plainly: forward, loss, step, scores of the last forward; float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from methods.parameters import norm_parameters
from methods.testing import World

TEMPERATURE = 0.1


def double_world(seed: int = 0) -> World:
    """A tiny world in float64, where two ways to the same number differ by rounding only."""
    world = World(seed)
    world.encoder.double()
    world.gallery = world.gallery.double()
    world.batches = [batch.double() for batch in world.batches]
    return world


@dataclass
class Oracle:
    """Adapts a copy of a world's encoder as official code does.

    Attributes:
        world: where the encoder, the gallery and the batches come from.
        loss: (inputs, logits) -> the scalar loss, or None for no update.
        after: called after each update.
        steps: passes per batch.
    """

    world: World
    loss: Callable[[Tensor, Tensor], Tensor | None]
    after: Callable[[], None] = lambda: None
    steps: int = 3
    optimizer: str = "adamw"
    lr: float = 1e-2
    encoder: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        self.encoder = copy.deepcopy(self.world.encoder)
        self.source = copy.deepcopy(self.world.encoder).requires_grad_(False)
        self.encoder.requires_grad_(False)
        chosen = list(norm_parameters(self.encoder.block).values())
        for parameter in chosen:
            parameter.requires_grad_(True)
        self.parameters = chosen
        self.build()

    def build(self) -> None:
        """A new optimiser."""
        if self.optimizer == "adamw":
            self.optim: torch.optim.Optimizer = torch.optim.AdamW(
                self.parameters, lr=self.lr, weight_decay=1e-4
            )
        else:
            self.optim = torch.optim.SGD(self.parameters, lr=self.lr, momentum=0.9)

    def logits(self, inputs: Tensor, encoder: nn.Module | None = None) -> Tensor:
        """(B, N)."""
        model = encoder or self.encoder
        rows: Tensor = model(inputs) @ self.world.gallery.T / TEMPERATURE
        return rows

    def step(self, inputs: Tensor) -> Tensor:
        """(B, N) logits of the last forward of a batch."""
        for _ in range(self.steps):
            outputs = self.logits(inputs)
            loss = self.loss(inputs, outputs)
            if loss is not None:
                self.optim.zero_grad()
                loss.backward()
                self.optim.step()
                self.after()
        return outputs.detach()

    def weights(self) -> list[Tensor]:
        """The adapted parameters."""
        return [parameter.detach() for parameter in self.parameters]


def entropies(logits: Tensor) -> Tensor:
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
