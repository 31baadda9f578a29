"""Frost: the user's photographs, and the procedural ice that stands in for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shifts.base import ShiftError
from shifts.image.base import REFERENCE
from shifts.image.frost import SIDE, TEXTURES, Frost, FrostOptions, FrostProcedural, ice_texture
from tests.shifts.common import apply


def save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def grey(level: int, height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), level, dtype=np.uint8)


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_blends_by_the_published_weights(tmp_path: Path, severity: int) -> None:
    save(tmp_path / "a.png", grey(120, 60, 60))
    result = apply(Frost(FrostOptions(photos=str(tmp_path))), grey(80, 40, 50), severity)
    keep, add = REFERENCE["frost"][severity - 1]
    assert set(np.unique(result)) == {int(min(255, keep * 80 + add * 120) + 1e-6)}


def test_draws_photograph_and_place_from_the_items_generator(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        save(tmp_path / f"{number}.jpg", rng.integers(0, 256, (90, 120, 3)))
    shift, image = Frost(FrostOptions(photos=str(tmp_path))), grey(50, 40, 40)
    results = {apply(shift, image, seed=seed).tobytes() for seed in range(6)}
    assert len(results) == 6
    assert apply(shift, image, seed=1).tobytes() in results


def test_a_small_photograph_is_enlarged_to_cover(tmp_path: Path) -> None:
    save(tmp_path / "small.png", grey(200, 10, 33))
    result = apply(Frost(FrostOptions(photos=str(tmp_path))), grey(0, 64, 40))
    assert result.shape == (64, 40, 3)
    assert set(np.unique(result)) == {150}  # .75 * 200


def test_no_folder_is_refused_with_the_way_out() -> None:
    with pytest.raises(ShiftError, match=r"no folder.*frost_procedural"):
        Frost()


def test_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ShiftError, match="nowhere"):
        Frost(FrostOptions(photos=str(tmp_path / "nowhere")))


def test_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no photograph")
    with pytest.raises(ShiftError, match="no photograph"):
        Frost(FrostOptions(photos=str(tmp_path)))


def test_broken_photograph_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(ShiftError, match=r"broken\.png"):
        apply(Frost(FrostOptions(photos=str(tmp_path))), grey(1, 32, 32))


def test_fingerprint_follows_the_bytes_not_the_folder(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder / "a.png", grey(9, 8, 8))
    one, two = (Frost(FrostOptions(photos=str(tmp_path / f))).fingerprint for f in ("one", "two"))
    assert one == two
    save(tmp_path / "two" / "a.png", grey(10, 8, 8))
    assert Frost(FrostOptions(photos=str(tmp_path / "two"))).fingerprint != one


def test_a_photograph_replaced_within_a_process_is_the_one_used(tmp_path: Path) -> None:
    save(tmp_path / "a.png", grey(10, 60, 60))
    shift = Frost(FrostOptions(photos=str(tmp_path)))
    before = shift.fingerprint, apply(shift, grey(80, 40, 40)).mean()
    save(tmp_path / "a.png", grey(200, 60, 60))
    after = shift.fingerprint, apply(shift, grey(80, 40, 40)).mean()
    assert before[0] != after[0]
    assert after[1] > before[1] + 50


def test_procedural_ice_is_bluish_varied_and_seamless() -> None:
    textures = [ice_texture(number).astype(float) for number in range(TEXTURES)]
    for texture in textures:
        assert texture.shape == (SIDE, SIDE, 3)
        assert texture[..., 2].mean() > texture[..., 0].mean()
        assert texture.std() > 25
        across = np.abs(texture[:, 0] - texture[:, -1]).mean()
        assert across < 1.5 * np.abs(np.diff(texture, axis=1)).mean()
    assert len({texture.tobytes() for texture in textures}) == TEXTURES


def test_procedural_frost_covers_images_larger_than_its_texture() -> None:
    result = apply(FrostProcedural(), grey(0, 2 * SIDE, 70))
    np.testing.assert_array_equal(result[:SIDE], result[SIDE:])
    assert result.std() > 20


def test_shared_texture_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        ice_texture(0)[0, 0] = 0
