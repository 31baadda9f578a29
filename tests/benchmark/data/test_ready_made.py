"""Ready-made corrupted queries: found in the published layout, checked against the clean set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.cell import CLEAN, Cell, ShiftSpec, Status
from benchmark.config.run import BenchConfig
from benchmark.data.datasets.captioned import load_coco, load_flickr30k
from benchmark.data.datasets.ready_made import CORRUPTIONS, ReadyMade, load, specify
from benchmark.data.retrieval import RetrievalSet, Texts
from benchmark.data.tasks import build_pairs
from benchmark.errors import ConfigError, DataError
from benchmark.evaluation.builders import default_resources
from benchmark.evaluation.runner import run_cell
from benchmark.planning.plan import run_name
from benchmark.report.results import CellResult
from shifts import BUILTINS
from shifts.builtin import builtin_class
from tests.benchmark import fakes
from tests.benchmark.fakes import plan
from tests.benchmark.fixtures_karpathy import (
    captions_for,
    coco_name,
    flickr_name,
    make_coco,
    make_flickr,
    write_json,
)

IMAGES = 4


def clean(root: Path, query: str, dataset: str = "coco") -> RetrievalSet:
    if dataset == "coco":
        make_coco(root, images=IMAGES)
        return build_pairs(load_coco(root), name="coco-c", query=query)
    make_flickr(root, images=IMAGES)
    return build_pairs(load_flickr30k(root), name="flickr-c", query=query)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> RetrievalSet:
    return clean(tmp_path_factory.mktemp("clean"), "image")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> RetrievalSet:
    return clean(tmp_path_factory.mktemp("clean"), "text")


def write_images(folder: Path, names: list[str], value: int = 7) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        pixels = np.full((4, 5, 3), value + index, np.uint8)
        Image.fromarray(pixels).save(folder / name, quality=100)


def corrupted(index: int) -> list[Any]:
    return [f"x {text}" for text in captions_for(index, 5)]


def records(name: Any = coco_name, images: int = IMAGES) -> list[dict[str, Any]]:
    return [{"image": f"val2014/{name(i)}", "caption": corrupted(i)} for i in range(images)]


def read(root: Path, data: RetrievalSet, name: str, severity: int, dataset="coco") -> ReadyMade:
    return load(root, dataset, specify(name, severity), data)


# Names


def test_published_types_are_named_as_our_shifts_but_for_stylize() -> None:
    assert len(CORRUPTIONS) == 17 + 6 + 5 + 5
    ours = {name: builtin_class(name).card.modality for name in BUILTINS}
    without = {n for n in CORRUPTIONS if n not in ours}
    assert without == {"stylize"}
    for name, known in CORRUPTIONS.items():
        assert ours.get(name, known.modality) == known.modality
    assert not any(n.endswith(("_lite", "_rules", "_procedural")) for n in CORRUPTIONS)


def test_a_spec_says_that_it_is_ready_made_and_has_no_generators_options() -> None:
    spec = specify("fog", 5)
    assert spec.ready_made
    assert dict(spec.options) == {"ready_made": True}


@pytest.mark.parametrize(
    ("name", "severity", "message"),
    [
        ("sr_lite", 1, "no ready-made files of 'sr_lite'.*known: gaussian_noise"),
        ("fogg", 1, "did you mean 'fog'"),
        ("fog", 6, "'fog' at severity 6; it has 1, 2, 3, 4, 5"),
        ("formal", 2, "'formal' at severity 2; it has 1"),
    ],
)
def test_unknown_names_and_severities_are_refused(name: str, severity: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        specify(name, severity)


# Images


@pytest.mark.parametrize("parent", ["coco-IP", "."])
@pytest.mark.parametrize("inner", ["val2014", "."])
def test_images_are_found_by_annotated_path_and_flat(
    tmp_path: Path, parent: str, inner: str, images: RetrievalSet
) -> None:
    folder = tmp_path / "made" / parent / "COCO_IP_fog_5" / inner
    write_images(folder, [coco_name(i) for i in reversed(range(IMAGES))])
    made = read(tmp_path / "made", images, "fog", 5)
    assert list(made.items.ids) == list(images.queries.ids)
    assert [int(made.items[i].mean()) for i in range(IMAGES)] == [10, 9, 8, 7]


def test_the_annotated_path_comes_before_the_flat_name(
    tmp_path: Path, images: RetrievalSet
) -> None:
    folder = tmp_path / "coco-IP" / "COCO_IP_fog_5"
    names = [coco_name(i) for i in range(IMAGES)]
    write_images(folder, names, value=100)
    write_images(folder / "val2014", names[:1], value=30)
    made = read(tmp_path, images, "fog", 5)
    assert [int(made.items[i].mean()) for i in range(IMAGES)] == [30, 101, 102, 103]


def test_flickrs_folders_and_png_files(tmp_path: Path) -> None:
    data = clean(tmp_path / "data", "image", "flickr30k")
    folder = tmp_path / "flickr-IP" / "Flickr30K_IP_gaussian_noise_1"
    write_images(folder, [flickr_name(i).replace(".jpg", ".png") for i in range(IMAGES)])
    made = read(tmp_path, data, "gaussian_noise", 1, "flickr30k")
    assert int(made.items[2].mean()) == 9


def test_missing_images_are_counted_and_named(tmp_path: Path, images: RetrievalSet) -> None:
    write_images(tmp_path / "COCO_IP_fog_5", [coco_name(0), coco_name(3)])
    with pytest.raises(DataError, match=r"lacks 2 of 4 images of 'coco-c': COCO_val2014_0+2, "):
        read(tmp_path, images, "fog", 5)


def test_the_fingerprint_is_of_the_images_bytes(tmp_path: Path, images: RetrievalSet) -> None:
    names = [coco_name(i) for i in range(IMAGES)]
    write_images(tmp_path / "COCO_IP_fog_5", names)
    one = read(tmp_path, images, "fog", 5).fingerprint
    (tmp_path / "coco-IP").mkdir()
    (tmp_path / "COCO_IP_fog_5").rename(tmp_path / "coco-IP" / "COCO_IP_fog_5")
    assert read(tmp_path, images, "fog", 5).fingerprint == one
    write_images(tmp_path / "coco-IP" / "COCO_IP_fog_5", names[:1], value=8)
    assert read(tmp_path, images, "fog", 5).fingerprint != one


# Captions


def test_captions_by_id_whatever_their_order(tmp_path: Path, texts: RetrievalSet) -> None:
    file = tmp_path / "coco-TP" / "annotation_OcrAug" / "7" / "coco_karpathy_test.json"
    write_json(file, list(reversed(records())))
    made = read(tmp_path, texts, "ocr", 7)
    assert list(made.items.ids) == list(texts.queries.ids)
    assert [made.items[i] for i in range(len(made.items))] == [
        text for i in range(IMAGES) for text in corrupted(i)
    ]


def test_a_caption_as_a_list_is_joined_and_a_sixth_is_ignored(
    tmp_path: Path, texts: RetrievalSet
) -> None:
    rows = records()
    rows[1]["caption"] = [["two", "parts"], *corrupted(1)[1:], "a sixth"]
    write_json(tmp_path / "annotation_formal" / "1" / "coco_karpathy_test.json", rows)
    made = read(tmp_path, texts, "formal", 1)
    assert made.items[5] == "two parts"
    assert len(made.items) == 5 * IMAGES


def test_flickrs_annotations(tmp_path: Path) -> None:
    data = clean(tmp_path / "data", "text", "flickr30k")
    file = tmp_path / "flickr-TP" / "annotation_RandomCharAug_substitute" / "3"
    write_json(file / "flickr30k_test.json", records(flickr_name))
    assert read(tmp_path, data, "char_replace", 3, "flickr30k").items[0] == corrupted(0)[0]


def test_the_fingerprint_is_of_the_captions(tmp_path: Path, texts: RetrievalSet) -> None:
    file = tmp_path / "annotation_rs" / "7" / "coco_karpathy_test.json"
    rows = records()
    write_json(file, rows)
    one = read(tmp_path, texts, "rs", 7).fingerprint
    write_json(file, list(reversed(rows)))
    assert read(tmp_path, texts, "rs", 7).fingerprint == one
    rows[2]["caption"][4] += "."
    write_json(file, rows)
    assert read(tmp_path, texts, "rs", 7).fingerprint != one


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1:], r"lacks 1 of 4 images of 'coco-c': COCO_val2014_0+1"),
        (
            lambda rows: [*rows, {"image": "val2014/other.jpg", "caption": ["a"]}],
            "1 image that 'coco-c' does not have: other; expected the same set",
        ),
        (
            lambda rows: [{**rows[0], "caption": rows[0]["caption"][:4]}, *rows[1:]],
            "has 4 captions of image 'COCO_val2014_0+1'; the clean set has 5",
        ),
        (lambda rows: [*rows, rows[0]], "image 'COCO_val2014_0+1' occurs twice"),
        (lambda rows: [{**rows[0], "caption": ["a", 3]}], "caption 2 must be a string, found 3"),
        (lambda rows: [{**rows[0], "caption": [["a", 3]]}], "caption 1: caption 2 must be a str"),
        (lambda rows: {"images": rows}, "expected a list of records"),
        (lambda rows: [{"image": "../a.jpg", "caption": ["a"]}], "is refused"),
    ],
)
def test_captions_that_do_not_match_are_refused(
    tmp_path: Path, change: Any, message: str, texts: RetrievalSet
) -> None:
    file = tmp_path / "annotation_rs" / "7" / "coco_karpathy_test.json"
    write_json(file, change(records()))
    with pytest.raises(DataError, match=message):
        read(tmp_path, texts, "rs", 7)


def test_more_images_than_an_incomplete_clean_copy_are_fine(tmp_path: Path) -> None:
    make_coco(tmp_path / "data", images=IMAGES)
    (tmp_path / "data/coco/images/val2014" / coco_name(1)).unlink()
    pairs = load_coco(tmp_path / "data", allow_missing=True)
    data = build_pairs(pairs, name="coco-c", query="text")
    write_json(tmp_path / "annotation_rs" / "7" / "coco_karpathy_test.json", records())
    assert len(read(tmp_path, data, "rs", 7).items) == 5 * (IMAGES - 1)


# Nothing there


@pytest.mark.parametrize(("name", "query"), [("fog", "image"), ("rs", "text")])
def test_what_was_looked_for_is_said(tmp_path: Path, name: str, query: str) -> None:
    data = clean(tmp_path / "data", query)
    looked = "COCO_IP_fog_5" if query == "image" else "annotation_rs/5/coco_karpathy_test.json"
    with pytest.raises(DataError, match=f"looked for .*{looked}.*READY_MADE"):
        read(tmp_path, data, name, 5)


def test_ready_made_queries_that_are_still_packed(tmp_path: Path) -> None:
    data = clean(tmp_path / "clean", "image")
    (tmp_path / "ready").mkdir()
    archive = tmp_path / "ready/COCO-C.tar.gz"
    archive.touch()
    with pytest.raises(DataError, match=f"{archive} is still packed: tar -xf {archive} -C "):
        read(tmp_path / "ready", data, "fog", 5)


def test_another_data_set_is_refused(tmp_path: Path, texts: RetrievalSet) -> None:
    with pytest.raises(ConfigError, match="known for coco and flickr30k, not for 'mini-coco'"):
        read(tmp_path, texts, "rs", 5, "mini-coco")


# In a run


def planned(**settings: Any) -> list[Cell]:
    chosen = {"device": "cpu", "method": ("source",), "ready_made": "/made"}
    return plan(BenchConfig(**{**chosen, **settings}))


def test_a_folder_of_ready_made_queries_means_the_users_own_data() -> None:
    (cell,) = planned(shift=("formal",))
    assert (cell.suite, cell.benchmark) == ("paper", "coco-c-text")
    assert cell.shift == ShiftSpec("formal", 1, {"ready_made": True})


def test_all_shifts_are_the_published_types_at_the_benchmarks_severity_without_options() -> None:
    cells = planned(benchmark=("flickr-c-image",), shift=("all",))
    labels = [cell.shift.label for cell in cells]
    assert len(labels) == sum(facts.modality == "image" for facts in CORRUPTIONS.values())
    assert {"gaussian_noise-5", "frost-5", "jpeg_compression-5"} <= set(labels)
    assert all(cell.shift.ready_made for cell in cells)
    clean_cell, _ = planned(benchmark=("flickr-c-image",), shift=("none", "fog"))
    assert clean_cell.shift.name == CLEAN
    assert not clean_cell.shift.ready_made


def test_streams_of_ready_made_queries() -> None:
    (cell,) = planned(stream=("gradual",), shift=("gaussian",), benchmark=("coco-c-image",))
    assert [domain.severity for domain in cell.domains] == [1, 2, 3, 4, 5]
    assert all(spec.ready_made for spec in cell.domains)


def test_generated_and_ready_made_runs_have_different_names() -> None:
    generated = planned(benchmark=("coco-c-image",), shift=("fog",), ready_made="")
    made = planned(benchmark=("coco-c-image",), shift=("fog",))
    assert run_name(generated) != run_name(made)
    elsewhere = planned(benchmark=("coco-c-image",), shift=("fog",), ready_made="/elsewhere")
    assert run_name(elsewhere) == run_name(made)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shift": ("paraphrase_rules",)}, "no ready-made files of 'paraphrase_rules'"),
        ({"shift": ("formal",), "severity": (7,)}, "'formal' at severity 7; it has 1"),
        ({"shift": ("formal",), "benchmark": ("coco-c-image",)}, "works on text queries"),
        ({"shift": ("fog",), "shift_option": {"variant": "mm"}}, "take no shift options"),
    ],
)
def test_what_cannot_be_ready_made_is_refused_before_anything_is_loaded(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(**settings)


def in_the_fake_world(fingerprint: str, values: np.ndarray) -> Any:
    data = fakes.world()

    def load_ready_made(cell: Cell, spec: ShiftSpec, clean: RetrievalSet) -> ReadyMade:
        assert clean.fingerprint == data.fingerprint
        return ReadyMade(fakes.Pictures(data.queries.ids, values), fingerprint)

    return fakes.resources(load_ready_made=load_ready_made)


def test_a_cell_runs_on_the_files_and_still_measures_forgetting_on_clean_queries() -> None:
    cell = fakes.cell(shift=ShiftSpec("fog", 5, {"ready_made": True}))
    pictures = fakes.pictures(30)
    same, _ = run_cell(cell, in_the_fake_world("a", pictures))
    assert same.status == Status.DONE, same.reason
    assert same.metrics["R@1"] == same.metrics["clean_R@1_before"] > 50
    turned, _ = run_cell(cell, in_the_fake_world("b", np.roll(pictures, 1, axis=0)))
    assert turned.metrics["R@1"] < 10
    assert turned.metrics["clean_R@1_before"] == same.metrics["clean_R@1_before"]
    assert (turned.info["ready_made"], turned.info["shift_files"]) == (True, "b")


def test_the_content_is_part_of_the_identity_and_of_the_setting() -> None:
    cell = fakes.cell(shift=ShiftSpec("fog", 5, {"ready_made": True}))
    records = [run_cell(cell, in_the_fake_world(h, fakes.pictures(30)))[0] for h in "aba"]
    assert records[0].key == records[2].key != records[1].key
    settings = [CellResult(record).setting for record in records]
    assert settings[0] == settings[2] != settings[1]


def test_a_cell_without_its_folder_says_what_to_name() -> None:
    cell = fakes.cell(shift=ShiftSpec("fog", 5, {"ready_made": True}))
    record, _ = run_cell(cell, fakes.resources())
    assert record.status == Status.FAILED
    assert "ready-made fog-5 queries, but no folder" in record.reason


def test_the_ordinary_way_finds_the_benchmarks_files(tmp_path: Path, texts: RetrievalSet) -> None:
    write_json(tmp_path / "made/coco-TP/annotation_formal/1/coco_karpathy_test.json", records())
    (cell,) = planned(shift=("formal",))
    found = default_resources(BenchConfig(ready_made=str(tmp_path / "made")))._load_ready_made(
        cell, cell.shift, texts
    )
    assert isinstance(found.items, Texts)
    assert found.items[0] == corrupted(0)[0]
    with pytest.raises(ConfigError, match="does not exist"):
        default_resources(BenchConfig(ready_made=str(tmp_path / "no")))._load_ready_made(
            cell, cell.shift, texts
        )
