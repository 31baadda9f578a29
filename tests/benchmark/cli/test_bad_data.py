"""What can be wrong with own data, through the command line: one line, and nothing is stored."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmark.cli import main
from tests.benchmark.fixtures_own import make_pictures

TABLES = {
    "columns.csv": "a,b\n1,2\n",
    "outside.csv": "image,caption\n../red.png,a\n",
    "whole.csv": "image,caption\n/etc/passwd,a\n",
    "nothing.csv": "",
    "head.csv": "image,caption\n",
    "numbers.csv": "image,caption\npics/red.png,1\npics/blue.png,2\n",
    "empty.csv": "image,caption\npics/red.png,\npics/blue.png,b\n",
    "nested.jsonl": json.dumps({"image": "pics/red.png", "caption": [["a"], ["b"]]}) + "\n",
    "broken.tar": "no archive" * 200,
    "queries.csv": "id,caption\nq1,red\nq2,blue\n",
    "gallery.csv": "id,image\nred,pics/red.png\nblue,pics/blue.png\n",
    "item.txt": "q1 0 red 1\nq2 0 bleu 1\n",
    "query.txt": "x1 0 red 1\nx2 0 blue 1\n",
    "one.csv": "image,caption\npics/red.png,a red wall\n",
}

APART = ("queries.csv", "--gallery", "gallery.csv", "--qrels")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_pictures(tmp_path / "pics", ("red", "blue"))
    make_pictures(tmp_path / "classes" / "cats", ("red", "blue"))
    for name, text in TABLES.items():
        Path(name).write_text(text)


def bench(*words: str) -> int:
    flags = ("--method", "recentre", "--shift", "none", "--no-figures", "--out", "run", "--quiet")
    return main(["bench", "--data", *words, "--model", "mini", *flags])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["columns.csv"], "--columns"),
        (["outside.csv"], "lies outside"),
        (["whole.csv"], "lies outside"),
        (["nothing.csv"], "has no rows"),
        (["head.csv"], "has no rows"),
        (["numbers.csv"], "every caption is a number, such as '1'"),
        (["empty.csv"], "caption is empty"),
        (["nested.jsonl"], "expected a text or a list of texts"),
        (["broken.tar"], "is no sound tar archive"),
        (["pics"], "holds 2 pictures and nothing that describes them"),
        (["classes"], "nothing that describes them"),
        (["absent.csv"], "absent.csv"),
        ([*APART, "item.txt"], "did you mean 'blue'"),
        ([*APART, "query.txt"], "such as 'x1'"),
    ],
)
def test_it_is_one_line_and_no_run(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = bench(*words)
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2, line
    assert line.startswith("error: ")
    assert said in line
    assert not Path("run").exists()


def test_nested_lists_of_parquet(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"image": ["pics/red.png"], "caption": [[["a"], ["b"]]]})
    frame.to_parquet("nested.parquet")
    assert bench("nested.parquet") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected a text or a list of texts" in line


def test_one_item_is_no_gallery(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("one.csv") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has a gallery of 1; recall at 10 needs at least 10 items" in line


def test_a_check_of_pictures_says_what_they_lack(capsys: pytest.CaptureFixture[str]) -> None:
    for place, said in (("classes", "nothing that describes them"), ("item.txt", "is no table")):
        assert main(["data", "check", "--data", place]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
