"""Which parameters each choice of ``adapt`` declares, and that exactly those get gradients."""

from __future__ import annotations

import dataclasses
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn

from benchmark.backbones.towers import image_tower, text_tower
from methods.adapt import AdaptOptions
from methods.base import MethodError, QueryEncoder, Setup
from methods.parameters import ADAPT_CHOICES, last_blocks, select_parameters
from methods.tent import Tent
from methods.testing import TinyEncoder

CONFIG: dict[str, Any] = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 3, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 6, "vocab_size": 32, "width": 16, "heads": 2, "layers": 2},
}


def clip_tower(side: str) -> QueryEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.CLIP(**CONFIG)
    tower = image_tower(model) if side == "image" else text_tower(model)
    return tower.eval().requires_grad_(True)


def clip_inputs(side: str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if side == "image":
        return torch.randn(3, 3, 16, 16, generator=generator)
    return torch.randint(1, 31, (3, 6), generator=generator)


class Block(nn.Module):
    """Neither open_clip's nor transformers': found by what it holds."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.before = nn.RMSNorm(width)
        self.mix = nn.Linear(width, width)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.out(torch.tanh(self.mix(self.before(x))))
        return mixed


class Fake(QueryEncoder):
    """Two branches of blocks, a head with a bias, and a norm that is not adaptable."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.ModuleDict(
            {"one": nn.Sequential(Block(), Block()), "two": nn.ModuleList([Block()])}
        )
        self.norm = nn.LayerNorm(4)

    @property
    def adaptable(self) -> nn.Module:
        return self.part

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.part["one"](inputs)
        for block in self.part["two"]:  # type: ignore[attr-defined]
            x = block(x)
        return nn.functional.normalize(self.norm(x), dim=-1)


def with_gradient(encoder: QueryEncoder, inputs: Tensor) -> set[str]:
    rows = encoder(inputs)
    (rows * torch.arange(rows.numel()).reshape(rows.shape)).sum().backward()
    return {n for n, p in encoder.named_parameters() if p.grad is not None and bool(p.grad.any())}


def expected_names(encoder: QueryEncoder, adapt: str, side: str) -> set[str]:
    """By open_clip's own names, so independently of types and structure."""
    layers = {"image": "visual.transformer.", "text": "transformer."}[side]
    names = [n for n, _ in encoder.named_parameters()]
    inside = [n for n in names if side == "image" or n.startswith("transformer.")]
    last = f"{layers}resblocks.{2 if side == 'image' else 1}."
    wanted = {
        "norm": [n for n in inside if ".ln_" in n],
        "norm+bias": [n for n in inside if ".ln_" in n or n.endswith("bias")],
        "last-block": [n for n in inside if n.startswith(last)],
        "all": inside,
    }
    return set(wanted[adapt])


@pytest.mark.parametrize("side", ["image", "text"])
@pytest.mark.parametrize("adapt", ADAPT_CHOICES)
def test_exactly_the_declared_parameters_of_a_clip_tower_get_gradients(
    adapt: str, side: str
) -> None:
    encoder = clip_tower(side)
    adapted = select_parameters(encoder, adapt)
    assert set(adapted) == expected_names(encoder, adapt, side)
    assert {n for n, p in encoder.named_parameters() if p.requires_grad} == set(adapted)
    # a bias of the keys moves all logits of a query alike, and softmax does not see it; it is a
    # third of in_proj_bias, whose other two thirds do get a gradient
    assert with_gradient(encoder, clip_inputs(side)) == set(adapted)


def test_every_choice_on_an_encoder_of_ones_own() -> None:
    blocks = ("part.one.0", "part.one.1", "part.two.0")
    norms = {f"{b}.before.weight" for b in blocks}
    biases = {f"{b}.mix.bias" for b in blocks}
    matrices = {f"{b}.{layer}.weight" for b in blocks for layer in ("mix", "out")}
    everything = norms | biases | matrices
    wanted = {
        "norm": norms,
        "norm+bias": norms | biases,
        "last-block": {n for n in everything if not n.startswith("part.one.0")},
        "all": everything,
    }
    for adapt in ADAPT_CHOICES:
        encoder = Fake()
        assert set(select_parameters(encoder, adapt)) == wanted[adapt], adapt
        inputs = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
        assert with_gradient(encoder, inputs) == wanted[adapt], adapt


def test_the_last_block_of_stages_is_in_the_last_stage() -> None:
    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Block(), Block()])

    stages = nn.Sequential(Stage(), Stage())
    assert last_blocks(stages) == [stages[1].blocks[1]]


def test_lists_of_anything_else_are_no_stacks() -> None:
    mlp = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4))
    assert not last_blocks(mlp)
    assert not last_blocks(nn.Sequential(mlp, nn.Sequential(*mlp)))
    assert not last_blocks(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)))


def test_no_blocks_and_unknown_choices_are_errors() -> None:
    with pytest.raises(MethodError, match=r"adapt='last-block'; .*a list of transformer blocks"):
        select_parameters(TinyEncoder(), "last-block")
    with pytest.raises(MethodError, match=r"no adapt='layernorm'; expected one of 'norm', "):
        select_parameters(TinyEncoder(), "layernorm")


@pytest.mark.parametrize("adapt", ADAPT_CHOICES)
def test_the_option_reaches_a_method_and_moves_those_parameters(adapt: str) -> None:
    options = Tent.Options(adapt=adapt, steps=1, lr=1e-2)
    assert dataclasses.asdict(options)["adapt"] == adapt
    encoder = clip_tower("image")
    before = {n: p.detach().clone() for n, p in encoder.named_parameters()}
    gallery = nn.functional.normalize(
        torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), dim=1
    )
    Tent(Setup(encoder, gallery, logit_scale=10.0), options).step(clip_inputs("image"))
    moved = {n for n, p in encoder.named_parameters() if not torch.equal(p, before[n])}
    assert moved == expected_names(encoder, adapt, "image")


def test_the_default_stays_norm() -> None:
    assert AdaptOptions().adapt == "norm"
    assert set(select_parameters(TinyEncoder())) == set(select_parameters(TinyEncoder(), "norm"))
