"""A bank of training queries: which they are, and that a result is known by them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.cell import BackboneSpec, Cell, MethodSpec, ShiftSpec, Status
from benchmark.config.run import BenchConfig
from benchmark.data.own.source import OwnSource
from benchmark.data.retrieval import Sections
from benchmark.evaluation import builders
from benchmark.evaluation.fingerprints import Fingerprints
from benchmark.evaluation.runner import run_cell
from benchmark.executors.rerun import verify
from benchmark.registry import METHODS
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes

TRAINING = fakes.world("training", count=12)


def banked(bank: str, **changes: Any) -> Cell:
    version = METHODS.get("nnn").card.version
    method = MethodSpec("nnn", "published", {"bank": bank, "k": 4}, version)
    return dataclasses.replace(fakes.cell(), method=method, **changes)


def training_of(cell: Cell) -> Cell | None:
    return dataclasses.replace(cell, benchmark="training", shift=ShiftSpec("none", 0), limit=8)


def with_training(training: Any = TRAINING) -> Any:
    def load(cell: Cell) -> Any:
        return training if cell.benchmark == "training" else fakes.load_data(cell)

    return fakes.resources(
        make_method=builders._make_method, load_data=load, training_of=training_of
    )


def run_noted(cell: Cell, resources: Any) -> tuple[Any, Any, list[torch.Tensor]]:
    """A finished cell, and the rows that its method's bank was given in advance."""
    make, given = resources.make_method, list[torch.Tensor]()

    def noted(spec: MethodSpec, setup: Any) -> Any:
        method = make(spec, setup)
        for name in ("use_training", "use_stream"):
            take = getattr(method, name)
            method.__dict__[name] = lambda rows, take=take: (given.append(rows), take(rows))
        return method

    resources.make_method = noted
    record, found = run_cell(cell, resources)
    assert record.status == Status.DONE, record.reason
    return record, found, given


def source_rows(data: Any, queries: np.ndarray) -> torch.Tensor:
    encoder = fakes.FakeBackbone()
    inputs = [encoder.preprocess("image")(data.queries[int(i)])[None] for i in queries]
    return torch.cat([encoder.encode("image", one) for one in inputs])


def test_the_bank_is_the_training_queries_under_the_source_model() -> None:
    resources = with_training()
    record, found, given = run_noted(banked("train"), resources)
    assert len(given) == 1
    drawn = resources.queries(training_of(banked("train")))
    torch.testing.assert_close(given[0], source_rows(TRAINING, drawn))
    assert record.info["train_queries"] == 8
    assert record.info["train_fingerprint"] == f"{TRAINING.fingerprint} by gallery"
    _, online = run_cell(banked("past_queries"), with_training())
    assert not np.array_equal(found["best_rank"], online["best_rank"])


def in_halves(data: Any, *names: str) -> Any:
    """The set with its first and second half as sections of these names."""
    count, items = len(data.queries), len(data.gallery)
    halves = np.arange(count) // (count // 2)
    bounds = np.array([0, items // 2, items])
    return dataclasses.replace(data, sections=Sections(names, halves, bounds))


@pytest.mark.parametrize("bank", ["train", "transductive"])
def test_a_bank_filled_in_advance_holds_the_queries_to_its_own_gallery(bank: str) -> None:
    """Training queries by the name of the section, whatever their order."""
    training, data = in_halves(TRAINING, "late", "early"), in_halves(fakes.world(), "early", "late")
    sets = {"training": training, "fake": data}
    resources = fakes.resources(
        make_method=builders._make_method,
        load_data=lambda cell: sets[cell.benchmark],
        training_of=training_of,
    )
    cell = banked(bank, shift=ShiftSpec("none", 0))
    _, _, given = run_noted(cell, resources)
    first = next(iter(resources.stream(cell))).section
    of, queries = (
        (training, resources.queries(training_of(cell)))
        if bank == "train"
        else (data, resources.stream(cell).order)
    )
    assert len(given) == 2
    for rows, section in zip(given, (first, 1 - first), strict=True):
        number = of.sections.names.index(data.sections.names[section])
        expected = source_rows(of, queries[of.sections.of_query[queries] == number])
        torch.testing.assert_close(rows, expected)


def test_a_section_that_no_training_query_is_of_has_all_of_them() -> None:
    """As a limit may leave it; an empty bank would be none, or another section's."""
    sets = {name: in_halves(TRAINING, "early", "late") for name in ("training", "fake")}
    resources = fakes.resources(
        load_data=lambda cell: sets[cell.benchmark],
        training_of=lambda cell: dataclasses.replace(training_of(cell), limit=1),
    )
    assert [len(resources.homes.training_rows(banked("train"), i)) for i in (0, 1)] == [1, 1]


def test_they_are_embedded_once_in_a_process(monkeypatch) -> None:
    resources, seen = with_training(), []
    plain = resources.source_alone

    def rows(cell: Cell, queries: np.ndarray, *, clean: bool = False) -> torch.Tensor:
        seen.extend([cell] if cell.benchmark == "training" else [])
        return plain(cell, queries, clean=clean)

    monkeypatch.setattr(resources, "source_alone", rows)
    for seed in (0, 1):
        assert run_cell(banked("train", seed=seed), resources)[0].status == Status.DONE
    assert len(seen) == 1
    resources.forget()
    run_cell(banked("train"), resources)
    assert len(seen) == 2


def test_a_result_is_known_by_its_training_queries(tmp_path: Path) -> None:
    other = dataclasses.replace(TRAINING, fingerprint="others")
    keys = {
        with_training(data).key(banked(bank))
        for data in (TRAINING, other)
        for bank in ("train", "past_queries")
    }
    assert len(keys) == 3
    record, arrays = run_cell(banked("train"), with_training())
    store = RunStore(tmp_path)
    store.save(record, arrays)
    kept = store.read()[0]
    assert [cell.record.key for cell in kept] == [with_training().key(banked("train"))]
    (check,) = verify(kept, with_training(other))
    assert check.details == (
        "the training queries here are others (others by gallery) than the cell's "
        f"({TRAINING.fingerprint} by gallery)",
    )


def test_without_training_queries_the_cell_is_skipped() -> None:
    resources = fakes.resources(make_method=builders._make_method)
    record, _ = run_cell(banked("train"), resources)
    assert record.status == Status.SKIPPED
    assert "names no training queries for bank='train'" in record.reason


def embedded(benchmark: str, root: str = "") -> Cell:
    return banked("train", benchmark=benchmark, data_root=root, backbone=BackboneSpec("mini"))


def test_of_a_benchmark_they_are_another_split_of_its_data(tmp_path: Path) -> None:
    resources = builders.default_resources(BenchConfig(cache="off"))
    cell = embedded("mini-base2rsicd-i2t")
    training = resources.homes.training(cell)
    assert training is not None
    assert (training.benchmark, training.shift.name) == ("mini-base2rsicd-i2t@val", "none")
    data = resources.data(training)
    assert len(data.queries) == 150
    assert data.fingerprint != resources.data(cell).fingerprint
    assert resources.homes.training(embedded("mini-validation-image")) is None
    assert resources.homes.training(dataclasses.replace(cell, method=fakes.cell().method)) is None
    known = Fingerprints(tmp_path)
    assert known.key(cell, resources) == ""
    known.remember(cell, resources)
    assert known.key(cell, resources) == resources.key(cell)


def test_of_own_data_they_are_the_rows_of_the_split_train(tmp_path: Path) -> None:
    text = OwnSource("birds.csv", split="test").text
    training = builders.default_resources(BenchConfig(cache="off")).homes.training(
        embedded("own:birds-i2t", text)
    )
    assert training is not None
    assert OwnSource.of(training.data_root) == OwnSource("birds.csv", split="train")
    cleaned = OwnSource("birds.csv", clean="clean.csv").text
    assert builders.default_resources().homes.training(embedded("own:birds-i2t", cleaned)) is None


def test_data_sets_without_such_a_split_have_none() -> None:
    cards = builders.benchmark_cards().values()
    trained = {card.dataset for card in cards if card.suite == "paper" and card.train}
    assert trained == set(
        ["coco", "flickr30k", "icfg-pedes", "cuhk-pedes", "fashioniq", "cirr", "rsicd", "rsitmd"]
    )
    assert {card.train for card in cards if card.suite == "mini"} == {"val"}
