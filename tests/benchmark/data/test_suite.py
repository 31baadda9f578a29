from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.data.card import (
    BenchmarkCard,
    benchmark_card,
    benchmark_cards,
    load_suite,
    read_suite,
    suite_names,
)
from benchmark.data.tasks import load_retrieval_set
from benchmark.errors import ConfigError, DataError, UnknownNameError
from benchmark.registry import SHIFTS
from shifts.builtin import builtin_class
from tests.benchmark.fixtures_karpathy import coco_name, make_coco

ROOT = Path(__file__).parents[3]

GOOD = """\
suite: mine
title: My suite
defaults:
  task: image_text
  dataset: coco
  split: test
  setting: QS
  paper: none
  named_by: our reading
  licence: none
  preset: published
  backbone: {loader: open_clip, model: ViT-B-16-quickgelu, pretrained: openai}
  shifts: [gaussian_noise]
  severity: 5
benchmarks:
  - id: one
    summary: first
    query: image
    counts: {images: 6, captions: 30}
  - id: two
    summary: second
    query: text
    counts: {images: 6, captions: 30}
    severity: 3
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


# The bundled suites


def test_bundled_suites_and_benchmarks() -> None:
    assert set(suite_names()) >= {"mini", "paper"}
    twenty = list(dict.fromkeys(card.row for card in load_suite("paper").benchmarks))
    assert len(twenty) == 20
    assert {"coco-c-image", "base2nocaps-out", "icfg2cuhk", "vgg-c-audio", "cirr-c"} <= set(twenty)


def test_every_benchmark_has_an_embedded_twin() -> None:
    """Same tasks, query sides and settings, row by row and in the same order."""
    paper, mini = (load_suite(name).benchmarks for name in ("paper", "mini"))
    assert [card.id for card in mini] == [f"mini-{card.id}" for card in paper]
    for card, twin in zip(paper, mini, strict=True):
        assert (card.task, card.query, card.setting) == (twin.task, twin.query, twin.setting)
        assert set(card.counts) == set(twin.counts)
        assert f"mini-{card.row}" == twin.row


def test_embedded_benchmarks_cannot_be_mistaken_for_real_ones() -> None:
    for card in benchmark_cards().values():
        embedded = card.suite.startswith("mini")
        assert card.id.startswith("mini-") == embedded
        assert card.backbone.loader.startswith("mini") == embedded


@pytest.mark.parametrize("card", benchmark_cards().values(), ids=lambda card: card.id)
def test_cards_are_consistent(card: BenchmarkCard) -> None:
    named = {
        "image_text": {"images", "captions"},
        "video_audio": {"clips"},
        "composed": {"queries", "images"},
    }
    assert set(card.counts) == named[card.task]
    assert card.citation or card.suite.startswith("mini")
    for name in card.shifts:
        assert builtin_class(name).card.modality in ("any", card.query)
    assert (card.setting == "QGS") == (card.shifts == ("none",))


def test_default_severities_exist() -> None:
    for card in benchmark_cards().values():
        for name in card.shifts:
            known = SHIFTS.get(name).card.severities
            assert min(known) <= card.severity, name  # a lower one stands in for a missing one


def test_published_counts() -> None:
    counts = {name: tuple(card.counts.values()) for name, card in benchmark_cards().items()}
    assert counts["coco-c-image"] == counts["base2coco-t2i"] == (5000, 25000)
    assert counts["flickr-c-text"] == counts["base2flickr-i2t"] == (1000, 5000)
    assert counts["mini-coco-c-image"] == (1000, 5000)


def test_listing_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from benchmark.data.card import benchmark_cards; benchmark_cards(); "
        "print([m for m in ('torch', 'numpy', 'pandas', 'open_clip') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'paper'"):
        load_suite("papers")
    with pytest.raises(UnknownNameError, match="'flickr-c-image'"):
        benchmark_card("flickr-c-imge")


# Reading a suite file


def test_defaults_are_merged_and_own_values_win(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, GOOD))
    one, two = suite.benchmarks
    assert (suite.name, suite.title, one.suite) == ("mine", "My suite", "mine")
    assert (one.severity, two.severity) == (5, 3)
    assert one.shifts == ("gaussian_noise",)
    assert one.backbone.model == "ViT-B-16-quickgelu"
    assert (one.cleaning, one.max_words, one.shift_options) == ("blip", 30, {})


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("    query: image", "    qurey: image", "mine.yaml:18: unknown key 'qurey'.*'query'"),
        ("    query: image", "    query: imag", "mine.yaml:18: .*did you mean 'image'"),
        ("    query: image\n", "", "mine.yaml:16: benchmark 'one' lacks query"),
        ("images: 6", "images: six", "mine.yaml:19: 'images': expected a whole number"),
        ("images: 6", "images: 0", "mine.yaml:19: 'images': .* at least 1, not 0"),
        ("counts: {images: 6, captions: 30}", "counts: {}", "mine.yaml:19: .*not empty"),
        ("query: image", "query: video", "mine.yaml:18: task 'image_text' has no 'video'"),
        ("  severity: 5", "  severity: 5.0", "mine.yaml:14: 'severity': expected a whole number"),
        ("[gaussian_noise]", "gaussian_noise", "mine.yaml:13: 'shifts': expected a list"),
        ("[gaussian_noise]", "[1]", "mine.yaml:13: 'shifts': expected a text"),
        ("[gaussian_noise]", "[]", "mine.yaml:13: 'shifts': expected a list that is not empty"),
        ("dataset: coco", "dataset: coca", "mine.yaml:5: .*unknown data set 'coca'.*'coco'"),
        ("loader: open_clip, m", "loder: open_clip, m", "mine.yaml:12: unknown key 'loder'"),
        ("id: two", "id: one", "mine.yaml:20: id 'one' occurs twice"),
        ("suite: mine", "suite: other", "mine.yaml:1: suite 'other' must be in a file"),
        ("title: My suite\n", "", "mine.yaml:1: lacks title"),
        ("title: My suite", "titel: x", "mine.yaml:2: unknown key 'titel'.*'title'"),
        ("  split: test\n", "  split: test\n  split: val\n", "mine.yaml:7: key 'split' is already"),
        ("benchmarks:\n", "benchmarks: 3\nx:\n", "unknown key 'x'"),
        ("defaults:\n", "defaults:\n  bench: 1\n", "mine.yaml:4: unknown key 'bench'"),
        ("title: My suite", "title: [", "mine.yaml:.*not valid YAML"),
    ],
)
def test_strict_with_file_and_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=expected):
        read_suite(write(tmp_path, GOOD.replace(old, new, 1)))


def test_both_directions_are_two_benchmarks_of_one_row(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, GOOD.replace("query: image", "query: both")))
    first, second, two = suite.benchmarks
    assert [(c.id, c.query, c.gallery, c.row) for c in (first, second)] == [
        ("one-i2t", "image", "text", "one"),
        ("one-t2i", "text", "image", "one"),
    ]
    assert (two.id, two.row) == ("two", "two")


def test_empty_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is empty"):
        read_suite(write(tmp_path, ""))
    with pytest.raises(ConfigError, match="cannot read"):
        read_suite(tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match="'benchmarks': expected a list that is not empty"):
        read_suite(write(tmp_path, GOOD[: GOOD.index("benchmarks:")] + "benchmarks: []\n"))


# Loading the data


def test_counts_against_the_card(tmp_path: Path) -> None:
    make_coco(tmp_path)
    with pytest.raises(DataError, match=r"6 images and 30 captions.*5000 images and 25000"):
        load_retrieval_set(benchmark_card("coco-c-image"), tmp_path)
    card = dataclasses.replace(benchmark_card("coco-c-image"), counts={"images": 6, "captions": 30})
    data = load_retrieval_set(card, tmp_path)
    assert (data.name, len(data.queries), len(data.gallery)) == ("coco-c-image", 6, 30)
    assert data.info["id_hash"]
    assert data.info.items() >= {"missing_images": 0, "images": 6, "captions": 30}.items()
    assert data.clean_text is not None
    assert data.clean_text(data.gallery[0]) == "a kite number 0, seen 0 times"


def test_allow_missing_is_stamped(tmp_path: Path) -> None:
    make_coco(tmp_path)
    (tmp_path / "coco" / "images" / "val2014" / coco_name(2)).unlink()
    card = benchmark_card("coco-c-text")
    with pytest.raises(DataError, match="1 of 6 images"):
        load_retrieval_set(card, tmp_path)
    data = load_retrieval_set(card, tmp_path, allow_missing=True)
    assert (len(data.queries), len(data.gallery)) == (25, 5)
    stamp = {
        "missing_images": 1,
        "images": 5,
        "captions": 25,
        "allow_missing": True,
        "expected_images": 5000,
        "expected_captions": 25000,
    }
    assert data.info.items() >= stamp.items()


def test_real_data_need_a_folder() -> None:
    with pytest.raises(DataError, match="DATA="):
        load_retrieval_set(benchmark_card("flickr-c-image"))


def test_another_split_is_not_held_to_the_cards_counts(tmp_path: Path) -> None:
    make_coco(tmp_path, form="karpathy")
    file = tmp_path / "coco" / "annotations" / "dataset_coco.json"
    file.write_text(file.read_text().replace('"split": "test"', '"split": "val"'))
    data = load_retrieval_set(benchmark_card("coco-c-image"), tmp_path, split="val")
    assert len(data.queries) == 6


def test_loader_of_an_outside_package(tmp_path: Path) -> None:
    make_coco(tmp_path)
    card = dataclasses.replace(
        benchmark_card("coco-c-image"),
        dataset="benchmark.data.datasets.captioned:load_coco",
        counts={"images": 6, "captions": 30},
    )
    assert len(load_retrieval_set(card, tmp_path).queries) == 6
    card = dataclasses.replace(card, dataset="nowhere.at_all:load")
    with pytest.raises(DataError, match=r"nowhere\.at_all:load.*cannot be imported"):
        load_retrieval_set(card, tmp_path)
