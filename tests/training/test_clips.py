"""The recipe of the clip encoder: it learns, it resumes without a trace, what it exports loads."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.errors import DataError
from benchmark.mini.clips.backbone import load_weights
from benchmark.mini.clips.events import RHYTHMS, SHAPES, SIZES, TEXTURES, Clip, Event
from tests.training.trainers import check_resumed, rates_of, updates_of
from training.clips import LABELS, Trainer, TrainingData, draw_chunk, export, looks, owners, present
from training.recipes import ClipRecipe
from training.run import drawn

RECIPE = ClipRecipe(clips=32, batch=8, steps=10, warmup=2)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return TrainingData(**draw_chunk(0, RECIPE.clips, RECIPE.seed))


def test_training_data_hold_both_styles(data: TrainingData) -> None:
    assert data.frames.shape == (32, 8, 32, 32, 3)
    assert data.samples.shape == (32, 12800)
    assert data.present.shape == (32, LABELS)
    events = data.present.sum(1) / 3  # each event has a rhythm, a size and a texture
    assert set(events[1::2]) == {1.0}  # one event a clip in the second style
    assert 2.0 in events[::2]


def test_labels_name_rhythm_size_and_texture_of_each_shape() -> None:
    event = Event("star", "large", "checkered", 4, 3, "red", "grow", 16.0, 16.0)
    marks = present(Clip("as", "wood", (event,)))
    rhythms, sizes, textures = len(RHYTHMS), len(SIZES), len(TEXTURES)
    star, shapes = SHAPES.index("star"), len(SHAPES)
    assert marks.nonzero()[0].tolist() == [
        star * rhythms + RHYTHMS.index((4, 3)),
        shapes * rhythms + star * sizes + 2,
        shapes * (rhythms + sizes) + star * textures + 2,
    ]


def test_places_belong_to_the_event_that_is_drawn_there() -> None:
    left = Event("star", "large", "checkered", 4, 3, "red", "grow", 8.0, 8.0)
    right = Event("ring", "small", "plain", 2, 1, "blue", "jump", 26.0, 22.0)
    clip = Clip("as", "wood", (left, right))
    assert looks(clip).tolist() == [[3, 2, 2, RHYTHMS.index((4, 3))], [6, 0, 0, 1]]
    grid = owners(clip).reshape(8, 8)
    assert grid[1:3, 1:3].tolist() == [[0, 0], [0, 0]]
    assert grid[5, 6] == 1
    assert grid[7, 0] == -1
    assert (grid == 0).sum() > (grid == 1).sum() > 0
    assert looks(Clip("as", "wood", (left,)))[1].tolist() == [-1] * 4


def test_a_resumed_run_is_the_same_run(data: TrainingData, tmp_path: Path) -> None:
    check_resumed(lambda: Trainer(RECIPE, data), tmp_path / "run.pt", "model", "average", "heads")


def test_losses_fall_and_the_global_generator_is_left_alone(data: TrainingData) -> None:
    losses = updates_of(lambda: Trainer(RECIPE, data), RECIPE.steps)
    for name in ("video", "audio", "places"):
        assert losses[-1][name] < losses[0][name]


def test_the_rate_warms_up_and_ends_at_zero(data: TrainingData) -> None:
    rates = rates_of(Trainer(RECIPE, data), RECIPE.steps + 1)
    assert rates[:3] == pytest.approx([RECIPE.lr / 2, RECIPE.lr, RECIPE.lr])
    assert rates[6] == pytest.approx(RECIPE.lr / 2)  # half-way down the cosine
    assert rates[-1] == pytest.approx(0.0)


def test_what_is_exported_loads(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, data)
    export(trainer.model, tmp_path)
    backbone = load_weights(tmp_path / "clips.safetensors")
    inputs = torch.stack([backbone.preprocess("video")(frames) for frames in data.frames[:3]])
    with torch.no_grad():
        rows = trainer.model.video(inputs)
    # fp16 keeps three digits.
    torch.testing.assert_close(backbone.encode("video", inputs), rows, atol=5e-3, rtol=0)


def test_items_of_other_facts_are_not_taken_for_these(tmp_path: Path) -> None:
    drawn(tmp_path, draw_chunk, {"seed": 1}, count=0, chunk=9, workers=1)
    with pytest.raises(DataError, match="empty it or use another"):
        drawn(tmp_path, draw_chunk, {"seed": 2}, count=0, chunk=9, workers=1)


def test_chunks_are_drawn_once_and_cut_to_the_count(tmp_path: Path) -> None:
    draw = partial(draw_chunk, seed=0)
    first = drawn(tmp_path, draw, {}, count=3, chunk=2, workers=1)
    times = [file.stat().st_mtime_ns for file in sorted(tmp_path.glob("chunk-*"))]
    again = drawn(tmp_path, draw, {}, count=3, chunk=2, workers=1)
    assert times == [file.stat().st_mtime_ns for file in sorted(tmp_path.glob("chunk-*"))]
    assert first.keys() == again.keys() == {f.name for f in fields(TrainingData)}
    for name, array in first.items():
        expected = np.concatenate([draw(0, 2)[name], draw(2, 2)[name][:1]])
        np.testing.assert_array_equal(array, expected)
        np.testing.assert_array_equal(array, again[name])
