"""The shipped mini encoder: size, clean recall, and what every default image shift costs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.cell import BackboneSpec
from benchmark.config.presets import applicable, complete
from benchmark.data.card import benchmark_card
from benchmark.data.tasks import clean
from benchmark.metrics.ranking import item_ranks
from benchmark.metrics.recall import recall_at
from benchmark.mini.pictures.backbone import ENCODERS, WEIGHTS, MiniClip, weights_folder
from benchmark.mini.pictures.backbone import load as load_backbone
from benchmark.mini.pictures.data import load
from benchmark.registry import SHIFTS
from shifts.base import item_generator
from tests.benchmark.backbones.contract import embedded
from tests.benchmark.backbones.fixtures_open_clip import load_local_dir

CARD = benchmark_card("mini-coco-c-image")
PICTURES = 300
"""The first of the test split, with their captions."""
SHIFTED = 200


@pytest.fixture(scope="module")
def backbone() -> MiniClip:
    return load_backbone(BackboneSpec("mini"))


@pytest.fixture(scope="module")
def pairs():
    return load(split="test")


@pytest.fixture(scope="module")
def pictures(pairs) -> list[np.ndarray]:
    return [pairs.images[i] for i in range(PICTURES)]


@pytest.fixture(scope="module")
def texts(backbone, pairs) -> torch.Tensor:
    return embedded(backbone, "text", [clean(text) for text in pairs.captions[: 5 * PICTURES]])


def image_recall(images: torch.Tensor, texts: torch.Tensor) -> float:
    """R@1 in percent of the first images against all captions, five in a row each."""
    answers = [np.arange(5 * i, 5 * i + 5) for i in range(len(images))]
    best = [int(r.min()) for r in item_ranks(images @ texts.T, answers)]
    return recall_at(np.array(best), 1)


@pytest.fixture(scope="module")
def clean_images(backbone, pictures) -> torch.Tensor:
    return embedded(backbone, "image", pictures)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("transform", ["resize", "clip", "pad"])
def test_same_as_open_clips_own_model(encoder: str, transform: str, pairs) -> None:
    """Identity, embeddings and gradients, bit for bit, in the order of the parameters."""
    ours = load_backbone(BackboneSpec("mini", encoder, transform=transform))
    theirs = load_local_dir(weights_folder(encoder), transform)
    assert (ours.fingerprint, ours.logit_scale) == (theirs.fingerprint, theirs.logit_scale)
    picture = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    for modality, items in (("image", [picture, pairs.images[0]]), ("text", pairs.captions[:2])):
        made = []
        for backbone in (ours, theirs):
            prepare, tower = backbone.preprocess(modality), backbone.query_encoder(modality)
            batch = backbone.collate(modality, [prepare(item) for item in items])
            rows = tower(batch)
            with torch.autocast("cpu", torch.bfloat16):
                half = tower(batch)
            (rows[0, 0] + rows[1, 1]).backward()
            found = {name: p.grad for name, p in tower.named_parameters() if p.grad is not None}
            numbers = [batch, rows, half, backbone.encode(modality, batch), *found.values()]
            made.append((list(found), [tensor.detach() for tensor in numbers]))
        (names, mine), (same_names, same) = made
        assert names == same_names
        assert all(map(torch.equal, mine, same))


UNWANTED = "print({'open_clip', 'torchvision', 'torch._dynamo'} & set(sys.modules))"


def last_line(code: str, *words: str) -> str:
    command = [sys.executable, "-c", f"import sys\n{code}\n{UNWANTED}", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[
        -2
    ]


def test_neither_pictures_nor_steps_import_open_clip_or_dynamo() -> None:
    code = (
        "from benchmark.mini.pictures.backbone import load, BackboneSpec\n"
        "from methods.adapt import AdaptOptions, build_optimizer; from torch import nn, ones\n"
        "model = nn.Parameter(ones(2)); step = build_optimizer([model], AdaptOptions())\n"
        "load(BackboneSpec('mini')).preprocess('image'); model.sum().backward(); step.step()"
    )
    assert last_line(code) == "set()"


@pytest.mark.slow
def test_the_main_job_imports_neither_once_its_gallery_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUERYSHIFT_CACHE", str(tmp_path / "cache"))
    code = (
        "from benchmark.cli.main import main\n"
        "words = 'bench --method rest --shift gaussian --limit 8 --quiet --out'.split()\n"
        "assert main([*words, sys.argv[1]]) == 0"
    )
    first, second = (last_line(code, str(tmp_path / name)) for name in "ab")
    assert "open_clip" in first  # its tokenizer
    assert second == "set()"


def test_weights_are_small() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) <= 8 * 2**20


def test_clean_recall_leaves_room_both_ways(clean_images, texts) -> None:
    """The band is 65 to 92 on the whole test split; a smaller gallery is easier."""
    assert 65 <= image_recall(clean_images, texts) <= 97
    own = [np.array([i // 5]) for i in range(len(texts))]
    best = np.array([int(r.min()) for r in item_ranks(texts @ clean_images.T, own)])
    assert 65 <= recall_at(best, 1) <= 97


@pytest.mark.parametrize("name", CARD.shifts)
def test_severity_5_costs_much_but_not_all(backbone, pictures, texts, clean_images, name) -> None:
    """Between 15 and 80 % of the clean recall is left, so that a method can lose and gain."""
    kind = SHIFTS.get(name)
    options = complete(kind.Options, applicable(kind.Options, CARD.shift_options), name)
    shift = kind(kind.Options(**options))
    shifted = [
        shift.apply(picture, 5, item_generator(0, name, 5, f"{i}"))
        for i, picture in enumerate(pictures[:SHIFTED])
    ]
    left = image_recall(embedded(backbone, "image", shifted), texts)
    assert 0.15 <= left / image_recall(clean_images[:SHIFTED], texts) <= 0.80
