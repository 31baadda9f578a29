"""The two composed sets as data: galleries drawn when asked for, queries with their sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.data.datasets.base import ComposedQueries, content_fingerprint
from benchmark.data.retrieval import Sections
from benchmark.mini.composed.changes import CATEGORIES
from benchmark.mini.composed.families import (
    MEMBERS,
    QUERIES,
    Family,
    Path,
    families,
    paths,
    text_of,
)
from benchmark.mini.pictures.render import render
from benchmark.mini.pictures.scenes import Scene
from benchmark.mini.worlds.drawn import Drawn, check_split, item_generator, loader, numbered

WORLD_VERSION = 1
"""Raised whenever a scene, a picture, a query or a sentence changes; part of the fingerprint."""
SEED = 2026
SCENE_FAMILIES = {"val": 75, "test": 188}
CANDIDATES = 5
"""Of the subset recall; CIRR's sets have six pictures, one of them the reference."""
GARMENT_FAMILIES = {"val": 25, "test": 63}
"""Of each category."""


@dataclass(frozen=True)
class _Queries:
    """Queries of one kind of scenes; indices count within its own gallery."""

    scenes: tuple[Scene, ...]
    references: tuple[int, ...]
    targets: tuple[int, ...]
    texts: tuple[str, ...]
    changes: tuple[str, ...]


def _chosen(kind: str, family: Family, rng: np.random.Generator) -> list[Path]:
    ways = paths(kind, family)
    return [ways[i] for i in rng.choice(len(ways), QUERIES, replace=False)]


def _draw(kind: str, split: str, count: int) -> _Queries:
    name = f"{kind}/{split}"
    scenes: list[Scene] = []
    rows: list[tuple[int, int, str, str]] = []
    for number, family in enumerate(
        families(kind, split, count, item_generator(SEED, f"scenes/{name}", 0))
    ):
        rng = item_generator(SEED, f"queries/{name}", number)
        for way in _chosen(kind, family, rng):
            text = text_of(kind, family, way, rng)
            first, last = (len(scenes) + at for at in (way.reference, way.target))
            rows.append((first, last, text, way.changes[-1].kind))
        scenes += family.scenes
    references, targets, texts, changes = zip(*rows, strict=True)
    return _Queries(tuple(scenes), references, targets, texts, changes)


@loader
def load_cirr(split: str) -> ComposedQueries:
    """General scenes, one sentence a query, the reference left out of the ranking (after CIRR).

    The gallery is made of families of eight look-alike scenes. The candidates of the subset recall
    are the target and four wrong edits of its family, five as in CIRR.

    752 queries, 1,504 images (validation: 300, 600).

    Raises:
        ConfigError: unknown split.
    """
    check_split("mini-cirr", split, SCENE_FAMILIES)
    drawn = _draw("cirr", split, SCENE_FAMILIES[split])
    subset = _subsets(drawn, split)
    name = f"mini-cirr {split}"
    return ComposedQueries(
        name=name,
        images=_pictures(name, drawn.scenes),
        references=np.array(drawn.references, dtype=np.int64),
        texts=drawn.texts,
        targets=[(target,) for target in drawn.targets],
        query_ids=[f"{name.replace(' ', '-')}-q{i:04d}" for i in range(len(drawn.texts))],
        fingerprint=_fingerprint(name, [drawn], subset),
        exclude_reference=True,
        subset=subset,
        recall_at=(1, 5, 10, 50),
        query_groups={"change": numbered(drawn.changes)},
    )


@loader
def load_fiq(split: str) -> ComposedQueries:
    """Garments in three categories with galleries of their own, two captions (after FashionIQ).

    756 queries, 1,512 images (validation: 300, 600).

    Raises:
        ConfigError: unknown split.
    """
    check_split("mini-fiq", split, GARMENT_FAMILIES)
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
        images=_pictures(name, [s for part in parts for s in part.scenes]),
        references=references,
        texts=[text for part in parts for text in part.texts],
        targets=[(t + s,) for p, s in zip(parts, starts, strict=True) for t in p.targets],
        query_ids=[f"{name.replace(' ', '-')}-q{i:04d}" for i in range(sum(lengths))],
        fingerprint=_fingerprint(name, parts),
        sections=Sections(CATEGORIES, of_query, bounds),
        recall_at=(1, 10, 50),
        query_groups={"category": of_query},
    )


def _pictures(name: str, scenes: Sequence[Scene]) -> Drawn:
    source = name.replace(" ", "-")
    return Drawn(source, scenes, render, SEED, f"picture/{source}")


def _subsets(drawn: _Queries, split: str) -> list[list[int]]:
    """For each query its target and some of the wrong edits of the same family, ascending."""
    found: list[list[int]] = []
    ends = zip(drawn.references, drawn.targets, strict=True)
    for number, (reference, target) in enumerate(ends):
        start = reference - reference % MEMBERS
        wrong = [i for i in range(start, start + MEMBERS) if i not in (reference, target)]
        rng = item_generator(SEED, f"subset/{split}", number)
        found.append(sorted([target, *map(int, rng.choice(wrong, CANDIDATES - 1, replace=False))]))
    return found


def _fingerprint(name: str, parts: Sequence[_Queries], subset: Sequence[Sequence[int]] = ()) -> str:
    content = [f"composed mini world {WORLD_VERSION}", name, str([list(row) for row in subset])]
    for part in parts:
        content += [scene.signature() for scene in part.scenes]
        ends = zip(part.references, part.targets, part.texts, strict=True)
        content += [f"{reference} {target} {text}" for reference, target, text in ends]
    return content_fingerprint(content)
