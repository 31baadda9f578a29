"""Which parameters adapt, and the source snapshot."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from torch import Tensor, nn

import methods
from benchmark.backbones.open_clip import build_model
from methods.base import MethodError, QueryEncoder
from methods.parameters import Snapshot, norm_parameters, select_parameters
from methods.testing import TinyEncoder


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in norm_parameters(module).values())


def test_parameter_counts_of_clip_vit_b_16() -> None:
    config = open_clip.get_model_config("ViT-B-16-quickgelu")
    with torch.device("meta"):
        model = open_clip.CLIP(**config)
    assert count(model.visual) == 39_936
    assert count(model.transformer) == 24_576
    assert count(model.ln_final) == 1_024  # outside the transformer, so not adapted


def test_norm_layers_are_chosen_by_type_not_by_name() -> None:
    module = nn.ModuleDict(
        {
            "norm": nn.Linear(2, 2),
            "anything": nn.LayerNorm(3),
            "plain": nn.LayerNorm(3, elementwise_affine=False),
            "batch": nn.BatchNorm1d(3),
            "rms": nn.RMSNorm(3),
        }
    )
    assert set(norm_parameters(module)) == {
        *("anything.weight", "anything.bias", "rms.weight", "batch.weight", "batch.bias")
    }
    assert set(norm_parameters(nn.LayerNorm(2))) == {"weight", "bias"}


def test_selection_respects_the_adaptable_part() -> None:
    encoder = TinyEncoder()
    adapted = select_parameters(encoder)
    layers = ("first", "second", "unused")
    assert set(adapted) == {f"block.{x}.{y}" for x in layers for y in ("weight", "bias")}
    assert {n for n, p in encoder.named_parameters() if p.requires_grad} == set(adapted)


def test_selection_of_all() -> None:
    encoder = TinyEncoder()
    adapted = select_parameters(encoder, "all")
    assert "block.hidden.weight" in adapted
    assert "stem.weight" not in adapted
    assert not encoder.stem.weight.requires_grad


def test_nothing_to_adapt_is_an_error() -> None:
    class Bare(QueryEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            out: Tensor = self.layer(inputs)
            return out

    with pytest.raises(MethodError, match=r"Bare has no parameters for adapt='norm'"):
        select_parameters(Bare())


def test_snapshot_restores_bit_for_bit() -> None:
    encoder = TinyEncoder()
    expected = {n: t.clone() for n, t in encoder.state_dict().items()}
    snapshot = Snapshot(encoder)
    with torch.no_grad():
        for tensor in (*encoder.parameters(), *encoder.buffers()):
            tensor.fill_(torch.nan if tensor.is_floating_point() else 7)
    encoder.stem.weight.grad = torch.ones_like(encoder.stem.weight)
    pointers = [p.data_ptr() for p in encoder.parameters()]
    snapshot.restore(encoder)
    assert all(torch.equal(t, expected[n]) for n, t in encoder.state_dict().items())
    assert [p.data_ptr() for p in encoder.parameters()] == pointers
    assert encoder.stem.weight.grad is None


def test_the_room_imports_torch_only() -> None:
    allowed = {"torch", "methods", *sys.stdlib_module_names}
    for file in Path(methods.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            outside = {name.split(".")[0] for name in names} - allowed
            assert not outside, f"{file.name} imports {outside}"


class T5LayerNorm(nn.Module):
    """As transformers writes it: no subclass of torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))


class NormedLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 3))


class PreNorm(nn.Module):
    """A block that is called after its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.norm = nn.LayerNorm(4)


def test_relatives_of_other_libraries_are_norms_and_their_blocks_are_not() -> None:
    module = nn.ModuleDict({"t5": T5LayerNorm(), "linear": NormedLinear(), "pre": PreNorm()})
    assert set(norm_parameters(module)) == {"t5.weight", "pre.norm.weight", "pre.norm.bias"}


def test_the_batch_norms_of_a_resnet_and_of_mobileclip_adapt() -> None:
    for name, layers in (("RN50", 55), ("MobileCLIP-S1", 208)):
        with torch.device("meta"):
            visual = build_model(open_clip.get_model_config(name), name).visual
        assert len(norm_parameters(visual)) == 2 * layers
