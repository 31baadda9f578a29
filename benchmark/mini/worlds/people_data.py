"""mini-cuhk and mini-icfg: two sets of people, each seen by two cameras of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmark.mini.pictures.render import PATCHES
from benchmark.mini.worlds.drawn import SEED, Describe, World, loader
from benchmark.mini.worlds.looks import Look
from benchmark.mini.worlds.people import Camera, Person, draw, people
from benchmark.mini.worlds.people_grammar import one_caption, two_captions

CUHK_CAMERAS = (
    Camera(
        places=("concrete", "grass", "brick"),
        look=Look(gain=(0.9, 1.15), tint=(1.05, 1.0, 0.92), noise=5.0),
        scale=(0.9, 1.0),
    ),
    Camera(
        places=("sand", "concrete", "snow"),
        look=Look((0.7, 0.9), (0.92, 1.0, 1.08), contrast=0.85, noise=7.0, blur=1.4),
        scale=(0.8, 0.95),
    ),
)
"""A sunny street and a cloudy square."""
ICFG_CAMERAS = (
    Camera(
        places=("concrete", "wood", "brick"),
        look=Look((0.5, 0.7), (1.15, 0.98, 0.75), contrast=0.75, noise=9.0, blur=1.5),
        scale=(0.8, 1.0),
    ),
    Camera(
        places=("concrete", "night", "soil"),
        look=Look((0.45, 0.65), (0.8, 0.95, 1.15), contrast=0.7, noise=11.0, blur=1.8),
        scale=(0.75, 0.9),
    ),
)
"""A lamp-lit hall and a car park at dusk."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A person in front of one camera."""

    person: Person
    camera: Camera


def _world(name: str, cameras: tuple[Camera, ...], describe: Describe, offset: int) -> World:
    def sightings(split: str, count: int) -> Iterator[Sighting]:
        for person in people(split, count // len(cameras), SEED + offset):
            for camera in cameras:
                yield Sighting(person, camera)

    def picture(sighting: Sighting, rng: np.random.Generator) -> np.ndarray:
        return draw(sighting.person, sighting.camera, rng)

    return World(
        name=name,
        counts={"val": 200, "test": 400},
        scenes=sightings,
        draw=picture,
        describe=lambda sighting, rng: describe(sighting.person, rng),
        identity=lambda sighting: sighting.person.signature(),
        groups={"camera": lambda sighting: f"camera {cameras.index(sighting.camera)}"},
    )


def training_picture(
    person: Person, rng: np.random.Generator, cameras: tuple[Camera, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """A sighting by any of the cameras, and owners of its patches: none, people have no labels."""
    camera = cameras[int(rng.integers(len(cameras)))]
    return draw(person, camera, rng), np.full((PATCHES, PATCHES), -1, dtype=np.int8)


def training_captions(person: Person, rng: np.random.Generator, describe: Describe) -> list[str]:
    """Five captions."""
    texts: list[str] = []
    while len(texts) < 5:
        texts += describe(person, rng)
    return texts[:5]


CUHK = _world("mini-cuhk", CUHK_CAMERAS, two_captions, 1)
ICFG = _world("mini-icfg", ICFG_CAMERAS, one_caption, 2)

load_cuhk = loader(CUHK.load)
"""200 people (validation: 100), each seen twice; two captions a picture; relevance by person."""
load_icfg = loader(ICFG.load)
"""The same with other people, darker cameras and one longer caption a picture."""
