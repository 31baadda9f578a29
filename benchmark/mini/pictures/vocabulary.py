"""The words of the mini worlds and what they look like; the tables are in ``vocabulary.json``.

Each entry maps a canonical name to the words that captions use for it; the first is the commonest.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_TABLES: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
)


def words(table: str) -> dict[str, tuple[str, ...]]:
    """The names of a table in their order, each with its words."""
    return {name: tuple(found) for name, found in _TABLES[table].items()}


SHAPES = words("shapes")
NOVEL = words("novel")
"""Things that no encoder has seen in training; mini-nocaps shows them."""
NOUNS = SHAPES | NOVEL
COLOURS: dict[str, tuple[int, int, int]] = {
    name: (red, green, blue) for name, (red, green, blue) in _TABLES["colours"].items()
}
"""sRGB, 0..255."""
COLOUR_WORDS = {name: (name,) for name in COLOURS} | words("colour words")
TEXTURES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    name: (tuple(before), tuple(after)) for name, (before, after) in _TABLES["textures"].items()
}
"""Adjectives before the noun, phrases after it."""
SIZES = words("sizes")
"""A medium object is never called by its size."""
BACKGROUNDS = words("backgrounds")
