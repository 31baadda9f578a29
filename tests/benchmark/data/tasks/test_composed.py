from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.data.datasets.composed import load_cirr, load_fashion_iq
from benchmark.data.retrieval import RetrievalSet
from benchmark.data.tasks import ComposedItems, build_composed
from benchmark.metrics import ranking
from shifts.base import Composed
from shifts.composed import ComposedOptions, ComposedShift
from tests.benchmark.fixtures_composed import make_cirr, make_fashion_iq


@pytest.fixture(scope="module")
def cirr(tmp_path_factory: pytest.TempPathFactory) -> RetrievalSet:
    folder = make_cirr(tmp_path_factory.mktemp("data"))
    return build_composed(load_cirr(folder.parent), name="cirr-c")


@pytest.fixture(scope="module")
def fiq(tmp_path_factory: pytest.TempPathFactory) -> RetrievalSet:
    folder = make_fashion_iq(tmp_path_factory.mktemp("data"))
    return build_composed(load_fashion_iq(folder.parent), name="fiq-c")


def test_a_query_is_the_raw_reference_and_the_text(cirr: RetrievalSet) -> None:
    assert (cirr.query_modality, cirr.gallery_modality) == ("composed", "image")
    item = cirr.queries[2]
    assert isinstance(item, Composed)
    assert item.text == "show the other one, number 12."
    assert np.array_equal(item.image, cirr.gallery[3])
    assert list(cirr.queries.ids) == ["7", "3", "12", "5"]
    assert cirr.clean_text is None


def test_what_happens_to_a_query_never_reaches_the_gallery(tmp_path: Path) -> None:
    make_cirr(tmp_path)
    loaded = load_cirr(tmp_path)

    class Held:
        """A gallery that hands out its own arrays, as an in-memory one does."""

        ids = loaded.images.ids
        arrays = [loaded.images[i] for i in range(14)]  # noqa: RUF012

        def __len__(self) -> int:
            return 14

        def __getitem__(self, index: int, /) -> np.ndarray:
            return self.arrays[index]

    data = build_composed(dataclasses.replace(loaded, images=Held()), name="cirr-c")
    before = data.gallery[0].copy()
    data.queries[0].image[:] = 0
    assert np.array_equal(data.gallery[0], before)
    assert np.array_equal(data.queries[0].image, before)


def test_cirr_leaves_the_reference_out_of_its_own_ranking_only(cirr: RetrievalSet) -> None:
    assert cirr.excluded is not None
    assert [cirr.excluded[q].tolist() for q in range(4)] == [[0], [1], [3], [6]]
    # Picture 0 is the first query's reference and the third one's answer; 1 the other way round.
    assert [cirr.relevance[q].tolist() for q in range(4)] == [[1], [2], [0], [7]]
    assert len(cirr.gallery) == 14
    assert cirr.sections is None


def test_cirr_ranks_the_subset_of_five(cirr: RetrievalSet) -> None:
    assert cirr.subset is not None
    assert [len(cirr.subset[q]) for q in range(4)] == [5] * 4
    for query in range(4):
        members = set(cirr.subset[query].tolist())
        assert set(cirr.relevance[query].tolist()) <= members
        assert not members & set(cirr.excluded[query].tolist() if cirr.excluded else [])
    assert cirr.recall_at == (1, 5, 10, 50)


def test_fashion_iq_keeps_the_reference_and_the_sections(tmp_path: Path) -> None:
    make_fashion_iq(tmp_path)
    loaded = load_fashion_iq(tmp_path)
    data = build_composed(loaded, name="fiq-c")
    assert data.excluded is None
    assert data.subset is None
    assert data.sections is loaded.sections
    assert data.recall_at == (1, 10, 50)
    assert data.group_keys["category"].tolist() == [0] * 3 + [1] * 3 + [2] * 4
    assert np.array_equal(data.queries[3].image, data.gallery[loaded.references[3]])


def test_bootstrap_groups_are_the_reference_pictures(fiq: RetrievalSet) -> None:
    assert len(fiq.groups) == 10
    # Queries 0 and 2 of each category share their reference.
    assert fiq.groups[0] == fiq.groups[2] != fiq.groups[1]
    assert len(set(fiq.groups.tolist())) == 7
    assert np.array_equal(fiq.groups, fiq.group_keys["image"])


def test_the_set_has_a_fingerprint_of_its_own(tmp_path: Path) -> None:
    make_fashion_iq(tmp_path)
    loaded = load_fashion_iq(tmp_path)
    assert build_composed(loaded, name="x").fingerprint != loaded.fingerprint


# Ranking


def near_the_reference(data: RetrievalSet, query: int) -> torch.Tensor:
    """Scores of a model that looks at the picture only: the reference first, the answer second."""
    own = ranking.gallery_of(data, int(data.sections.of_query[query]) if data.sections else 0)
    scores = torch.zeros(1, own.stop - own.start)
    assert isinstance(data.queries, ComposedItems)
    scores[0, int(data.queries.references[query]) - own.start] = 1.0
    scores[0, int(data.relevance[query][0]) - own.start] = 0.9
    return scores


def test_in_cirr_the_reference_is_no_rival_but_answers_the_other_query(cirr: RetrievalSet) -> None:
    found = [ranking.rank(near_the_reference(cirr, q), cirr, np.array([q])) for q in range(4)]
    assert [ranks[0].tolist() for ranks in found] == [[1], [1], [1], [1]]
    # Picture 3, the third query's reference, is a rival of the first query.
    scores = near_the_reference(cirr, 0)
    scores[0, 3] = 2.0
    assert ranking.rank(scores, cirr, np.array([0]))[0].tolist() == [2]
    assert ranking.subset_ranks(scores, cirr, np.array([0])).tolist() == [2]
    # Picture 13 is in no subset: a rival in the whole gallery alone.
    scores[0, 13] = 3.0
    assert ranking.rank(scores, cirr, np.array([0]))[0].tolist() == [3]
    assert ranking.subset_ranks(scores, cirr, np.array([0])).tolist() == [2]


def test_in_fashion_iq_the_reference_is_a_rival(fiq: RetrievalSet) -> None:
    assert fiq.sections is not None
    for query in range(10):
        section = int(fiq.sections.of_query[query])
        scores = near_the_reference(fiq, query)
        assert scores.shape[1] == (7, 6, 7)[section]
        assert ranking.rank(scores, fiq, np.array([query]), section)[0].tolist() == [2]


@pytest.mark.parametrize("part", ["image", "text", "both"])
def test_the_shift_of_composed_queries_takes_its_items(cirr: RetrievalSet, part: str) -> None:
    item = cirr.queries[0]
    options = ComposedOptions(part=part, image="contrast", image_options=("constants=mini64",))
    shifted = ComposedShift(options).apply(item, 5, np.random.default_rng(0))
    assert np.array_equal(shifted.image, item.image) == (part == "text")
    assert (shifted.text == item.text) == (part == "image")
    assert np.array_equal(cirr.gallery[0], item.image)
