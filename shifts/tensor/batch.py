"""What all batched operators share: the batch, its random draws, 8-bit conversion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shifts.base import ShiftError
from shifts.image.base import GUARD, ImageShift

FLOAT32_GUARD = 1e-3
"""As ``shifts.image.base.GUARD``, in levels, but above the rounding error of float32 at 255."""

Field = Callable[[torch.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class Compute:
    """How a batch is computed.

    Attributes:
        draws: "cpu": every random number comes from the item's own NumPy generator, in the order
            of the CPU shift, so that results agree with it item by item. "device": noise fields
            come from a torch generator on the images' device, seeded by the item's generator: the
            same distribution, other numbers, and other numbers again on another kind of device.
        precision: torch.float32 or torch.float64. What passes a threshold, and matrix products,
            are computed in float64 in either case.
    """

    draws: str = "cpu"
    precision: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        """Checks both fields.

        Raises:
            ShiftError: one of them is unknown.
        """
        if self.draws not in ("cpu", "device"):
            raise ShiftError(f"draws cannot be {self.draws!r}; choose one of cpu, device")
        if self.precision not in (torch.float32, torch.float64):
            raise ShiftError(
                f"precision cannot be {self.precision}; choose torch.float32 or torch.float64"
            )


class Draws:
    """The random numbers of a batch; item i draws from its own generator alone.

    Single numbers (angles, offsets of a crop) come from the NumPy generators in either mode.
    """

    def __init__(
        self, generators: Sequence[np.random.Generator], device: torch.device, source: str
    ) -> None:
        self.own = tuple(generators)
        self.device = device
        self.on_device = source == "device"
        self._fields: list[torch.Generator] = []

    def normal(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Standard normal numbers, (B, *shape)."""
        if self.on_device:
            return self._each(lambda g: self._made(torch.randn, shape, g, dtype))
        return self._sent([rng.standard_normal(shape) for rng in self.own], dtype)

    def uniform(
        self, low: float, high: float, shape: tuple[int, ...], dtype: torch.dtype
    ) -> Tensor:
        """Uniform numbers from ``low`` to ``high``, (B, *shape)."""
        if self.on_device:
            unit = self._each(lambda g: self._made(torch.rand, shape, g, dtype))
            return unit * (high - low) + low
        return self._sent([rng.uniform(low, high, shape) for rng in self.own], dtype)

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> Tensor:
        """Integers from ``low`` to ``high - 1``, (B, *shape) int64."""
        if self.on_device:
            return self._each(
                lambda g: torch.randint(low, high, shape, generator=g, device=self.device)
            )
        return self._sent([rng.integers(low, high, size=shape) for rng in self.own], torch.int64)

    def poisson(self, rate: Tensor) -> Tensor:
        """Poisson counts of the given rates, (B, ...), in their type; "device" only."""
        pairs = zip(rate, self._generators(), strict=True)
        return torch.stack([torch.poisson(one, generator=g) for one, g in pairs])

    def numbers(self, low: float, high: float) -> list[float]:
        """One uniform number per item, on the host."""
        return [float(rng.uniform(low, high)) for rng in self.own]

    def _sent(self, fields: Sequence[np.ndarray], dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.stack(fields)).to(dtype).to(self.device)

    def _each(self, draw: Field) -> Tensor:
        return torch.stack([draw(generator) for generator in self._generators()])

    def _made(
        self, kind: Any, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype
    ) -> Tensor:
        return kind(shape, generator=generator, dtype=dtype, device=self.device)

    def _generators(self) -> list[torch.Generator]:
        # Made at the first field, so that single numbers drawn before it equal the CPU shift's.
        if not self._fields:
            for rng in self.own:
                generator = torch.Generator(device=self.device)
                self._fields.append(generator.manual_seed(int(rng.integers(2**63))))
        return self._fields


@dataclass(frozen=True, slots=True)
class Batch:
    """What an operator works on.

    Attributes:
        levels: (B, 3, H, W) uint8 RGB, contiguous.
        shift: the CPU shift, for its options.
        constants: its entry for the severity, see the shift's docstring.
        draws: the items' random numbers.
        dtype: compute type.
    """

    levels: Tensor
    shift: ImageShift
    constants: Any
    draws: Draws
    dtype: torch.dtype

    @property
    def unit(self) -> Tensor:
        """(B, 3, H, W) in 0..1, compute type."""
        return to_unit(self.levels, self.dtype)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.levels.shape[-2], self.levels.shape[-1]

    @property
    def variant(self) -> str:
        """Option ``variant``, "imagenet-c" where the shift has none."""
        return getattr(self.shift.options, "variant", "imagenet-c")


Operator = Callable[[Batch], Tensor]
"""Gives (B, 3, H, W) uint8, not sharing memory with the batch."""


def to_unit(levels: Tensor, dtype: torch.dtype) -> Tensor:
    """Levels 0..255 to 0..1."""
    return levels.to(dtype) / 255.0


def to_levels(unit: Tensor) -> Tensor:
    """Clips to [0, 1] and truncates to 8 bit; see ``shifts.image.base.to_bytes``."""
    guard = GUARD if unit.dtype == torch.float64 else FLOAT32_GUARD
    return unit.clamp(0.0, 1.0).mul_(255.0).add_(guard).to(torch.uint8)


def round_to_levels(unit: Tensor) -> Tensor:
    """Clips to [0, 1] and rounds to the nearest level."""
    return unit.clamp(0.0, 1.0).mul_(255.0).add_(0.5).to(torch.uint8)
