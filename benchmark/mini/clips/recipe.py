"""Everything that decides the weights of the clip encoder besides its architecture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How the weights are trained.

    Attributes:
        clips: training clips, half of them in each style.
        steps: optimiser steps.
        batch: clips a step.
        lr: peak learning rate (AdamW, linear warm-up, cosine to zero).
        attribute_weight: weight of the heads that name a clip's attributes from each tower's
            pooled features; like the next ones dropped after training.
        place_weight: weight of the heads that name an event's attributes at its place in the video.
        sensor_noise: the most extra noise on training frames, of full scale.
        quietest: the least extra noise on training sounds, as signal-to-noise ratio in dB.
        loudest: the most.
        ema: decay of the averaged weights that are shipped.
    """

    seed: int = 0
    clips: int = 30_000
    steps: int = 1400
    batch: int = 128
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 150
    attribute_weight: float = 0.5
    place_weight: float = 0.3
    sensor_noise: float = 0.05
    quietest: float = 50.0
    loudest: float = 10.0
    ema: float = 0.995
