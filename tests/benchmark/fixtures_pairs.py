"""NoCaps, Fashion-Gen, person-search and remote-sensing folders in the real file formats.

Every record and picture is invented.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.data.datasets.base import ImageTextPairs
from benchmark.data.datasets.captioned import (
    load_coco,
    load_cuhk_pedes,
    load_fashion_gen,
    load_flickr30k,
    load_icfg_pedes,
    load_nocaps,
    load_rsicd,
    load_rsitmd,
)
from tests.benchmark.fixtures_karpathy import (
    captions_for,
    make_coco,
    make_flickr,
    write_json,
    write_pictures,
)

Loader = Callable[..., ImageTextPairs]

NOCAPS_DOMAINS = ("in-domain", "near-domain", "out-domain")
NOCAPS_CAPTIONS = 10


def nocaps_name(index: int) -> str:
    return f"{index:04x}a{index}.jpg"


def make_nocaps(root: Path, images: int = 6, form: str = "official") -> Path:
    """Writes ``root/nocaps``; domains alternate. Returns the annotation file.

    Args:
        form: "official" (``nocaps_val_4500_captions.json``) or "tcr" (``annotations.json``).
    """
    names = [nocaps_name(i) for i in range(images)]
    write_pictures(root / "nocaps" / "images", names)
    texts = [captions_for(i, NOCAPS_CAPTIONS) for i in range(images)]
    domains = [NOCAPS_DOMAINS[i % 3] for i in range(images)]
    folder = root / "nocaps" / "annotations"
    if form == "tcr":
        listed = [
            {"domain": domain, "image": name, "caption": text}
            for name, text, domain in zip(names, texts, domains, strict=True)
        ]
        return write_json(folder / "annotations.json", listed)
    records = [
        {
            "id": i,
            "file_name": name,
            "open_images_id": name.removesuffix(".jpg"),
            "domain": domains[i],
            "width": 48,
            "height": 36,
        }
        for i, name in enumerate(names)
    ]
    # The captions of an image do not stand together in the official file.
    annotations = [
        {"id": k * images + i, "image_id": i, "caption": texts[i][k]}
        for k in range(NOCAPS_CAPTIONS)
        for i in range(images)
    ]
    data = {"info": {}, "licenses": [], "images": records, "annotations": annotations}
    return write_json(folder / "nocaps_val_4500_captions.json", data)


def fashion_records(products: int = 3, views: int = 2) -> list[dict[str, Any]]:
    """Each product has one text, repeated for each view; every second one comes as a list."""
    return [
        {
            "img_name": f"{100001 + p}_{v + 1}.png",
            "product_id": str(100001 + p),
            "captions": [fashion_text(p)] if v % 2 else fashion_text(p),
            "super_cls_id": str(20 + p % 2),
            "super_cls_name": ("TOPS", "JEANS")[p % 2],
        }
        for p in range(products)
        for v in range(views)
    ]


def fashion_text(product: int) -> str:
    return f"Long sleeve coat number {product} in navy. Notched lapel."


def make_fashion_gen(
    root: Path, records: list[dict[str, Any]] | None = None, products: int = 3
) -> Path:
    """Writes ``root/fashion-gen``; returns the JSON lines."""
    whole = fashion_records(products)
    records = whole if records is None else records
    folder = root / "fashion-gen"
    write_pictures(folder / "extracted_valid_images", [r["img_name"] for r in whole])
    file = folder / "fashion_gen_validation.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return file


def person_records(folder: str = "CUHK01", persons: int = 3) -> list[dict[str, Any]]:
    """Two images of each person, two captions of each image, and one image of another split."""
    records = [
        {
            "split": "test",
            "captions": [f"Person {p} in a green coat, view {v}.", f"{p} carries a bag &amp; {v}"],
            "file_path": f"{folder}/{p:04d}{v:03d}.png",
            "processed_tokens": [["person"], ["bag"]],
            "id": 500 + p,
        }
        for p in range(persons)
        for v in range(2)
    ]
    other = {**records[0], "split": "train", "file_path": f"{folder}/9999001.png", "id": 1}
    return [other, *records]


def make_person_search(root: Path, name: str, file: str, persons: int = 3) -> Path:
    """Writes ``root/<name>``; returns the annotation file."""
    records = person_records(persons=persons)
    tests = [Path(r["file_path"]).name for r in records if r["split"] == "test"]
    write_pictures(root / name / "imgs" / "CUHK01", tests)
    return write_json(root / name / file, records)


SHARED_TEXT = "many planes near a building ."


def remote_name(index: int, suffix: str = ".jpg") -> str:
    return f"airport_{index + 1}{suffix}"


def make_remote_sensing(root: Path, name: str = "rsicd", images: int = 4) -> Path:
    """Writes ``root/rsicd`` or ``root/rsitmd``; the first two images share a text.

    Returns:
        The annotation file.
    """
    file, folder, suffix = {
        "rsicd": ("dataset_rsicd.json", "RSICD_images", ".jpg"),
        "rsitmd": ("dataset_RSITMD.json", "images", ".tif"),
    }[name]
    names = [remote_name(i, suffix) for i in range(images)]
    write_pictures(root / name / folder, names)
    records = []
    for i, picture in enumerate(names):
        texts = captions_for(i)
        if i < 2:
            texts[2] = SHARED_TEXT
        sentences = [
            {"raw": t, "tokens": t.split(), "imgid": i, "sentid": k} for k, t in enumerate(texts)
        ]
        records.append({"filename": picture, "split": "test", "imgid": i, "sentences": sentences})
    train = {"filename": "beach_9.jpg", "split": "train", "sentences": [{"raw": "a beach ."}]}
    return write_json(root / name / file, {"images": [train, *records], "dataset": name})


def make_cuhk(root: Path) -> Path:
    return make_person_search(root, "CUHK-PEDES", "reid_raw.json")


def make_icfg(root: Path) -> Path:
    return make_person_search(root, "ICFG-PEDES", "ICFG-PEDES.json")


def changed(file: Path, number: int, change: dict[str, Any] | list[Any], key: str = "") -> None:
    """Changes one record of a JSON or JSON-lines file; one in a list takes its place."""
    lines = file.suffix == ".jsonl"
    text = file.read_text()
    data = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
    records = data[key] if key else data
    records[number] = change[0] if isinstance(change, list) else records[number] | change
    if lines:
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        write_json(file, data)


def make_rsitmd(root: Path) -> Path:
    return make_remote_sensing(root, "rsitmd")


LOADERS: dict[str, tuple[Loader, Callable[[Path], Path]]] = {
    "coco": (load_coco, make_coco),
    "flickr30k": (load_flickr30k, make_flickr),
    "nocaps": (load_nocaps, make_nocaps),
    "fashion-gen": (load_fashion_gen, make_fashion_gen),
    "cuhk-pedes": (load_cuhk_pedes, make_cuhk),
    "icfg-pedes": (load_icfg_pedes, make_icfg),
    "rsicd": (load_rsicd, make_remote_sensing),
    "rsitmd": (load_rsitmd, make_rsitmd),
}
"""Data set -> its loader, and what writes a small copy."""
