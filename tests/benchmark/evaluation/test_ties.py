"""Equal items have equal embeddings and equal scores, so that the tie rule alone orders them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.backbones.base import DualEncoder
from benchmark.cell import BackboneSpec, ShiftSpec, Status, StreamSpec
from benchmark.data.retrieval import Relevance, RetrievalSet, Texts
from benchmark.evaluation.loader import QueryInputs
from benchmark.evaluation.runner import run_cell
from benchmark.evaluation.source_model import BLOCK, TEXT_BLOCK, embed_distinct, recall_of_rows
from benchmark.metrics.ranking import copies_of, settled
from benchmark.mini.pictures import backbone as mini
from tests.benchmark import fakes
from tests.benchmark.backbones import fixtures_open_clip

CAPTIONS = ["a red square", "a star on a blue ground", "a circle", "two moons on grey, left of it"]
UNRELATED = ["a ring", "a very small ring far to the left of a large brown heart on black", "a dog"]


def tiny_clip(tmp_path: Path) -> DualEncoder:
    own = fixtures_open_clip
    return own.load_local_dir(own.write_folder(tmp_path / "clip", own.CONFIG))


def tiny_blip(tmp_path: Path) -> DualEncoder:
    pytest.importorskip("transformers", reason="BLIP's classes come with transformers")
    from tests.benchmark.backbones import fixtures_blip

    return fixtures_blip.load(fixtures_blip.write_folder(tmp_path / "blip"))


ENCODERS = {
    "mini": lambda tmp_path: mini.load(BackboneSpec("mini")),
    "open_clip": tiny_clip,
    "blip": tiny_blip,
}


def retrieval_set(texts: list[str], pictures: np.ndarray, answers: list[list[int]]) -> RetrievalSet:
    """Picture queries and a gallery of captions."""
    ids = [str(i) for i in range(len(pictures))]
    return RetrievalSet(
        name="ties",
        query_modality="image",
        gallery_modality="text",
        queries=fakes.Pictures(ids, pictures),
        gallery=Texts([f"t{i}" for i in range(len(texts))], texts),
        relevance=Relevance.from_lists(answers),
        groups=np.arange(len(pictures)),
        fingerprint=f"ties {texts!r}",
    )


def embedded(backbone: DualEncoder, texts: list[str]) -> Tensor:
    data = retrieval_set(texts, fakes.pictures(1), [[0]])
    inputs = QueryInputs(data, backbone, gallery=True)
    return embed_distinct(lambda b: backbone.encode("text", b), inputs, np.arange(len(texts)))


def rows_are_alike(backbone: DualEncoder, texts: list[str]) -> bool:
    """Whether this machine's kernels compute a row alike wherever in its block it lies."""
    tokens = map(backbone.preprocess("text"), dict.fromkeys(texts))
    alone = [backbone.collate("text", [t]) for t in tokens]
    for one in alone:
        same = [other for other in alone if other.shape == one.shape]
        block = torch.cat((same * TEXT_BLOCK)[:TEXT_BLOCK])
        rows = backbone.encode("text", block)
        for shift in range(1, TEXT_BLOCK):
            if not torch.equal(backbone.encode("text", block.roll(shift, 0)), rows.roll(shift, 0)):
                return False
    return True


@pytest.mark.parametrize("encoder", ENCODERS)
def test_equal_items_have_equal_rows_whatever_stands_beside_them(
    encoder: str, tmp_path: Path
) -> None:
    backbone = ENCODERS[encoder](tmp_path)
    texts = CAPTIONS * 5 + UNRELATED[:1]
    rows = embedded(backbone, texts)
    assert all(torch.equal(rows[i], rows[i % 4]) for i in range(20))
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(1)).tolist()
    mixed = embedded(backbone, [texts[i] for i in order])
    among = embedded(backbone, UNRELATED + texts + 9 * UNRELATED)[len(UNRELATED) :][: len(texts)]
    torch.testing.assert_close(mixed, rows[order], atol=1e-6, rtol=0)
    torch.testing.assert_close(among, rows, atol=1e-6, rtol=0)
    if rows_are_alike(backbone, texts):  # kernels of some processors differ at a block's edges
        assert torch.equal(mixed, rows[order])
        assert torch.equal(among, rows)


def run(
    texts: list[str], batch_size: int, backbone: DualEncoder
) -> tuple[np.ndarray, dict[str, Any]]:
    """Each of 26 pictures is answered by its own five captions."""
    colours = np.random.default_rng(3).integers(0, 256, (26, 1, 1, 3), dtype=np.uint8)
    pictures = np.tile(colours, (1, 64, 64, 1))
    pictures[:, 20:40, 20:40] //= 3
    data = retrieval_set(texts, pictures, [list(range(5 * i, 5 * i + 5)) for i in range(26)])
    resources = fakes.resources(load_data=lambda cell: data, load_backbone=lambda spec: backbone)
    cell = fakes.cell(stream=StreamSpec(batch_size=batch_size))
    record, arrays = run_cell(dataclasses.replace(cell, shift=ShiftSpec("none", 0)), resources)
    assert record.status == Status.DONE, record.reason
    return arrays["best_rank"], dict(record.metrics)


@pytest.mark.parametrize("batch_size", [26, 8, 1])
def test_copies_are_ranked_by_their_place_whatever_another_caption_says(batch_size: int) -> None:
    backbone = mini.load(BackboneSpec("mini"))
    shared = ["a red square on a blue ground", "a small black square", "two squares", "a ring"]
    long = "a square which is large and red and lies far to the left on a very wide ground of white"
    found = {}
    for last in ("a square", long):
        texts = [text for i in range(26) for text in (*shared, last if i == 24 else "a square")]
        found[last], metrics = run(texts, batch_size, backbone)
        if last != long:
            assert metrics["R@5"] == pytest.approx(100 * 5 / 26)
            assert metrics["R@10"] == pytest.approx(100 * 10 / 26)
    # A shared caption comes first, its copies in the gallery's order.
    assert found["a square"].tolist() == list(range(1, 27))
    # The long one, nobody's answer but picture 24's, stands before all of them or behind.
    assert set(found[long][:24] - found["a square"][:24]) <= {0, 1}


def test_an_item_is_encoded_once_and_only_once() -> None:
    backbone = fakes.FakeBackbone()
    sizes: list[int] = []
    data = fakes.world(count=30)
    twice = dataclasses.replace(
        data, queries=fakes.Pictures(data.queries.ids, np.tile(fakes.pictures(6), (5, 1, 1, 1)))
    )

    def embed(batch: Tensor) -> Tensor:
        sizes.append(len(batch))
        return backbone.encode("image", batch)

    rows = embed_distinct(embed, QueryInputs(twice, backbone), np.arange(30))
    assert sizes == [BLOCK]
    assert torch.equal(rows, rows[:6].repeat(5, 1))
    sizes.clear()
    assert len(embed_distinct(embed, QueryInputs(data, backbone), np.arange(30))) == 30
    assert sizes == [BLOCK] * 2
    gallery = rows[:10]
    relevance = Relevance.from_lists([[i % 6] for i in range(30)])
    asked, every = dataclasses.replace(twice, relevance=relevance), np.arange(30)
    rows = embed_distinct(embed, QueryInputs(twice, backbone), every)
    # The gallery's last four are the first four again: a tie goes to the first.
    assert recall_of_rows(rows, every, asked, gallery) == 100.0


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_equal_rows_of_a_gallery_have_equal_scores(batch: int) -> None:
    generator = torch.Generator().manual_seed(0)
    gallery = torch.nn.functional.normalize(torch.randn(5, 48, generator=generator), dim=1)
    gallery = gallery.repeat(31, 1)[:151]
    copies = copies_of(gallery)
    assert copies is not None
    assert copies.later.tolist() == list(range(5, 151))
    assert copies.first.tolist() == [i % 5 for i in range(5, 151)]
    queries = torch.randn(batch, 48, generator=generator)
    scores = queries @ gallery.T
    before = scores.clone()
    even = settled(scores, copies)
    assert torch.equal(scores, before)
    assert torch.equal(even, even[:, torch.arange(151) % 5])
    torch.testing.assert_close(even, before, atol=1e-5, rtol=1e-5)


def test_only_rounding_is_settled() -> None:
    gallery = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    copies = copies_of(gallery)
    assert copies is not None
    scores = torch.tensor([[0.5, 0.9, 0.5000001, 0.4]])  # the last is a method's will
    assert settled(scores, copies).tolist() == torch.tensor([[0.5, 0.9, 0.5, 0.4]]).tolist()
    assert copies_of(gallery[:2]) is None
    assert settled(scores, None) is scores
    masked = torch.tensor([[0.5, torch.inf, -torch.inf, 0.4]])
    assert torch.equal(settled(masked, copies), masked)
    nan = settled(torch.tensor([[torch.nan, 0.9, 0.5, 0.4]]), copies)
    assert torch.isnan(nan[0, 0])
