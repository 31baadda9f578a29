"""Forgetting is measured where the source model comes from, and nowhere else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.cell import DOMAIN, BackboneSpec, Cell, Record, ShiftSpec, Status, StreamSpec
from benchmark.data.card import benchmark_card, benchmark_cards, home_card, read_suite
from benchmark.data.retrieval import RetrievalSet
from benchmark.errors import ConfigError, DataError
from benchmark.evaluation.builders import _home_of
from benchmark.evaluation.cache import DiskCache
from benchmark.evaluation.fingerprints import Fingerprints
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from benchmark.report.frames import leaderboard
from benchmark.report.pools import benchmark_pools
from benchmark.report.results import CellResult
from benchmark.report.table import results_table
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes
from tests.benchmark.data.test_suite import GOOD, write

CLEAN = ShiftSpec("none", 0)
CARDS = benchmark_cards()


def home_id(benchmark: str, spec: BackboneSpec | None = None) -> str:
    card = benchmark_card(benchmark)
    found = home_card(card, spec or card.backbone, CARDS.values())
    return "" if found is None else found.id


def test_a_home_does_not_depend_on_the_streams_that_came_before() -> None:
    single = fakes.cell(benchmark="own:x-i2t", data_root="x.csv")
    domains = dataclasses.replace(single, stream=StreamSpec("continual", group_key=DOMAIN))
    for cells in ((single, domains), (domains, single)):
        homes = fakes.resources(home_of=_home_of).homes
        assert [cell for cell in cells if homes.of(cell)] == [single]


# What the cards say


@pytest.mark.parametrize("card", CARDS.values(), ids=lambda card: card.id)
def test_every_home_is_a_benchmark_of_the_same_kind(card: Any) -> None:
    home = home_card(card, card.backbone, CARDS.values())
    if card.suite.startswith("mini"):
        assert home is not None, "each embedded encoder has a training world"
    if home is not None:
        assert (home.task, home.query) == (card.task, card.query)


@pytest.mark.parametrize(
    ("benchmark", "home"),
    [
        ("mini-coco-c-text", "mini-coco-c-text"),
        ("mini-base2flickr-i2t", "mini-coco-c-image"),
        ("mini-base2coco-t2i", "mini-flickr-c-text"),
        ("mini-icfg2cuhk-i2t", "mini-cuhk2icfg-i2t"),
        ("mini-vgg-c-audio", "mini-vgg-c-audio"),
        ("cuhk2icfg-i2t", "icfg2cuhk-i2t"),
        ("coco-c-image", ""),
        ("cirr-c", ""),
    ],
)
def test_homes_of_the_bundled_benchmarks(benchmark: str, home: str) -> None:
    assert home_id(benchmark) == home


def test_the_home_goes_by_the_weights_and_not_by_the_benchmark() -> None:
    tuned = BackboneSpec("blip", "Salesforce/blip-itm-base-coco")
    assert home_id("base2flickr-i2t", tuned) == home_id("coco-c-image", tuned) == "coco-c-image"
    assert home_id("coco-c-text", BackboneSpec("blip", "Salesforce/blip-itm-large-flickr")) == (
        "flickr-c-text"
    )
    # The model names the configuration only; the file may hold any weights.
    assert home_id("coco-c-image", dataclasses.replace(tuned, pretrained="model_base.pth")) == ""
    assert home_id("mini-coco-c-image", BackboneSpec("mini", "flickr")) == "mini-flickr-c-image"
    assert home_id("mini-coco-c-image", BackboneSpec("open_clip", "ViT-B-16")) == ""
    assert home_id("mini-as-c-video", BackboneSpec("pe_av", "x")) == ""
    checkpoint = BackboneSpec("person_search", "irra-cuhk", "irra.pth")
    assert home_id("cuhk2icfg-t2i", checkpoint) == "icfg2cuhk-t2i"


@pytest.mark.parametrize(
    ("home", "message"),
    [
        ("cocco", r"unknown data set 'cocco'.*'coco'"),
        ('{"blip:x": cocco}', r"unknown data set 'cocco'"),
        ("{blip: coco}", r"'blip' is no weights; expected loader:model"),
    ],
)
def test_a_home_that_cannot_be_one_is_refused_with_its_line(
    tmp_path: Path, home: str, message: str
) -> None:
    text = GOOD.replace("  severity: 5\n", f"  severity: 5\n  home: {home}\n", 1)
    with pytest.raises(ConfigError, match=message) as caught:
        read_suite(write(tmp_path, text))
    assert "mine.yaml:15" in str(caught.value)


def test_a_home_that_no_benchmark_is_on_is_the_cards_fault() -> None:
    card = dataclasses.replace(benchmark_card("mini-coco-c-image"), home="mini-cirr")
    with pytest.raises(ConfigError, match="no benchmark has image queries of that data set"):
        home_card(card, card.backbone, CARDS.values())


def test_interleaved_benchmarks_share_the_home_of_their_weights() -> None:
    def home(names: str, spec: BackboneSpec) -> str | None:
        found = _home_of(fakes.cell(benchmark=names, backbone=spec))
        return None if found is None else found.benchmark

    mini = BackboneSpec()
    assert home("mini-base2flickr-i2t+mini-base2rsicd-i2t", mini) == "mini-coco-c-image"
    both = "mini-as-c-audio+mini-vgg-c-audio"
    assert home(both, BackboneSpec("mini-clips")) == both
    clip = benchmark_card("base2flickr-i2t").backbone
    assert home("base2flickr-i2t+base2rsicd-i2t", clip) is None


# What a cell measures


def load(cell: Cell) -> RetrievalSet:
    if cell.benchmark == "home":
        return fakes.world("home", count=40, captions=1)
    if cell.benchmark == "nowhere":
        raise DataError("no data in /nowhere; put the images there")
    return fakes.world()


def resources(home: str | None, **more: Any) -> Resources:
    def home_of(cell: Cell) -> Cell | None:
        if home is None:
            return None
        return dataclasses.replace(cell, benchmark=home, shift=CLEAN, stream=StreamSpec())

    return fakes.resources(load_data=load, home_of=home_of, **more)


def run(cell: Cell, shared: Resources) -> Record:
    record, _ = run_cell(cell, shared)
    assert record.status == Status.DONE, record.reason
    return record


FORGETTING = ("clean_R@1_before", "clean_R@1_after", "forgetting")


def test_forgetting_is_measured_on_the_home_with_as_many_queries_as_the_cell_has() -> None:
    record = run(fakes.cell("trained"), resources("home"))
    assert (record.info["home"], record.info["home_queries"]) == ("home", 30)
    own = run(fakes.cell("source", benchmark="home", shift=CLEAN, limit=30), resources("home"))
    assert record.metrics["clean_R@1_before"] == own.metrics["R@1"]
    elsewhere = run(fakes.cell("trained"), resources("fake"))
    assert "home_fingerprint" not in elsewhere.info
    assert elsewhere.info["home"] == "fake"


@pytest.mark.parametrize("name", ["home", "fake"])
def test_a_share_of_the_clean_queries_is_a_part_of_all_and_has_its_own_key(name: str) -> None:
    found, used = {}, {}
    for share in (1, 4):
        shared = resources(name, clean_share=lambda cell, share=share: share)
        found[share] = run(fakes.cell("trained"), shared)
        home = shared.homes.of(fakes.cell("trained"))
        assert home is not None
        used[share] = set(shared.queries(home).tolist())
    assert [found[share].info["home_queries"] for share in (1, 4)] == [30, 8]
    assert used[4] < used[1]
    assert found[1].key != found[4].key
    assert set(FORGETTING) <= set(found[4].metrics)
    assert found[1].metrics["R@1"] == found[4].metrics["R@1"]


def test_after_is_the_adapted_model_on_the_home_by_hand() -> None:
    kept: list[Any] = []

    def make(spec: Any, setup: Any) -> Any:
        kept.append(fakes.make_method(spec, setup))
        return kept[-1]

    record = run(fakes.cell("trained"), resources("home", make_method=make))
    data, backbone = fakes.world("home", count=40, captions=1), fakes.FakeBackbone()
    shared = resources("home")
    chosen = shared.queries(fakes.cell(benchmark="home", limit=30))
    texts = torch.stack([backbone._text(data.gallery[i]) for i in range(40)])
    images = torch.stack([backbone._image(data.queries[int(i)]) for i in chosen])
    gallery = backbone.encode("text", texts)
    best = (kept[0].embed(images) @ gallery.T).argmax(1).numpy()
    assert record.metrics["clean_R@1_after"] == pytest.approx(100 * np.mean(best == chosen))
    assert record.metrics["forgetting"] == pytest.approx(
        record.metrics["clean_R@1_after"] - record.metrics["clean_R@1_before"]
    )


def test_without_a_home_there_is_no_number_anywhere() -> None:
    results = []
    for method in ("source", "trained"):
        record, arrays = run_cell(fakes.cell(method), resources(None))
        assert record.status == Status.DONE, record.reason
        assert record.info["home"] == ""
        assert not set(FORGETTING) & set(record.metrics)
        hits = (arrays["best_rank"] == 1).astype(float)
        results.append(CellResult(record, np.where(hits, 1, 2), arrays["group"], arrays["order"]))
    board = leaderboard(benchmark_pools(results))
    assert board[list(FORGETTING)].isna().all(axis=None)
    from rich.console import Console

    console = Console(width=140, color_system=None)
    with console.capture() as capture:
        console.print(results_table(results))
    assert "->" not in capture.get().replace("before->after", "")


def test_a_home_that_the_user_does_not_have_leaves_the_number_out_and_says_why() -> None:
    shared = resources("nowhere")
    record = run(fakes.cell("trained"), shared)
    assert record.info["home"] == ""
    assert "no data in /nowhere" in record.info["homeless"]
    assert not set(FORGETTING) & set(record.metrics)


def test_the_home_is_part_of_the_identity_in_every_way_to_it(tmp_path: Path) -> None:
    cell = fakes.cell()
    keys = {}
    for home in ("home", "fake", None, "nowhere"):
        shared = resources(home)
        record, arrays = run_cell(cell, shared)
        keys[home] = record.key
        assert record.key == shared.key(cell)
        store = RunStore(tmp_path / str(home))
        store.save(record, arrays)
        assert [stored.key for stored in store.records()] == [record.key], "its reader agrees"
        assert Fingerprints(tmp_path).key(cell, shared) in ("", record.key)
    assert keys["home"] != keys["fake"] == keys[None] == keys["nowhere"]


def test_the_home_is_encoded_once_for_all_cells(tmp_path: Path) -> None:
    backbone = fakes.FakeBackbone()
    shared = resources("home", load_backbone=lambda spec: backbone)
    run(fakes.cell("source"), shared)
    first = len(backbone.encoded)
    run(fakes.cell("trained"), shared)
    assert len(backbone.encoded) == first
    for encoded in (True, False):
        backbone = fakes.FakeBackbone()
        disk = DiskCache(tmp_path, 1 << 24)
        shared = resources("home", load_backbone=lambda spec, b=backbone: b, disk=disk)
        run(fakes.cell("trained"), shared)
        assert bool(backbone.encoded) == encoded
