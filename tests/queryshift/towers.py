"""A small dual encoder of colours and a method of one's own."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import queryshift
from queryshift import AdaptedMethod, MethodCard
from tests.benchmark.fixtures_own import COLOURS


class Sharpen(AdaptedMethod):
    card = MethodCard("sharpen", "Sharpen", "entropy of all queries", "none")

    def objective(self, forward):
        return queryshift.objectives.entropy(forward.similarities / self.temperature).mean()


class Grey(nn.Module):
    """Linear, layer norm: something to adapt."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.linear, self.norm = nn.Linear(3, width), nn.LayerNorm(width)
        with torch.no_grad():
            for weight in self.linear.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator))

    def forward(self, inputs):
        return self.norm(self.linear(inputs))


def mean_colour(picture):
    return torch.from_numpy(np.asarray(picture, dtype=np.float32).mean(axis=(0, 1)) / 255)


def named_colour(text):
    return torch.tensor([COLOURS.get(text.split()[-1], (0, 0, 0))], dtype=torch.float32) / 255


TOWERS = {"image": (Grey(), mean_colour), "text": (Grey(), named_colour)}
