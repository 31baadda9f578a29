"""Own data as other programs save and pack them: what is read, and what is refused."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.data.own.source import refuse_other_files
from benchmark.errors import DataError
from tests.benchmark.fixtures_clips import write_wav
from tests.benchmark.fixtures_own import (
    COLOURS,
    load_own_set,
    make_pairs,
    make_pictures,
    make_tar,
    png,
    write_csv,
)


@pytest.mark.parametrize(
    "saved",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
    ],
    ids=["byte order mark", "CRLF", "CR"],
)
def test_text_as_other_systems_save_it(tmp_path: Path, saved: Callable[[str], bytes]) -> None:
    table = make_pairs(tmp_path)
    before = load_own_set(table).fingerprint
    table.write_bytes(saved(table.read_text()))
    assert load_own_set(table).fingerprint == before


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("image,caption\n".encode("utf-16"), "is UTF-16 text: iconv -f UTF-16 -t UTF-8 "),
        ("image,caption\n".encode("utf-16-le"), "is no text, as it holds zero bytes"),
        (png("red"), "is no text, as it holds zero bytes"),
        # Without a time: test processes must collect one name.
        (gzip.compress(b"image,caption", mtime=0), "is compressed: gunzip -c "),
        (b"PK\3\4 and more", "is a zip archive or an Excel workbook"),
        ("caf\xe9,caption\n".encode("latin1"), "is not UTF-8: byte 0xe9; .* -f WINDOWS-1252 "),
    ],
)
def test_a_table_that_is_no_text(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name} {said}"):
        load_own_set(tmp_path / name)


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_table_that_the_system_does_not_give(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/proc/self/mem")  # root may read everything but this
    with pytest.raises(DataError, match=f"{name} cannot be read: [A-Z][a-z/ ]+error$"):
        load_own_set(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        '"image";"caption"\n"a.png";"a, red"\n',
        "image;caption;note, more\na.png;red;x, y\n",
        "image;caption\na.png;a, b\n",
    ],
)
def test_semicolons_beside_commas(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match="has values with ';' between them; expected ','"):
        load_own_set(tmp_path / "t.csv")


def test_one_list_in_place_of_lines(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps([{"image": "a.png"}], indent=1))
    with pytest.raises(DataError, match=r"line 1: expected an object.*: jq -c '\.\[\]' "):
        load_own_set(tmp_path / "t.jsonl")
    (tmp_path / "t.jsonl").rename(tmp_path / "t.json")
    with pytest.raises(DataError, match=r"; of a list: jq -c '\.\[\]' \S+ > \S+t\.jsonl$"):
        refuse_other_files(str(tmp_path / "t.json"))


@pytest.mark.parametrize(("kind", "command"), [("zip", "unzip -q"), ("gztar", "tar -xf")])
def test_pictures_that_are_still_packed(tmp_path: Path, kind: str, command: str) -> None:
    table = make_pairs(tmp_path)
    archive = shutil.make_archive(str(tmp_path / "pics"), kind, tmp_path, "pics")
    shutil.rmtree(tmp_path / "pics")
    with pytest.raises(DataError, match=f"12 of 12 .*; {archive} is still packed: {command} "):
        load_own_set(table)
    if kind == "zip":
        with pytest.raises(DataError, match=f"is packed; expected what is in it: {command} "):
            refuse_other_files(archive)


def test_a_folder_with_nothing_but_archives(tmp_path: Path) -> None:
    (tmp_path / "all.tgz").touch()
    with pytest.raises(
        DataError, match=f"without a table; {tmp_path}/all.tgz is still packed: tar"
    ):
        refuse_other_files(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("t.csv.gz", "gzip -dk {0}"),
        ("t.jsonl.BZ2", "bzip2 -dk {0}"),
        ("t.tsv.xz", "xz -dk {0}"),
        ("t.parquet.zst", "zstd -dk {0}"),
        ("t.tar.GZ", "tar -xf {0} -C {1}, or of shards the .tar: gzip -dk {0}"),
        ("t.tar.zst", "tar -xf {0} -C {1}, or of shards the .tar: zstd -dk {0}"),
    ],
)
def test_a_packed_table_is_named_with_its_command(tmp_path: Path, name: str, command: str) -> None:
    table = tmp_path / name
    table.write_bytes(gzip.compress(b"id,image\na,a.png\n"))
    said = f"packed; expected what is in it: {command.format(table, tmp_path)}"
    with pytest.raises(DataError, match=f"{re.escape(said)}$"):
        refuse_other_files(str(table))
    queries = write_csv(tmp_path / "q.csv", [{"id": "a", "caption": "red", "relevant": "a"}])
    with pytest.raises(DataError, match="is packed; expected what is in it: "):
        load_own_set(queries, "t2i", gallery=table)
    make_pictures(tmp_path, ["red"])
    gallery = write_csv(tmp_path / "g.csv", [{"id": "a", "image": "red.png"}])
    with pytest.raises(DataError, match=r"expected UTF-8 text; \w+ -"):
        load_own_set(queries, "t2i", gallery=gallery, qrels=table)


def test_pictures_in_a_folder_of_another_form(tmp_path: Path) -> None:
    table = make_pairs(tmp_path)
    before = load_own_set(table).fingerprint
    moved = (tmp_path / "pics").rename(tmp_path / "moved")
    (tmp_path / "PICS").mkdir()
    moved.rename(tmp_path / "PICS/PICS")
    assert load_own_set(table).fingerprint == before


def test_what_macos_adds_is_no_frame_of_a_video(tmp_path: Path) -> None:
    for number in range(12):
        folder = tmp_path / f"v{number}"
        folder.mkdir()
        (folder / "0.png").write_bytes(png("red"))
        (folder / "._0.png").write_bytes(b"\0")
        write_wav(tmp_path / f"{number}.wav", number)
    rows = [{"video": f"v{number}", "audio": f"{number}.wav"} for number in range(12)]
    data = load_own_set(write_csv(tmp_path / "t.csv", rows), "v2a")
    assert data.queries[0].shape[0] == 1


def test_what_macos_adds_is_no_sample_of_a_shard(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for c in COLOURS:
        files |= {f"._{c}.png": b"\0", f"{c}.png": png(c)}
        files |= {f"._{c}.txt": b"\xff", f"{c}.txt": f"a {c} wall".encode()}
    (tmp_path / "shards").mkdir()
    make_tar(tmp_path / "shards/a.tar", files)
    (tmp_path / "shards/._a.tar").write_bytes(b"\0")
    assert tarfile.is_tarfile(tmp_path / "shards/a.tar")
    data = load_own_set(tmp_path / "shards", "t2i")
    assert (len(data.queries), data.queries[0]) == (12, "a red wall")
