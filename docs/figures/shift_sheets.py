"""What each shift does, to look at: contact sheets of images, a table of captions."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark.mini.pictures import data as mini
from docs.figures.av_sheets import audio_sheet, tiled, video_sheet
from shifts import BUILTINS
from shifts.base import Shift, ShiftError, item_generator
from shifts.builtin import builtin_class, names_of
from shifts.image.base import imagenet_crop
from shifts.image.weather import plasma

SEED = 0
MINI_PICTURE = 4
"""Index in the mini world's validation part: fine and coarse patterns on a mid-tone ground."""
SHOWN = 100
"""Side in pixels that results of 224 px are shown at."""
COLOURS = 256
"""A sheet is stored with a palette: noise hardly compresses, and a sheet must stay small."""

_FAMILIES = {
    "noise": "noise",
    "blur": "blur",
    "digital": "digital",
    "elastic": "digital",
    "weather": "weather",
    "frost": "weather",
    "spatter": "weather",
}
"""Module of ``shifts.image`` -> family; a sheet shows one family."""
_CAPTION = "A man is riding a big horse next to the beach."


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a contact sheet: a shift at each of its severities."""

    label: str
    shift: Shift


def write_sheets(folder: Path) -> list[Path]:
    """Writes all sheets: images of 64 and 224 px by family, audio, video and captions.

    Returns:
        The files, in the order in which they were written.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    small, large = mini.load(split="val").images[MINI_PICTURE], large_picture()
    rows_small, rows_large = [*image_rows("mini64")], [*image_rows("reference", variants=True)]
    sheets = {}
    for family in dict.fromkeys(_FAMILIES.values()):
        own = [row for name, row in rows_small if name == family]
        sheets[f"images-64-{family}"] = contact_sheet(small, own)
        own = [row for name, row in rows_large if name == family]
        sheets[f"images-224-{family}"] = contact_sheet(large, own, shown=SHOWN)
    sheets |= {"audio": audio_sheet(), "video": video_sheet(large)}
    written = []
    for name, sheet in sheets.items():
        path = folder / f"{name}.png"
        sheet.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        written.append(path)
    table = folder / "captions.md"
    table.write_text(caption_table(_CAPTION), encoding="utf-8")
    return [*written, table]


def image_rows(constants: str, *, variants: bool = False) -> Iterator[tuple[str, Row]]:
    """(family, row) of every built-in image shift that needs nothing of the user's.

    Args:
        constants: severity table, "reference" or "mini64".
        variants: also show MM_Robustness' operator where it differs.
    """
    for name in names_of("image"):
        family = _FAMILIES[_module(name)]
        kind: Any = builtin_class(name)
        try:
            yield family, Row(name, kind(kind.Options(constants=constants)))
        except ShiftError:
            continue  # frost, which has no photographs here
        if variants and "variant" in kind.Options.__dataclass_fields__:
            options = kind.Options(constants=constants, variant="mm")
            yield family, Row(f"{name} (mm)", kind(options))


def contact_sheet(picture: np.ndarray, rows: Sequence[Row], *, shown: int | None = None) -> Any:
    """A picture under shifts: a row each, the clean picture first, then severity 1 to 5.

    Args:
        picture: (S, S, 3) uint8, corrupted at this size.
        rows: what to show.
        shown: side in pixels that each result is reduced to; None shows every pixel.

    Returns:
        A PIL image in RGB.
    """
    side = shown or picture.shape[0]
    drawn = []
    box = (side, side), Image.Resampling.BOX
    for row in rows:
        results = [picture]
        for severity in row.shift.card.severities:
            rng = item_generator(SEED, row.shift.card.name, severity, "sheet")
            results.append(row.shift.apply(picture, severity, rng))
        drawn.append((row.label, [np.asarray(Image.fromarray(r).resize(*box)) for r in results]))
    most = max(len(tiles) for _, tiles in drawn)
    return tiled(drawn, ["clean", *map(str, range(1, most))], label=108)


def large_picture() -> np.ndarray:
    """(224, 224, 3) uint8, the size that the published constants are made for.

    scikit-image's photograph of a cat (public domain, CC0) where that package is installed, else a
    drawn landscape.
    """
    if importlib.util.find_spec("skimage") is None:
        return drawn_picture()
    return imagenet_crop(importlib.import_module("skimage.data").chelsea())


def drawn_picture(side: int = 224) -> np.ndarray:
    """A landscape: clouded sky, sun, hills, a house with a striped roof, a meadow, a fence.

    Returns:
        (side, side, 3) uint8; the same on every machine.
    """
    rng = np.random.default_rng(SEED)
    y, x = np.mgrid[0:side, 0:side] / side
    power = 1 << (side - 1).bit_length()
    clouds, ground = (plasma(power, 1.9, rng)[:side, :side, None] for _ in range(2))
    sky = (0.45, 0.62, 0.85) + 0.35 * clouds
    meadow = (0.22, 0.42, 0.15) + 0.3 * ground * np.array((0.8, 1.0, 0.5))
    picture = np.where((y < 0.62)[..., None], sky, meadow)
    picture[(x - 0.8) ** 2 + (y - 0.18) ** 2 < 0.006] = 1.0, 0.92, 0.55
    for height, tone in ((0.14, 0.55), (0.09, 0.4)):
        ridge = 0.6 - height * (1 + np.sin(7 * x / (tone + 0.4) + 9 * height)) / 2
        hill = (y > ridge) & (y < 0.62)
        picture[hill] = np.array((0.45, 0.55, 0.5)) * tone + 0.15 * ground[hill]
    wall = (abs(x - 0.36) < 0.16) & (y > 0.45) & (y < 0.74)
    picture[wall] = 0.78, 0.32, 0.24
    roof = (y < 0.45) & (y > 0.27) & (abs(x - 0.36) < (y - 0.27) * 1.1)
    stripes = np.where((y * 60).astype(int) % 2 == 0, 0.3, 0.42)[..., None]
    picture[roof] = (stripes * (1.0, 0.8, 0.75))[roof]
    for left in (0.26, 0.42):
        window = (abs(x - left - 0.02) < 0.035) & (abs(y - 0.56) < 0.05)
        picture[window] = 0.95, 0.93, 0.7
        picture[window & ((abs(x - left - 0.02) < 0.005) | (abs(y - 0.56) < 0.005))] = 0.2
    fence = (y > 0.78) & (y < 0.93) & (((x * 28) % 1 < 0.35) | (abs(y - 0.83) < 0.012))
    picture[fence] = 0.93, 0.9, 0.84
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def caption_table(caption: str) -> str:
    """Markdown: a caption under the highest severity of every text shift that works here."""
    lines, missing = ["| shift | result |", "| --- | --- |"], []
    for name in names_of("text"):
        try:
            shift = builtin_class(name)()
        except ShiftError:
            missing.append(f"`{name}`")
            continue
        last = shift.card.severities[-1]
        after = shift.apply(caption, last, item_generator(SEED, name, last, "caption"))
        lines.append(f"| {name} | {'unchanged' if after == caption else _code(after)} |")
    parts = [
        "# Examples of text shifts",
        f"Each at its highest severity, from {_code(caption)} (`make docs-figures`).",
        "\n".join(lines),
    ]
    if missing:
        parts.append(f"Not shown: {', '.join(missing)}, which need WordNet or a model.")
    return "\n\n".join(parts) + "\n"


def _code(text: str) -> str:
    """Inline code in a table: neither stars nor bars of a corrupted caption are markup."""
    escaped = text.replace("|", "\\|")
    return f"`` {escaped} ``" if "`" in text else f"`{escaped}`"


def _module(name: str) -> str:
    return BUILTINS[name].partition(":")[0].rpartition(".")[2]
