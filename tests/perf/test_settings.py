"""What the settings that the harness makes by itself are worth: allocator, length of captions."""

from __future__ import annotations

import time

import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmark.backbones.towers import TextTower
from benchmark.evaluation.workers import ALLOCATOR_VARIABLES, keep_freed_memory
from tests.perf.cells import IMAGES, TEXTS, done, fastest, in_child, mini_cell, without_disk

HERE = "tests.perf.test_settings"


def step_seconds(benchmark: str, keep: bool, trim: bool) -> float:
    """The steps of one Tent cell, the better of two."""
    torch.set_num_threads(1)
    if keep:
        assert keep_freed_memory()
    if not trim:
        TextTower.trimmed = lambda self, tokens: tokens  # type: ignore[method-assign]
    resources = without_disk()
    cell = mini_cell(
        "tent", "contrast" if benchmark == IMAGES else "ocr", benchmark=benchmark, limit=128
    )
    return min(done(cell, resources).cost["seconds_step"] for _ in range(2))


def test_allocator(benchmark: BenchmarkFixture) -> None:
    jobs = [
        lambda: in_child(HERE, "step_seconds", IMAGES, False, True),
        lambda: in_child(HERE, "step_seconds", IMAGES, True, True),
        lambda: in_child(HERE, "step_seconds", IMAGES, False, True, variables=ALLOCATOR_VARIABLES),
    ]
    plain, kept, by_variables = benchmark.pedantic(fastest, (jobs, 2), rounds=1)
    benchmark.extra_info |= {
        "kept": round(kept / plain, 3),
        "by_variables": round(by_variables / plain, 3),
    }


def test_trimmed_captions(benchmark: BenchmarkFixture) -> None:
    jobs = [
        lambda: in_child(HERE, "step_seconds", TEXTS, True, False),
        lambda: in_child(HERE, "step_seconds", TEXTS, True, True),
    ]
    whole, trimmed = benchmark.pedantic(fastest, (jobs, 2), rounds=1)
    benchmark.extra_info["trimmed"] = round(trimmed / whole, 3)
    assert trimmed < whole


def block_seconds(keep: bool) -> float:
    """The best of four passes through a block of a ViT-B, forward and backward, 16 pictures."""
    torch.set_num_threads(1)
    if keep:
        assert keep_freed_memory()
    block = torch.nn.TransformerEncoderLayer(
        768, 12, 3072, batch_first=True, norm_first=True
    ).eval()
    tokens = torch.zeros(16, 197, 768)
    best = float("inf")
    for _ in range(4):
        begun = time.perf_counter()
        block(tokens.clone().requires_grad_()).sum().backward()
        best = min(best, time.perf_counter() - begun)
    return best


def test_allocator_on_a_large_block(benchmark: BenchmarkFixture) -> None:
    jobs = [
        lambda: in_child(HERE, "block_seconds", False),
        lambda: in_child(HERE, "block_seconds", True),
    ]
    plain, kept = benchmark.pedantic(fastest, (jobs, 2), rounds=1)
    benchmark.extra_info["kept"] = round(kept / plain, 3)
