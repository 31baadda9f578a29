"""Composed queries: parts shift alone or together, and wrong ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shifts.base import Composed, ShiftError, item_generator
from shifts.builtin import make_shift
from shifts.composed import TEXT_SEVERITY, ComposedOptions, ComposedShift
from tests.shifts.common import offline

CAPTION = "the same shirt with longer sleeves and a much brighter pattern of flowers on it"


def query(seed: int = 0, text: str = CAPTION) -> Composed:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(20, 236, (6, 8, 3), dtype=np.uint8)
    return Composed(blocks.repeat(5, axis=0).repeat(5, axis=1), text)


def apply(item: Composed, severity: int, seed: int = 0, **options: Any) -> Composed:
    shift = ComposedShift(ComposedOptions(**options))
    return shift.apply(item, severity, item_generator(seed, "composed", severity, "q"))


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_each_part_shifts_as_it_does_without_the_other(severity: int) -> None:
    item = query()
    image, text, both = (apply(item, severity, part=part) for part in ("image", "text", "both"))
    assert image.text == item.text
    np.testing.assert_array_equal(text.image, item.image)
    assert (image.image != item.image).any()
    assert text.text != item.text
    assert both == Composed(image.image, text.text)


@pytest.mark.parametrize("name", offline("image"))
def test_any_image_shift_can_be_a_part(name: str) -> None:
    result = apply(query(), 5, part="image", image=name)
    seeds = item_generator(0, "composed", 5, "q").integers(0, 2**63, size=2)
    rng = np.random.Generator(np.random.PCG64(int(seeds[0])))
    np.testing.assert_array_equal(
        result.image, make_shift(name, "image").apply(query().image, 5, rng)
    )


@pytest.mark.parametrize("name", offline("text"))
def test_any_text_shift_can_be_a_part_at_the_mapped_severity(name: str) -> None:
    shift = make_shift(name, "text")
    for severity in (1, 2, 3, 4, 5):
        result = apply(query(), severity, part="text", text=name)
        seeds = item_generator(0, "composed", severity, "q").integers(0, 2**63, size=2)
        rng = np.random.Generator(np.random.PCG64(int(seeds[1])))
        mapped = 1 if shift.card.severities == (1,) else TEXT_SEVERITY[severity - 1]
        assert result.text == shift.apply(CAPTION, mapped, rng)
    assert TEXT_SEVERITY == (1, 2, 4, 6, 7)


def test_options_reach_the_parts(tmp_path: Path) -> None:
    assert apply(
        query(), 5, part="image", image="fog", image_options=("constants=mini64",)
    ) != apply(query(), 5, part="image", image="fog")
    several = ("constants=mini64", "variant=mm")
    assert apply(query(), 5, part="image", image="fog", image_options=several) != apply(
        query(), 5, part="image", image="fog", image_options=several[:1]
    )
    with pytest.raises(ShiftError, match="photographs"):
        apply(query(), 1, image="frost")
    Image.fromarray(query().image).save(tmp_path / "a.png")
    options = ComposedOptions(image="frost", image_options=(f"photos={tmp_path}",))
    assert len(ComposedShift(options).fingerprint) == 16
    assert ComposedShift().fingerprint == ""
    later = ("generation=1.1.11",)
    texts = [
        [apply(query(), 4, s, part="text", text_options=o).text for s in range(5)]
        for o in ((), later)
    ]
    assert texts[0] != texts[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": "caption"}, "'image', 'text', 'both'"),
        ({"image": "gausian_noise"}, "no built-in image shift 'gausian_noise'.*gaussian_noise"),
        ({"image": "char_swap"}, "no built-in image shift 'char_swap'"),
        ({"text": "fog"}, "no built-in text shift 'fog'"),
        ({"image": "video_fog"}, "no built-in image shift"),
        ({"image_options": ("constants",)}, "name=value"),
        ({"image_options": ("=mini64",)}, "name=value"),
        (
            {"text_options": ("generation=1.1.7", "generation=1.1.11")},
            "'generation' is given twice",
        ),
        ({"image_options": ("size=3",)}, "'gaussian_noise' has no option 'size'; it has constants"),
        ({"image_options": ("constants=mini32",)}, "mini32"),
        ({"text_options": ("generation=2",)}, "generation"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ShiftError, match=message):
        ComposedShift(ComposedOptions(**options))


def test_a_part_that_does_not_shift_needs_nothing() -> None:
    assert apply(query(), 1, part="text", image="frost").text != CAPTION


def test_the_short_name_of_a_shift_is_understood() -> None:
    assert apply(query(), 2, image="gaussian") == apply(query(), 2, image="gaussian_noise")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (query().image, "not on uint8 array"),
        ("text", "not on str"),
        (Composed(query().image[..., 0], "text"), r"uint8 array of shape \(30, 40\)"),
        (Composed(query().image / 255, "text"), "float64"),
        (Composed(query().image, None), "not on NoneType"),  # type: ignore[arg-type]
        (Composed(None, "text"), "not on NoneType"),  # type: ignore[arg-type]
    ],
)
def test_wrong_items_are_refused(item: Any, message: str) -> None:
    with pytest.raises(ShiftError, match=message):
        ComposedShift().apply(item, 1, np.random.default_rng(0))


def test_items_compare_by_content() -> None:
    assert query() == query()
    assert query() != query(text="other")
    assert query() != query(seed=1)
    assert query() != "text"
