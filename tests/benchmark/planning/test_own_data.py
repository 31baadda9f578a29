"""``bench --data TABLE``: which cells it means, and what is refused before anything runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from benchmark.cell import Cell
from benchmark.cli.main import main
from benchmark.config.run import BenchConfig, Traced, defaults
from benchmark.data.card import benchmark_card
from benchmark.data.own.source import OwnSource
from benchmark.errors import ConfigError, DataError, QueryShiftError
from benchmark.evaluation.builders import default_resources
from benchmark.planning.gridfile import plan_grid, read_grid
from benchmark.planning.plan import Plan, plan_flags
from benchmark.registry import BENCHMARKS
from tests.benchmark.fixtures_own import COLOURS, make_pairs, make_pictures, write_csv


def planned(data: Path, **settings) -> list[Cell]:
    given = {"data": str(data), "method": ("tent",), "device": "cpu", **settings}
    flags = {name: Traced(value, f"--{name}") for name, value in given.items()}
    return plan_flags({**defaults(), **flags}).possible


def plain(root: Path) -> Path:
    make_pictures(root)
    return write_csv(root / "t.csv", [{"image": f"{c}.png", "caption": f"a {c}"} for c in COLOURS])


def test_a_mixed_stream_with_clean_queries_leaves_captions_out(tmp_path: Path) -> None:
    cells = planned(plain(tmp_path), model="mini", stream=("mixed",), shift=("contrast", "none"))
    assert {cell.benchmark for cell in cells} == {"own:t-i2t"}


def test_shifts_go_to_the_queries_that_they_fit(tmp_path):
    cells = planned(plain(tmp_path), model="mini", shift=("gaussian", "keyboard"))
    found = {(cell.benchmark, cell.shift.name) for cell in cells}
    assert found == {("own:t-i2t", "gaussian_noise"), ("own:t-t2i", "keyboard")}
    assert {cell.suite for cell in cells} == {"own"}
    assert {cell.backbone.loader for cell in cells} == {"mini"}


def test_without_a_shift_each_direction_gets_one(tmp_path):
    cells = planned(plain(tmp_path), model="mini")
    assert {cell.benchmark for cell in cells} == {"own:t-i2t", "own:t-t2i"}
    assert len(cells) == 4
    assert planned(tmp_path / "t.csv", model="mini", benchmark=("all",)) == cells


def test_domains_make_a_stream_without_corruption(tmp_path):
    cells = planned(make_pairs(tmp_path), model="mini")
    assert {(c.shift.name, c.stream.kind, c.stream.group_key) for c in cells} == {
        ("none", "continual", "domain")
    }
    resources = default_resources(BenchConfig(cache="off"))
    assert resources.homes.of(cells[0]) is None
    stream = resources.stream(cells[0])
    domains = resources.data(cells[0]).group_keys["domain"]
    assert [set(domains[b.queries].tolist()) for b in stream] == [{0}, {1}]


def test_one_direction(tmp_path):
    cells = planned(plain(tmp_path), model="mini", benchmark=("own:t-t2i",), shift=("keyboard",))
    assert {cell.benchmark for cell in cells} == {"own:t-t2i"}
    with pytest.raises(ConfigError, match="gives own:t-i2t and own:t-t2i, not 'own:x-t2i'"):
        planned(plain(tmp_path), model="mini", benchmark=("own:x-t2i",))


def test_no_model_lists_what_can_be_had(tmp_path):
    with pytest.raises(ConfigError, match=r"need a model.*mini \(.*open_clip \(.*blip") as error:
        planned(plain(tmp_path))
    assert "cav_mae" not in str(error.value)


def test_data_keeps_its_other_meaning(tmp_path):
    table = plain(tmp_path)
    with pytest.raises(ConfigError, match="is your own table, and --benchmark coco-c-image runs"):
        planned(table, benchmark=("coco-c-image",), model="mini")
    with pytest.raises(ConfigError, match="--suite paper runs on published"):
        planned(table, suite="paper", model="mini")
    (tmp_path / "metadata.csv").write_text("file_name,text\nred.png,a wall\n")
    cells = planned(tmp_path, benchmark=("coco-c-image",), shift=("contrast",))
    assert {cell.benchmark for cell in cells} == {"coco-c-image"}
    assert cells[0].data_root == str(tmp_path)


def test_a_folder_of_parts(tmp_path):
    (tmp_path / "day=1").mkdir()
    (tmp_path / "day=1" / "part-0.parquet").touch()
    with pytest.raises(DataError, match=f"for all of them hf:{tmp_path} --split train"):
        planned(tmp_path, model="mini", gallery="g.csv")
    (tmp_path / "q.npy").touch()
    with pytest.raises(DataError, match=r"q.npy holds numbers, such as embeddings"):
        planned(tmp_path / "q.npy", model="mini")


@pytest.mark.parametrize("name", ["pairs.xlsx", "pairs.json"])
def test_a_file_that_is_no_table(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"{name} is no table that can be read; expected .csv, "):
        planned(tmp_path / name, model="mini")


@pytest.mark.parametrize("name", ["columns", "gallery", "qrels", "clean", "split", "unlabelled"])
def test_settings_of_own_tables_need_one(tmp_path, name):
    value = {"columns": ("image=a",), "unlabelled": True}.get(name, "x")
    with pytest.raises(ConfigError, match=f"--{name} has no effect here: it is about a table"):
        planned(tmp_path, benchmark=("coco-c-image",), **{name: value})


def test_columns_must_say_which_is_which(tmp_path):
    for wrong in ("image", "picture=a", "image="):
        with pytest.raises(ConfigError, match=f"--columns: '{wrong}' does not say"):
            planned(plain(tmp_path), model="mini", columns=(wrong,))
    with pytest.raises(ConfigError, match="name the --gallery too"):
        planned(plain(tmp_path), model="mini", qrels="q")


def test_the_card_follows_from_the_name():
    assert BENCHMARKS.get("own:x-i2t") == benchmark_card("own:x-i2t")
    assert BENCHMARKS.get("own:x-t2a").gallery == "audio"
    assert "own:x" not in BENCHMARKS
    assert not any(name.startswith("own:") for name in BENCHMARKS.names())


def grid_of(root: Path, text: str, **flags: str) -> Plan:
    path = root / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return plan_grid(read_grid(path), argparse.Namespace(**flags))


def test_own_tables_in_a_grid_file(tmp_path):
    plain(tmp_path)
    make_pairs(tmp_path / "more", "birds.csv")
    write_csv(tmp_path / "log.csv", [{"image": "red.png"}])
    found = grid_of(
        tmp_path,
        f"data: {tmp_path}/t.csv\nmodel: mini\nmethod: [tent]\ndevice: cpu\nshift: [fog]\n"
        f"include:\n- data: {tmp_path}/more/birds.csv\n  shift: none\n  stream: continual\n"
        f"- data: {tmp_path}/log.csv\n  gallery: {tmp_path}/t.csv\n  unlabelled: true\n"
        "  shift: none\n",
    )
    assert not any(planned.reason for planned in found.cells)
    places = {(p.cell.benchmark, p.cell.shift.name, p.cell.stream.kind) for p in found.cells}
    assert places == {
        ("own:t-i2t", "fog", "single"),
        ("own:birds-i2t", "none", "continual"),
        ("own:birds-t2i", "none", "continual"),
        ("own:log-i2t", "none", "single"),
    }
    assert {p.cell.method.name for p in found.cells} == {"source", "tent"}
    roots = {p.cell.benchmark: p.cell.data_root for p in found.cells}
    assert roots["own:t-i2t"] == f"{tmp_path}/t.csv"
    assert OwnSource.of(roots["own:log-i2t"]).unlabelled
    assert found.rows["own:birds-t2i"] == "own:birds"


def test_a_grid_takes_all_shifts_that_fit_the_queries(tmp_path):
    plain(tmp_path)
    text = f"data: {tmp_path}/t.csv\nmodel: mini\nmethod: source\ndevice: cpu\n"
    own = grid_of(tmp_path, text + "benchmark: own:t-t2i\n")
    assert {p.cell.benchmark for p in own.cells} == {"own:t-t2i"}
    assert {p.cell.shift.name for p in own.cells} == set(benchmark_card("own:t-t2i").shifts)
    make_pairs(tmp_path)  # two domains, whose shift is the data themselves unless one is named
    domains = text.replace("t.csv", "pairs.csv") + "benchmark: own:pairs-t2i\n"
    assert {p.cell.shift.name for p in grid_of(tmp_path, domains).cells} == {"none"}
    named = grid_of(tmp_path, domains + "shift: all\n")
    assert {p.cell.shift.name for p in named.cells} == {p.cell.shift.name for p in own.cells}
    models = grid_of(tmp_path, text.replace("mini", "[mini, RN50]") + "shift: fog\n")
    assert {p.cell.backbone.loader for p in models.cells} == {"mini", "open_clip"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: {}/t.csv\n", r"my.yaml:1: your own data need a model"),
        ("model: mini\ndata: {}/no.csv\n", r"my.yaml:2: there is no table"),
        ("data: {}/t.csv\nmodel: mini\nsuite: mini\n", r"my.yaml:1: --data .*--suite mini runs"),
        ("data: {}/t.csv\nmodel: mini\nbenchmark: own:x-i2t\n", "not 'own:x-i2t'"),
        ("gallery: {}/t.csv\n", "my.yaml:1: 'gallery' has no effect here: it is about a table of"),
        ("data: {}/t.csv\nmodel: mini\ncolumns: picture=a\n", "does not say which column"),
    ],
)
def test_own_tables_that_are_wrong_in_a_grid(tmp_path, text, expected):
    plain(tmp_path)
    with pytest.raises(QueryShiftError, match=expected):
        grid_of(tmp_path, text.format(tmp_path) + "method: source\ndevice: cpu\n")


def test_a_query_log_is_shifted_as_it_is(tmp_path):
    plain(tmp_path)
    log = write_csv(tmp_path / "log.csv", [{"image": "red.png"}])
    cells = planned(log, gallery=str(tmp_path / "t.csv"), unlabelled=True, model="mini")
    assert {(cell.benchmark, cell.shift.name) for cell in cells} == {("own:log-i2t", "none")}
    home = default_resources(BenchConfig(cache="off")).homes.named(cells[0])
    assert (home.suite, home.benchmark, home.data_root) == ("mini", "mini-coco-c-image", "")
    clean = planned(
        log, gallery=str(tmp_path / "t.csv"), unlabelled=True, model="mini", clean=str(log)
    )
    home = default_resources(BenchConfig(cache="off")).homes.named(clean[0])
    assert home.benchmark == "own:log.clean-i2t"


@pytest.mark.slow
def test_from_a_table_to_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clean").mkdir()
    for folder in (tmp_path, tmp_path / "clean"):
        make_pictures(folder)
        said = [
            {"id": c, "image": f"{c}.png", "caption": f"a {c} wall", "domain": "ab"[i % 2]}
            for i, c in enumerate(COLOURS)
        ]
        write_csv(folder / "t.csv", said)
    (tmp_path / "red.png").write_bytes((tmp_path / "pink.png").read_bytes())
    words = ["bench", "--data", "t.csv", "--clean", "clean/t.csv", "--model", "mini"]
    words += ["--method", "tent", "--out", "run", "--no-figures", "--batch-size", "4", "--quiet"]
    assert main(words) == 0
    assert "own:t-i2t" in capsys.readouterr().out
    records = [json.loads(path.read_text()) for path in Path("run/cells").glob("*.json")]
    assert len(records) == 4
    for record in records:
        assert record["info"]["home"].startswith("own:t.clean-")
        assert record["metrics"].keys() >= {"forgetting", "R@1_a", "R@1_b"}
    assert main(words) == 0
    assert "reused 4 finished cells" in capsys.readouterr().out
    assert main(["verify", "run", "--clean", "clean/t.csv"]) == 0
    assert main(["verify", "run", "--qrels", "t.csv"]) == 2  # none of its cells reads one


def test_data_check_says_what_was_understood(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table = make_pairs(tmp_path)
    assert main(["data", "check", "--data", "pairs.csv"]) == 0
    said = capsys.readouterr().out
    for fact in ("image-text", "own:pairs-i2t, own:pairs-t2i", "24", "day, night"):
        assert fact in said
    (tmp_path / "pics/red.png").rename(tmp_path / "pics/red.PNG")
    (tmp_path / "pics/blue.png").write_bytes(b"no picture")
    (tmp_path / "pics/grey.png").write_bytes((tmp_path / "pics/pink.png").read_bytes())
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (8, 6)).save(tmp_path / "pics/cyan.png", exif=exif)
    table.write_text(table.read_text() + "pics/cyan.png,the colour cyan,day\n")
    assert main(["data", "check", "--data", "pairs.csv"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    for problem in (
        "1 of 12 images of",
        "red.PNG",
        "1 caption given twice",
        "images with the content of another: 1, such as 'pics/pink.png' and 'pics/grey.png'",
        "1 of 11 images are broken",
        "1 picture to be shown turned (EXIF), such as 'pics/cyan.png'",
    ):
        assert problem in said


def test_a_sound_of_another_form_is_named_with_its_command(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp3").write_bytes(b"ID3" + bytes(99))
    write_csv(tmp_path / "t.csv", [{"audio": "a.mp3", "caption": "a song"}])
    assert main(["data", "check", "--data", "t.csv"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 1 audios are broken" in said
    assert "convert it again: ffmpeg -i a.mp3 a.wav" in said
