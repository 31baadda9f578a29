"""Composed queries: their rows, and the weighted sum on a tiny random CLIP of open_clip's class."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from benchmark.backbones.base import padded
from benchmark.backbones.composed import (
    ComposedBackbone,
    load,
    map_packed,
    pack,
    split_weight,
    unpack,
)
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, WeightsError
from methods.parameters import select_parameters
from shifts.base import Composed
from tests.benchmark.backbones.contract import BackboneContract, collated, embedded
from tests.benchmark.backbones.fixtures_open_clip import CONFIG as SMALL
from tests.benchmark.backbones.fixtures_open_clip import random_model, write_folder

CONFIG = {**SMALL, "vision_cfg": {**SMALL["vision_cfg"], "patch_size": 16}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # An "@" that is no weight.
    return write_folder(tmp_path_factory.mktemp("models") / "toy@home", CONFIG)


def backbone_of(folder: Path, weight: str = "") -> ComposedBackbone:
    return load(BackboneSpec("weighted_sum", f"local-dir:{folder}{weight}"))


@pytest.fixture(scope="module")
def backbone(folder: Path) -> ComposedBackbone:
    return backbone_of(folder, "@0.3")


def queries() -> list[Composed]:
    rng = np.random.default_rng(0)
    texts = ["is red", "", "show two dogs instead, please"]
    return [
        Composed(rng.integers(0, 256, (30 + 7 * i, 50, 3), dtype=np.uint8), text)
        for i, text in enumerate(texts)
    ]


def rows_of(backbone: ComposedBackbone) -> Tensor:
    return collated(backbone, "composed", queries())


class TestContract(BackboneContract):
    scalars: ClassVar = {"composed": 2 * 32 * 6 + 2 * 24 * 4}  # of both towers
    near = 0.995

    def raw(self, modality: str) -> list[Any]:
        return queries()


def test_a_query_is_the_weighted_sum_of_unit_embeddings(backbone: ComposedBackbone) -> None:
    images = embedded(backbone, "image", [query.image for query in queries()])
    texts = embedded(backbone, "text", [query.text for query in queries()])
    mixed = 0.3 * images.numpy() + 0.7 * texts.numpy()
    expected = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    rows = backbone.encode("composed", rows_of(backbone))
    np.testing.assert_allclose(rows.numpy(), expected, atol=1e-6)


def test_the_ends_are_one_tower_alone(folder: Path, backbone: ComposedBackbone) -> None:
    rows = rows_of(backbone)
    images, tokens = unpack(rows, (3, 32, 32))
    for weight, modality, part in (("@1", "image", images), ("@0", "text", tokens)):
        end = backbone_of(folder, weight)
        alone = end.encode(modality, part)
        torch.testing.assert_close(end.encode("composed", rows), alone, atol=1e-6, rtol=0)
        encoder = end.query_encoder("composed")
        assert {name.partition(".")[0] for name in select_parameters(encoder)} == {modality}


def test_the_last_blocks_of_both_towers_are_found(backbone: ComposedBackbone) -> None:
    last = select_parameters(backbone.query_encoder("composed"), "last-block")
    assert {
        name.partition("resblocks.")[0] + name.partition("resblocks.")[2][0] for name in last
    } == {"image.visual.transformer.1", "text.transformer.1"}


def test_the_texts_of_a_batch_are_cut(backbone: ComposedBackbone) -> None:
    count, width = rows_of(backbone).shape
    assert {backbone.preprocess("composed")(q).shape for q in queries()} == {(3 * 32 * 32 + 20,)}
    assert (count, 3 * 32 * 32 < width < 3 * 32 * 32 + 20) == (3, True)


def test_name_and_fingerprint_follow_the_weight(folder: Path) -> None:
    light, heavy, plain = (backbone_of(folder, w) for w in ("@0.3", "@0.30001", ""))
    assert light.name.endswith("@0.3")
    assert plain.name.endswith("@0.5")
    assert len({light.fingerprint, heavy.fingerprint, plain.fingerprint}) == 3
    assert plain.fingerprint == backbone_of(folder, "@0.5").fingerprint
    assert plain.base.fingerprint not in (light.fingerprint, plain.fingerprint)
    assert plain.logit_scale == plain.base.logit_scale


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("ViT-B-32@0.4", ("ViT-B-32", 0.4)),
        ("ViT-B-32", ("ViT-B-32", 0.5)),
        ("local-dir:/a@b/c", ("local-dir:/a@b/c", 0.5)),
        ("local-dir:/a@b/c@1", ("local-dir:/a@b/c", 1.0)),
        ("@.25", ("", 0.25)),
    ],
)
def test_the_weight_in_the_name(model: str, expected: tuple[str, float]) -> None:
    assert split_weight(model) == expected


@pytest.mark.parametrize("weight", ["1.2", "-0.1", "nan"])
def test_weights_out_of_range(weight: str) -> None:
    with pytest.raises(ConfigError, match=f"weight of the reference image is {weight}"):
        split_weight(f"ViT-B-32@{weight}")


def test_the_quickgelu_trap_is_refused(tmp_path: Path, folder: Path) -> None:
    file = tmp_path / "openai" / "w.safetensors"
    file.parent.mkdir()
    save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(WeightsError, match="MODEL=ViT-B-32-quickgelu"):
        load(BackboneSpec("weighted_sum", "ViT-B-32@0.4", str(file)))
    local = tmp_path / "local"
    local.mkdir()
    for name in ("open_clip_config.json", "bpe_simple_vocab.txt.gz"):
        (local / name).write_bytes((folder / name).read_bytes())
    state = dict(random_model(CONFIG).state_dict()) | {"input_resolution": torch.tensor(32)}
    save_file(state, local / "open_clip_model.safetensors")
    with pytest.raises(WeightsError, match="trained with QuickGELU"):
        backbone_of(local)


# The "pad" transform


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 100), (100, 100)),
        ((125, 100), (125, 100)),  # exactly 1.25: nothing to do
        ((200, 100), (200, 160)),  # 200 / 1.25 = 160
        ((60, 300), (240, 300)),
        ((101, 40), (101, 80)),  # 101 / 1.25 = 80.8; whole pixels on both sides
    ],
)
def test_bars_bring_the_ratio_to_1_25(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert padded(Image.new("RGB", size, (255, 255, 255))).size == expected


def test_bars_are_black_beside_the_shorter_side() -> None:
    bars = np.asarray(padded(Image.new("RGB", (200, 100), (255, 255, 255))))
    assert not bars[:30].any()
    assert not bars[-30:].any()
    assert (bars[30:-30] == 255).all()


def test_pad_reaches_the_backbone(folder: Path) -> None:
    bars = load(BackboneSpec("weighted_sum", f"local-dir:{folder}", transform="pad"))
    assert bars.fingerprint != backbone_of(folder).fingerprint
    wide = Composed(np.full((40, 80, 3), 255, np.uint8), "is red")
    image, _ = unpack(bars.preprocess("composed")(wide)[None], (3, 32, 32))
    assert image[0, :, 0].max() < -1


# Rows


@given(
    seed=st.integers(0, 2**31),
    side=st.integers(1, 5),
    tokens=st.lists(st.integers(0, 2**24), max_size=9),
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


def test_parts_are_changed_apart() -> None:
    rows = torch.stack([pack(torch.full((3, 2, 2), 0.5), torch.tensor([7, 5]))] * 2)
    changed = map_packed(
        rows, (3, 2, 2), lambda part: part * 2 if part.is_floating_point() else part.flip(1)
    )
    assert changed[0].tolist() == [1.0] * 12 + [5.0, 7.0]
    assert changed.dtype == rows.dtype
