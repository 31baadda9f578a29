from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmark.cell import Status
from benchmark.errors import ResultsError
from benchmark.registry import METHODS, SHIFTS
from benchmark.report.frames import TIDY_COLUMNS
from benchmark.report.reported import BESIDE_COLUMNS, COLUMNS, FOLDER, beside, read

ROW = {
    "source": "a paper",
    "table": "1",
    "benchmark": "coco-c-image",
    "backbone": "blip-itm-base-coco",
    "method": "tcr",
    "shift": "gaussian_noise",
    "severity": "5",
    "direction": "i2t",
    "metric": "R@1",
    "value": "53.2",
    "status": "slide",
    "caution": "",
}


def write(folder: Path, *rows: dict[str, str]) -> None:
    pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(folder / "numbers.csv", index=False)


def tidy(**values: Any) -> dict[str, Any]:
    """A row of the tidy table with one number, by default a measured R@1 that ROW stands for."""
    number = {values.pop("name", "R@1"): values.pop("value", 52.0)}
    row: dict[str, Any] = dict.fromkeys(TIDY_COLUMNS, "")
    row |= {
        "suite": "paper",
        "benchmark": "coco-c-image",
        "backbone": "blip-itm-base-coco",
        "weights": "abcd",
        "transform": "resize",
        "method": "tcr",
        "preset": "published",
        "shift": "gaussian_noise",
        "severity": 5,
        "stream": "single",
        "batch_size": 64,
        "seed": 0,
        "queries": 5000,
        "gallery": 25000,
        "status": Status.DONE.value,
    }
    return row | values | number


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    numbers = dict.fromkeys(name for row in rows for name in row if name not in TIDY_COLUMNS)
    return pd.DataFrame(rows, columns=[*TIDY_COLUMNS, *numbers])


# The committed tables


def test_committed_tables_are_valid() -> None:
    tables = {
        f.name: pd.read_csv(f, dtype=str, keep_default_na=False) for f in FOLDER.glob("*.csv")
    }
    assert all(tuple(table.columns) == COLUMNS for table in tables.values())
    texts = pd.concat(tables)
    assert texts["severity"].str.fullmatch("[0-9]*").all()
    assert texts["status"].isin(["printed", "slide", "by-eye", "second-hand"]).all()
    directions = ("i2t", "t2i", "v2a", "a2v", "v2t", "t2v", "c2i", "both", "")
    assert texts["direction"].isin(directions).all()
    filled = [name for name in COLUMNS if name not in ("severity", "direction", "caution")]
    assert texts[filled].apply(lambda column: column.str.contains(r"\S")).all(axis=None)
    identity = [name for name in COLUMNS if name not in ("table", "value", "status", "caution")]
    assert not texts[texts.duplicated(identity)].to_dict("records")
    numbers = read()
    assert len(numbers) == len(texts) > 500
    assert numbers["value"].between(0, 100).all()


def one(numbers: pd.DataFrame, **wanted: object) -> float:
    for column, value in wanted.items():
        numbers = numbers[numbers[column] == value]
    assert len(numbers) == 1
    return float(numbers["value"].iloc[0])


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (8.4, {"backbone": "blip-itm-base-coco", "method": "source", "shift": "zoom_blur"}),
        (71.6, {"backbone": "blip-itm-large-coco", "method": "tcr", "shift": "jpeg_compression"}),
        (87.9, {"backbone": "blip-itm-base-flickr", "method": "tcr", "shift": "glass_blur"}),
        (11.3, {"backbone": "blip-itm-base-coco", "method": "source", "shift": "char_insert"}),
        (9.4, {"backbone": "blip-itm-base-coco", "method": "source", "shift": "char_replace"}),
        (
            80.2,
            {"benchmark": "base2flickr-i2t", "backbone": "ViT-B-16-quickgelu", "method": "source"},
        ),
        (69.5, {"benchmark": "base2nocaps-out-t2i", "backbone": "blip-base-129m", "method": "tcr"}),
        (
            48.6,
            {
                "benchmark": "base2nocaps-near-t2i",
                "method": "tent",
                "backbone": "ViT-B-16-quickgelu",
            },
        ),
        (8.5, {"benchmark": "fashion-gen-shorts", "method": "tcr", "direction": "i2t"}),
        (41.9, {"benchmark": "icfg2cuhk-t2i", "method": "tent"}),
        (0.945, {"benchmark": "rest-as-c", "shift": "in-domain", "metric": "uniformity"}),
    ],
)
def test_some_numbers_by_hand(value: float, wanted: dict[str, object]) -> None:
    assert one(read(), **wanted) == value


def test_printed_means_are_the_means_of_their_tables() -> None:
    numbers = read()
    keys = ["source", "table", "backbone", "method", "direction", "metric"]
    checked = 0
    for key, group in numbers.groupby(keys):
        shifts = group[~group["shift"].isin(["average", "none"])]
        means = group[group["shift"] == "average"]
        if key[1] in ("COCO-C, image queries", "Flickr-C, image queries", "text queries"):
            assert len(shifts) in (0, 15, 16), key
            if len(shifts):
                assert shifts["value"].mean() == pytest.approx(means["value"].item(), abs=0.0501)
                checked += 1
        if key[1] == "query-gallery shift" and key[4] != "both":
            other = numbers[
                (numbers["table"] == key[1])
                & (numbers["backbone"] == key[2])
                & (numbers["method"] == key[3])
            ]
            parts, mean = other[other["direction"] != "both"], other[other["direction"] == "both"]
            assert len(parts) == 12
            assert parts["value"].mean() == pytest.approx(mean["value"].item(), abs=0.0501)
            checked += 1
        if key[1] == "Fashion-Gen by category":
            whole = group["benchmark"] == "fashion-gen-average"
            mean_of_ten = group[~whole]["value"].mean()
            assert mean_of_ten == pytest.approx(group[whole]["value"].item(), abs=0.0501)
            checked += 1
    assert checked == 10 + 3 + 4 + 2 * 14 + 4


def test_methods_and_shifts_have_our_names() -> None:
    numbers = read()
    others = {"deyo", "tcr-untrained", "uca", "hat-vtr", "not given"}
    assert set(numbers["method"]) <= {*METHODS.names(), *others}
    shifts = {*SHIFTS.names(), "average", "in-domain", "shifted"}
    assert set(numbers["shift"]) <= shifts


def test_every_table_is_named_in_the_readme() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for file in FOLDER.glob("*.csv"):
        assert f"`{file.name}`" in text
    for column in COLUMNS:
        assert f"| `{column}` |" in text
    for backbone in set(read()["backbone"]) - {"CLIP4Clip", "X-Pool", "sprc", "not given"}:
        assert f"`{backbone}`" in text


# Reading


def test_no_tables(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"no published numbers in .*expected \*\.csv"):
        read(tmp_path)


# Beside measured cells


def test_a_number_stands_beside_its_cell(tmp_path: Path) -> None:
    write(tmp_path, ROW)
    measured = frame(tidy(value=52.0), tidy(seed=1, value=53.0))
    table, _ = beside(measured, read(tmp_path))
    assert list(table.columns) == list(BESIDE_COLUMNS)
    assert len(table) == 1
    row = table.iloc[0]
    assert (row["measured"], row["seeds"], row["reported"]) == (52.5, 2, 53.2)
    assert row["reported_difference"] == pytest.approx(-0.7)
    assert (row["source"], row["reported_status"], row["queries"]) == ("a paper", "slide", 5000)


@pytest.mark.parametrize(
    "other",
    [
        {"benchmark": "coco-c-text"},
        {"backbone": "blip-itm-large-coco"},
        {"shift": "shot_noise"},
        {"severity": 3},
        {"method": "tent"},
        {"name": "R@5"},
        {"name": "probes_R@1"},
        {"stream": "continual"},
        {"status": Status.FAILED.value, "value": float("nan")},
    ],
)
def test_what_differs_does_not_match(tmp_path: Path, other: dict[str, Any]) -> None:
    write(tmp_path, ROW)
    table, _ = beside(frame(tidy(**other)), read(tmp_path))
    assert table.empty
    assert list(table.columns) == list(BESIDE_COLUMNS)


def test_backbones_match_without_regard_to_case(tmp_path: Path) -> None:
    write(tmp_path, ROW)
    assert len(beside(frame(tidy(backbone="BLIP-ITM-Base-COCO")), read(tmp_path))[0]) == 1


def test_a_number_without_severity_stands_for_no_cell(tmp_path: Path) -> None:
    write(tmp_path, ROW | {"severity": ""})
    assert beside(frame(tidy()), read(tmp_path))[0].empty


def test_two_sources_make_two_rows_and_two_variants_stay_apart(tmp_path: Path) -> None:
    write(tmp_path, ROW, ROW | {"source": "a blog", "value": "50"})
    measured = frame(tidy(), tidy(weights="efgh", value=10.0))
    table, _ = beside(measured, read(tmp_path))
    assert table[["measured", "reported"]].to_numpy().tolist() == [
        [52.0, 53.2],
        [52.0, 50.0],
        [10.0, 53.2],
        [10.0, 50.0],
    ]


def test_measured_numbers_are_left_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, ROW)
    measured = frame(tidy())
    before = measured.copy()
    beside(measured, read(tmp_path))
    pd.testing.assert_frame_equal(measured, before)


def test_an_empty_run_has_an_empty_table() -> None:
    assert beside(frame())[0].empty


def test_a_whole_measured_row_meets_the_committed_numbers() -> None:
    measured = frame(
        tidy(
            benchmark="base2coco-t2i",
            backbone="ViT-B-16-quickgelu",
            method="source",
            shift="none",
            severity=0,
            pretrained="openai",
            queries=25000,
            value=33.4,
        )
    )
    table, _ = beside(measured)
    assert table["reported"].tolist() == [33.0]
    assert table["measured"].tolist() == [33.4]


# Settings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preset": "published+lr"}, "preset is published+lr, not published"),
        ({"batch_size": 32}, "batch_size is 32, not 64"),
        ({"transform": "clip"}, "transform is clip, not resize"),
        ({"variant": '{"variant": "imagenet-c"}'}, "variant is imagenet-c, not mm"),
        ({"queries": 100}, "queries is 100, not 5000"),
        (
            {"batch_size": 1, "transform": "pad"},
            "transform is pad, not resize; batch_size is 1, not 64",
        ),
    ],
)
def test_other_settings_are_said_and_not_set_beside(changes: dict[str, Any], said: str) -> None:
    same = frame(tidy(variant='{"constants": "reference", "variant": "mm"}'))
    found, apart = beside(same)
    assert found["reported"].tolist() == [53.2]
    assert apart.empty
    other = frame(tidy(**changes))
    found, apart = beside(other)
    assert found.empty
    assert apart["differs"].tolist() == [said]


def test_the_source_model_has_no_preset_and_no_batch() -> None:
    row = tidy(method="source", batch_size=8, preset="mini", value=43.0)
    assert beside(frame(row))[0]["reported"].tolist() == [43.4]


def test_other_weights_under_the_name_of_the_published_model() -> None:
    row = tidy(
        benchmark="base2flickr-i2t",
        backbone="ViT-B-16-quickgelu",
        method="source",
        shift="none",
        severity=0,
        queries=1000,
        pretrained="mine.pt",
    )
    assert beside(frame(row))[1]["differs"].tolist() == ["pretrained is mine.pt, not openai"]
    assert len(beside(frame({**row, "pretrained": "openai"}))[0]) == 1
