"""The choice "last-block" finds the blocks of every kind of tower that is at hand."""

from __future__ import annotations

import open_clip
import pytest
import torch
from torch import nn

from benchmark.backbones.cav_mae import Shape
from benchmark.backbones.cav_mae import Tower as CavMaeTower
from benchmark.backbones.towers import image_tower
from benchmark.mini.clips.backbone import ClipEncoder
from benchmark.mini.composed.backbone import Combiner
from benchmark.mini.pictures.backbone import WEIGHTS
from methods.base import MethodError
from methods.parameters import last_blocks, select_parameters
from tests.benchmark.backbones.fixtures_open_clip import load_local_dir


@pytest.mark.parametrize("modality", ["image", "text"])
def test_the_embedded_clip(modality: str) -> None:
    encoder = load_local_dir(WEIGHTS).query_encoder(modality)
    names = set(select_parameters(encoder, "last-block"))
    blocks = [n for n, m in encoder.named_modules() if type(m).__name__ == "ResidualAttentionBlock"]
    assert names
    assert all(name.startswith(f"{blocks[-1]}.") for name in names)


def test_the_embedded_clip_encoder_and_combiner() -> None:
    with torch.device("meta"):
        clips = ClipEncoder()
        combiner = Combiner()
    towers = [tower for tower in clips.modules() if hasattr(tower, "blocks")]
    assert len(towers) == 2
    for tower in towers:
        assert last_blocks(tower) == [list(tower.blocks)[-1]]  # type: ignore[arg-type]
    assert last_blocks(combiner) == [combiner.layers[1]]
    both = nn.ModuleDict({"clips": clips, "combiner": combiner})
    assert len(last_blocks(both)) == 3


def test_cav_mae() -> None:
    with torch.device("meta"):
        tower = CavMaeTower("video", Shape())
    assert last_blocks(tower) == [tower.blocks[len(tower.blocks) - 1]]


def test_a_resnet_has_none() -> None:
    with torch.device("meta"):
        model = open_clip.CLIP(**open_clip.get_model_config("RN50-quickgelu"))
    with pytest.raises(MethodError, match=r"adapt='last-block'.*a list of transformer blocks"):
        select_parameters(image_tower(model), "last-block")
