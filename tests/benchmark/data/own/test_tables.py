"""Own tables of pairs in every form: what is read, and what is refused in one sentence."""

from __future__ import annotations

import json
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark.data.own.load import from_frame, understand
from benchmark.data.own.source import OwnSource, is_own
from benchmark.errors import DataError
from tests.benchmark.fixtures_clips import write_wav
from tests.benchmark.fixtures_own import (
    COLOURS,
    load_own_set,
    make_pairs,
    make_pictures,
    pixels,
    png,
    write_csv,
    write_json_lines,
)


def test_a_csv_gives_both_directions(tmp_path: Path) -> None:
    table = make_pairs(tmp_path)
    images = load_own_set(table, "i2t")
    texts = load_own_set(table, "t2i")
    assert (len(images.queries), len(images.gallery)) == (12, 24)
    assert images.relevance[1].tolist() == [2, 3]
    assert texts.relevance[3].tolist() == [1]
    assert images.name == "own:pairs-i2t"
    np.testing.assert_array_equal(images.queries[0], pixels("red"))
    assert list(texts.queries.ids)[:3] == ["pics/red.png#0", "pics/red.png#1", "pics/green.png#0"]
    assert texts.queries[3] == "the colour green"
    assert images.clean_text is None


def rows(**more: Any) -> list[dict[str, Any]]:
    return [
        {"image": f"pics/{c}.png", "caption": [f"a {c} wall", f"{c}!"], **more} for c in COLOURS
    ]


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.tsv", "pairs.csv"])
def test_captions_may_be_a_list(tmp_path: Path, name: str) -> None:
    make_pictures(tmp_path / "pics")
    if name.endswith("jsonl"):
        table = write_json_lines(tmp_path / name, rows())
    else:
        said = [{**row, "caption": json.dumps(row["caption"])} for row in rows()]
        table = tmp_path / name
        pd.DataFrame(said).to_csv(table, sep="\t" if name.endswith("tsv") else ",", index=False)
    data = load_own_set(table, "t2i")
    assert len(data.queries) == 24
    assert data.queries[1] == "red!"


def test_the_fingerprint_is_the_content(tmp_path: Path) -> None:
    first = load_own_set(make_pairs(tmp_path / "a", "x.csv"))
    moved = load_own_set(make_pairs(tmp_path / "b", "y.csv"))
    assert moved.fingerprint == first.fingerprint
    (tmp_path / "b/pics/red.png").write_bytes(png("pink"))
    assert load_own_set(tmp_path / "b/y.csv").fingerprint != first.fingerprint


@pytest.mark.parametrize("name", ["PAIRS.CSV", "pairs.Csv"])
def test_the_suffix_may_have_capitals(tmp_path: Path, name: str) -> None:
    table = make_pairs(tmp_path, name)
    assert is_own(str(table))
    assert load_own_set(table).name == f"own:{table.stem}-i2t"


def test_columns_are_renamed(tmp_path: Path) -> None:
    make_pictures(tmp_path)
    table = write_csv(
        tmp_path / "t.csv", [{"path": f"{c}.png", "title": f"a {c}"} for c in COLOURS]
    )
    data = load_own_set(table, columns={"image": "path", "caption": "title"})
    assert len(data.queries) == 12
    with pytest.raises(
        DataError, match=r"has the columns 'path', 'title'.*image=path,caption=titl"
    ):
        load_own_set(table)
    with pytest.raises(DataError, match="no column 'file' to be the image"):
        load_own_set(table, columns={"image": "file"})


def test_a_group_is_relevant_as_a_whole(tmp_path: Path) -> None:
    make_pictures(tmp_path)
    said = [
        {"image": f"{c}.png", "caption": f"a {c}", "group": f"g{i // 3}"}
        for i, c in enumerate(COLOURS)
    ]
    data = load_own_set(write_csv(tmp_path / "t.csv", said), "t2i")
    assert data.relevance[4].tolist() == [3, 4, 5]
    assert data.groups[4] == data.groups[3] != data.groups[2]


def test_splits(tmp_path: Path) -> None:
    make_pictures(tmp_path)
    said = [
        {"image": f"{c}.png", "caption": f"a {c}", "split": ("train", "val")[i % 2]}
        for i, c in enumerate(COLOURS)
    ]
    table = write_csv(tmp_path / "t.csv", said)
    assert len(load_own_set(table, split="val").queries) == 6
    with pytest.raises(DataError, match=r"no rows of split 'test'.*'train', 'val'.*--split"):
        load_own_set(table)
    with pytest.raises(DataError, match="no column split"):
        load_own_set(make_pairs(tmp_path), split="val")


def test_a_folder_in_place_of_a_table(tmp_path: Path) -> None:
    queries = make_pairs(tmp_path)
    folder = tmp_path / "empty.csv"
    folder.mkdir()
    assert not is_own(str(folder))
    for facts in ({"gallery": folder}, {"clean": folder}):
        with pytest.raises(DataError, match=r"empty.csv is empty; expected a metadata.csv in it"):
            load_own_set(queries, **facts)
    (folder / "notes.md").touch()
    with pytest.raises(DataError, match=r"empty.csv is a folder without a table; expected a meta"):
        load_own_set(queries, gallery=folder)


def test_an_image_folder_of_hugging_face(tmp_path: Path) -> None:
    for split in ("train", "test"):
        make_pictures(tmp_path / split)
        said = [{"file_name": f"{c}.png", "text": f"a {c}"} for c in COLOURS]
        write_json_lines(tmp_path / split / "metadata.jsonl", said)
    assert is_own(str(tmp_path))
    data = load_own_set(tmp_path)
    assert data.queries.ids[0] == "test/red.png"
    assert len(data.queries) == 12
    assert len(load_own_set(tmp_path, split="train").gallery) == 12
    said = [{"file_name": f"{c}.png", "caption": f"the {c}"} for c in COLOURS]
    write_json_lines(tmp_path / "test/metadata.jsonl", said)
    (tmp_path / "train/metadata.jsonl").unlink()
    assert load_own_set(tmp_path).gallery[0] == "the red"


def test_video_and_audio(tmp_path: Path) -> None:
    said = []
    for i, c in enumerate(COLOURS):
        for frame in range(3):
            path = tmp_path / f"v/{c}/{frame}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(c))
        write_wav(tmp_path / f"a/{c}.wav", i)
        said.append({"video": f"v/{c}", "audio": f"a/{c}.wav"})
    table = write_csv(tmp_path / "clips.csv", said)
    (tmp_path / "v/red/10.png").write_bytes(png("blue"))
    data = load_own_set(table, "v2a")
    assert data.queries[2].shape == (3, 24, 32, 3)
    assert data.queries[0][:, 0, 0].tolist() == [[255, 0, 0]] * 3 + [[0, 0, 255]]  # 2 before 10
    assert load_own_set(table, "a2v").relevance[5].tolist() == [5]
    said[0]["video"] = "v/red.mp4"
    with pytest.raises(DataError, match=r"row 1: video 'v/red.mp4' is not decoded.*ffmpeg"):
        load_own_set(write_csv(tmp_path / "clips.csv", said), "v2a")
    said[0]["video"] = "v/red/0.png"
    with pytest.raises(DataError, match=r"'v/red/0.png' is not .*; expected a folder of frames$"):
        load_own_set(write_csv(tmp_path / "clips.csv", said), "v2a")


def test_sounds_with_captions(tmp_path: Path) -> None:
    for i, c in enumerate(COLOURS):
        write_wav(tmp_path / f"{c}.wav", i)
    said = [{"audio": f"{c}.wav", "caption": f"noise {c}"} for c in COLOURS]
    data = load_own_set(write_csv(tmp_path / "t.csv", said), "a2t")
    assert (data.query_modality, data.gallery_modality) == ("audio", "text")
    assert load_own_set(tmp_path / "t.csv", "t2a").gallery_modality == "audio"


def test_composed_queries(tmp_path: Path) -> None:
    make_pictures(tmp_path)
    names = list(COLOURS)
    said = [
        {"reference": f"{a}.png", "modification": f"make it {b}", "target": f"{b}.png"}
        for a, b in pairwise(names)
    ]
    data = load_own_set(write_csv(tmp_path / "t.csv", said), "c2i")
    assert (len(data.queries), len(data.gallery)) == (11, 12)
    assert data.queries[0].text == "make it green"
    assert data.relevance[0].tolist() == [1]
    table = write_json_lines(tmp_path / "t.jsonl", [said[0] | {"target": '["red.png", "red.png"]'}])
    assert load_own_set(table, "c2i").relevance[0].tolist() == [0]
    write_json_lines(table, [*said, said[0] | {"target": []}])
    with pytest.raises(DataError, match="row 12: target is an empty list"):
        load_own_set(table, "c2i")


def test_a_data_frame_with_arrays() -> None:
    frame = pd.DataFrame(
        {"image": [pixels(c) for c in COLOURS], "caption": [f"a {c}" for c in COLOURS]}
    )
    pairs = from_frame(frame, name="mine")
    assert pairs.counts == {"images": 12, "captions": 12}
    np.testing.assert_array_equal(pairs.images[3], pixels("yellow"))
    assert from_frame(frame, name="mine").fingerprint == pairs.fingerprint
    frame.loc[3, "caption"] = "another"
    assert from_frame(frame, name="mine").fingerprint != pairs.fingerprint


def test_a_data_frame_whose_index_has_duplicates() -> None:
    frame = pd.DataFrame({"image": [pixels("red")] * 2, "caption": ["a", "b"]}, index=[3, 3])
    with pytest.raises(DataError, match=r"has 3 more than once.*reset_index"):
        from_frame(frame)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"caption": "  "}, "row 13: caption is empty"),
        ({"caption": None}, "row 13: caption is empty"),
        ({"caption": "nan"}, "caption is 'nan', which stands for a missing"),
        ({"caption": ["a", " NULL "]}, "row 13: caption is ' NULL ', which"),
        ({"caption": "none of the walls"}, ""),
        ({"image": "None"}, "row 13: image is 'None', which stands for a missing"),
        ({"group": r"\N"}, "row 13: group is .*N', which"),  # of MySQL, Postgres and Hive
        ({"domain": ""}, "row 1: domain is empty; expected"),
        ({"caption": 7}, "row 13: caption is 7, a number"),
        ({"caption": [["a"], ["b"]]}, "caption is .'a'., a list"),
        ({"caption": []}, "empty list"),
        ({"caption": "['it' \"it's\"]"}, "row 13: caption is .*, a list without commas, as NumPy"),
        ({"caption": "\ud800"}, "not valid Unicode"),
        ({"image": "../x.png"}, r"row 13: image '../x.png' lies outside"),
        ({"image": "/etc/passwd"}, "image '/etc/passwd' lies outside"),
        ({"image": r"C:\pics\red.png"}, "red.png' lies outside"),
        ({"image": "https://a.org/red.png"}, "is a URL, and nothing is downloaded"),
        ({"image": ""}, "image is empty; expected one path"),
        ({"image": "pics/rad.png"}, r"1 of 13 images .* missing, 12 are there"),
        ({"image": "pics/RED.png"}, r"instead of 'pics/RED.png' there is .*red.png"),
        ({"image": "./pics/red.png"}, ""),
        ({"id": "pics/red.png"}, ""),
        ({"id": "x"}, ""),
    ],
)
def test_a_row_that_is_wrong(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    make_pictures(tmp_path / "pics")
    row = {"image": "pics/red.png", "caption": "a"} | change
    table = write_json_lines(tmp_path / "t.jsonl", [*rows(), row])
    if not expected:
        assert len(load_own_set(table).queries) == 12 + (change.get("id") == "x")
        return
    with pytest.raises(DataError, match=expected) as error:
        load_own_set(table)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "form",
    [r"pics\{}", "./pics/{}", "other/../pics/{}", "../{here}/pics/{}", "{root}/x/../pics/{}"],
)
def test_other_ways_to_say_a_path(tmp_path: Path, form: str) -> None:
    make_pictures(tmp_path / "pics")
    said = [
        {"image": form.format(f"{c}.png", here=tmp_path.name, root=tmp_path), "caption": f"a {c}"}
        for c in COLOURS
    ]
    data = load_own_set(write_json_lines(tmp_path / "t.jsonl", said))
    np.testing.assert_array_equal(data.queries[0], pixels("red"))


def test_domains_with_numbers_come_in_their_order(tmp_path: Path) -> None:
    table = make_pairs(tmp_path)
    before = load_own_set(table).fingerprint
    table.write_text(table.read_text().replace("night", "week 10").replace("day", "week 2"))
    data = load_own_set(table)
    assert data.info["domains"] == ["week 2", "week 10"]
    assert data.group_keys["domain"][:3].tolist() == [1, 0, 1]
    assert data.fingerprint != before


def test_a_csv_as_pandas_and_spreadsheets_write_it(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pics")
    frame = pd.DataFrame({" image ": [f"pics/{c}.png" for c in COLOURS]})
    frame["\xa0caption"] = [[f"a {c} wall", f"it's {c}"] for c in COLOURS]
    frame.loc[:1, "\xa0caption"] = ["[a red wall]", "[...]"]
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = load_own_set(tmp_path / "t.csv", "t2i")
    assert [data.queries[i] for i in range(4)] == [
        *("[a red wall]", "[...]", "a blue wall", "it's blue")
    ]


def test_the_name_of_a_column_is_suggested(tmp_path: Path) -> None:
    rows_of_folder = [{"file_name": "red.png", "captions": ["a"]}]
    write_json_lines(tmp_path / "metadata.jsonl", rows_of_folder)
    with pytest.raises(DataError, match=r"--columns caption=captions$"):
        load_own_set(tmp_path)


def test_one_id_for_two_pictures(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pics")
    table = write_json_lines(
        tmp_path / "t.jsonl", [{**row, "id": f"p{i // 2}"} for i, row in enumerate(rows())]
    )
    with pytest.raises(DataError, match=r"row 2: id 'p0' stands for 'pics/green.png' here and"):
        load_own_set(table)
    ids = ["pics/green.png", *[""] * 11]
    write_json_lines(table, [{**row, "id": key} for row, key in zip(rows(), ids, strict=True)])
    with pytest.raises(DataError, match=r"row 2: id 'pics/green.png' stands for 'pics/green.png'"):
        load_own_set(table)


def test_missing_pictures_may_be_allowed(tmp_path: Path) -> None:
    table = make_pairs(tmp_path)
    (tmp_path / "pics/blue.png").unlink()
    data = load_own_set(table, allow_missing=True)
    assert len(data.queries) == 11
    assert data.info["missing_images"] == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "has no rows"),
        (b"image,caption,caption\na.png,b,c\n", "has the column 'caption' 2 times"),
        (b"image,caption\n", "has no rows"),
        (b"image,caption\na.png,x,y\nb.png,z\n", "cannot be read as a table"),
        (b'image,caption\na.png,"x\na.png,y\na.png,"z\n', "cannot .* from line 2 on"),
        (b"image,caption\na.png,\xff\n", "is not UTF-8: byte 0xff; save it as UTF-8"),
        (b"# mine, of May\nimage,caption\na.png,b\n", "begins with a comment, '# mine'"),
        (b"#image,caption\na.png,b\n", "such as --columns image=#image"),
        (b"image,caption\na.png,<NA>\n", "row 1: caption is '<NA>', which stands for a missing"),
        (b"image;caption\na.png;a wall\n", "values with ';' between them; expected ','"),
        (b"image\tcaption\na.png\ta wall\n", "save it as CSV with commas, or name it .tsv"),
        (b"image,caption\na.png,1\na.png,2.5\n", "every caption is a number, such as '1'"),
    ],
)
def test_a_table_that_is_wrong(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "a.png").write_bytes(png("red"))
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=expected):
        load_own_set(tmp_path / "t.csv")


def test_broken_json_lines(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"image": "a"}\n{"image": \n')
    with pytest.raises(DataError, match=r"t.jsonl is not valid JSON lines: line 2"):
        load_own_set(tmp_path / "t.jsonl")
    (tmp_path / "t.jsonl").write_text("[1]\n")
    with pytest.raises(DataError, match="line 1: expected an object"):
        load_own_set(tmp_path / "t.jsonl")


def test_parquet_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"needs pyarrow.*queryshift\[parquet\]"):
        understand(OwnSource(str(tmp_path / "t.parquet")))


def test_a_hub_data_set_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'queryshift\[datasets\]'"):
        understand(OwnSource("hf:nobody/nothing"))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png("red"))
    table = make_pairs(tmp_path / "data")
    os.remove(tmp_path / "data/pics/red.png")
    (tmp_path / "data/pics/red.png").symlink_to(tmp_path / "secret.png")
    write_csv(tmp_path / "data/t.csv", [{"video": "clip", "audio": "a.wav"}])
    (tmp_path / "data/clip").symlink_to(tmp_path)
    for one, direction in ((table, "i2t"), (tmp_path / "data/t.csv", "v2a")):
        with pytest.raises(DataError, match="outside the data folder"):
            load_own_set(one, direction)


@pytest.mark.slow
def test_a_large_table_is_read_in_bounded_memory(tmp_path: Path) -> None:
    import tracemalloc

    count = 200_000
    make_pictures(tmp_path)
    names = list(COLOURS)
    with (tmp_path / "t.csv").open("w") as file:
        file.write("image,caption\n")
        for i in range(count):
            file.write(f"{names[i % 12]}.png,caption number {i} of a plain coloured wall\n")
    tracemalloc.start()
    try:
        data = load_own_set(tmp_path / "t.csv", "t2i")
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(data.queries) == count
    assert data.queries[count - 1].startswith(f"caption number {count - 1} ")
    assert held < 80 * count  # bytes; a list of the captions alone takes more than 100 each
    assert peak < 50e6 + 150 * count
