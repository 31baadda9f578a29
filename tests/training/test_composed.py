"""The combiners' recipe: it learns, resumes without a trace, and exports what loads."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.cell import BackboneSpec
from benchmark.errors import WeightsError
from benchmark.mini.composed.backbone import base_towers, load
from benchmark.mini.composed.families import families, paths
from benchmark.mini.pictures.data import render
from tests.training.trainers import check_resumed, rates_of, updates_of
from training.composed import (
    Features,
    Trainer,
    build,
    export,
    inverse,
    normalised,
    train,
    training_ways,
)
from training.recipes import CombinerRecipe

RECIPE = CombinerRecipe(families=10, steps=10, batch=6, queries=2, warmup=2)


@pytest.fixture(scope="module")
def base():
    return base_towers()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def data(base, folder) -> Features:
    return build("cirr", base[1], folder, count=10, seed=0)


def trainer(data: Features, base, recipe: CombinerRecipe = RECIPE) -> Trainer:
    return Trainer(recipe, data, base[2], base[0].logit_scale)


def test_features_are_those_of_the_base_and_are_read_back(base, folder, data) -> None:
    again = build("cirr", base[1], folder, count=10, seed=0)
    assert again.families == data.families
    assert torch.equal(again.pooled, data.pooled)
    assert torch.equal(again.patches, data.patches)
    assert data.pooled.norm(dim=-1).allclose(torch.ones(10, 8))
    assert all(scene.split() == "train" for f in data.families for scene in f.scenes)


def test_training_pictures_are_prepared_as_queries_are(base) -> None:
    (family,) = families("cirr", "train", 1, np.random.Generator(np.random.PCG64(0)))
    picture = render(family.scenes[0], np.random.Generator(np.random.PCG64(1)))
    assert torch.allclose(normalised(picture[None])[0], base[0].preprocess("image")(picture))


def test_ways_go_there_and_back(data) -> None:
    ways = training_ways("cirr", data.families[0])
    assert {(way.target, way.reference) for way in ways} == {
        (way.reference, way.target) for way in ways
    }


def test_an_untrained_combiner_returns_the_reference(data, base) -> None:
    """So the first loss is that of the base's own picture embeddings."""
    fresh = trainer(data, base)
    pooled = data.pooled[0]
    states = torch.randn(8, 5, 96, generator=torch.Generator().manual_seed(0))
    absent = torch.zeros(8, 5, dtype=torch.bool)
    with torch.no_grad():
        rows = fresh.combiner(data.patches[0].float(), pooled, states, absent)
    assert torch.allclose(rows, pooled, atol=1e-6)


def test_a_resumed_run_is_the_same_run(data, base, tmp_path) -> None:
    check_resumed(lambda: trainer(data, base), tmp_path / "run.pt", "combiner", "average")


def test_loss_falls_and_the_global_generator_is_left_alone(data, base) -> None:
    losses = [said["loss"] for said in updates_of(lambda: trainer(data, base), RECIPE.steps)]
    assert sum(losses[-3:]) < sum(losses[:3])


def test_the_reference_is_no_candidate_where_it_is_masked(data, base) -> None:
    run = trainer(data, base)
    scores = torch.tensor([[5.0, 1.0, 0.0]], requires_grad=True)
    shown = run._descend(scores, torch.tensor([1]), torch.tensor([0]))
    scale = base[0].logit_scale
    assert shown["top1"] == 1.0
    assert shown["loss"] == pytest.approx(math.log(1 + math.exp(-scale)), abs=1e-6)
    assert scores.grad[0, 0] == 0


def test_the_rate_warms_up_and_ends_near_zero(data, base) -> None:
    rates = rates_of(trainer(data, base), RECIPE.steps)
    assert rates[0] == pytest.approx(RECIPE.lr / 2)
    assert max(rates) == pytest.approx(RECIPE.lr)
    assert rates[-1] == pytest.approx(RECIPE.lr * 0.5 * (1 + math.cos(math.pi * 7 / 8)))


def test_a_run_writes_weights_that_load(folder, tmp_path) -> None:
    recipe = replace(RECIPE, steps=2)
    train("cirr", recipe, folder.parent / "work", tmp_path)
    first = load(BackboneSpec("mini-composed", model="cirr"), tmp_path)
    train("cirr", recipe, folder.parent / "work", tmp_path / "again")  # goes on where it stopped
    second = load(BackboneSpec("mini-composed", model="cirr"), tmp_path / "again")
    assert first.fingerprint == second.fingerprint


def test_weights_for_another_base_are_refused(data, base, tmp_path, monkeypatch) -> None:
    export("fiq", trainer(data, base).combiner, 20.0, tmp_path)
    monkeypatch.setattr("benchmark.mini.composed.backbone.base_fingerprint", lambda *_: "other")
    with pytest.raises(WeightsError, match="another base encoder"):
        load(BackboneSpec("mini-composed", model="fiq"), tmp_path)


def test_a_way_back_undoes_the_changes_in_turn() -> None:
    (family,) = families("boot", "train", 1, np.random.Generator(np.random.PCG64(5)))
    way = paths("boot", family)[0]
    back = inverse(way)
    assert (back.reference, back.target) == (way.target, way.reference)
    assert [(c.old, c.new) for c in back.changes] == [(c.new, c.old) for c in way.changes[::-1]]
    assert inverse(back) == way
