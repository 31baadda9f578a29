"""What loaders and towers of others may give: refused at once where it is of no use."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.backbones.base import check_device, check_encoder, checked_rows
from benchmark.backbones.checkpoint import difference
from benchmark.cell import Status
from benchmark.errors import ConfigError, WeightsError
from benchmark.evaluation.runner import run_cell
from tests.benchmark.fakes import FakeBackbone, cell, resources

UNIT = torch.eye(3)


@pytest.mark.parametrize("device", ["gpu0", "cuda", "mps", "meta", "xla", "cuda:-1", ""])
def test_devices(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=f"device '{device}'"):
        check_device(device)


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        *(("logit_scale", bad) for bad in (np.nan, np.inf, 0.0, -3.0, "100", None, torch.ones(()))),
        *[("logit_scale", np.exp(14.3)), ("fingerprint", ""), ("fingerprint", None), ("name", 3)],
    ],
)
def test_facts_of_an_encoder(fact: str, value: Any) -> None:
    encoder = FakeBackbone()
    check_encoder(encoder, "fake")
    setattr(encoder, fact, value)
    with pytest.raises(WeightsError, match=f"backbone 'fake': its {fact} is"):
        check_encoder(encoder, "fake")
    with pytest.raises(WeightsError, match="gave no DualEncoder, but a SimpleNamespace"):
        check_encoder(SimpleNamespace(fingerprint="x"), "fake")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (UNIT.tolist(), "a list"),
        ((UNIT,), "a tuple"),
        (UNIT.half(), r"float16 of shape \(3, 3\)"),
        (UNIT.double(), "float64"),
        (UNIT.long(), "int64"),
        (UNIT[:2], r"\(2, 3\)"),
        (UNIT[:, None], r"\(3, 1, 3\)"),
        (UNIT[0], r"shape \(3,\)"),
        (UNIT[:, :2], r"\(3, 2\)"),
        (UNIT * torch.nan, "NaN, infinity or only zeros"),
        (UNIT * 3, "rows of lengths 3 to 3"),
        (UNIT[:1].repeat(3, 1), "the same row for different items"),
    ],
)
def test_rows(rows: Any, said: str) -> None:
    with pytest.raises(WeightsError, match=f"rows are .*{said}.*; expected float32 of shape"):
        checked_rows(rows, torch.arange(3), "rows", 3)
    assert checked_rows(UNIT, torch.arange(3), "rows") is UNIT
    some = UNIT * torch.tensor([[1], [torch.nan], [1]])  # those who know the items name them
    assert checked_rows(some, torch.arange(3), "rows") is some
    same = UNIT[:1].repeat(3, 1)
    assert checked_rows(same, torch.zeros(3, 2), "rows", 3) is same


def test_towers_of_a_plugin_are_looked_at_before_they_are_used() -> None:
    class Long(FakeBackbone):
        def __init__(self, side: str) -> None:
            super().__init__()
            self.side = side

        def encode(self, modality: str, inputs: Tensor) -> Tensor:
            return super().encode(modality, inputs) * (2 if self.side == "gallery" else 1)

        def query_encoder(self, modality: str) -> Any:
            encoder = super().query_encoder(modality)
            if self.side == "query":
                encoder.register_forward_hook(lambda module, inputs, rows: rows * 2)
            return encoder

    for side, modality in (("gallery", "text"), ("query", "image query")):
        backbone = Long(side)
        record, _ = run_cell(cell(), resources(load_backbone=lambda spec, b=backbone: b))
        assert record.status is Status.FAILED
        assert f"{modality} embeddings are rows of lengths 2 to 2" in record.reason


def test_weights_of_another_kind() -> None:
    wanted = {"a": torch.ones(2, 2), "n": torch.tensor(1)}
    assert not difference(wanted, {"a": torch.ones(2, 2).half(), "n": torch.tensor(3)})
    for value in (
        torch.ones(2, 2, dtype=torch.int8),
        torch.ones(2, 2, dtype=torch.complex64),
        torch.ones(2, 2).to_sparse(),
        torch.ones(2, 2, device="meta"),
    ):
        said = difference(wanted, {"a": value, "n": torch.tensor(1)})
        assert said.startswith("1 of another kind (such as 'a': ")
