"""The shipped composed encoders: what they need, what adapts, how well they do under shift."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.cell import BackboneSpec
from benchmark.data.datasets.base import ComposedQueries
from benchmark.errors import ConfigError, WeightsError
from benchmark.mini.composed.backbone import WEIGHTS_FILE, ComposedBackbone, load
from benchmark.mini.composed.data import load_cirr, load_fiq
from benchmark.mini.pictures.backbone import WEIGHTS
from methods.parameters import select_parameters
from shifts.base import Composed, item_generator
from shifts.composed import ComposedOptions, ComposedShift
from tests.benchmark.backbones.contract import embedded

LOADERS = {"fiq": load_fiq, "cirr": load_cirr}
QUERIES = {"fiq": 200, "cirr": 300}
"""The first families of the test split: whole families, so that no wrong edit is lost."""
SHIFTED = {"both": 80, "image": 100, "text": 300}
"""Of these queries so many get shifted, most where the band's end is nearest."""
SHIFTS = {
    "both": ComposedOptions(part="both", image_options=("constants=mini64",)),
    "image": ComposedOptions(part="image", image_options=("constants=mini64",)),
    "text": ComposedOptions(part="text"),
}


class Bench:
    """An encoder with the first families of its test set, gallery embedded once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.data: ComposedQueries = LOADERS[name](split="test")
        self.backbone: ComposedBackbone = load(BackboneSpec("mini-composed", model=name))
        count = QUERIES[name]
        pictures = [self.data.images[i] for i in range(2 * count)]
        self.gallery = embedded(self.backbone, "image", pictures)
        self.references = torch.from_numpy(self.data.references[:count])
        self.targets = torch.tensor([found[0] for found in self.data.targets[:count]])
        self.items = [
            Composed(pictures[int(r)], text)
            for r, text in zip(self.references, self.data.texts, strict=False)
        ]
        self.hits = self.found(embedded(self.backbone, "composed", self.items))

    def found(self, queries: torch.Tensor) -> torch.Tensor:
        """Whether the first queries find their targets at rank 1, CIRR without the reference."""
        scores = queries @ self.gallery.T
        if self.data.exclude_reference:
            scores[torch.arange(len(scores)), self.references[: len(scores)]] = -torch.inf
        return (scores.argmax(1) == self.targets[: len(scores)]).float()


@pytest.fixture(scope="module", params=LOADERS)
def bench(request) -> Bench:
    return Bench(request.param)


def test_weights_are_small() -> None:
    for name in LOADERS:
        assert (WEIGHTS / f"composed-{name}" / WEIGHTS_FILE).stat().st_size <= 2**20


def test_clean_recall_leaves_room_both_ways(bench) -> None:
    assert 0.30 <= float(bench.hits.mean()) <= 0.92


@pytest.mark.parametrize("part", SHIFTS)
def test_severity_5_costs_much_but_not_all(bench, part) -> None:
    """Between 10 and 80 % of the clean recall is left, so that a method can lose and gain."""
    shift = ComposedShift(SHIFTS[part])
    shifted = [
        shift.apply(item, 5, item_generator(0, "composed", 5, name))
        for item, name in zip(bench.items[: SHIFTED[part]], bench.data.query_ids, strict=False)
    ]
    left = bench.found(embedded(bench.backbone, "composed", shifted)).mean()
    assert 0.10 <= float(left / bench.hits[: len(shifted)].mean()) <= 0.80


def test_it_composes(bench) -> None:
    """Neither part alone comes near: not the reference, nor the text with another's picture."""
    clean = bench.hits.mean()
    assert bench.found(bench.gallery[bench.references]).mean() < 0.4 * clean
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(bench.items))[:120]
    pairs = zip(order, bench.items, strict=False)
    swapped = [Composed(bench.items[other].image, item.text) for other, item in pairs]
    assert bench.found(embedded(bench.backbone, "composed", swapped)).mean() < 0.15 * clean


def test_a_row_does_not_depend_on_its_batch(bench) -> None:
    prepare = bench.backbone.preprocess("composed")
    inputs = [prepare(item) for item in bench.items[:6]]
    together = bench.backbone.encode("composed", bench.backbone.collate("composed", inputs))
    for row, one in zip(together, inputs, strict=True):
        batch = bench.backbone.collate("composed", [one])
        assert torch.allclose(bench.backbone.encode("composed", batch)[0], row, atol=1e-5)
    untrimmed = bench.backbone.encode("composed", torch.stack(inputs))
    assert untrimmed.shape == together.shape
    assert torch.allclose(untrimmed, together, atol=1e-5)
    assert torch.allclose(together.norm(dim=1), torch.ones(6), atol=1e-5)
    empty = bench.backbone.collate("composed", [prepare(Composed(bench.items[0].image, ""))])
    assert torch.isfinite(bench.backbone.encode("composed", empty)).all()


def test_gradient_reaches_exactly_the_norms(bench) -> None:
    """2,560 scalars in the image tower, 1,344 in the text tower, 1,600 in the combiner."""
    encoder = bench.backbone.query_encoder("composed")
    adapted = select_parameters(encoder, "norm")
    norms = {
        f"{path}.{name}"
        for path, module in encoder.named_modules()
        if isinstance(module, torch.nn.LayerNorm)
        for name, _ in module.named_parameters()
    }
    assert set(adapted) == norms
    sizes = {
        part: sum(p.numel() for n, p in adapted.items() if n.startswith(part + "."))
        for part in ("image", "text", "combiner")
    }
    assert sizes == {"image": 2560, "text": 1344, "combiner": 1600}
    prepare = bench.backbone.preprocess("composed")
    rows = encoder(bench.backbone.collate("composed", [prepare(i) for i in bench.items[:4]]))
    (rows @ bench.gallery[:16].T).logsumexp(1).sum().backward()
    for name, parameter in encoder.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert reached == (name in norms), name


def test_a_query_encoder_is_a_copy(bench) -> None:
    first = bench.items[:2]
    before = embedded(bench.backbone, "composed", first)
    encoder = bench.backbone.query_encoder("composed")
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
    assert torch.equal(embedded(bench.backbone, "composed", first), before)


def test_the_gallery_is_embedded_as_image_queries_are(bench) -> None:
    prepare = bench.backbone.preprocess("image")
    batch = bench.backbone.collate("image", [prepare(bench.data.images[i]) for i in range(3)])
    with torch.no_grad():
        rows = bench.backbone.query_encoder("image")(batch)
    assert torch.allclose(rows, bench.gallery[:3], atol=1e-5)


def test_fingerprints_tell_the_encoders_apart() -> None:
    loaded = {n: load(BackboneSpec("mini-composed", model=n)) for n in LOADERS}
    again = load(BackboneSpec("mini-composed", model="fiq"))
    cropped = load(BackboneSpec("mini-composed", model="fiq", transform="clip"))
    assert again.fingerprint == loaded["fiq"].fingerprint
    assert len({loaded["fiq"].fingerprint, loaded["cirr"].fingerprint, cropped.fingerprint}) == 3


def test_what_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cirr and fiq"):
        load(BackboneSpec("mini-composed", model="fashion"))
    with pytest.raises(ConfigError, match="cirr and fiq"):
        load(BackboneSpec("mini-composed", model="fiq", pretrained="mine"))
    with pytest.raises(WeightsError, match="python -m training composed-fiq"):
        load(BackboneSpec("mini-composed", model="fiq"), tmp_path)
    backbone = load(BackboneSpec("mini-composed", model="fiq"))
    with pytest.raises(ConfigError, match="'text'"):
        backbone.preprocess("text")


def test_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    load(BackboneSpec("mini-composed", model="cirr"))
    assert torch.equal(before, torch.random.get_rng_state())
