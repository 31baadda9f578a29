"""What each shift of domain costs the shipped encoders, and one picture of all worlds.

The table is printed by ``python -m docs.figures worlds``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmark.backbones.base import DualEncoder
from benchmark.cell import BackboneSpec
from benchmark.data.datasets.base import ImageTextPairs
from benchmark.data.retrieval import Items
from benchmark.data.tasks import build_pairs
from benchmark.metrics.ranking import item_ranks
from benchmark.metrics.recall import recall_at
from benchmark.mini.pictures import data
from benchmark.mini.pictures.backbone import load as load_backbone
from benchmark.mini.pictures.scenes import Scene, captions
from benchmark.mini.worlds import aerial, fashion, people, poster
from benchmark.mini.worlds.drawn import SEED
from docs import marks

Load = Callable[[], ImageTextPairs]
_BATCH = 100


@cache
def like_base(images: int, per_image: int) -> ImageTextPairs:
    """The base world's test pictures with as many captions as another set has.

    The yardstick of a set that no shipped encoder was tuned on.
    """

    def describe(scene: Scene, rng: np.random.Generator) -> list[str]:
        texts: list[str] = []
        while len(texts) < per_image:
            texts += captions(scene, rng)
        return texts[:per_image]

    drawn = replace(
        data.WORLD,
        name=f"mini-coco with {per_image} captions",
        counts={"test": images},
        describe=describe,
        groups={},
        seed=SEED,
        key=None,
        scene_seed=data.SEED,
        scene_key="",
    ).load("test")
    return replace(drawn, images=_Few(data.load(split="test").images, images))


@dataclass(frozen=True)
class Row:
    """An encoder on a data set, and what it is compared with.

    Attributes:
        twin: benchmark id; "" where nothing is shifted.
        encoder: shipped encoder.
        load: the data.
        home: encoder and data of the in-domain recall; None = the encoder on its own data.
        cleaning: of captions, as in the suite (person search: none).
    """

    twin: str
    encoder: str
    load: Load
    home: tuple[str, Load] | None = None
    cleaning: str = "blip"


def _away(twin: str, load: Load, images: int, per_image: int) -> Row:
    return Row(twin, "base", load, ("base", partial(like_base, images, per_image)))


_COCO: Load = partial(data.load, split="test-400")
_FLICKR: Load = partial(poster.load, split="test")
_CUHK: Load = partial(people.load_cuhk, split="test")
_ICFG: Load = partial(people.load_icfg, split="test")
ROWS: tuple[Row, ...] = (
    Row("", "base", partial(data.load, split="test")),
    Row("", "flickr", _FLICKR),
    Row("", "people-cuhk", _CUHK, cleaning="none"),
    Row("", "people-icfg", _ICFG, cleaning="none"),
    Row("mini-base2flickr", "base", _FLICKR, ("flickr", _FLICKR)),
    Row("mini-base2coco", "flickr", _COCO, ("base", _COCO)),
    _away("mini-base2fashion", fashion.load, 400, 1),
    _away("mini-base2nocaps-in", data.load_in, 150, 10),
    _away("mini-base2nocaps-near", data.load_near, 150, 10),
    _away("mini-base2nocaps-out", data.load_out, 150, 10),
    Row("mini-cuhk2icfg", "people-cuhk", _ICFG, ("people-icfg", _ICFG), "none"),
    Row("mini-icfg2cuhk", "people-icfg", _CUHK, ("people-cuhk", _CUHK), "none"),
    _away("mini-base2rsicd", aerial.load_rsicd, 300, 5),
    _away("mini-base2rsitmd", aerial.load_rsitmd, 200, 5),
)
"""Unshifted encoders first, then every twin that is a shift of domain."""


@dataclass(frozen=True)
class _Few:
    """The first items of a sequence."""

    items: Items
    count: int

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.items.ids[: self.count])

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> np.ndarray:
        picture: np.ndarray = self.items[index]
        return picture


def first(pairs: ImageTextPairs, images: int) -> ImageTextPairs:
    """The pairs of the first pictures."""
    images = min(images, len(pairs.images))
    kept = int((pairs.caption_image < images).sum())  # captions lie in the order of their pictures
    return replace(
        pairs,
        images=_Few(pairs.images, images),
        captions=pairs.captions[:kept],
        caption_ids=pairs.caption_ids[:kept],
        caption_image=pairs.caption_image[:kept],
        image_groups={},
        identities=None if pairs.identities is None else pairs.identities[:images],
    )


def _embed(backbone: DualEncoder, modality: str, items: list) -> torch.Tensor:
    prepare = backbone.preprocess(modality)
    inputs = [prepare(item) for item in items]
    batches = [inputs[i : i + _BATCH] for i in range(0, len(inputs), _BATCH)]
    return torch.cat([backbone.encode(modality, backbone.collate(modality, b)) for b in batches])


def recalls(
    backbone: DualEncoder, pairs: ImageTextPairs, cleaning: str = "blip"
) -> tuple[float, float]:
    """R@1 in percent, image to text and text to image, without adaptation."""
    sides = [
        build_pairs(pairs, name=pairs.name, query=query, cleaning=cleaning)
        for query in ("image", "text")
    ]
    clean = sides[0].clean_text or str
    pictures = [pairs.images[i] for i in range(len(pairs.images))]
    images = _embed(backbone, "image", pictures)
    texts = _embed(backbone, "text", [clean(text) for text in pairs.captions])
    found = []
    for side, scores in zip(sides, (images @ texts.T, texts @ images.T), strict=True):
        answers = [side.relevance[i] for i in range(len(scores))]
        best = np.array([int(r.min()) for r in item_ranks(scores, answers)])
        found.append(recall_at(best, 1))
    return found[0], found[1]


class Survey:
    """Measures rows; what was measured once is kept.

    Args:
        images: use only so many pictures of each set (all by default).
    """

    def __init__(self, images: int = 10**9) -> None:
        self._images = images
        self._backbones: dict[str, DualEncoder] = {}
        self._known: dict[tuple[str, str, int], tuple[float, float]] = {}

    def _measure(self, encoder: str, load: Load, cleaning: str) -> tuple[float, float]:
        pairs = first(load(), self._images)
        key = (encoder, pairs.name, len(pairs.images))
        if encoder not in self._backbones:
            self._backbones[encoder] = load_backbone(BackboneSpec("mini", model=encoder))
        if key not in self._known:
            self._known[key] = recalls(self._backbones[encoder], pairs, cleaning)
        return self._known[key]

    def measure(self, row: Row) -> tuple[tuple[float, float], tuple[float, float]]:
        """The row's R@1 both ways, and the in-domain R@1 both ways."""
        here = self._measure(row.encoder, row.load, row.cleaning)
        return here, here if row.home is None else self._measure(*row.home, row.cleaning)


def table(survey: Survey) -> str:
    """A Markdown table of all rows."""
    rows = []
    for row in ROWS:
        here, home = survey.measure(row)
        pairs = row.load()
        counts = f"{len(pairs.images)} / {len(pairs.captions):,}"
        cells = [row.twin or "(unshifted)", row.encoder, pairs.name, counts]
        for value, own in zip(here, home, strict=True):
            share = "" if row.home is None else f"{100 * value / own:.0f} % of {own:.1f}"
            cells += [f"{value:.1f}", share]
        rows.append(cells)
    head = ["twin", "encoder", "data", "images / captions", *("i2t", "of in-domain", "t2i")]
    return marks.table([*head, "of in-domain"], rows)


SHEET: tuple[Load, ...] = (
    _COCO,
    _FLICKR,
    *(data.load_in, data.load_near, data.load_out),
    fashion.load,
    _CUHK,
    _ICFG,
    *(aerial.load_rsicd, aerial.load_rsitmd),
)


def sheet(file: Path, columns: int = 12) -> None:
    """One row of test pictures a world, in the order of ``SHEET``."""
    rows = [np.concatenate([load().images[i] for i in range(columns)], axis=1) for load in SHEET]
    picture = Image.fromarray(np.concatenate(rows))
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file, quality=85, optimize=True)
