"""Contact sheets: what is on them, where, and that they are the shifts' own output."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs.figures.shift_sheets import (
    Row,
    caption_table,
    contact_sheet,
    drawn_picture,
    image_rows,
    large_picture,
    write_sheets,
)
from shifts import BUILTINS
from shifts.base import item_generator
from shifts.builtin import names_of
from shifts.image.digital import Contrast
from shifts.image.noise import GaussianNoise
from shifts.text.words import InsertPunctuation

ROOT = Path(__file__).parents[2]
SHEETS = ROOT / "docs" / "sheets"


def test_every_image_shift_but_frost_has_a_row() -> None:
    expected = set(names_of("image")) - {"frost"}
    assert {row.label for _, row in image_rows("mini64")} == expected
    labels = [row.label for _, row in image_rows("reference", variants=True)]
    assert [x for x in labels if x.endswith("(mm)")] == [
        f"{name} (mm)" for name in ("glass_blur", "zoom_blur", "fog", "pixelate")
    ]
    assert {row.shift.options.constants for _, row in image_rows("mini64")} == {"mini64"}


def test_tiles_are_the_shifts_own_output_in_order() -> None:
    picture = drawn_picture(64)
    sheet = np.array(contact_sheet(picture, [Row("a", Contrast()), Row("b", GaussianNoise())]))
    left = sheet.shape[1] - 6 * 66
    assert np.array_equal(sheet[16 : 16 + 64, left : left + 64], picture)
    shift = GaussianNoise()
    expected = shift.apply(picture, 3, item_generator(0, "gaussian_noise", 3, "sheet"))
    assert np.array_equal(sheet[16 + 66 : 16 + 130, left + 3 * 66 : left + 3 * 66 + 64], expected)


def test_a_reduced_tile_keeps_the_mean() -> None:
    picture = drawn_picture(224)
    sheet = np.array(contact_sheet(picture, [Row("contrast", Contrast())], shown=56), float)
    left = sheet.shape[1] - 6 * 58
    tile = sheet[16 : 16 + 56, left : left + 56]
    assert tile.mean() == pytest.approx(picture.mean(), abs=0.5)


def test_the_drawn_picture_has_detail_and_is_fixed() -> None:
    picture = drawn_picture()
    assert picture.shape == (224, 224, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 30
    assert np.array_equal(picture, drawn_picture())


def test_without_scikit_image_the_picture_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert np.array_equal(large_picture(), drawn_picture())


def test_the_caption_table_shows_each_type_and_says_what_is_unchanged_or_missing() -> None:
    text = "a dog | runs"
    table = caption_table(text)
    shown, _, missing = table.partition("Not shown: ")
    for name in BUILTINS:
        named = f"\n| {name} | " in shown or f"`{name}`" in missing
        assert named == (name in names_of("text")), name
    assert "`formal`" in missing
    after = InsertPunctuation().apply(text, 7, item_generator(0, "ip", 7, "caption"))
    assert f"| ip | `{after.replace('|', chr(92) + '|')}` |" in table
    assert "| passive_rules | unchanged |" in table


def test_all_sheets_are_written_and_they_are_small(tmp_path: Path) -> None:
    written = sorted(write_sheets(tmp_path / "new"))
    assert [p.name for p in written] == sorted(p.name for p in SHEETS.iterdir())
    for path in (*written, *SHEETS.iterdir()):
        assert path.stat().st_size < 400_000, path
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.width > 400


def test_the_pages_show_every_committed_sheet() -> None:
    names = ("shifts.md", "shifts-text.md", "shifts-av.md")
    pages = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in names)
    for path in SHEETS.iterdir():
        assert f"(sheets/{path.name})" in pages
