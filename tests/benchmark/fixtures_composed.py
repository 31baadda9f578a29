"""FashionIQ and CIRR folders in the real file formats, with invented records and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.benchmark.fixtures_karpathy import write_json

CATEGORIES = ("dress", "shirt", "toptee")
LETTERS = {"dress": "D", "shirt": "S", "toptee": "T"}

SHARED = "B0000SHARE"
"""A picture that stands in the galleries of dresses and of tops."""


def item_id(category: str, index: int) -> str:
    return f"B{LETTERS[category]}{index:08d}"


def picture(path: Path, index: int, size: tuple[int, int] = (20, 30)) -> None:
    """A small picture of its own colours; its format follows from the file's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(index).integers(0, 256, size=(3, 2, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size).save(path)


def make_fashion_iq(root: Path, split: str = "val", fillers: int = 0) -> Path:
    """Writes ``root/fashion-iq``; returns it.

    Each category has six pictures of its own, of which 0 to 3 are targets or references, and
    dresses and tops share one more. Queries: 0 -> 1, 1 -> 2, 0 -> 3; in the tops also the shared
    picture -> 0. Every odd picture is a PNG. ``fillers`` more fill each category's gallery.
    """
    folder = root / "fashion-iq"
    for number, category in enumerate(CATEGORIES):
        ids = [item_id(category, i) for i in range(6 + fillers)]
        for index, name in enumerate(ids):
            suffix = ".png" if index % 2 else ".jpg"
            picture(folder / "images" / (name + suffix), 1000 * number + index)
        gallery = ids if category == "shirt" else [*ids, SHARED]
        records = [_record(ids[a], ids[b], b) for a, b in ((0, 1), (1, 2), (0, 3))]
        if category == "toptee":
            records.append(_record(SHARED, ids[0], 9))
        write_json(folder / "captions" / f"cap.{category}.{split}.json", records)
        write_json(folder / "image_splits" / f"split.{category}.{split}.json", gallery)
    picture(folder / "images" / (SHARED + ".jpg"), 99)
    return folder


def _record(reference: str, target: str, number: int) -> dict[str, Any]:
    captions = [f"is Darker by {number}.", " has longer sleeves?"]
    return {"target": target, "candidate": reference, "captions": captions}


def cirr_name(index: int) -> str:
    return f"dev-{index}-0-img{index % 2}"


def make_cirr(root: Path, split: str = "val", fillers: int = 0) -> Path:
    """Writes ``root/cirr``; returns it.

    Fourteen pictures; two image sets of six, 0 to 5 and 6 to 11. Queries 0 -> 1, 1 -> 2 and
    3 -> 0 in the first set, 6 -> 7 in the second: picture 0 and 1 are reference and target.
    ``fillers`` more pictures fill the gallery.
    """
    folder = root / "cirr"
    names = [cirr_name(i) for i in range(14 + fillers)]
    for index, name in enumerate(names):
        picture(folder / "img_raw" / "dev" / f"{name}.png", index)
    listed = {name: f"./dev/{name}.png" for name in names}
    write_json(folder / "image_splits" / f"split.rc2.{split}.json", listed)
    records = [
        cirr_record(pair, reference, target, names[start : start + 6], start)
        for pair, reference, target, start in (
            (7, 0, 1, 0),
            (3, 1, 2, 0),
            (12, 3, 0, 0),
            (5, 6, 7, 6),
        )
    ]
    write_json(folder / "captions" / f"cap.rc2.{split}.json", records)
    return folder


def cirr_record(
    pair: int, reference: int, target: int, members: list[str], start: int
) -> dict[str, Any]:
    return {
        "pairid": pair,
        "reference": cirr_name(reference),
        "target_hard": cirr_name(target),
        "target_soft": {cirr_name(target): 1.0},
        "caption": f"show the other one, number {pair}.",
        "img_set": {
            "id": start,
            "members": members,
            "reference_rank": reference - start,
            "target_rank": target - start,
        },
    }
