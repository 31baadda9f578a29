"""Cells with a cold, a warm and no disk cache: the same bytes, and how much work is saved."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.backbones.base import Staged
from benchmark.cell import BackboneSpec, Cell, MethodSpec, Record, ShiftSpec, Status, StreamSpec
from benchmark.data.retrieval import Relevance, RetrievalSet, Sections
from benchmark.evaluation.cache import PARTIAL, DiskCache, Entry
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import Arrays, run_cell
from benchmark.executors.processes import ProcessExecutor
from methods.base import Method, Setup
from methods.rest import Rest, RestOptions
from shifts.base import Audio, Composed, Shift, ShiftCard
from tests.benchmark import fakes

NOISE = ShiftSpec("noise", 5)
MODALITIES = ("image", "text", "video", "audio", "composed")
METHODS = ("source", "trained", "rest")


class Jitter(Shift):
    """Any kind of query, changed a little."""

    card = ShiftCard("jitter", "any", (1, 5), "jitters", "none")

    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        if isinstance(item, str):
            return item.split()[0] + f" {rng.integers(50)}"
        if isinstance(item, Audio):
            noisy = item.samples + rng.normal(0, 0.02 * severity, len(item.samples))
            return Audio(noisy.clip(-1, 1).astype(np.float32), item.rate)
        if isinstance(item, Composed):
            return Composed(self.corrupt(item.image, severity, rng), item.text)
        noisy = item + rng.normal(0.0, 12.0 * severity, item.shape)
        return np.clip(noisy, 0, 255).astype(np.uint8)


class Senses(fakes.FakeBackbone):
    """Pictures in two stages, videos by their mean frame, sounds as they are, words as noise."""

    def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
        image = Staged(self._pixels, lambda pixels: pixels.float() / 255.0)
        return {
            "image": image,
            "text": self._text,
            "video": lambda frames: self._pixels(frames.mean(axis=0)).float() / 255.0,
            "audio": lambda audio: torch.from_numpy(audio.samples.copy()),
            "composed": lambda query: image(query.image) + 0.01 * len(query.text),
        }[modality]

    def _pixels(self, item: np.ndarray) -> Tensor:
        self.preprocessed += 1
        return torch.from_numpy(item.astype(np.uint8)).flatten()


@dataclasses.dataclass(frozen=True)
class Made:
    """Items of any kind, from their number."""

    ids: Sequence[str]
    make: Callable[[int], Any]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int, /) -> Any:
        if index >= len(self.ids):
            raise IndexError(index)
        return self.make(index)


def item(modality: str, number: int) -> Any:
    picture = fakes.pictures(1000)[number]
    if modality == "audio":
        return Audio(picture.reshape(-1).astype(np.float32) / 255, 100)
    if modality == "video":
        return np.stack([picture, picture])
    if modality == "composed":
        return Composed(picture, "x" * (number % 7))
    return picture if modality == "image" else f"{number} 0"


def retrieval_set(modality: str, sections: bool = False) -> RetrievalSet:
    """30 queries of a kind, each answered by the text of the same number."""
    count = 30
    plain = fakes.world(captions=1)
    parts = Sections(("a", "b"), np.arange(count) // 15, np.array([0, 15, 30]))
    return dataclasses.replace(
        plain,
        name=f"{modality}{'-parts' * sections}",
        query_modality=modality,
        queries=Made(plain.queries.ids, lambda number: item(modality, number)),
        relevance=Relevance.from_lists([[number] for number in range(count)]),
        fingerprint=f"data-{modality}-{sections}",
        sections=parts if sections else None,
    )


def load_data(cell: Cell) -> RetrievalSet:
    modality, _, parts = cell.benchmark.partition("-")
    return retrieval_set(modality, bool(parts))


def load_backbone(spec: BackboneSpec) -> Senses:
    return Senses()


def make_method(spec: MethodSpec, setup: Setup) -> Method:
    if spec.name == "rest":
        return Rest(setup, RestOptions(lr=1e-2))
    return fakes.make_method(spec, setup)


def make_shift(spec: ShiftSpec) -> Shift:
    return Jitter()


def resources(folder: Path | None = None, backbone: Senses | None = None) -> Resources:
    return Resources(
        load_data=load_data,
        load_backbone=(lambda spec: backbone) if backbone else load_backbone,
        make_method=make_method,
        make_shift=make_shift,
        disk=None if folder is None else DiskCache(folder, 1 << 24),
    )


def numbers(record: Record, arrays: Arrays) -> tuple[Any, ...]:
    """All of a result but times and memory."""
    assert record.status == Status.DONE, record.reason
    passes = {name: record.cost[name] for name in record.cost if name.endswith("per_query")}
    del passes["ms_per_query"]
    bits = {name: values.tobytes() for name, values in arrays.items()}
    return record.key, record.metrics, record.probes, record.batches, passes, bits


def cell(method: str, benchmark: str, **changes: Any) -> Cell:
    return fakes.cell(method, benchmark=benchmark, **{"shift": NOISE, **changes})


MIXED = StreamSpec("mixed", batch_size=8, domains=(ShiftSpec("jitter", 1), ShiftSpec("none", 0)))
STREAMS: dict[str, tuple[str, dict[str, Any]]] = {
    **{modality: (modality, {}) for modality in MODALITIES},
    "clean": ("image", {"shift": ShiftSpec("none", 0)}),
    "several domains": ("image", {"stream": MIXED}),
    "sections": ("image-parts", {}),
    "few queries": ("video", {"limit": 11}),
}


@pytest.mark.parametrize("name", STREAMS)
def test_cold_warm_and_without_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    benchmark, changes = STREAMS[name]
    cells = [cell(method, benchmark, **changes) for method in METHODS]
    expected = [numbers(*run_cell(one, resources())) for one in cells]
    assert len({str(found[1]) for found in expected}) > 1, "methods must differ to tell anything"
    cold = resources(tmp_path)
    assert [numbers(*run_cell(one, cold)) for one in cells] == expected
    # Each cell in a "process" of its own, the cells in another order.
    for one, wanted in list(zip(cells, expected, strict=True))[::-1]:
        assert numbers(*run_cell(one, resources(tmp_path))) == wanted
    kinds = [stored.kind for stored in DiskCache(tmp_path, 1).entries()]
    assert kinds.count("gallery") == 1
    assert kinds.count("queries") == (1 if name == "clean" else 2)
    assert kinds.count("source") == (3 if name == "several domains" else 2)


def test_a_second_process_decodes_and_encodes_nothing_twice(tmp_path: Path) -> None:
    first, second = Senses(), Senses()
    run_cell(cell("rest", "image"), resources(tmp_path, first))
    assert first.preprocessed == 60
    assert len(first.encoded) == 2 + 2 + 4  # blocks of gallery and clean queries, four batches
    record, _ = run_cell(cell("rest", "image"), resources(tmp_path, second))
    assert (second.preprocessed, second.encoded) == (0, [])
    assert record.cost["forward_per_query"] == 3
    run_cell(cell("rest", "image", seed=1), resources(tmp_path, second))
    assert second.preprocessed == 30, "another seed is another stream; clean queries are the same"
    assert len(second.encoded) == 4


def test_images_are_kept_before_normalisation(tmp_path: Path) -> None:
    run_cell(cell("source", "image"), resources(tmp_path))
    run_cell(cell("source", "video"), resources(tmp_path))
    entries = [stored for stored in DiskCache(tmp_path, 1).entries() if stored.kind == "queries"]
    assert {stored.size - 4096 for stored in entries} == {30 * 48, 30 * 48 * 4}


@pytest.mark.parametrize("kind", ["gallery", "queries", "source", "changes"])
def test_damaged_entries_are_made_again(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = numbers(*run_cell(cell("rest", "image"), resources(tmp_path)))
    damaged = [stored.path for stored in DiskCache(tmp_path, 1).entries() if stored.kind == kind]
    for path in damaged:
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 255
        path.write_bytes(bytes(raw))
    with caplog.at_level(logging.WARNING, "benchmark"):
        assert numbers(*run_cell(cell("rest", "image"), resources(tmp_path))) == expected
    assert len(caplog.messages) == len(damaged) > 0
    for stored in DiskCache(tmp_path, 1).entries():
        Entry.open(stored.path)  # raises where one is damaged


def test_a_cell_that_fails_on_its_way_leaves_no_entry_and_the_next_goes_on(tmp_path: Path) -> None:
    backbone = Senses()
    shared = resources(tmp_path, backbone)
    small = {"stream": StreamSpec(batch_size=4)}
    failed, _ = run_cell(cell("bad", "image", how="raises", **small), shared)
    assert failed.status == Status.FAILED
    assert [stored.kind for stored in DiskCache(tmp_path, 1).entries()] == ["gallery"]
    before = backbone.preprocessed
    assert 8 <= before <= 16, "two batches, and what was prepared ahead"
    assert numbers(*run_cell(cell("trained", "image", **small), shared)) == numbers(
        *run_cell(cell("trained", "image", **small), resources())
    )
    assert backbone.preprocessed == 60, "what the failed cell had made was used"


def changed(folder: Path, **attributes: Any) -> tuple[Senses, Resources]:
    backbone = Senses()
    for name, value in attributes.items():
        setattr(backbone, name, value)
    return backbone, resources(folder, backbone)


def test_other_weights_precision_or_threads_are_other_entries(tmp_path: Path) -> None:
    run_cell(cell("source", "image"), resources(tmp_path))
    backbone, shared = changed(tmp_path, fingerprint="weights-2")
    run_cell(cell("source", "image"), shared)
    assert backbone.preprocessed == 60
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        backbone, shared = changed(tmp_path)
        run_cell(cell("source", "image"), shared)
    finally:
        torch.set_num_threads(threads)
    assert len(backbone.encoded) == 5
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        backbone, shared = changed(tmp_path)
        run_cell(cell("source", "image"), shared)
    finally:
        torch.set_float32_matmul_precision(precision)
    assert len(backbone.encoded) == 5


def test_inputs_of_code_that_cannot_be_found_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Jitter, "__module__", "nowhere.to.be.found")
    run_cell(cell("source", "image"), resources(tmp_path))
    found = [stored.kind for stored in DiskCache(tmp_path, 1).entries()]
    assert sorted(found) == ["gallery", "queries", "source"], "the clean ones alone"


def test_rows_of_different_shapes_stay_in_memory(tmp_path: Path) -> None:
    class Ragged(Senses):
        def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
            if modality != "text":
                return super().preprocess(modality)
            return lambda text: self._text(text)[: 48 if text.startswith("0") else 47]

        def collate(self, modality: str, inputs: Sequence[Tensor]) -> Tensor:
            padded = [torch.nn.functional.pad(row, (0, 48 - len(row))) for row in inputs]
            return torch.stack(padded)

    plain = numbers(*run_cell(cell("trained", "text"), resources(None, Ragged())))
    assert numbers(*run_cell(cell("trained", "text"), resources(tmp_path, Ragged()))) == plain
    disk = DiskCache(tmp_path, 1)
    assert "queries" not in {stored.kind for stored in disk.entries()}
    assert not disk.entries(PARTIAL)


def factory() -> Resources:
    return resources(Path("cache"))


@pytest.mark.slow
def test_worker_processes_share_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [cell(method, "image", seed=seed) for seed in (0, 1) for method in ("source", "rest")]
    saved: dict[str, Arrays] = {}

    def save(record: Record, arrays: Any) -> None:
        assert record.status == Status.DONE, record.reason
        saved[record.key] = dict(arrays)

    for _ in range(2):
        records = ProcessExecutor(factory, workers=2, threads=1).run(cells, save)
        assert len(saved) == len(records) == 4
        for record, one in zip(records, cells, strict=True):
            expected = run_cell(one, resources())[1]
            assert {k: v.tobytes() for k, v in saved[record.key].items()} == {
                k: v.tobytes() for k, v in expected.items()
            }
    disk = DiskCache(tmp_path / "cache", 1)
    assert [stored.kind for stored in disk.entries()].count("queries") == 3
    for stored in disk.entries():
        Entry.open(stored.path)  # raises where one is damaged
