"""COCO and Flickr30K folders in the real file formats, with invented pictures and captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

THINGS = ("kite", "cup", "dog", "train", "clock", "pear", "boat", "horse")


def captions_for(index: int, count: int = 5) -> list[str]:
    """Captions of one picture, different for every picture, with punctuation to be cleaned."""
    thing = THINGS[index % len(THINGS)]
    return [f'A "{thing}" number {index}, seen {k} times!' for k in range(count)]


def write_pictures(folder: Path, names: list[str]) -> None:
    """Small non-square pictures of different colours."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        rng = np.random.default_rng(index)
        pixels = rng.integers(0, 256, size=(3, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((48, 36)).save(folder / name, quality=90)


def coco_name(index: int) -> str:
    return f"COCO_val2014_{index + 1:012d}.jpg"


def flickr_name(index: int) -> str:
    return f"{1000000001 + index}.jpg"


def make_coco(root: Path, images: int = 6, form: str = "blip", extra: int = 1) -> Path:
    """Writes ``root/coco``; returns the annotation file.

    Args:
        form: "blip" (``coco_karpathy_test.json``) or "karpathy" (``dataset_coco.json``).
        extra: captions beyond five on the first picture, as a few real records have.
    """
    names = [coco_name(i) for i in range(images)]
    write_pictures(root / "coco" / "images" / "val2014", names)
    texts = [captions_for(i, 5 + (extra if i == 0 else 0)) for i in range(images)]
    if form == "blip":
        data: Any = [
            {"image": f"val2014/{name}", "caption": text}
            for name, text in zip(names, texts, strict=True)
        ]
        return write_json(root / "coco" / "annotations" / "coco_karpathy_test.json", data)
    records = [
        _karpathy_record(i, name, text) | {"filepath": "val2014", "cocoid": i + 1}
        for i, (name, text) in enumerate(zip(names, texts, strict=True))
    ]
    train = _karpathy_record(images, "COCO_train2014_1.jpg", captions_for(images))
    train |= {"filepath": "train2014", "cocoid": 99, "split": "train"}
    data = {"images": [train, *records], "dataset": "coco"}
    return write_json(root / "coco" / "annotations" / "dataset_coco.json", data)


def make_flickr(root: Path, images: int = 6, form: str = "blip") -> Path:
    """Writes ``root/flickr30k``; returns the annotation file."""
    names = [flickr_name(i) for i in range(images)]
    write_pictures(root / "flickr30k" / "flickr30k-images", names)
    if form == "blip":
        data: Any = [
            {"image": f"flickr30k-images/{name}", "caption": captions_for(i)}
            for i, name in enumerate(names)
        ]
        return write_json(root / "flickr30k" / "flickr30k_test.json", data)
    records = [_karpathy_record(i, name, captions_for(i)) for i, name in enumerate(names)]
    data = {"images": records, "dataset": "flickr30k"}
    return write_json(root / "flickr30k" / "dataset_flickr30k.json", data)


def write_json(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def _karpathy_record(index: int, name: str, texts: list[str]) -> dict[str, Any]:
    first = 5 * index
    return {
        "filename": name,
        "split": "test",
        "imgid": index,
        "sentids": list(range(first, first + len(texts))),
        "sentences": [
            {"raw": text, "tokens": text.split(), "imgid": index, "sentid": first + k}
            for k, text in enumerate(texts)
        ],
    }
