"""The two composed sets as data: galleries drawn when asked for, queries with their sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmark.datasets.base import ComposedQueries, content_fingerprint
from benchmark.errors import ConfigError
from benchmark.mini.composed.families import (
    MEMBERS,
    QUERIES,
    Family,
    families,
    paths,
    text_of,
)
from benchmark.mini.composed.families import (
    Path as Way,
)
from benchmark.mini.composed.garments import CATEGORIES
from benchmark.mini.render import render
from benchmark.mini.scenes import Scene
from benchmark.retrieval import Sections

WORLD_VERSION = 1
"""Raised whenever a scene, a picture, a query or a sentence changes; part of the fingerprint."""
SEED = 2026
SCENE_FAMILIES = {"val": 75, "test": 188}
CANDIDATES = 5
"""Of the subset recall; CIRR's sets have six pictures, one of them the reference."""
GARMENT_FAMILIES = {"val": 25, "test": 63}
"""Of each category."""


class Pictures:
    """Pictures of scenes. Each is drawn from its own generator, so that order does not matter."""

    def __init__(self, name: str, scenes: Sequence[Scene]) -> None:
        self._name = name
        self._scenes = scenes
        self.ids = tuple(f"{name}-{index:05d}" for index in range(len(scenes)))

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int, /) -> np.ndarray:
        """(64, 64, 3) uint8."""
        return render(self._scenes[index], _generator("picture", self._name, index))

    def scene(self, index: int) -> Scene:
        """What the picture shows."""
        return self._scenes[index]


@dataclass(frozen=True)
class _Queries:
    """Queries of one kind of scenes; indices count within its own gallery."""

    scenes: tuple[Scene, ...]
    references: tuple[int, ...]
    targets: tuple[int, ...]
    texts: tuple[str, ...]
    changes: tuple[str, ...]


def _generator(kind: str, name: str, index: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([SEED, index, *f"{kind}/{name}".encode()]))


def _chosen(kind: str, family: Family, rng: np.random.Generator) -> list[Way]:
    ways = paths(kind, family)
    return [ways[i] for i in rng.choice(len(ways), QUERIES, replace=False)]


def _draw(kind: str, split: str, count: int) -> _Queries:
    name = f"{kind}/{split}"
    scenes: list[Scene] = []
    rows: list[tuple[int, int, str, str]] = []
    for number, family in enumerate(families(kind, split, count, _generator("scenes", name, 0))):
        rng = _generator("queries", name, number)
        for way in _chosen(kind, family, rng):
            text = text_of(kind, family, way, rng)
            first, last = (len(scenes) + at for at in (way.reference, way.target))
            rows.append((first, last, text, way.changes[-1].kind))
        scenes += family.scenes
    references, targets, texts, changes = zip(*rows, strict=True)
    return _Queries(tuple(scenes), references, targets, texts, changes)


def _check(split: str, known: dict[str, int]) -> None:
    if split not in known:
        raise ConfigError(f"the mini world has no split {split!r}; it has test and val")


@cache
def load_cirr(
    root: Path | None = None, *, split: str = "test", allow_missing: bool = False
) -> ComposedQueries:
    """General scenes, one sentence a query, the reference left out of the ranking (after CIRR).

    The gallery is made of families of eight look-alike scenes. The candidates of the subset recall
    are the target and four wrong edits of its family, five as in CIRR.

    Args:
        root: not used; the data are drawn, not read.
        split: "test" (752 queries, 1,504 images) or "val" (300, 600).
        allow_missing: not used; nothing can be missing.

    Raises:
        ConfigError: unknown split.
    """
    del root, allow_missing
    _check(split, SCENE_FAMILIES)
    drawn = _draw("cirr", split, SCENE_FAMILIES[split])
    subset = _subsets(drawn, split)
    name = f"mini-cirr {split}"
    return ComposedQueries(
        name=name,
        images=Pictures(name.replace(" ", "-"), drawn.scenes),
        references=np.array(drawn.references, dtype=np.int64),
        texts=drawn.texts,
        targets=[(target,) for target in drawn.targets],
        query_ids=[f"{name.replace(' ', '-')}-q{i:04d}" for i in range(len(drawn.texts))],
        fingerprint=_fingerprint(name, [drawn], subset),
        exclude_reference=True,
        subset=subset,
        recall_at=(1, 5, 10, 50),
        query_groups={"change": _numbered(drawn.changes)},
    )


@cache
def load_fiq(
    root: Path | None = None, *, split: str = "test", allow_missing: bool = False
) -> ComposedQueries:
    """Garments in three categories with galleries of their own, two captions (after FashionIQ).

    Args:
        root: not used; the data are drawn, not read.
        split: "test" (756 queries, 1,512 images) or "val" (300, 600).
        allow_missing: not used; nothing can be missing.

    Raises:
        ConfigError: unknown split.
    """
    del root, allow_missing
    _check(split, GARMENT_FAMILIES)
    parts = [_draw(category, split, GARMENT_FAMILIES[split]) for category in CATEGORIES]
    bounds = np.cumsum([0, *(len(part.scenes) for part in parts)]).astype(np.int64)
    starts = [int(start) for start in bounds[:-1]]
    lengths = [len(part.texts) for part in parts]
    of_query = np.repeat(np.arange(len(parts)), lengths)
    references = np.concatenate(
        [np.array(p.references, dtype=np.int64) + s for p, s in zip(parts, starts, strict=True)]
    )
    name = f"mini-fiq {split}"
    return ComposedQueries(
        name=name,
        images=Pictures(name.replace(" ", "-"), [s for part in parts for s in part.scenes]),
        references=references,
        texts=[text for part in parts for text in part.texts],
        targets=[(t + s,) for p, s in zip(parts, starts, strict=True) for t in p.targets],
        query_ids=[f"{name.replace(' ', '-')}-q{i:04d}" for i in range(sum(lengths))],
        fingerprint=_fingerprint(name, parts),
        sections=Sections(CATEGORIES, of_query, bounds),
        recall_at=(1, 10, 50),
        query_groups={"category": of_query},
    )


def _subsets(drawn: _Queries, split: str) -> list[list[int]]:
    """For each query its target and some of the wrong edits of the same family, ascending."""
    found: list[list[int]] = []
    ends = zip(drawn.references, drawn.targets, strict=True)
    for number, (reference, target) in enumerate(ends):
        start = reference - reference % MEMBERS
        wrong = [i for i in range(start, start + MEMBERS) if i not in (reference, target)]
        rng = _generator("subset", split, number)
        found.append(sorted([target, *map(int, rng.choice(wrong, CANDIDATES - 1, replace=False))]))
    return found


def _fingerprint(name: str, parts: Sequence[_Queries], subset: Sequence[Sequence[int]] = ()) -> str:
    content = [f"composed mini world {WORLD_VERSION}", name, str([list(row) for row in subset])]
    for part in parts:
        content += [scene.signature() for scene in part.scenes]
        ends = zip(part.references, part.targets, part.texts, strict=True)
        content += [f"{reference} {target} {text}" for reference, target, text in ends]
    return content_fingerprint(content)


def _numbered(names: Sequence[str]) -> np.ndarray:
    """(names,) int64: equal names have equal numbers."""
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)
