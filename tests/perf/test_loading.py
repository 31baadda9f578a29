"""Seconds and memory that annotations of real size cost; the aim is 2 s and 300 MB for COCO's.

The records are generated and the pictures are empty files: loading looks for them, but opens none.
Time and memory are those of a fresh process, imports included and excluded; times are reported,
memory is asserted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import benchmark as package

ROOT = Path(package.__file__).resolve().parents[1]
MEMORY_MB = 300
CAPTION = "a man in a black jacket rides number {} past the third red house of the old street"

_PROBE = """
import importlib, json, sys, time, tracemalloc
from pathlib import Path
name, root, traced = sys.argv[1:]
load = getattr(importlib.import_module("benchmark.data.datasets.captioned"), name)
from benchmark.data.tasks import build_pairs
if traced == "traced":
    tracemalloc.start()
begun, wall = time.process_time(), time.perf_counter()
pairs = load(Path(root))
loaded = time.process_time() - begun, time.perf_counter() - wall
for query in ("image", "text"):
    build_pairs(pairs, name="x", query=query)
print(json.dumps({
    "counts": pairs.counts,
    "load_cpu_s": loaded[0],
    "load_wall_s": loaded[1],
    "load_and_build_cpu_s": time.process_time() - begun,
    # Not ru_maxrss, which begins with what the forking process had.
    "process_mb": int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024,
    "python_peak_mb": tracemalloc.get_traced_memory()[1] / 2**20,
}))
"""


def captions(index: int, count: int) -> list[str]:
    return [CAPTION.format(10 * index + k) for k in range(count)]


def write(file: Path, data: Any, images: Path, names: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data), encoding="utf-8")
    images.mkdir(parents=True)
    for name in names:
        (images / name).touch()


def coco_blip(root: Path) -> None:
    names = [f"COCO_val2014_{i:012d}.jpg" for i in range(5000)]
    data = [{"image": f"val2014/{name}", "caption": captions(i, 5)} for i, name in enumerate(names)]
    write(root / "coco/coco_karpathy_test.json", data, root / "coco/images/val2014", names)


def coco_karpathy(root: Path) -> None:
    """The test split among the training images, with tokens, as in the published file."""
    records = []
    for i in range(123_287):
        sentences = [{"raw": t, "tokens": t.split(), "sentid": 0} for t in captions(i, 5)]
        split = "test" if i < 5000 else "train"
        name = f"COCO_val2014_{i:012d}.jpg"
        records.append(
            {"filepath": "val2014", "filename": name, "split": split, "sentences": sentences}
        )
    names = [record["filename"] for record in records[:5000]]
    data = {"images": records, "dataset": "coco"}
    write(root / "coco/dataset_coco.json", data, root / "coco/images/val2014", names)


def nocaps(root: Path) -> None:
    names = [f"{i:016x}.jpg" for i in range(4500)]
    images = [{"id": i, "file_name": n, "domain": "near-domain"} for i, n in enumerate(names)]
    texts = [{"id": i, "image_id": i % 4500, "caption": CAPTION.format(i)} for i in range(45_000)]
    data = {"images": images, "annotations": texts}
    write(root / "nocaps/nocaps_val_4500_captions.json", data, root / "nocaps/images", names)


def icfg(root: Path) -> None:
    names = [f"{i:06d}.jpg" for i in range(19_848)]
    data = [
        {"split": "test", "captions": captions(i, 1), "file_path": f"test/{name}", "id": i // 20}
        for i, name in enumerate(names)
    ]
    write(root / "ICFG-PEDES/ICFG-PEDES.json", data, root / "ICFG-PEDES/imgs/test", names)


SETS: dict[str, tuple[Callable[[Path], None], str, float]] = {
    "coco, BLIP's file": (coco_blip, "load_coco", MEMORY_MB),
    "nocaps, official file": (nocaps, "load_nocaps", MEMORY_MB),
    "icfg-pedes": (icfg, "load_icfg_pedes", MEMORY_MB),
    # 180 MB of JSON for all splits; the standard library parses a file as a whole.
    "coco, Karpathy's file": (coco_karpathy, "load_coco", 700),
}


@pytest.mark.parametrize("name", SETS)
def test_loading(name: str, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    make, function, limit = SETS[name]
    make(tmp_path)
    command = [sys.executable, "-c", _PROBE, function]

    def load(traced: str = "") -> dict[str, Any]:
        done = subprocess.run(
            [*command, str(tmp_path), traced], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    rounds = 3 if limit == MEMORY_MB else 1
    found = benchmark.pedantic(load, rounds=rounds, warmup_rounds=rounds // 3)
    traced = load("traced")
    benchmark.extra_info.update(
        {key: value if key == "counts" else round(value, 2) for key, value in found.items()}
        | {"python_peak_mb": round(traced["python_peak_mb"], 1)}
    )
    assert found["process_mb"] < limit, benchmark.extra_info
    assert traced["python_peak_mb"] < limit, benchmark.extra_info
