"""Angle, ProGrad's projection and PCGrad."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.gradients import angle, cosine, orthogonal, pcgrad, prograd

S, G = [torch.tensor([1.0, -2.0])], [torch.tensor([1.0, 1.0])]
ZERO = [torch.zeros(2)]


def only(result: list[Tensor | None]) -> list[float]:
    assert len(result) == 1
    assert result[0] is not None
    values: list[float] = result[0].tolist()
    return values


def test_angle_of_the_probe() -> None:
    assert float(angle(S, G)) == pytest.approx(108.434949, abs=1e-5)


@pytest.mark.parametrize("granularity", ["global", "per_tensor"])
def test_prograd_of_the_probe(granularity: str) -> None:
    assert only(prograd(S, G, granularity=granularity)) == pytest.approx([1.5, -1.5], abs=1e-6)


def test_prograd_strength() -> None:
    assert only(prograd(S, G, strength=0.5)) == pytest.approx([1.25, -1.75], abs=1e-6)
    assert only(prograd(S, G, strength=0.0)) == [1.0, -2.0]


def test_orthogonal_projects_without_conflict_too() -> None:
    assert only(orthogonal(S, G)) == pytest.approx([1.5, -1.5], abs=1e-6)
    assert only(orthogonal([torch.tensor([1.0, 2.0])], G)) == pytest.approx([-0.5, 0.5], abs=1e-6)
    assert only(orthogonal(S, ZERO)) == [1.0, -2.0]


def test_rows_are_projected_each_on_its_own() -> None:
    specific = [torch.tensor([[1.0, -2.0], [1.0, 2.0], [3.0, -4.0]])]
    general = [torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])]
    (found,) = prograd(specific, general, granularity="per_row")
    assert found is not None
    assert torch.allclose(found, torch.tensor([[1.5, -1.5], [1.0, 2.0], [3.0, -4.0]]))
    (both,) = pcgrad(specific, general, granularity="per_row")
    assert both is not None
    assert torch.allclose(both[0], torch.tensor([2.7, -0.9]), atol=1e-6)


def test_pcgrad_of_the_probe() -> None:
    assert only(pcgrad(S, G)) == pytest.approx([2.7, -0.9], abs=1e-6)
    assert only(pcgrad(S, G, reduction="mean")) == pytest.approx([1.35, -0.45], abs=1e-6)


def test_no_conflict_changes_nothing() -> None:
    specific = [torch.tensor([1.0, 2.0])]
    assert only(prograd(specific, G)) == [1.0, 2.0]
    assert only(pcgrad(specific, G)) == [2.0, 3.0]


@pytest.mark.parametrize("general", [ZERO, [torch.tensor([torch.nan, 1.0])], [None]])
def test_no_general_gradient_gives_the_specific_one(general: list[Tensor | None]) -> None:
    assert only(prograd(S, general)) == [1.0, -2.0]
    assert only(pcgrad(S, general)) == [1.0, -2.0]
    assert angle(S, general).isnan()


def test_missing_entries_stay_missing_and_count_as_zero() -> None:
    specific = [None, torch.tensor([1.0, -2.0]), None]
    general = [None, torch.tensor([1.0, 1.0]), torch.tensor([1.0])]
    first, second, third = prograd(specific, general)
    assert first is None
    # s.g = -1, |g|^2 = 3.
    assert second is not None
    assert second.tolist() == pytest.approx([4 / 3, -5 / 3], abs=1e-6)
    assert third is not None
    assert third.tolist() == pytest.approx([1 / 3], abs=1e-6)


def test_granularity() -> None:
    specific = [torch.tensor([[1.0], [0.0]]), torch.tensor([-1.0])]
    general = [torch.tensor([[3.0], [0.0]]), torch.tensor([1.0])]
    # As one vector they agree (3 - 1 > 0); the second tensor alone conflicts.
    together = prograd(specific, general)
    apart = prograd(specific, general, granularity="per_tensor")
    assert [t.tolist() for t in together if t is not None] == [[[1.0], [0.0]], [-1.0]]
    assert [t.tolist() for t in apart if t is not None] == [[[1.0], [0.0]], [0.0]]


def test_tiny_gradients_keep_their_direction() -> None:
    tiny = [torch.tensor([1e-15, 1e-15])]
    assert only(prograd(S, tiny)) == pytest.approx([1.5, -1.5], abs=1e-5)
    assert float(angle(S, tiny)) == pytest.approx(108.434949, abs=1e-4)


def test_a_gradient_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no direction"):
        cosine([None], [None])


vectors = st.lists(
    st.floats(-100, 100, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3), min_size=6, max_size=6
)


@given(vectors, vectors, st.sampled_from(["global", "per_tensor"]))
@settings(max_examples=60, deadline=None)
def test_after_projection_nothing_conflicts(a: list[float], b: list[float], how: str) -> None:
    specific = [torch.tensor(a[:2]), torch.tensor(a[2:])]
    general = [torch.tensor(b[:2]), torch.tensor(b[2:])]
    result = prograd(specific, general, granularity=how)
    after = cosine(result, general)
    before = cosine(specific, general)
    size = sum(float(t.norm()) for t in result if t is not None)
    if size > 1e-3:  # below, only rounding of an exactly opposite pair is left
        assert after.isnan() or float(after) >= -1e-3
    if how == "global" and (before.isnan() or float(before) >= 0):
        assert all(
            torch.equal(r, s) for r, s in zip(result, specific, strict=True) if r is not None
        )


@given(vectors, vectors)
@settings(max_examples=40, deadline=None)
def test_pcgrad_sum_is_symmetric(a: list[float], b: list[float]) -> None:
    first, second = [torch.tensor(a)], [torch.tensor(b)]
    assert only(pcgrad(first, second)) == pytest.approx(only(pcgrad(second, first)), abs=1e-3)
