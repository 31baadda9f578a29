"""Queries and gallery as two tables, with relevance in a column or in TREC's form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.data.check import check_own
from benchmark.data.own.load import understand
from benchmark.data.own.source import OwnSource
from benchmark.errors import DataError
from tests.benchmark.fixtures_clips import write_wav
from tests.benchmark.fixtures_own import (
    COLOURS,
    load_own_set,
    make_pictures,
    write_csv,
    write_json_lines,
)

ASKED = ("red", "green", "blue")


def make_both(root: Path, **more: Any) -> tuple[Path, Path]:
    """Three questions and twelve pictures, of which nine answer nothing."""
    make_pictures(root)
    gallery = write_csv(root / "gallery.csv", [{"id": c, "image": f"{c}.png"} for c in COLOURS])
    said = [
        {"id": f"q{i}", "caption": f"find {c}", "relevant": c, **more} for i, c in enumerate(ASKED)
    ]
    return write_json_lines(root / "queries.jsonl", said), gallery


def test_distractors_answer_nothing(tmp_path: Path) -> None:
    queries, gallery = make_both(tmp_path)
    data = load_own_set(queries, "t2i", gallery=gallery)
    assert (len(data.queries), len(data.gallery)) == (3, 12)
    assert [data.relevance[q].tolist() for q in range(3)] == [[0], [1], [2]]
    assert data.info["distractors"] == 9
    write_json_lines(queries, [{"caption": "find red", "relevant": "red"}] * 3)
    report = check_own(OwnSource(str(queries), gallery=str(gallery)), lambda items, _: items)
    assert report.facts["queries"] == "3 (text, 1 different)"
    assert report.facts["gallery"] == "12 (image), of which 11 answer nothing"


@pytest.mark.parametrize(
    ("relevant", "expected"),
    [
        (["blue", "red"], [0, 2]),
        ("blue, red", [0, 2]),
        ("blue red", [0, 2]),
        ({"red": 0, "blue": 2, "green": 1}, [1, 2]),
        ('{"cyan": 3}', [11]),
        ("['blue', 'red']", [0, 2]),
        ("{'blue': 2, 'red': 0}", [2]),
        ({"red": None, "blue": 2}, [2]),
    ],
)
def test_forms_of_relevance(tmp_path: Path, relevant: Any, expected: list[int]) -> None:
    queries, gallery = make_both(tmp_path)
    write_json_lines(queries, [{"caption": "find it", "relevant": relevant}])
    assert load_own_set(queries, "t2i", gallery=gallery).relevance[0].tolist() == expected


def test_qrels_of_trec_and_of_beir(tmp_path: Path) -> None:
    queries, gallery = make_both(tmp_path)
    qrels = tmp_path / "qrels.txt"
    qrels.write_text(
        "q0 0 red 2\nq0 0 cyan 1\nq1 0 green 1\nq1 0 red 0\nq2 0 blue 1\nother 0 x 1\n"
    )
    data = load_own_set(queries, "t2i", gallery=gallery, qrels=qrels)
    assert [data.relevance[q].tolist() for q in range(3)] == [[0, 11], [1], [2]]
    assert data.info["grades"] == [0.0, 1.0, 2.0]
    assert [data.relevance.grades_of(q).tolist() for q in range(3)] == [[2, 1], [1], [1]]
    assert data.headline == ("R@1", "nDCG@10")
    assert "nDCG@10" in data.metrics
    graded = data.fingerprint
    qrels.write_text("query-id\tcorpus-id\tscore\nq0\tred\t1\nq1\tgreen\t1\nq2\tblue\t1\n")
    data = load_own_set(queries, "t2i", gallery=gallery, qrels=qrels)
    assert data.relevance[2].tolist() == [2]
    assert data.fingerprint != graded


def test_ids_with_blanks_that_begin_as_a_header_does(tmp_path: Path) -> None:
    queries, gallery = make_both(tmp_path)
    write_json_lines(queries, [{"id": f"query {i}", "caption": f"find {i}"} for i in (1, 2)])
    qrels = tmp_path / "qrels.tsv"
    qrels.write_text("query 1\tred\t1\nquery 1\tblue\t1\nquery 2\tgreen\t1\n")
    data = load_own_set(queries, "t2i", gallery=gallery, qrels=qrels)
    assert [data.relevance[q].tolist() for q in range(2)] == [[0, 2], [1]]


def test_columns_and_splits_of_either_table(tmp_path: Path) -> None:
    queries, gallery = make_both(tmp_path, split="val")
    parts = [{"key": c, "pic": f"{c}.png", "split": ("val", "test")[c == "cyan"]} for c in COLOURS]
    write_csv(gallery, parts)
    columns = {"id": "key", "image": "pic"}
    data = load_own_set(queries, "t2i", gallery=gallery, columns=columns, split="val")
    assert list(data.gallery.ids) == [c for c in COLOURS if c != "cyan"]
    with pytest.raises(DataError, match=r"no column 'fig' to be the image; .*'key', 'pic'"):
        load_own_set(queries, "t2i", gallery=gallery, columns={"image": "fig"})
    write_json_lines(queries, [{"image": "red.png", "caption": "a", "relevant": "red"}])
    make_pictures(tmp_path)
    write_csv(gallery, [{"id": c, "image": f"{c}.png"} for c in COLOURS])
    found = understand(OwnSource(str(queries), gallery=str(gallery)))
    assert found.benchmarks == ("own:queries-t2i",)  # the side that the gallery does not have


@pytest.mark.parametrize(
    ("qrels", "expected"),
    [
        ("q0 0 rad 1\n", r"line 1: there is no gallery item 'rad'; did you mean 'red'"),
        ("a 0 red 1\n", r"none of the queries of this file, such as 'a'"),
        ("q0 red\n", r"line 1: expected 'query 0 item grade'"),
        ("q0 0 red much\n", r"line 1: expected 'query 0 item grade'"),
        ("q0 0 red inf\n", r"line 1: expected 'query 0 item grade'"),
        ("q0 0 red 1\n", r"no relevant gallery item for 2 of 3 queries .*: q1, q2"),
    ],
)
def test_qrels_that_are_wrong(tmp_path: Path, qrels: str, expected: str) -> None:
    queries, gallery = make_both(tmp_path)
    (tmp_path / "qrels.txt").write_text(qrels)
    with pytest.raises(DataError, match=expected):
        load_own_set(queries, "t2i", gallery=gallery, qrels=tmp_path / "qrels.txt")


def test_grades_in_a_column(tmp_path: Path) -> None:
    queries, gallery = make_both(tmp_path)
    said = [
        {"caption": "find it", "relevant": {"cyan": 3, "red": 1, "blue": 0}},
        {"caption": "find them", "relevant": ["green"]},
    ]
    data = load_own_set(write_json_lines(queries, said), "t2i", gallery=gallery)
    assert data.relevance[0].tolist() == [0, 11]
    assert data.relevance.grades_of(0).tolist() == [1.0, 3.0]
    assert data.relevance.grades_of(1).tolist() == [1.0]
    write_json_lines(queries, [{"caption": "find it", "relevant": ["red", "cyan"]}])
    data = load_own_set(queries, "t2i", gallery=gallery)
    assert data.relevance.grades is None
    assert data.headline == ("R@1",)
    write_json_lines(queries, [{"caption": "find it", "relevant": {"red": float("inf")}}])
    with pytest.raises(DataError, match="the grade of 'red' is inf, no finite number"):
        load_own_set(queries, "t2i", gallery=gallery)


@pytest.mark.parametrize("direction", ["i2t", "t2i", "a2t", "t2a", "v2a", "a2v", "c2i"])
def test_a_log_without_labels_of_every_kind(tmp_path: Path, direction: str) -> None:
    make_pictures(tmp_path)
    rows: dict[str, list[dict[str, Any]]] = {
        "i": [{"id": c, "image": f"{c}.png", "domain": "ab"[len(c) % 2]} for c in COLOURS],
        "t": [{"id": c, "caption": f"a {c} wall"} for c in COLOURS],
        "a": [{"id": c, "audio": f"{c}.wav"} for c in COLOURS],
        "v": [{"id": c, "video": f"clips/{c}"} for c in COLOURS],
        "c": [{"id": c, "reference": f"{c}.png", "modification": "in blue"} for c in COLOURS],
    }
    for place, colour in enumerate(COLOURS):
        write_wav(tmp_path / f"{colour}.wav", place)
        make_pictures(tmp_path / "clips" / colour, [colour])
    asked, searched = (rows[side] for side in (direction[0], direction[-1]))
    log = write_json_lines(tmp_path / "log.jsonl", asked[:5])
    gallery = write_json_lines(tmp_path / "gallery.jsonl", searched)
    with pytest.raises(DataError, match=r"no column relevant.*--unlabelled"):
        load_own_set(log, direction, gallery=gallery)
    data = load_own_set(log, direction, gallery=gallery, unlabelled=True)
    assert (data.labelled, data.metrics, data.headline) == (False, (), ())
    assert (len(data.queries), len(data.gallery), len(data.relevance)) == (5, 12, 5)
    assert data.info.get("domains") == (["a", "b"] if direction == "i2t" else None)


def test_unanswered_queries_may_be_left_out(tmp_path: Path) -> None:
    queries, gallery = make_both(tmp_path)
    (tmp_path / "qrels.txt").write_text("q1 0 red 1\nq1 0 withdrawn 2\n")
    data = load_own_set(
        queries, "t2i", gallery=gallery, qrels=tmp_path / "qrels.txt", allow_missing=True
    )
    assert list(data.queries.ids) == ["q1"]
    assert data.queries[0] == "find green"
    assert (data.info["unanswered_queries"], data.info["missing_images"]) == (2, 1)


def test_a_relevant_id_that_is_not_there(tmp_path: Path) -> None:
    queries, gallery = make_both(tmp_path)
    write_json_lines(queries, [{"id": "q", "caption": "a", "relevant": "blau"}])
    with pytest.raises(
        DataError, match=r"row 1: relevant: there is no gallery item 'blau'; .*--allow-m"
    ):
        load_own_set(queries, "t2i", gallery=gallery)
    write_json_lines(queries, [{"caption": "a", "relevant": [{"id": "red", "grade": 3}]}])
    with pytest.raises(DataError, match=r"relevant holds .*'grade': 3.*; expected ids, or .id: gr"):
        load_own_set(queries, "t2i", gallery=gallery)


def test_queries_whose_gallery_is_not_named(tmp_path: Path) -> None:
    queries, _ = make_both(tmp_path)
    with pytest.raises(DataError, match="column relevant, name the table of the gallery: --gall"):
        load_own_set(queries, "t2i")


def test_composed_queries_on_a_gallery(tmp_path: Path) -> None:
    queries, gallery = make_both(tmp_path)
    write_json_lines(
        queries, [{"reference": "red.png", "modification": "in blue", "relevant": "blue"}]
    )
    data = load_own_set(queries, "c2i", gallery=gallery)
    assert (data.query_modality, data.gallery_modality) == ("composed", "image")
    assert data.queries[0].text == "in blue"


def test_two_tables_of_one_kind(tmp_path: Path) -> None:
    _, gallery = make_both(tmp_path)
    with pytest.raises(DataError, match="the gallery of image queries needs"):
        load_own_set(gallery, "i2t", gallery=gallery)
    write_csv(tmp_path / "log.csv", [{"text": "a wall"}])
    with pytest.raises(DataError, match="such as --columns caption=text"):
        load_own_set(tmp_path / "log.csv", "t2i", gallery=gallery)


def test_shifted_queries_beside_the_clean_ones(tmp_path: Path) -> None:
    make_pictures(tmp_path / "clean")
    make_pictures(tmp_path / "shifted")
    (tmp_path / "shifted/red.png").write_bytes((tmp_path / "clean/pink.png").read_bytes())
    for folder in ("clean", "shifted"):
        said = [{"id": c, "image": f"{c}.png", "caption": f"a {c}"} for c in COLOURS]
        write_csv(tmp_path / folder / "t.csv", said)
    clean, place = tmp_path / "clean/t.csv", tmp_path / "shifted/t.csv"
    data = load_own_set(place, "i2t", clean=clean)
    assert data.queries[0].tolist() == data.queries[8].tolist()
    back = load_own_set(place, "t2i", clean=clean)
    assert back.gallery[0].tolist() != back.gallery[8].tolist()  # galleries are clean
    assert OwnSource(str(place), clean=str(clean)).cleaned.place == str(clean)
    write_csv(clean, [{"id": c, "image": f"{c}.png", "caption": "a"} for c in reversed(COLOURS)])
    with pytest.raises(DataError, match="number 1 is 'red' in one and 'cyan' in the other"):
        load_own_set(place, "i2t", clean=clean)


def test_many_queries_are_read_in_bounded_memory(tmp_path: Path) -> None:
    import tracemalloc

    count = 8_000
    queries, gallery = make_both(tmp_path)
    names = list(COLOURS)
    lines = (f"q{i},caption {i},{names[i % 12]}\n" for i in range(count))
    queries = tmp_path / "many.csv"
    queries.write_text("id,caption,relevant\n" + "".join(lines))
    load_own_set(queries, "t2i", gallery=gallery)  # imports what it needs
    tracemalloc.start()
    try:
        data = load_own_set(queries, "t2i", gallery=gallery)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert data.relevance[count - 1].tolist() == [(count - 1) % 12]
    assert held < 90 * count  # bytes: ids, and where captions and answers lie
    assert peak < 450 * count
