"""Perturbed and augmented queries are still queries to the embedded encoders, of every modality."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.cell import BackboneSpec
from benchmark.registry import BACKBONES
from methods.perturb import augmented, perturbed
from shifts.base import Composed
from tests.benchmark.backbones.contract import collated

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
WORDS = "a red circle above a small green square on a blue field"
QUERIES = {
    "image": (BackboneSpec("mini"), PICTURE),
    "text": (BackboneSpec("mini"), WORDS),
    "composed": (BackboneSpec("mini-composed", "fiq"), Composed(PICTURE, WORDS)),
}


@pytest.mark.parametrize("change", [perturbed, augmented])
@pytest.mark.parametrize("modality", sorted(QUERIES))
def test_changed_queries_are_queries(modality, change) -> None:
    spec, item = QUERIES[modality]
    backbone = BACKBONES.get(spec.loader)(spec)
    inputs = collated(backbone, modality, [item] * 4)
    encoder = backbone.query_encoder(modality)
    changed = change(encoder, inputs, torch.Generator().manual_seed(0))
    assert (changed.shape, changed.dtype) == (inputs.shape, inputs.dtype)
    with torch.no_grad():
        before, after = encoder(inputs), encoder(changed)
    nearness = (before * after).sum(dim=1)
    assert float(nearness.min()) < 0.9999  # a short text may lose no token
    assert float(nearness.mean()) > (0.5 if change is augmented else -1.0)


def test_the_end_of_a_text_stays_the_end() -> None:
    backbone = BACKBONES.get("mini")(BackboneSpec("mini"))
    prepare = backbone.preprocess("text")
    tokens = backbone.collate("text", [prepare(WORDS), prepare("a circle")])
    ends = tokens.max(dim=1).values
    for change in (perturbed, augmented):
        found = change(backbone.query_encoder("text"), tokens, torch.Generator().manual_seed(0))
        assert torch.equal(found.max(dim=1).values, ends)
        assert torch.equal(found[:, 0], tokens[:, 0])
    shuffled = perturbed(backbone.query_encoder("text"), tokens, torch.Generator().manual_seed(0))
    assert torch.equal(shuffled.argmax(dim=1), tokens.argmax(dim=1))
    assert torch.equal(shuffled.sort(dim=1).values, tokens.sort(dim=1).values)


def test_caches_know_the_code_of_the_embedded_encoders() -> None:
    """They hash the files of the part that an encoder's class stands in."""
    for name, model in (("mini", ""), ("mini-clips", ""), ("mini-composed", "fiq")):
        backbone = BACKBONES.get(name)(BackboneSpec(name, model))
        assert type(backbone).__module__.startswith("benchmark.mini.")
