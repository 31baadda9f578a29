"""The recipe of the mini weights: it learns, it resumes without a trace, what it exports loads."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmark.mini.pictures.backbone import weights_folder
from benchmark.mini.pictures.data import WORLD
from benchmark.mini.worlds import people
from tests.benchmark.backbones.fixtures_open_clip import load_local_dir
from tests.training.trainers import check_resumed, rates_of, updates_of
from training.edits import edit_person, edit_scene
from training.pictures import (
    SOURCES,
    WEIGHTS_FILE,
    Trainer,
    TrainingData,
    contrastive,
    draw_chunk,
    export,
)
from training.recipes import PICTURES, PictureRecipe

RECIPE = PictureRecipe(triples=24, batch=8, steps=12, warmup=2, horizon=24, cooldown=4)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return TrainingData(**draw_chunk(0, RECIPE.triples, RECIPE.seed))


def test_training_data_say_what_is_in_the_pictures(data: TrainingData) -> None:
    assert data.images.shape == (24, 3, 64, 64, 3)
    assert data.tokens.shape[:3] == (24, 2, 5)
    present = (data.things[:, 0, :, 0] >= 0).sum(1)
    assert ((present >= 1) & (present <= 3)).all()
    # A patch is owned by a thing that exists, and every picture shows something.
    assert (data.owners[:, 0].max(1) < present).all()
    assert (data.owners[:, 0].max(1) >= 0).all()
    # The edit differs in exactly one look.
    looks = (data.things[:, 0] != data.things[:, 1]).sum((1, 2))
    backgrounds = data.backgrounds[:, 0] != data.backgrounds[:, 1]
    assert (looks + backgrounds == 1).all()


def test_a_resumed_run_is_the_same_run(data: TrainingData, tmp_path: Path) -> None:
    check_resumed(lambda: Trainer(RECIPE, data), tmp_path / "run.pt", "model", "average", "heads")


@pytest.mark.parametrize("world", ["flickr", "people-cuhk", "people-icfg"])
def test_every_source_gives_triples_whose_third_picture_differs(world: str) -> None:
    first, again = (draw_chunk(0, 3, 5, world) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert first["images"].shape == (3, 3, 64, 64, 3)
    assert first["tokens"].shape[:3] == (3, 2, 5)
    assert not np.array_equal(first["images"][:, 0], first["images"][:, 1])
    assert not np.array_equal(first["tokens"][:, 0], first["tokens"][:, 1])
    labelled = world == "flickr"
    assert bool((first["owners"] >= 0).any()) == bool((first["things"] >= 0).any()) == labelled


def test_a_run_may_start_from_a_shipped_encoder_or_from_its_language_alone(
    data: TrainingData,
) -> None:
    base = load_file(weights_folder("base") / WEIGHTS_FILE)
    for fresh in (False, True):
        recipe = replace(RECIPE, start="base", fresh_pictures=fresh)
        state = Trainer(recipe, data).model.state_dict()
        scratch = Trainer(RECIPE, data).model.state_dict()
        for name, value in state.items():
            from_scratch = fresh and name.startswith("visual.")
            assert torch.equal(value, scratch[name] if from_scratch else base[name].float()), name


def test_every_recipe_has_a_source_and_a_rate_that_ends_near_zero(data: TrainingData) -> None:
    for recipe in PICTURES.values():
        assert recipe.world in SOURCES
        trainer = Trainer(recipe, data)
        trainer.step = recipe.steps - 1
        assert 0 < trainer.rate() < recipe.lr / recipe.cooldown
        assert recipe.warmup < recipe.steps - recipe.cooldown <= recipe.horizon


def test_losses_fall_and_the_global_generator_is_left_alone(data: TrainingData) -> None:
    losses = updates_of(lambda: Trainer(RECIPE, data), RECIPE.steps)
    for name in ("dense", "pooled"):
        assert losses[-1][name] < losses[0][name]


def test_the_rate_warms_up_and_ends_near_zero(data: TrainingData) -> None:
    rates = rates_of(Trainer(RECIPE, data), RECIPE.steps)
    assert rates[0] == pytest.approx(RECIPE.lr / 2)
    assert max(rates) == pytest.approx(RECIPE.lr)
    # The cool-down runs from the cosine's value at its start to zero in equal steps.
    top = RECIPE.lr * 0.5 * (1 + math.cos(math.pi * 6 / 22))
    assert rates[-4:] == pytest.approx([top, top * 3 / 4, top / 2, top / 4])


def test_what_is_exported_loads_as_a_users_own_folder(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, data)
    export(trainer.model, tmp_path)
    backbone = load_local_dir(tmp_path)
    inputs = torch.stack([backbone.preprocess("image")(image) for image in data.images[:3, 0]])
    with torch.no_grad():
        expected = trainer.model.eval().encode_image(inputs, normalize=True)
    torch.testing.assert_close(backbone.encode("image", inputs), expected, atol=5e-3, rtol=0)
    tokens = torch.from_numpy(data.tokens[0, 0].astype("int64"))
    with torch.no_grad():
        expected = trainer.model.encode_text(tokens, normalize=True)
    torch.testing.assert_close(backbone.encode("text", tokens), expected, atol=5e-3, rtol=0)


def test_contrastive_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    positives = torch.eye(2)
    assert float(contrastive(logits, positives)) == pytest.approx(math.log(2))
    # Two positives in a row share the row's weight; a column without one is only a negative.
    logits = torch.tensor([[1.0, 3.0, 0.0]])
    positives = torch.tensor([[1.0, 1.0, 0.0]])
    row = -(logits.log_softmax(1)[0, 0] + logits.log_softmax(1)[0, 1]) / 2
    assert float(contrastive(logits, positives)) == pytest.approx(float(row) / 2)


def test_edit_changes_one_look_and_keeps_the_split() -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    for scene in WORLD.scenes("train", 60, 3):
        twin = edit_scene(scene, rng)
        assert twin.split() == "train"
        changed = (scene.background != twin.background) + sum(
            (a.shape != b.shape) + (a.colour != b.colour) + (a.texture != b.texture)
            for a, b in zip(scene.things, twin.things, strict=True)
        )
        assert changed == 1


def test_an_edited_person_differs_in_one_piece_and_stays_in_the_split() -> None:
    rng = np.random.Generator(np.random.PCG64(6))
    for person in people.CUHK.scenes("train", 40, 1):
        twin = edit_person(person, rng)
        names = type(person).__dataclass_fields__
        assert sum(getattr(person, n) != getattr(twin, n) for n in names) == 1
        assert twin.split() == "train"
