"""Composed queries as one float32 row: nothing is lost on the way."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.backbones.packing import LARGEST_TOKEN, map_packed, pack, unpack


@given(
    seed=st.integers(0, 2**31),
    side=st.integers(1, 5),
    tokens=st.lists(st.integers(0, LARGEST_TOKEN), max_size=9),
    batch=st.integers(1, 4),
)
def test_a_batch_comes_back_bit_for_bit(seed, side, tokens, batch) -> None:
    images = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))
    row = torch.tensor(tokens, dtype=torch.int64)
    rows = torch.stack([pack(image, row) for image in images])
    assert rows.dtype == torch.float32
    assert rows.shape == (batch, 3 * side * side + len(tokens))
    back, words = unpack(rows, (3, side, side))
    assert torch.equal(back, images)
    assert words.dtype == torch.int64
    assert torch.equal(words, row.expand(batch, -1))


def test_layout_is_the_image_then_the_tokens() -> None:
    image = torch.arange(12.0).reshape(3, 2, 2)
    assert pack(image, torch.tensor([7, 5])).tolist() == [*range(12), 7, 5]


def test_gradient_reaches_the_images() -> None:
    rows = torch.randn(2, 14, requires_grad=True)
    images, _ = unpack(rows, (3, 2, 2))
    images.sum().backward()
    assert torch.equal(rows.grad, torch.cat([torch.ones(2, 12), torch.zeros(2, 2)], 1))


def test_what_would_be_rounded_is_refused() -> None:
    image = torch.zeros(3, 2, 2)
    for tokens in ([LARGEST_TOKEN + 1], [-1]):
        with pytest.raises(ValueError, match="rounded"):
            pack(image, torch.tensor(tokens))
    with pytest.raises(ValueError, match="float16"):
        pack(image.half(), torch.tensor([1]))
    with pytest.raises(ValueError, match="row of integers"):
        pack(image, torch.tensor([1.0]))
    with pytest.raises(ValueError, match="row of integers"):
        pack(image, torch.tensor([[1]]))


def test_rows_that_are_too_short_are_refused() -> None:
    with pytest.raises(ValueError, match=r"12 \+ tokens"):
        unpack(torch.zeros(2, 11), (3, 2, 2))


def test_parts_are_changed_apart() -> None:
    rows = torch.stack([pack(torch.full((3, 2, 2), 0.5), torch.tensor([7, 5]))] * 2)
    changed = map_packed(
        rows, (3, 2, 2), lambda part: part * 2 if part.is_floating_point() else part.flip(1)
    )
    assert changed[0].tolist() == [1.0] * 12 + [5.0, 7.0]
    assert changed.dtype == rows.dtype
