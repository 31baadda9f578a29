"""``queryshift data`` and ``cache``: what is found, said and done."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmark.cli import data as command
from benchmark.cli.data import Cache, Data
from benchmark.cli.main import FAILED, OK, USER_ERROR, UsageError, main
from benchmark.data.card import BenchmarkCard, Suite, load_suite
from benchmark.data.datasets import BUILTINS
from benchmark.errors import ConfigError, DataError, UnknownNameError
from benchmark.evaluation.cache import DiskCache
from tests.benchmark.fixtures_karpathy import coco_name, make_coco, make_flickr
from tests.benchmark.fixtures_pairs import make_nocaps

Run = Callable[..., tuple[int, str]]


def small_cards() -> list[BenchmarkCard]:
    """COCO's and Flickr30K's cards of the paper suite and one of NoCaps, for six images each."""
    cards = [
        card for card in load_suite("paper").benchmarks if card.dataset in ("coco", "flickr30k")
    ]
    small = [dataclasses.replace(card, counts={"images": 6, "captions": 30}) for card in cards]
    nocaps = dataclasses.replace(
        cards[0],
        id="base2nocaps-in-i2t",
        row="base2nocaps-in",
        dataset="nocaps-in",
        split="val",
        counts={"images": 2, "captions": 20},
    )
    return [*small, nocaps]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    suite = Suite("paper", "t", "s", tuple(small_cards()))
    monkeypatch.setattr(command, "load_suite", lambda name: suite)
    entry = "benchmark.data.datasets.captioned:load_nocaps_in"
    monkeypatch.setitem(BUILTINS, "nocaps-in", entry)

    def call(*words: str | Path) -> tuple[int, str]:
        out = io.StringIO()
        console = Console(file=out, width=160, highlight=False)
        code = Data().run(Data().parser().parse_args(list(map(str, words))), console)
        return code, out.getvalue()

    return call


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_coco(tmp_path)
    make_flickr(tmp_path)
    make_nocaps(tmp_path)
    return tmp_path


def row_of(output: str, dataset: str) -> str:
    (row,) = [line for line in output.splitlines() if f" {dataset} " in line and "│" in line]
    return row


def test_all_complete(run: Run, root: Path) -> None:
    code, output = run("check", "--data", root)
    assert code == OK
    assert output.count(" complete ") == 3
    row = row_of(output, "coco")
    assert row.count("6 images, 30 captions") == 2
    for benchmark in ("coco-c-image", "coco-c-text", "base2coco"):
        assert benchmark in row
    assert "2 images, 20 captions" in row_of(output, "nocaps-in")
    assert "layout of" not in output


def test_missing_images_are_named_with_the_layout(run: Run, root: Path) -> None:
    (root / "coco" / "images" / "val2014" / coco_name(2)).unlink()
    code, output = run("check", "--data", root)
    assert code == FAILED
    assert "INCOMPLETE" in row_of(output, "coco")
    assert "5 images, 25 captions" in row_of(output, "coco")
    assert f"1 of 6 images of 'coco' are missing, 5 are there: val2014/{coco_name(2)}" in output
    assert "- 5 images; the card says 6" in output
    assert "layout of COCO 2014" in output
    assert "coco/annotations/coco_karpathy_test.json" in output
    assert "layout of Flickr30K" not in output


def test_only_what_is_asked_for_counts(run: Run, root: Path) -> None:
    (root / "coco" / "images" / "val2014" / coco_name(2)).unlink()
    assert run("check", "--data", root, "base2flickr", "nocaps-in")[0] == OK
    assert run("check", "--data", root, "base2flickr-t2i")[0] == OK
    code, output = run("check", "--data", root, "coco-c-text", "base2flickr")
    assert code == FAILED
    assert "nocaps" not in output


def test_an_empty_folder(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is empty; expected a metadata.csv in it"):
        run("check", "--data", tmp_path)
    (tmp_path / "pairs.csv").touch()
    with pytest.raises(
        DataError, match=r"is a folder with 1 of the tables .*, such as .*pairs.csv"
    ):
        run("check", "--data", tmp_path)
    (tmp_path / "pairs.csv").rename(tmp_path / "notes")
    code, output = run("check", "--data", tmp_path)
    assert code == FAILED
    assert "no annotations of 'coco'" in output
    assert "layout of" not in output
    assert "queryshift data layout NAME" in output
    code, output = run("check", "--data", tmp_path, "coco", "flickr30k", "nocaps-in")
    assert code == FAILED
    for dataset in ("coco", "flickr30k", "nocaps-in"):
        assert "NOT USABLE" in row_of(output, dataset)
        assert "nothing" in row_of(output, dataset)
    assert "layout of NoCaps, validation" in output
    assert "nocaps.org" in output


def test_other_counts_than_the_cards_are_a_fault(run: Run, root: Path) -> None:
    make_flickr(root, images=7)
    code, output = run("check", "--data", root, "flickr30k")
    assert code == FAILED
    assert "- 7 images; the card says 6" in output
    assert "- 35 captions; the card says 30" in output


def test_malformed_annotations_are_a_fault(run: Run, root: Path) -> None:
    file = root / "coco" / "annotations" / "coco_karpathy_test.json"
    file.write_text("[{]")
    code, output = run("check", "--data", root, "coco-c-image")
    assert code == FAILED
    assert "is not valid JSON: line 1, column 3" in output
    assert output.count("not valid JSON") == 1


def test_broken_files_are_found_only_when_decoding(run: Run, root: Path) -> None:
    path = root / "flickr30k" / "flickr30k-images" / "1000000003.jpg"
    path.write_bytes(path.read_bytes()[:100])
    assert run("check", "--data", root)[0] == OK
    code, output = run("check", "--data", root, "--decode")
    assert code == FAILED
    assert "1 of 6 images are broken: image" in output
    assert "1000000003.jpg cannot be decoded" in output
    assert "INCOMPLETE" in row_of(output, "flickr30k")
    assert run("check", "--data", root, "--decode", "coco")[0] == OK


def test_no_more_than_five_broken_files_are_named(run: Run, root: Path) -> None:
    for path in (root / "coco" / "images" / "val2014").iterdir():
        path.write_bytes(b"no picture")
    _, output = run("check", "--data", root, "--decode", "coco")
    assert "6 of 6 images are broken" in output
    assert output.count("cannot be decoded") == 5


def test_square_brackets_are_no_markup(run: Run, root: Path) -> None:
    odd = root / "[red]data"
    odd.mkdir()
    (odd / "notes").touch()
    _, output = run("check", "--data", odd)
    assert "[red]data" in output


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["check", "--data", "{root}", "coco-c-imag"], UnknownNameError, "did you mean 'coco-c-im"),
        (["check", "--data", "{root}/no"], ConfigError, "does not exist or is not a folder"),
        (["check", "--data", ""], UsageError, "--data is empty"),
        (["check"], UsageError, "--data"),
        ([], UsageError, "ACTION"),
        (["chek"], UnknownNameError, "unknown action 'chek'; did you mean 'check'"),
        (["check", "--data", "{root}", "--decod"], UsageError, "did you mean '--decode'"),
    ],
)
def test_usage(
    run: Run, root: Path, words: Sequence[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(*(word.format(root=root) for word in words))


def test_layouts_need_no_data(run: Run) -> None:
    code, output = run("layout", "base2nocaps-in", "coco")
    assert code == OK
    assert output.count("layout of") == 2
    assert "nocaps/annotations/nocaps_val_4500_captions.json" in output


def call(*words: str) -> tuple[int, str]:
    screen, command = io.StringIO(), Cache()
    console = Console(width=160, file=screen)
    code = command.run(command.parser().parse_args(list(words)), console)
    return code, screen.getvalue()


@pytest.fixture
def disk(tmp_path: Path) -> DiskCache:
    found = DiskCache(tmp_path / "cache", 10**9)
    for kind, rows in (("gallery", 3), ("queries", 50), ("queries", 60)):
        found.put(f"{kind}-key{rows}", torch.ones(rows, 100))
    return found


def test_info_says_what_is_there(disk: DiskCache, tmp_path: Path) -> None:
    code, said = call("info", "--cache", str(disk.folder))
    assert code == OK
    assert str(disk.folder) in said
    assert "of at most 10.0 GB" in said
    (queries,) = [line for line in said.splitlines() if "preprocessed queries" in line]
    assert "2" in queries
    assert "52.2 kB" in queries  # 110 rows of 400 bytes and two headers
    assert "under the source model" not in said
    assert "it is empty" in call("info", "--cache", str(tmp_path / "none"))[1]
    assert not (tmp_path / "none").exists()


def test_clear_removes_all_of_it(disk: DiskCache) -> None:
    code, said = call("clear", "--cache", str(disk.folder))
    assert code == OK
    assert "removed 3 entries" in said
    assert disk.entries() == []
    assert "removed 0 entries" in call("clear", "--cache", str(disk.folder))[1]


def test_mistakes_are_one_clear_error(
    disk: DiskCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UnknownNameError, match="unknown action 'clean'; did you mean 'clear'"):
        call("clean")
    with pytest.raises(ConfigError, match="--cache: expected a folder or off, not 'no'"):
        call("clear", "--cache", "no")
    monkeypatch.setenv("QUERYSHIFT_CACHE", "off")
    with pytest.raises(UsageError, match=r"the disk cache is off .*--cache DIR"):
        call("info")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is not a folder"):
        call("clear", "--cache", str(tmp_path / "file"))


@pytest.mark.parametrize("action", ["info", "clear"])
def test_a_folder_that_cannot_be_read_is_not_called_empty(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").symlink_to(tmp_path / "cache")  # root may read everything but this
    assert main(["cache", action, "--cache", str(tmp_path / "cache")]) == USER_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: cannot use '{tmp_path}/cache': Too many levels of symbolic links"
