"""What happens in a clip, before it is drawn and heard; the two styles and the three splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmark.mini.pictures import scenes as pictures
from benchmark.mini.worlds.drawn import Signed, distinct, pick, split_of

FRAMES = 8
SIDE = 32
"""Pixels; frames are SIDE x SIDE."""
FRAME_SECONDS = 0.2
RATE = 8000
"""Hz."""
LENGTH = round(RATE * FRAMES * FRAME_SECONDS)
"""Samples of a clip: 12,800, which is 1.6 s."""

SHAPES = (
    *("circle", "square", "triangle", "star", "heart", "cross"),
    *("ring", "fish", "moon", "arrow", "bolt", "hourglass"),
)
"""Outlines (see ``scenes.silhouettes``) that stay apart at a radius of four pixels."""
SIZES = ("small", "medium", "large")
TEXTURES = ("plain", "striped", "checkered")
COLOURS = {
    name: pictures.COLOURS[name]
    for name in (
        *("red", "orange", "yellow", "green", "turquoise", "blue"),
        *("purple", "pink", "brown", "black", "white", "grey"),
    )
}
"""sRGB, 0..255. Named, so that colours for pictures can be added without other clips."""
MOTIONS = ("flash", "jump", "grow", "squash", "slide")
BACKGROUNDS = ("water", "night", "grass", "brick", "snow", "sunset", "wood", "pebbles")
RHYTHMS = tuple((period, phase) for period in (2, 3, 4, 8) for phase in range(period))
"""(period, phase) in frames: the event happens in frames phase, phase + period, ..."""
PERIODS = (2, 3, 4, 8)


@dataclass(frozen=True, slots=True)
class Style:
    """How the clips of one set differ from the other's.

    Attributes:
        one_event: share of clips with a single event; the others have two.
        radius: of a small, medium and large thing, pixels.
        close: whether pictures get a close camera's look (vignette, cast, lower contrast), sounds
            are recorded in a room (reverberation, narrow band, saturation), and a set has equally
            many clips of each class.
    """

    one_event: float
    radius: tuple[float, float, float]
    close: bool


STYLES = {
    "as": Style(0.15, (4.0, 5.4, 7.2), close=False),
    "vgg": Style(1.0, (5.2, 7.2, 9.8), close=True),
}
"""As AudioSet: several events at once; as VGGSound: one dominant event of a class, close up."""


@dataclass(frozen=True, slots=True)
class Event:
    """A thing that moves and sounds in a rhythm.

    ``shape``, ``size``, ``texture``, ``period`` and ``phase`` are seen and heard; ``colour``,
    ``motion`` and the place (pixels) are seen only.
    """

    shape: str
    size: str
    texture: str
    period: int
    phase: int
    colour: str
    motion: str
    x: float
    y: float

    def frames(self) -> tuple[int, ...]:
        """The frames in which it happens."""
        return tuple(range(self.phase, FRAMES, self.period))


@dataclass(frozen=True, slots=True)
class Clip(Signed):
    """A style, a background and one or two events, the dominant one first."""

    style: str
    background: str
    events: tuple[Event, ...]

    @property
    def label(self) -> str:
        """The class: shape and texture of the dominant event."""
        return f"{self.events[0].shape}/{self.events[0].texture}"

    def signature(self) -> str:
        """All that can be both seen and heard, whatever colours, motions, places and style."""
        heard = sorted(f"{e.shape}/{e.size}/{e.texture}/{e.period}+{e.phase}" for e in self.events)
        return "|".join([self.background, *heard])

    def split(self) -> str:
        """See ``Signed``; clips of different splits differ in what is both seen and heard."""
        return split_of(f"clip {self.signature()}")


def _places(rng: np.random.Generator, radii: Sequence[float]) -> list[tuple[float, float]]:
    """Centres inside the frame and apart from each other."""
    while True:
        places = [
            (float(rng.uniform(r + 1, SIDE - r - 1)), float(rng.uniform(r + 3, SIDE - r - 1)))
            for r in radii
        ]
        if len(places) == 1:
            return places
        (ax, ay), (bx, by) = places
        if (ax - bx) ** 2 + (ay - by) ** 2 > (1.1 * sum(radii)) ** 2:
            return places


def draw_clip(rng: np.random.Generator, style: str) -> Clip:
    """A random clip of any split; two events differ in shape."""
    look = STYLES[style]
    count = 1 if rng.random() < look.one_event else 2
    shapes = [SHAPES[i] for i in rng.permutation(len(SHAPES))[:count]]
    sizes = [int(rng.integers(len(SIZES))) for _ in shapes]
    places = _places(rng, [look.radius[size] for size in sizes])
    events = []
    for shape, size, place in zip(shapes, sizes, places, strict=True):
        period, texture = int(rng.choice(PERIODS)), pick(rng, TEXTURES)
        phase, colour, motion = int(rng.integers(period)), pick(rng, COLOURS), pick(rng, MOTIONS)
        events.append(Event(shape, SIZES[size], texture, period, phase, colour, motion, *place))
    return Clip(style, pick(rng, BACKGROUNDS), tuple(events))


def clips(style: str, split: str, count: int, seed: int) -> Iterator[Clip]:
    """``count`` clips of one split with different signatures, the same for the same seed.

    In a balanced style every class gets its equal share; ``count`` must then be a multiple of the
    number of classes, except in training, which is not balanced.
    """
    classes = len(SHAPES) * len(TEXTURES)
    share = count // classes if STYLES[style].close and split != "train" else count
    taken: Counter[str] = Counter()
    drawn = distinct(partial(draw_clip, style=style), split, seed, f"{style}/{split}")
    while taken.total() < count:
        clip = next(drawn)
        if taken[clip.label] < share:
            taken[clip.label] += 1
            yield clip
