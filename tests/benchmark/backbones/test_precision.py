"""Precision and compilation: what changes, what must not, and who is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.backbones.precision import (
    ISA_VARIABLE,
    PreciseBackbone,
    PreciseEncoder,
    channels_last,
    check_near,
    in_precision,
    matmul_precision,
)
from benchmark.cell import BackboneSpec, Cell, MethodSpec, Status
from benchmark.config.run import BenchConfig
from benchmark.errors import ConfigError
from benchmark.evaluation import builders as wiring
from benchmark.evaluation.fingerprints import _backbone_subject
from benchmark.evaluation.runner import run_cell
from benchmark.planning.specs import backbone_spec
from benchmark.registry import METHODS
from benchmark.store.records import cell_from_dict
from methods import BUILTINS
from methods.base import QueryEncoder
from tests.benchmark import fakes

BF16 = BackboneSpec("fake", precision="bf16")
FINGERPRINTS = {"data_fingerprint": "d", "backbone_fingerprint": "w"}


def precise_resources(backbone: fakes.FakeBackbone | None = None) -> Any:
    return fakes.resources(
        load_backbone=lambda spec: in_precision(backbone or fakes.FakeBackbone(), spec),
        make_method=wiring._make_method,
    )


def method_cell(name: str, backbone: BackboneSpec) -> Cell:
    spec = MethodSpec(name, "published", {}, METHODS.get(name).card.version)
    return dataclasses.replace(fakes.cell(), method=spec, backbone=backbone)


def images(count: int = 8) -> Tensor:
    return torch.rand(count, fakes.SIZE**2 * 3, generator=torch.Generator().manual_seed(1))


def test_the_ordinary_way_leaves_cells_and_backbones_alone() -> None:
    plain = fakes.cell()
    assert set(plain.to_dict()["backbone"]) == {
        "loader",
        "model",
        "pretrained",
        "transform",
        "device",
    }
    assert plain.key(**FINGERPRINTS) == "ae48ebe0cdc1d914"
    backbone = fakes.FakeBackbone()
    assert in_precision(backbone, plain.backbone) is backbone


@pytest.mark.parametrize("change", [{"precision": "bf16"}, {"compile": True}])
def test_another_way_is_another_result(change: dict[str, Any]) -> None:
    plain = fakes.cell()
    other = fakes.cell(backbone=dataclasses.replace(plain.backbone, **change))
    assert other.key(**FINGERPRINTS) != plain.key(**FINGERPRINTS)
    assert cell_from_dict(other.to_dict()) == other
    assert cell_from_dict(plain.to_dict()) == plain
    mini = BackboneSpec("mini")
    assert _backbone_subject(dataclasses.replace(mini, **change)) != _backbone_subject(mini)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("name", sorted(BUILTINS))
def test_every_method_runs_under_autocast(name: str, precision: str) -> None:
    spec = dataclasses.replace(BF16, precision=precision)
    record, _ = run_cell(method_cell(name, spec), precise_resources())
    if name == "bn_adapt":  # this tower has a LayerNorm
        assert record.status == Status.SKIPPED
        return
    assert record.status == Status.DONE, record.reason
    assert record.cell["backbone"]["precision"] == precision
    assert record.info["backbone_name"] == f"fake-net ({precision})"
    assert record.info["backbone_fingerprint"] == f"weights-1+{precision}"
    # What counts may be empty; anchored learns nothing from the first queries.
    selective = name in ("eata", "sar", "rdumb", "deyo", "anchored")
    # ROID's weights reach e^3, and its scaled gradient may leave what float16 can hold.
    if not selective and (name, precision) != ("roid", "fp16"):
        assert record.probes.get("skipped_updates", 0.0) == 0.0


def test_autocast_is_at_work_and_parameters_stay_float32() -> None:
    encoder = in_precision(fakes.FakeBackbone(), BF16).query_encoder("image")
    plain = fakes.FakeBackbone().query_encoder("image")
    queries = images()
    rows = encoder(queries)
    assert {p.dtype for p in encoder.parameters()} == {rows.dtype} == {torch.float32}
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)))
    assert 0 < float((rows - plain(queries)).detach().abs().max()) < 0.05
    (gradient,) = torch.autograd.grad(rows[:, 0].sum(), [encoder.tower.norm.weight])
    (expected,) = torch.autograd.grad(plain(queries)[:, 0].sum(), [plain.norm.weight])
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(gradient, expected, rtol=0.1, atol=0.01)


def test_queries_and_the_gallery_are_encoded_in_the_same_way() -> None:
    backbone = in_precision(fakes.FakeBackbone(), BF16)
    queries = images()
    with torch.no_grad():
        rows = backbone.query_encoder("image")(queries)
    assert torch.equal(rows, backbone.encode("image", queries))


class Faint(QueryEncoder):
    """Its gradients on the way to the first layer are far below what float16 can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(4))
            self.second.weight.copy_(torch.eye(4))
            self.first.bias.copy_(torch.arange(4.0))
            self.second.bias.zero_()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(self.first(inputs)).float()


def test_small_gradients_survive_float16() -> None:
    encoder, inputs = PreciseEncoder(Faint(), torch.float16, "cpu"), torch.ones(2, 4)
    found = torch.autograd.grad(
        1e-7 * encoder(inputs)[:, 0].sum(), [encoder.tower.first.bias, encoder.tower.second.bias]
    )
    plain = Faint()
    rows = nn.functional.normalize(plain(inputs), dim=-1)
    expected = torch.autograd.grad(1e-7 * rows[:, 0].sum(), [plain.first.bias, plain.second.bias])
    for gradient, wanted in zip(found, expected, strict=True):
        assert wanted.abs().max() > 0
        torch.testing.assert_close(gradient, wanted, rtol=0.05, atol=1e-10)


def test_gradients_stay_in_scale_where_a_method_replaces_parameters() -> None:
    encoder, inputs = PreciseEncoder(Faint(), torch.float16, "cpu"), torch.ones(2, 4)
    leaves = {n: p.detach().clone().requires_grad_() for n, p in encoder.named_parameters()}
    rows = torch.func.functional_call(encoder, leaves, (inputs,))
    (gradient,) = torch.autograd.grad(rows[:, 0].sum(), [leaves["tower.first.bias"]])
    (own,) = torch.autograd.grad(encoder(inputs)[:, 0].sum(), [encoder.tower.first.bias])
    torch.testing.assert_close(gradient, own)


@pytest.mark.filterwarnings("default")  # torch's compiler brings warnings of its own
@pytest.mark.parametrize("method", ["sar", "rest", "anchored"])
def test_a_compiled_encoder_gives_the_same_numbers(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a C compiler: torch's tracer and its graphs, which are what could break a method."""
    original = nn.Module.compile
    compiled: list[str] = []

    def traced(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        compiled.append(type(self).__name__)
        original(self, *args, backend="aot_eager", **kwargs)

    monkeypatch.setattr(nn.Module, "compile", traced)
    plain, _ = run_cell(method_cell(method, BackboneSpec("fake")), precise_resources())
    cell = method_cell(method, BackboneSpec("fake", compile=True))
    record, _ = run_cell(cell, precise_resources())
    assert compiled == ["FakeEncoder"]
    assert record.status == Status.DONE, record.reason
    assert record.metrics == pytest.approx(plain.metrics)
    assert record.info["backbone_name"] == "fake-net (compiled)"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (BackboneSpec(precision="tf32"), "number format of NVIDIA GPUs"),
        (BackboneSpec(precision="half"), "unknown precision 'half'; expected one of float32"),
    ],
)
def test_an_impossible_precision_is_refused(spec: BackboneSpec, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        in_precision(fakes.FakeBackbone(), spec)


def test_the_command_line_is_refused_early_and_reaches_the_spec() -> None:
    config = BenchConfig(precision="bf16", compile=True, device="cpu")
    found = backbone_spec(BackboneSpec(), config)
    assert (found.precision, found.compile) == ("bf16", True)
    with pytest.raises(ConfigError, match="tf32"):
        backbone_spec(BackboneSpec(), BenchConfig(precision="tf32", device="cpu"))


def test_caches_see_the_code_of_the_backbone_itself() -> None:
    assert PreciseBackbone(fakes.FakeBackbone(), BF16).__module__ == fakes.__name__


@pytest.mark.parametrize(("precision", "wanted"), [("tf32", True), ("float32", False)])
def test_tf32_is_switched_for_the_cell_alone(precision: str, wanted: bool) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    with matmul_precision(BackboneSpec(device="cuda", precision=precision)):
        assert (matmul.allow_tf32, cudnn.allow_tf32) == (wanted, wanted)
    assert (matmul.allow_tf32, cudnn.allow_tf32) == before


def test_only_images_on_a_gpu_change_their_layout() -> None:
    batch = torch.zeros(2, 3, 4, 4)
    assert channels_last(batch) is batch


# Nothing is trusted unseen


class Crooked(fakes.FakeBackbone):
    """Under autocast or compiled, one tower is wrong, as on a machine with a broken kernel.

    Args:
        side: which modality's.
        wrong: its correct output -> what comes out instead.
    """

    def __init__(self, side: str, wrong: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.side, self.wrong = side, wrong

    def query_encoder(self, modality: str) -> QueryEncoder:
        tower = super().query_encoder(modality)
        return Wrong(tower, self.wrong) if modality == self.side else tower

    def encode(self, modality: str, inputs: Tensor) -> Tensor:
        rows = super().encode(modality, inputs)
        wrong = modality == self.side and torch.is_autocast_enabled("cpu")
        return self.wrong(rows) if wrong else rows


class Wrong(QueryEncoder):
    def __init__(self, tower: Any, wrong: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.norm, self.wrong = tower.linear, tower.norm, wrong
        self.compiled = False

    def compile(self, *args: Any, **kwargs: Any) -> None:
        self.compiled = True

    def forward(self, inputs: Tensor) -> Tensor:
        rows = nn.functional.normalize(self.norm(self.linear(inputs)), dim=-1)
        return self.wrong(rows) if self.compiled or torch.is_autocast_enabled("cpu") else rows


def crooked(spec: BackboneSpec, backbone: fakes.FakeBackbone, name: str = "source") -> Any:
    return run_cell(method_cell(name, spec), precise_resources(backbone))


@pytest.mark.parametrize("name", ["source", "tent"])
@pytest.mark.parametrize("side", ["image", "text"])  # queries and gallery
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_comes_out_wrong_fails_the_cell(
    precision: str, side: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.backbones.precision.cpu_model", lambda: "Invented CPU 3")
    spec = dataclasses.replace(BF16, precision=precision)
    record, arrays = crooked(spec, Crooked(side, lambda rows: rows.flip(1)), name)
    assert record.status == Status.FAILED
    assert not arrays
    what = "image queries" if side == "image" else "text embeddings"
    assert record.reason.startswith(
        f"ConfigError: {what} computed as {precision!r} on this CPU (Invented CPU 3) cannot be "
        "trusted: in the first batch their mean cosine to those of float32 is "
    )
    assert "(at least 0.99 is expected); use --precision float32" in record.reason
    assert "frames" not in record.info


def test_embeddings_that_are_not_finite_in_16_bits_fail_the_cell() -> None:
    def overflow(rows: Tensor) -> Tensor:
        return torch.where(torch.arange(len(rows))[:, None] == 1, torch.nan, rows)

    record, _ = crooked(BF16, Crooked("image", overflow))
    assert record.status == Status.FAILED
    assert "1 of 8 embeddings hold NaN or infinity; use --precision float32" in record.reason


def test_a_compiled_encoder_that_comes_out_wrong_fails_the_cell() -> None:
    spec = BackboneSpec("fake", compile=True)
    record, _ = crooked(spec, Crooked("image", torch.neg))
    assert record.status == Status.FAILED
    assert "image queries computed as 'compiled' on" in record.reason
    assert record.reason.endswith("leave out --compile")
    both = dataclasses.replace(spec, precision="bf16")
    record, _ = crooked(both, Crooked("image", torch.neg))
    assert "computed as 'bf16, compiled' on" in record.reason
    assert "use --precision float32 and leave out --compile" in record.reason


def test_what_was_near_once_is_not_compared_again() -> None:
    backbone = fakes.FakeBackbone()
    precise = in_precision(backbone, BF16)
    for _ in range(3):
        precise.encode("image", images())
    assert backbone.encoded == ["image"] * 4
    for _ in range(3):
        precise.compare_queries("image", images(), precise.query_encoder("image")(images()))
    assert backbone.encoded == ["image"] * 5


class Scaled(fakes.FakeBackbone):
    """Its query tower gives rows of a length, and counts its batches."""

    length, batches = 2.0, 0

    def query_encoder(self, modality: str) -> QueryEncoder:
        def scaled(module: Any, inputs: Any, rows: Tensor) -> Tensor:
            self.batches += 1
            return rows * self.length

        tower = super().query_encoder(modality)
        tower.register_forward_hook(scaled)
        return tower


def test_query_embeddings_are_tried_until_they_have_passed() -> None:
    backbone = Scaled()
    shared, cell = precise_resources(backbone), method_cell("source", BackboneSpec("fake"))
    for _ in range(2):
        record, _ = run_cell(cell, shared)
        assert "image query embeddings are rows of lengths 2 to 2; expected" in record.reason
    assert backbone.batches == 2
    backbone.length = 1.0
    assert run_cell(cell, shared)[0].status == Status.DONE
    first, backbone.batches = backbone.batches - 2, 0
    assert run_cell(cell, shared)[0].status == Status.DONE
    assert backbone.batches == first - 2


def test_the_remedy_names_what_helps_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = nn.functional.normalize(torch.ones(2, 4), dim=1)

    def said(ways: str) -> str:
        with pytest.raises(ConfigError) as info:
            check_near(-rows, rows, ways=ways, what="image queries", device="cpu")
        return str(info.value)

    monkeypatch.delenv(ISA_VARIABLE, raising=False)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: True)
    assert "mean cosine to those of float32 is -1.000" in said("bf16")
    assert "ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16" in said("bf16")
    assert ISA_VARIABLE not in said("compiled")
    monkeypatch.setenv(ISA_VARIABLE, "AVX512_CORE_BF16")
    assert ISA_VARIABLE not in said("bf16")
    monkeypatch.delenv(ISA_VARIABLE)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    assert ISA_VARIABLE not in said("bf16")
