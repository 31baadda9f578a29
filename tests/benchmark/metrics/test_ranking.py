"""Ranks within a section's gallery, without excluded items, and among a subset, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.data.retrieval import Relevance, RetrievalSet, Sections, Texts
from benchmark.errors import DataError
from benchmark.metrics import ranking


def data(**changes: object) -> RetrievalSet:
    """Three queries on six items; query 0 answers to items 0 and 3, 1 to 1, 2 to 5."""
    made = RetrievalSet(
        name="six",
        query_modality="composed",
        gallery_modality="image",
        queries=Texts(["a", "b", "c"], ["", "", ""]),
        gallery=Texts([str(i) for i in range(6)], [""] * 6),
        relevance=Relevance.from_lists([[0, 3], [1], [5]]),
        groups=np.arange(3),
        fingerprint="six",
    )
    return replace(made, **changes)


SCORES = torch.tensor(
    [
        [0.1, 0.9, 0.8, 0.7, 0.0, 0.2],
        [0.9, 0.5, 0.5, 0.1, 0.2, 0.3],
        [0.6, 0.5, 0.4, 0.3, 0.2, 0.1],
    ]
)
ALL = np.arange(3)


def as_lists(found: list[np.ndarray]) -> list[list[int]]:
    return [one.tolist() for one in found]


def test_without_exclusion_ranks_are_those_of_the_scores() -> None:
    assert as_lists(ranking.rank(SCORES, data(), ALL)) == [[5, 3], [2], [6]]


def test_an_excluded_item_is_left_out_of_its_own_querys_ranking_only() -> None:
    excluded = Relevance.from_lists([[1], [], [0, 1]])
    before = SCORES.clone()
    found = ranking.rank(SCORES, data(excluded=excluded), ALL)
    assert as_lists(found) == [[4, 2], [2], [4]]
    assert torch.equal(SCORES, before)


def test_subset_ranks_are_among_the_candidates_alone() -> None:
    subset = Relevance.from_lists([[2, 3, 4], [0, 1], [4, 5]])
    assert ranking.subset_ranks(SCORES, data(subset=subset), ALL).tolist() == [2, 2, 2]
    with pytest.raises(ValueError, match="no subsets"):
        ranking.subset_ranks(SCORES, data(), ALL)


def test_a_section_is_ranked_in_its_own_gallery() -> None:
    sections = Sections(("low", "high"), np.array([0, 0, 1]), np.array([0, 4, 6]))
    split = data(sections=sections)
    assert ranking.gallery_of(split, 1) == slice(4, 6)
    assert as_lists(ranking.rank(SCORES[:2, :4], split, np.array([0, 1]), 0)) == [[4, 3], [2]]
    assert as_lists(ranking.rank(SCORES[2:, 4:], split, np.array([2]), 1)) == [[2]]


@pytest.mark.parametrize(
    ("of_query", "bounds"),
    [([0, 0, 2], [0, 4, 6]), ([0, 0, 1], [0, 6, 6]), ([0, 0, 1], [1, 4, 6]), ([0, 0, 1], [0, 6])],
)
def test_sections_that_do_not_fit_are_refused(of_query: list[int], bounds: list[int]) -> None:
    with pytest.raises(DataError):
        Sections(("low", "high"), np.array(of_query), np.array(bounds))


def test_relevance_of_groups_is_every_pair_of_a_group() -> None:
    queries, gallery = np.array([5, 2, 5, 9]), np.array([9, 5, 2, 5, 7])
    found = Relevance.from_groups(queries, gallery)
    assert [found[q].tolist() for q in range(4)] == [[1, 3], [2], [1, 3], [0]]
    back = found.transpose(5)
    assert [back[g].tolist() for g in range(5)] == [[3], [0, 2], [1], [0, 2], []]


def test_transposing_twice_gives_it_back() -> None:
    one = Relevance.from_lists([[0, 3], [1], [5, 2, 4]])
    again = one.transpose(6).transpose(3)
    assert again.offsets.tolist() == one.offsets.tolist()
    assert again.indices.tolist() == one.indices.tolist()


@pytest.mark.parametrize(("kind", "by"), [(torch.float32, 2.0**-17), (torch.bfloat16, 2.0**-7)])
def test_equal_items_share_a_score_where_rounding_alone_parts_them(
    kind: torch.dtype, by: float
) -> None:
    gallery = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    copies = ranking.copies_of(gallery)
    assert copies is not None
    assert (copies.later.tolist(), copies.first.tolist()) == ([2], [0])
    assert ranking.copies_of(gallery[:2]) is None
    scores = torch.tensor([[1.0, 0.5, 1.0 - by], [1.0, 0.5, 0.75]], dtype=kind)
    found = ranking.settled(scores, copies)
    assert found.tolist() == [[1.0, 0.5, 1.0], [1.0, 0.5, 0.75]]  # more is the method's will
    assert scores[0, 2] == 1.0 - by
