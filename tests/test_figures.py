"""The figures of make perf, and the logic of make gpu-check on a CPU."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from tests.perf import figures, gpu_check
from tests.perf.gpu_page import page
from tests.perf.vit import random_vit

REPORT = {
    "datetime": "2026-11-26T10:00:00",
    "machine_info": {"cpu": {"brand_raw": "A CPU", "count": 2}},
    "benchmarks": [
        {
            "fullname": "tests/perf/test_overhead.py::test_vit_b_32",
            "name": "test_vit_b_32",
            "stats": {"min": 1.23456},
            "extra_info": {"overhead": 0.99, "with_forgetting": 1.04, "load": 3.5},
        },
        {
            "fullname": "tests/perf/test_cache.py::test_second_method[a-fog]",
            "name": "test_second_method[a-fog]",
            "stats": {"min": 2.0},
            "extra_info": {"second_to_first": 0.25},
        },
    ],
}


def test_a_report_becomes_figures_by_test() -> None:
    found = figures.collected(REPORT)
    assert found["test_overhead.py::test_vit_b_32"] == {
        "machine": "A CPU, 2 cores",
        "date": "2026-11-26",
        "minimum_s": 1.235,
        "overhead": 0.99,
        "with_forgetting": 1.04,
        "load": 3.5,
    }


def test_the_list_of_the_docs_is_replaced_and_says_what_is_missing() -> None:
    kept = figures.collected(REPORT)
    text = "before\n<!-- figures: begin -->\nold list\n<!-- figures: end -->\nafter\n"
    found = figures.with_listing(text, kept)
    assert found.startswith("before\n")
    assert found.endswith("after\n")
    assert "old list" not in found
    assert "| … with forgetting | ≤ 1.05 | 1.04 |" in found
    assert "| ≤ 0.10 | 0.25 (a-fog) |" in found
    assert "| ≥ 1.7 | not measured yet |" in found
    assert "Measured on: A CPU, 2 cores (2026-11-26)." in found
    assert "Load average at the end of the tests: 3.5 to 3.5." in found
    assert figures.with_listing(found, kept) == found


def test_every_number_is_printed_and_the_machine_named() -> None:
    console = Console(file=io.StringIO(), width=100)
    figures.show(figures.collected(REPORT), console)
    said = console.file.getvalue()
    assert {"0.25", "0.99", "1.04", "1.235"} <= set(said.split())
    assert "Measured on: A CPU, 2 cores (2026-11-26)." in said


def test_figures_name_tests_that_exist() -> None:
    folder = Path(figures.__file__).parent
    for figure in figures.FIGURES:
        file, function = figure.test.split("::")
        text = (folder / file).read_text(encoding="utf-8")
        assert f"def {function}(" in text, figure
        assert f'"{figure.key}"' in text, figure


def test_committed_page_lists_the_committed_figures() -> None:
    kept = json.loads(figures.KEPT.read_text(encoding="utf-8"))
    text = figures.DOCS.read_text(encoding="utf-8")
    assert figures.with_listing(text, kept) == text


def test_the_committed_page_of_the_gpu_is_of_the_committed_numbers() -> None:
    kept = json.loads((gpu_check.ROOT / "results/gpu.json").read_text(encoding="utf-8"))
    text = (gpu_check.ROOT / "results/gpu.md").read_text(encoding="utf-8")
    assert page(kept) == text
    assert kept["agreement"]["within"]


def test_without_a_gpu_the_check_says_so_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    paths = [tmp_path / "gpu.json", tmp_path / "gpu.md"]
    assert gpu_check.main(["--json", str(paths[0]), "--page", str(paths[1])]) == 0
    assert "No GPU here" in capsys.readouterr().out
    assert not any(path.exists() for path in paths)


SMALL = gpu_check.Size(
    model="ViT-S-32-alt",
    batch=4,
    batches=2,
    gallery=30,
    pictures=12,
    for_each=12,
    sides=(48, 36),
    loaders=(1,),
    waits=("float32",),
    compiled=(),
    methods=("source", "tent", "bn_adapt"),
    main=("tent",),
    compared=("source", "bn_adapt"),
    limit=32,
)


@pytest.mark.slow
def test_the_check_measures_every_part_and_its_page_shows_it() -> None:
    kept: list[object] = []
    found = gpu_check.check("cpu", SMALL, time.perf_counter() + 600, kept.append)
    assert len(kept) == 4  # after each part
    parts = {name: part for name, part in found.items() if isinstance(part, dict)}
    assert not {name: part for name, part in parts.items() if "failed" in part}
    assert found["agreement"]["within"]
    assert found["agreement"]["methods"]["source"]["ranks_that_differ"] == 0
    assert found["executors"]["two processes"]["equal_cells"] == "2 of 2"
    for row in found["waiting"]["cells"]:
        assert 0 <= row["waiting"] < 1
        assert row["queries_per_second"] > 0
    assert found["speed"]["float32"]["methods"]["tent"]["of_bare_passes"] > 0
    text = page(json.loads(json.dumps(found)))
    assert "ViT-S-32-alt" in text
    assert "| tent | " in text
    assert "BatchNorm" in found["speed"]["bf16"]["methods"]["bn_adapt"]["failed"]
    assert "BatchNorm" in found["agreement"]["methods"]["bn_adapt"]["failed"]
    assert text.count("BatchNorm") == 2
    assert "Not measured" not in text


def test_a_part_that_fails_is_named_and_the_others_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("out of memory")

    for name in ("agreement", "executors", "waiting", "speed"):
        monkeypatch.setattr(gpu_check, name, broken)
    monkeypatch.setattr(gpu_check, "executors", lambda *_: {"two_over_one": 1.5})
    kept: list[object] = []
    found = gpu_check.check("cpu", SMALL, time.perf_counter() + 600, kept.append)
    assert found["speed"] == {"failed": "RuntimeError: out of memory"}
    assert "Not measured: RuntimeError: out of memory" in page(found)
    assert "1.50 times" in page(found)


def test_parts_after_the_time_limit_are_left_out() -> None:
    found = gpu_check.check("cpu", SMALL, time.perf_counter() - 1, [].append)
    assert all("time limit" in found[name]["failed"] for name in ("speed", "waiting"))
    found["waiting"] = gpu_check.waiting(random_vit(SMALL.model), "cpu", SMALL, until=0.0)
    assert "Time was up for 3 more cells" in page(found)
