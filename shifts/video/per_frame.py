"""Every image shift as a video shift, by one wrapper.

``per_frame(ImageShiftClass)`` makes the video shift of an image shift. For the built-in ones the
classes exist as attributes of this module, made when first asked for: ``VideoFog`` wraps ``Fog``
and is called ``video_fog``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shifts import BUILTINS
from shifts.base import Frames, Shift, ShiftError, check_choices
from shifts.builtin import shift_class

_PREFIX = "Video"


@dataclass(frozen=True)
class TemporalOptions:
    """What a video shift adds to the options of its image shift."""

    temporal: str = field(
        default="independent",
        metadata={
            "help": "independent: each frame has its own draws, as in READ (sensor noise); shared: "
            "all frames make the same draws (fog or frost that stays)",
            "choices": ("independent", "shared"),
        },
    )

    def __post_init__(self) -> None:
        """Raises ShiftError for a value that is not among its field's choices."""
        check_choices(self)
        of_the_image_shift = getattr(super(), "__post_init__", None)
        if of_the_image_shift is not None:
            of_the_image_shift()


def frame_generators(
    rng: np.random.Generator, frames: int, temporal: str
) -> list[np.random.Generator]:
    """One generator per frame, from the clip's.

    Frame t's numbers do not depend on the number of frames, and ``shared`` gives every frame those
    that ``independent`` gives the first one.
    """
    count = frames if temporal == "independent" else 1
    seeds = [int(seed) for seed in rng.integers(0, 2**63, size=count)]
    seeds *= frames // count
    return [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]


class PerFrame(Shift):
    """An image shift on every frame; subclasses are made by ``per_frame``."""

    image_class: ClassVar[type[Shift]]

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        try:  # the options are a subclass of the image shift's own
            self._image_shift = self.image_class(self.options)
        except ShiftError as error:
            raise ShiftError(
                f"shift {self.card.name!r}: {error} (on video, names of image shifts begin with "
                "video_)"
            ) from None

    @property
    def fingerprint(self) -> str:
        """That of the image shift (photographs of frost)."""
        return self._image_shift.fingerprint

    def corrupt(self, item: Frames, severity: int, rng: np.random.Generator) -> Frames:
        """Corrupts frame after frame.

        Args:
            item: (T, H, W, 3) uint8.
            severity: of the image shift.
            rng: the clip's generator; each frame's own is derived from it.

        Returns:
            (T, H, W, 3) uint8, or (T, 224, 224, 3) under the policy ``imagenet224``.
        """
        if self.card.randomised:
            generators: Sequence[np.random.Generator] = frame_generators(
                rng, len(item), self.options.temporal
            )
        else:
            generators = [rng] * len(item)
        return corrupt_frames(self._image_shift, item, severity, generators)


def corrupt_frames(
    shift: Shift, frames: NDArray[np.uint8], severity: int, rngs: Sequence[np.random.Generator]
) -> Frames:
    """Applies an image shift to each frame with the frame's generator, (T, H', W', 3) uint8."""
    return np.stack(
        [shift.apply(frame, severity, rng) for frame, rng in zip(frames, rngs, strict=True)]
    )


@functools.cache
def per_frame(image_class: type[Shift]) -> type[PerFrame]:
    """The video shift that applies an image shift frame by frame.

    Args:
        image_class: a shift whose items are images; its ``Options`` must be frozen dataclasses.

    Returns:
        A subclass of ``PerFrame`` named ``video_<name>``, with the image shift's severities and
        options and the option ``temporal``. The same class for the same argument.
    """
    card, name = image_class.card, f"{_PREFIX}{image_class.__name__}"
    options = make_dataclass(
        f"{name}Options",
        [],
        bases=(TemporalOptions, image_class.Options),
        namespace={
            "__module__": __name__,
            "__doc__": f"Options of ``{card.name}`` on images, and ``temporal``.",
        },
        frozen=True,
    )
    return type(
        name,
        (PerFrame,),
        {
            "__module__": __name__,
            "__doc__": f"``{card.name}`` on every frame.",
            "image_class": image_class,
            "Options": options,
            "card": replace(
                card,
                name=f"video_{card.name}",
                modality="video",
                summary=f"{card.summary}; frame by frame",
            ),
        },
    )


def __getattr__(name: str) -> type[PerFrame]:
    """``VideoX`` for the built-in image shift of class ``X``."""
    for image_name, target in BUILTINS.items():
        module, _, attribute = target.partition(":")
        if module.startswith("shifts.image.") and f"{_PREFIX}{attribute}" == name:
            return per_frame(shift_class(image_name, "image"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
