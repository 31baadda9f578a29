"""What a step of each method costs, against one forward and backward pass of the same encoder.

On a GPU a ViT-B/16 and batches of 64, on a CPU a ViT-B/32 and batches of 16; random weights, a
gallery of 5,000 rows, the methods' published options.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from benchmark.registry import METHODS
from methods import BUILTINS
from methods.base import Method, Setup
from tests.perf.vit import random_vit

CUDA = torch.cuda.is_available()
MODEL, BATCH, BATCHES = ("ViT-B-16", 64, 6) if CUDA else ("ViT-B-32", 16, 2)
DEVICE = "cuda" if CUDA else "cpu"
GALLERY = 5000
FITTING = [name for name in BUILTINS if name != "bn_adapt"]  # a ViT has no BatchNorm


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    if not CUDA:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def backbone():
    return random_vit(MODEL, DEVICE)


@pytest.fixture(scope="module")
def batches(backbone) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (BATCH, 3, 224, 224)
    return [torch.randn(shape, generator=generator).to(DEVICE) for _ in range(BATCHES)]


@pytest.fixture(scope="module")
def gallery(backbone) -> Tensor:
    rows = torch.randn(GALLERY, 512, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.normalize(rows, dim=1).to(DEVICE)


def busy() -> float:
    """Seconds; on a CPU those of this process alone, which other jobs do not stretch."""
    if not CUDA:
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


@pytest.fixture(scope="module")
def bare(backbone, batches, gallery) -> dict[str, float]:
    """Seconds per batch of a forward pass alone and with the backward pass to all norm layers."""
    encoder = backbone.query_encoder("image")
    METHODS.get("tent")(
        Setup(encoder, gallery, backbone.logit_scale)
    )  # chooses what has a gradient
    assert any(parameter.requires_grad for parameter in encoder.parameters())
    forward, both = [], []
    for batch in [batches[0], *batches]:  # the first one warms up
        begun = busy()
        with torch.no_grad():
            encoder(batch)
        half = busy()
        encoder(batch).sum().backward()
        forward.append(half - begun)
        both.append(busy() - half)
    return {"forward": min(forward[1:]), "both": min(both[1:])}


@pytest.mark.parametrize("name", FITTING)
def test_step(benchmark: BenchmarkFixture, name: str, backbone, batches, gallery, bare) -> None:
    encoder = backbone.query_encoder("image")
    method = METHODS.get(name)(Setup(encoder, gallery, backbone.logit_scale))

    def steps() -> list[float]:
        seconds = []
        for batch in batches:
            begun = busy()
            method.step(batch)
            seconds.append(busy() - begun)
        return seconds

    # The first batch is left out: REST has one backward pass less there, and the GPU warms up.
    second = min(benchmark.pedantic(steps, rounds=1)[1:])
    benchmark.extra_info |= {
        "device": torch.cuda.get_device_name() if CUDA else "cpu, one thread",
        "over_forward_and_backward": round(second / bare["both"], 2),
        "backward_over_forward": round(bare["both"] / bare["forward"] - 1, 2),
        "queries_per_second": round(BATCH / second, 1),
    }
    assert second > 0.5 * bare["forward"]


ONE_PASS = [name for name in FITTING if METHODS.get(name).card.passes == "1 f"]


@pytest.mark.parametrize(
    ("name", "options", "other", "most"),
    [
        ("rest", {"level": "embeddings"}, "tcr", 1.25),
        *((name, {}, "source", 1.15) for name in ONE_PASS if name != "source"),
        ("anchored", {}, "tcr", 1.25),
    ],
)
def test_price(
    benchmark: BenchmarkFixture,
    name: str,
    options: dict[str, str],
    other: str,
    most: float,
    backbone,
    batches,
    gallery,
) -> None:
    """A method's step against another's, in turn on the same batches."""

    def made(which: str, chosen: dict[str, str]) -> Method:
        kind = METHODS.get(which)
        setup = Setup(backbone.query_encoder("image"), gallery, backbone.logit_scale)
        return kind(setup, kind.Options(**chosen))

    pair = made(name, options), made(other, {})
    seconds: tuple[list[float], list[float]] = ([], [])

    def steps() -> None:
        for batch in (batches[0], *batches):  # the first one warms up
            for method, taken in zip(pair, seconds, strict=True):
                begun = busy()
                method.step(batch)
                taken.append(busy() - begun)

    benchmark.pedantic(steps, rounds=1)
    ratio = min(seconds[0][1:]) / min(seconds[1][1:])
    benchmark.extra_info |= {"over": other, "ratio": round(ratio, 3)}
    assert ratio <= most
