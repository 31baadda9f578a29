"""Invented cells for the page, as a run would store them."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark.report.results import CellResult
from tests.benchmark.report.cells import invented

HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "a\u2028b\u2029c&lt;\"'$title",
)
SHIFTS = ("contrast", "jpeg_compression")
BENCHMARKS = ("mini-coco-c-image", "mini-as-c-audio")
TASKS = {"mini-coco-c-image": "image-to-text", "mini-as-c-audio": "audio-to-video"}


def cell(
    method: str = "rest",
    shift: str = "contrast",
    *,
    ranks: Any = (1, 2, 1, 40),
    benchmark: str = "mini-coco-c-image",
    seed: int = 0,
    **more: Any,
) -> CellResult:
    """A finished cell with these ranks, or with ``status`` and ``reason`` an unfinished one."""
    ranks = np.asarray(ranks, dtype=np.int64)
    recalls = {f"R@{k}": 100 * float((ranks <= k).mean()) for k in (1, 5, 10)}
    means = {"mean_recall": sum(recalls.values()) / 3, "mAP": 40.0, "forgetting": -2.5}
    task = TASKS.get(benchmark, "image-to-text")
    facts = {
        "info": {"backbone_name": "mini-vit", "task": task, "gallery": 50},
        "metrics": {**recalls, **means, **more.pop("metrics", {})},
        "probes": {"uniformity": 0.9, "gap": 0.7, "consistency": 0.2},
        "cost": {"ms_per_query": 8.0, "peak_mb": 512.0},
        "environment": {"python": "3.11", "started": "2026-01-01T00:00:00+00:00"},
        "options": {"steps": 3},
        "order": np.random.default_rng(seed).permutation(len(ranks)),
    }
    return invented(method, shift, ranks=ranks, benchmark=benchmark, seed=seed, **{**facts, **more})


def ranks_of(skill: float, seed: int, queries: int = 60) -> np.ndarray:
    """Ranks from 1 to 50; the larger the skill, the more ones."""
    drawn = np.random.default_rng(seed).random(queries)
    return np.clip(np.ceil((1.0 - skill) * 50 * drawn**2), 1, 50).astype(np.int64)


def grid(methods: tuple[str, ...] = ("source", "tent", "rest")) -> list[CellResult]:
    """Every method on two benchmarks, two shifts and two seeds; the later ones are better."""
    return [
        cell(
            method,
            shift,
            benchmark=benchmark,
            seed=seed,
            ranks=ranks_of(0.3 + 0.2 * place, seed + 10 * len(shift) + len(benchmark)),
        )
        for benchmark in BENCHMARKS
        for shift in SHIFTS
        for place, method in enumerate(methods)
        for seed in (0, 1)
    ]
