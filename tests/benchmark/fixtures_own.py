"""A user's own tables, with plain pictures."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark.data.card import own_card
from benchmark.data.own.load import understand
from benchmark.data.own.source import OwnSource
from benchmark.data.retrieval import RetrievalSet
from benchmark.data.tasks import load_retrieval_set

COLOURS = {
    **{"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)},
    **{"black": (0, 0, 0), "white": (255, 255, 255), "orange": (255, 128, 0)},
    **{"purple": (128, 0, 128), "pink": (255, 100, 200), "grey": (128, 128, 128)},
    **{"brown": (120, 70, 20), "cyan": (0, 255, 255)},
}


def pixels(colour: str) -> np.ndarray:
    return np.full((24, 32, 3), COLOURS[colour], np.uint8)


def png(colour: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels(colour)).save(content, "PNG")
    return content.getvalue()


def make_pictures(folder: Path, colours: Sequence[str] = tuple(COLOURS)) -> None:
    """One picture a colour, ``<folder>/<colour>.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    for colour in colours:
        (folder / f"{colour}.png").write_bytes(png(colour))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A CSV of plain values: no commas, no quotes."""
    lines = [",".join(rows[0]), *(",".join(str(v) for v in row.values()) for row in rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_json_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make_pairs(root: Path, name: str = "pairs.csv") -> Path:
    """Twelve pictures with two captions each, in two domains; returns the table."""
    make_pictures(root / "pics")
    rows = [
        {"image": f"pics/{c}.png", "caption": text, "domain": ("night", "day")[i % 2]}
        for i, c in enumerate(COLOURS)
        for text in (f"a {c} wall", f"the colour {c}")
    ]
    return write_csv(root / name, rows)


def make_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def load_own_set(
    place: Path | str, direction: str = "i2t", *, allow_missing: bool = False, **facts: Any
) -> RetrievalSet:
    """The retrieval set of a direction, as a cell would load it."""
    columns = tuple(facts.pop("columns", {}).items())
    rest = {n: value if isinstance(value, bool) else str(value) for n, value in facts.items()}
    source = OwnSource(str(place), columns, **rest).absolute()
    name = next(n for n in understand(source).benchmarks if n.endswith(f"-{direction}"))
    card = own_card(name)
    assert card is not None
    return load_retrieval_set(card, source.text, allow_missing=allow_missing)
