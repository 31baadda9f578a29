"""Whole cells on the user's files of composed and video-audio sets, with real shifts."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmark.cell import BackboneSpec, Cell, Record, ShiftSpec, Status
from benchmark.data.card import BenchmarkCard
from benchmark.data.retrieval import RetrievalSet
from benchmark.data.tasks import load_retrieval_set
from benchmark.evaluation.builders import default_resources
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import Arrays, run_cell
from shifts.base import Audio, Composed
from tests.benchmark import fakes
from tests.benchmark.fixtures_clips import make_clips
from tests.benchmark.fixtures_composed import cirr_name, make_cirr, make_fashion_iq

PLACES: dict[str, tuple[str, str, str, dict[str, int]]] = {
    "cirr": (
        "composed",
        "benchmark.data.datasets.composed:load_cirr",
        "val",
        {"queries": 4, "images": 59},
    ),
    "fiq": (
        "composed",
        "benchmark.data.datasets.composed:load_fashion_iq",
        "val",
        {"queries": 10, "images": 155},
    ),
    "as": (
        "video_audio",
        "benchmark.data.datasets.audio_visual:load_audioset",
        "eval",
        {"clips": 12},
    ),
}
"""Benchmark -> task, loader, split and counts of what ``make`` writes."""


def make(root: Path, name: str) -> Path:
    """Galleries large enough for the recalls that are reported."""
    if name == "as":
        return make_clips(root, clips=12)
    return (make_cirr if name == "cirr" else make_fashion_iq)(root, fillers=45)


def card(name: str, query: str) -> BenchmarkCard:
    task, dataset, split, counts = PLACES[name]
    return BenchmarkCard(
        id=f"{name}-c",
        suite="test",
        task=task,
        dataset=dataset,
        query=query,
        split=split,
        counts=counts,
        setting="QS",
        shifts=("none",),
        severity=0,
        summary="",
        paper="",
        named_by="our reading",
        licence="",
        preset="published",
        backbone=BackboneSpec("fake"),
    )


class Senses(fakes.FakeBackbone):
    """Sees small pictures, a video's mean frame and a sound's spectrum; reads a little."""

    def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
        return {
            "image": self._see,
            "video": lambda frames: self._see(frames.mean(axis=0).astype(np.uint8)),
            "audio": self._hear,
            "composed": self._both,
        }[modality]

    def _see(self, item: np.ndarray) -> Tensor:
        small = Image.fromarray(item).resize((fakes.SIZE, fakes.SIZE))
        return torch.from_numpy(np.array(small)).flatten().float() / 255.0

    def _hear(self, item: Audio) -> Tensor:
        spectrum = np.abs(np.fft.rfft(item.samples, n=2 * fakes.SIZE**2 * 3))
        return torch.from_numpy(spectrum[: fakes.SIZE**2 * 3]).float()

    def _both(self, item: Composed) -> Tensor:
        words = np.random.default_rng(zlib.crc32(item.text.encode()))
        return self._see(item.image) + torch.from_numpy(words.normal(0, 0.05, 48)).float()


def run(
    root: Path, name: str, query: str, shift: ShiftSpec, method: str = "trained"
) -> tuple[Record, Arrays, RetrievalSet]:
    data = load_retrieval_set(card(name, query), root)

    def load_data(cell: Cell) -> RetrievalSet:
        return data

    resources = Resources(
        load_data=load_data,
        load_backbone=lambda spec: Senses(),
        make_method=fakes.make_method,
        make_shift=default_resources().make_shift,
    )
    record, arrays = run_cell(fakes.cell(method, benchmark=data.name, shift=shift), resources)
    assert record.status == Status.DONE, record.reason
    return record, arrays, data


CLEAN = ShiftSpec("none", 0)
COMPOSED = ShiftSpec("composed", 5, {"image": "pixelate", "text": "char_swap"})


@pytest.mark.parametrize("shift", [CLEAN, COMPOSED])
def test_cirr_has_its_own_cut_offs_and_the_subset(tmp_path: Path, shift: ShiftSpec) -> None:
    make(tmp_path, "cirr")
    record, arrays, _ = run(tmp_path, "cirr", "composed", shift)
    assert {"R@1", "R@5", "R@10", "R@50"} <= record.metrics.keys()
    assert record.metrics["R_subset@1"] <= record.metrics["R_subset@3"]
    assert arrays["best_rank"].max() <= 58  # the reference is left out
    assert record.info["task"] == "composed-to-image"
    assert record.info["data"]["missing_images"] == 0


def test_a_model_that_sees_the_reference_alone_does_not_find_it_in_cirr(tmp_path: Path) -> None:
    folder = make(tmp_path, "cirr")
    # The first query's answer looks all but like its reference, picture 0.
    names = [folder / "img_raw" / "dev" / f"{cirr_name(i)}.png" for i in (0, 1)]
    names[1].write_bytes(names[0].read_bytes())
    _, arrays, _ = run(tmp_path, "cirr", "composed", CLEAN, method="source")
    # Were the reference in the ranking, the tie would go to it: it comes first in the gallery.
    assert arrays["best_rank"][0] == 1


@pytest.mark.parametrize("shift", [CLEAN, COMPOSED])
def test_fashion_iq_has_the_means_of_its_categories(tmp_path: Path, shift: ShiftSpec) -> None:
    make(tmp_path, "fiq")
    record, arrays, data = run(tmp_path, "fiq", "composed", shift)
    assert data.sections is not None
    for k in (1, 10, 50):
        parts = [record.metrics[f"R@{k}_{name}"] for name in ("dress", "shirt", "toptee")]
        assert record.metrics[f"section_R@{k}"] == pytest.approx(sum(parts) / 3)
    assert (arrays["best_rank"] <= np.array([52, 51, 52])[data.sections.of_query]).all()


@pytest.mark.parametrize(
    ("query", "shift"),
    [
        ("video", CLEAN),
        ("video", ShiftSpec("video_gaussian_noise", 5, {"constants": "mini64"})),
        ("video", ShiftSpec("frame_freeze", 1)),
        ("audio", CLEAN),
        ("audio", ShiftSpec("audio_gaussian_noise", 5)),
    ],
)
def test_clips_are_queries_on_either_side(tmp_path: Path, query: str, shift: ShiftSpec) -> None:
    make(tmp_path, "as")
    record, arrays, data = run(tmp_path, "as", query, shift)
    assert sorted(arrays["query"].tolist()) == list(range(12))
    assert record.info["data"]["id_hash"] == data.info["id_hash"]
    assert arrays["best_rank"].max() <= 12
    assert record.info["task"] in ("video-to-audio", "audio-to-video")
