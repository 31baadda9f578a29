"""Runs of many cells with invented numbers, stored as a real run stores them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark.cell import BackboneSpec, Cell, MethodSpec, Record, ShiftSpec, Status, StreamSpec
from benchmark.data.card import load_suite
from benchmark.metrics.recall import of_queries
from benchmark.store.records import packed, text_of
from benchmark.store.run_store import RunStore
from methods import BUILTINS

METHODS = ("source", "recentre", "tent", "eata", "sar", "read", "tcr", "rest")
SHIFTS = ("gaussian_noise", "defocus_blur", "contrast", "jpeg_compression")
QUERIES, CAPTIONS, BATCH, VARIANTS = 1000, 5, 64, 20
DATA, WEIGHTS = "540e5b6efccdb8d2", "28c1377d9504873e"


def cells(count: int) -> Iterator[Cell]:
    """Eight methods on the benchmarks of the suite mini, four shifts, five severities, seeds.

    Methods change fastest, then severities and shifts: few cells already have all methods.
    """
    assert set(METHODS) <= set(BUILTINS)
    methods = [MethodSpec(name, "mini", {"steps": 3, "lr": 3e-4}) for name in METHODS]
    shifts = [ShiftSpec(name, severity) for name in SHIFTS for severity in range(1, 6)]
    names = [card.id for card in load_suite("mini").benchmarks]
    backbone, stream = BackboneSpec("mini"), StreamSpec(batch_size=BATCH)
    of_a_seed = list(itertools.product(names, shifts, methods))
    for number in range(count):
        seed, place = divmod(number, len(of_a_seed))
        name, shift, method = of_a_seed[place]
        yield Cell("mini", name, backbone, method, shift, stream, seed)


class Numbers(NamedTuple):
    """Numbers per query, also as they are stored, and what follows from them."""

    arrays: dict[str, np.ndarray]
    content: bytes
    metrics: dict[str, float]
    others: list[float]


@functools.cache
def numbers(method: str, variant: int) -> Numbers:
    """Invented ranks of a method; cells have one of ``VARIANTS``, as packing takes time."""
    generator = np.random.default_rng([METHODS.index(method), variant])
    ranks = generator.geometric(0.3 + 0.02 * METHODS.index(method), QUERIES)
    arrays = {
        "query": np.arange(QUERIES),
        "best_rank": ranks,
        "ap": 1.0 / ranks,
        "group": np.arange(QUERIES) // CAPTIONS,
        "order": np.random.default_rng(variant).permutation(QUERIES),
    }
    metrics = of_queries({"best_rank": ranks, "ap": arrays["ap"]})
    return Numbers(arrays, packed(arrays), metrics, generator.random(24).tolist())


def finished(cell: Cell) -> tuple[Record, Numbers]:
    """A finished record with as many numbers as a real one has, and its numbers per query."""
    found = numbers(cell.method.name, cell.seed % VARIANTS)
    others, arrays = found.others, found.arrays
    hits = (arrays["best_rank"] == 1)[arrays["order"]]
    batches = [hits[start : start + BATCH] for start in range(0, QUERIES, BATCH)]
    info = {
        "home": cell.benchmark,
        "home_queries": QUERIES,
        "data": {"images": QUERIES, "captions": CAPTIONS * QUERIES},
        "data_fingerprint": DATA,
        "backbone_fingerprint": WEIGHTS,
        "backbone_name": "mini-clip",
        "queries": QUERIES,
        "gallery": CAPTIONS * QUERIES,
        "headline": ["R@1"],
        "query_modality": "image",
        "task": "image-to-text",
        "embed_dim": 128,
    }
    record = Record(
        key=cell.key(data_fingerprint=DATA, backbone_fingerprint=WEIGHTS),
        status=Status.DONE,
        cell=cell.to_dict(),
        info=info,
        metrics={**found.metrics, "forgetting": -others[0]},
        probes={"coverage": 100.0} | {f"probe_{n}": x for n, x in enumerate(others[:7])},
        cost={"ms_per_query": 2.0} | {f"seconds_{n}": x for n, x in enumerate(others[7:21])},
        batches=tuple(
            {"loss": x, "selected": 40.0, "skipped_updates": 0.0}
            | ({"angle": 90.0 * x} if cell.method.name == "rest" else {})
            | {"queries": float(len(part)), "R@1": 100.0 * float(part.mean())}
            for part, x in zip(batches, itertools.cycle(others), strict=False)
        ),
        environment={
            **{"python": "3.11.7", "torch": "2.15.0", "queryshift": "0.1.0", "numpy": "2.4.6"},
            **{"platform": "Linux-x86_64", "cpu": "a processor", "cores": 2, "threads": 1},
            **{"device": "cpu", "started": f"2026-11-26T21:{cell.seed % 60:02d}:16+00:00"},
        },
    )
    return record, found


def write(folder: Path, count: int) -> RunStore:
    """A run of so many finished cells, written without the locks and syncs of ``RunStore.save``."""
    store = RunStore(folder)
    store.cells.mkdir(parents=True)
    for cell in cells(count):
        record, found = finished(cell)
        path = store.cells / f"{cell.stem(record.key)}.json"
        path.with_suffix(".npz").write_bytes(found.content)
        path.write_text(text_of(record, found.content))
    return store
