"""What all audio shifts share: how loud the noise is, the sum, and how much of it clips."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shifts.audio.item import FULL_SCALE, Audio, level, to_pcm16
from shifts.base import Shift, ShiftOptions

Floats = NDArray[np.float64]

SEVERITIES = (1, 2, 3, 4, 5)
READ = "READ (Yang et al., ICLR 2024)"
READ_SIGMA = (0.08, 0.12, 0.18, 0.26, 0.38)
"""READ's Gaussian noise: absolute standard deviation on a waveform in [-1, 1]."""
READ_GAIN_DB = (1.0, 2.0, 4.0, 6.0, 8.0)
"""READ's other sounds: gain on the sound file, whatever its level and the clip's."""
SNR_DB = (15.0, 10.0, 5.0, 0.0, -5.0)
"""Signal-to-noise ratios of ``mode="snr"``: this project's own ladder."""


@dataclass(frozen=True)
class AudioOptions(ShiftOptions):
    """Options of every audio shift.

    Attributes:
        mode: how loud the noise is.
    """

    mode: str = field(
        default="read",
        metadata={
            "help": "read: levels as in READ (a gain in dB on the sound file; an absolute sigma "
            "for Gaussian noise); snr: scaled to 15, 10, 5, 0, -5 dB below the clip's own level",
            "choices": ("read", "snr"),
        },
    )


class AudioShift(Shift):
    """Something added to a clip. Subclasses write ``noise`` and ``read_gain``."""

    Options = AudioOptions

    @abstractmethod
    def noise(self, item: Audio, rng: np.random.Generator) -> Floats:
        """What is added, (n,) float64, as long as the clip, before any gain."""

    @abstractmethod
    def read_gain(self, severity: int) -> float:
        """Factor on ``noise`` under ``mode="read"``."""

    def mixed(self, item: Audio, severity: int, rng: np.random.Generator) -> Floats:
        """Clip plus noise before anything is cut, (n,) float64; may leave [-1, 1].

        Under ``mode="snr"`` the factor is rms(clip) / rms(noise) / 10^(dB / 20), so that the ratio
        is met exactly before clipping. Silence has no ratio: a silent clip stays as it is, and so
        does one whose stretch of the sound is silent.
        """
        noise = self.noise(item, rng)
        if self.options.mode == "read":
            gain = self.read_gain(severity)
        else:
            loudness = level(noise)
            ratio = 10.0 ** (SNR_DB[severity - 1] / 20.0)
            gain = level(item.samples) / (loudness * ratio) if loudness > 0 else 0.0
        noise *= gain
        noise += item.samples
        return noise

    def corrupt(self, item: Audio, severity: int, rng: np.random.Generator) -> Audio:
        """The sum, clipped and rounded to 16-bit steps as a wav file would hold it."""
        return Audio(to_pcm16(self.mixed(item, severity, rng)), item.rate)

    def clipped_share(self, item: Any, severity: int, rng: np.random.Generator) -> float:
        """Share of the samples, 0 to 1, that ``apply`` with an equal generator has to cut off.

        Raises:
            ShiftError: as ``apply``.
        """
        self.check_severity(severity)
        self.check_item(item)
        steps = np.rint(self.mixed(item, severity, rng) * FULL_SCALE)
        return float(np.mean((steps < -FULL_SCALE) | (steps > FULL_SCALE - 1)))
