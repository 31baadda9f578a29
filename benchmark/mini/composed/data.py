"""The two composed sets as data: galleries drawn when asked for, queries with their sentences."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from benchmark.data.datasets.base import ComposedQueries, content_fingerprint, numbered
from benchmark.data.retrieval import Sections
from benchmark.mini.composed.families import CATEGORIES, MEMBERS, QUERIES, families, paths, text_of
from benchmark.mini.pictures.data import render
from benchmark.mini.pictures.scenes import Scene
from benchmark.mini.worlds.drawn import Drawn, item_generator, loader

WORLD_VERSION = 1
"""Raised whenever a scene, a picture, a query or a sentence changes; part of the fingerprint."""
SEED = 2026
SCENE_FAMILIES = {"val": 75, "test": 188}
CANDIDATES = 5
"""Of the subset recall; CIRR's sets have six pictures, one of them the reference."""
GARMENT_FAMILIES = {"val": 25, "test": 63}
"""Of each category."""


class _Query(NamedTuple):
    """One query; its pictures count within the whole gallery."""

    section: int
    reference: int
    target: int
    text: str
    change: str


def _draw(
    split: str, kinds: tuple[str, ...], count: int
) -> tuple[list[Scene], list[_Query], list[str]]:
    """Scenes and queries of ``count`` families of each kind, and what the fingerprint is of."""
    scenes: list[Scene] = []
    queries: list[_Query] = []
    content: list[str] = []
    for section, kind in enumerate(kinds):
        start, asked = len(scenes), len(queries)
        key = f"{kind}/{split}"
        drawn = families(kind, split, count, item_generator(SEED, f"scenes/{key}", 0))
        for number, family in enumerate(drawn):
            rng = item_generator(SEED, f"queries/{key}", number)
            ways, at = paths(kind, family), len(scenes)
            for way in (ways[i] for i in rng.choice(len(ways), QUERIES, replace=False)):
                text, change = text_of(kind, family, way, rng), way.changes[-1].kind
                queries.append(_Query(section, at + way.reference, at + way.target, text, change))
            scenes += family.scenes
        content += [scene.signature() for scene in scenes[start:]]
        content += [f"{q.reference - start} {q.target - start} {q.text}" for q in queries[asked:]]
    return scenes, queries, content


def _queries(
    name: str, scenes: list[Scene], queries: list[_Query], content: list[str], **more: Any
) -> ComposedQueries:
    source = name.replace(" ", "-")
    told = [f"composed mini world {WORLD_VERSION}", name, str(more.get("subset", []))]
    return ComposedQueries(
        name=name,
        images=Drawn(source, scenes, render, SEED, f"picture/{source}"),
        references=np.array([query.reference for query in queries], dtype=np.int64),
        texts=[query.text for query in queries],
        targets=[(query.target,) for query in queries],
        query_ids=[f"{source}-q{i:04d}" for i in range(len(queries))],
        fingerprint=content_fingerprint([*told, *content]),
        **more,
    )


def draw_cirr(split: str) -> ComposedQueries:
    """General scenes, one sentence a query, the reference left out of the ranking (after CIRR).

    The gallery is made of families of eight look-alike scenes. The candidates of the subset recall
    are the target and four wrong edits of its family, five as in CIRR.
    """
    scenes, queries, content = _draw(split, ("cirr",), SCENE_FAMILIES[split])
    subset: list[list[int]] = []
    for number, query in enumerate(queries):
        start = query.reference - query.reference % MEMBERS
        wrong = [i for i in range(start, start + MEMBERS) if i not in query[1:3]]
        rng = item_generator(SEED, f"subset/{split}", number)
        chosen = map(int, rng.choice(wrong, CANDIDATES - 1, replace=False))
        subset.append(sorted([query.target, *chosen]))
    return _queries(
        f"mini-cirr {split}",
        scenes,
        queries,
        content,
        exclude_reference=True,
        subset=subset,
        recall_at=(1, 5, 10, 50),
        query_groups={"change": numbered([query.change for query in queries])},
    )


def draw_fiq(split: str) -> ComposedQueries:
    """Garments in three categories with galleries of their own, two captions (after FashionIQ)."""
    scenes, queries, content = _draw(split, CATEGORIES, GARMENT_FAMILIES[split])
    section = np.array([query.section for query in queries])
    bounds = np.linspace(0, len(scenes), len(CATEGORIES) + 1).astype(np.int64)
    return _queries(
        f"mini-fiq {split}",
        scenes,
        queries,
        content,
        sections=Sections(CATEGORIES, section, bounds),
        recall_at=(1, 10, 50),
        query_groups={"category": section},
    )


load_cirr = loader("mini-cirr", SCENE_FAMILIES, draw_cirr)
"""752 queries, 1,504 images (validation: 300, 600)."""
load_fiq = loader("mini-fiq", GARMENT_FAMILIES, draw_fiq)
"""756 queries, 1,512 images (validation: 300, 600)."""
