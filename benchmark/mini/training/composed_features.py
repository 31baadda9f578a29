"""What a combiner is trained on: families of training scenes, encoded once by the frozen base."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.backbones.towers import ImageTower
from benchmark.config.atomic import atomic_write
from benchmark.mini.composed.combiner import image_states
from benchmark.mini.composed.families import Family, families
from benchmark.mini.composed.garments import CATEGORIES
from benchmark.mini.pictures.recipe import PREPROCESS
from benchmark.mini.pictures.render import render

CHUNK = 100
"""Families drawn, encoded and stored together; those of garments are of one category."""


@dataclass(frozen=True)
class Features:
    """Training families with their pictures' features.

    Attributes:
        kinds: for each family "cirr" or its category.
        families: the families.
        patches: (F, MEMBERS, P, W) float16 patch states.
        pooled: (F, MEMBERS, D) float32 unit rows.
    """

    kinds: list[str]
    families: list[Family]
    patches: Tensor
    pooled: Tensor


def normalised(pictures: np.ndarray) -> Tensor:
    """(B, 64, 64, 3) uint8 pictures as the base takes them, (B, 3, 64, 64) float32."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(PREPROCESS[key]).view(3, 1, 1) for key in ("mean", "std"))
    return ((pixels - mean) / std).contiguous()


def _kind(name: str, chunk: int) -> str:
    return "cirr" if name == "cirr" else CATEGORIES[chunk % len(CATEGORIES)]


@torch.no_grad()
def _encode(tower: ImageTower, drawn: list[Family], rng: np.random.Generator) -> list[np.ndarray]:
    parts: list[tuple[Tensor, Tensor]] = []
    for family in drawn:
        pictures = np.stack([render(scene, rng) for scene in family.scenes])
        parts.append(image_states(tower, normalised(pictures)))
    patches, pooled = zip(*parts, strict=True)
    return [torch.stack(patches).half().numpy(), torch.stack(pooled).numpy()]


def build(name: str, tower: ImageTower, folder: Path, *, count: int, seed: int) -> Features:
    """Encodes what is missing under ``folder`` and returns all of it, 130 KB a family.

    A chunk depends on its number and the seed alone. Chunks may repeat a scene of another chunk,
    which is harmless in training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds: list[str] = []
    found: list[Family] = []
    patches: list[Tensor] = []
    pooled: list[Tensor] = []
    for chunk in range(-(-count // CHUNK)):
        kind, rng = _kind(name, chunk), np.random.Generator(np.random.PCG64([seed, 11, chunk]))
        size = min(CHUNK, count - chunk * CHUNK)
        drawn = list(families(kind, "train", size, rng))
        file = folder / f"{name}-{seed}-{chunk:04d}-{size}.npz"
        if not file.exists():
            first, second = _encode(tower, drawn, rng)
            save = partial(np.savez, allow_pickle=False, patches=first, pooled=second)
            atomic_write(file, save)
        with np.load(file, allow_pickle=False) as stored:
            patches.append(torch.from_numpy(stored["patches"]))
            pooled.append(torch.from_numpy(stored["pooled"]))
        kinds += [kind] * size
        found += drawn
    return Features(kinds, found, torch.cat(patches), torch.cat(pooled))
