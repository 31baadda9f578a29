"""Own data in WebDataset shards."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from benchmark.data.check import check_own
from benchmark.data.own.source import OwnSource
from benchmark.errors import DataError
from tests.benchmark.fixtures_own import COLOURS, load_own_set, make_tar, pixels, png


def test_shards_are_read_in_place(tmp_path: Path) -> None:
    half = len(COLOURS) // 2
    for number, colours in enumerate((list(COLOURS)[:half], list(COLOURS)[half:])):
        files = {}
        for c in colours:
            files |= {f"{c}.png": png(c), f"{c}.json": json.dumps({"caption": f"a {c}"}).encode()}
        make_tar(tmp_path / f"birds-{number:03d}.tar", files)
    before = sorted(tmp_path.rglob("*"))
    for place in (tmp_path, tmp_path / "birds-{000..001}.tar", tmp_path / "birds-*.tar"):
        data = load_own_set(place)
        assert (len(data.queries), data.queries.ids[11]) == (12, "cyan")
        np.testing.assert_array_equal(data.queries[7], pixels("purple"))
    assert data.name == "own:birds-i2t"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_shard_that_changes_is_refused(tmp_path: Path) -> None:
    files = {f"{c}.png": png(c) for c in COLOURS} | {f"{c}.txt": b"a wall" for c in COLOURS}
    shard = make_tar(tmp_path / "a.tar", dict(sorted(files.items())))
    data = load_own_set(shard)
    shard.write_bytes(shard.read_bytes().replace(b"\x00\xff\x00", b"\x00\xfe\x00"))
    content = bytearray(shard.read_bytes())
    content[content.index(b"IDAT") + 8] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"has changed|cannot be decoded"):
        [data.queries[item] for item in range(12)]


def test_a_broken_shard(tmp_path: Path) -> None:
    shard = make_tar(tmp_path / "a.tar", {"a.png": png("red") * 200, "a.txt": b"a"})
    whole = shard.read_bytes()
    caption = whole.index(b"a.txt")
    damaged = whole[:caption] + b"?" * 512 + whole[caption + 512 :]
    cuts = [whole[:cut] for cut in (2000, caption, caption + 100, caption + 1024)]
    for content in (*cuts, damaged, b"no tar at all" * 100):
        shard.write_bytes(content)
        with pytest.raises(DataError, match="no sound tar archive"):
            load_own_set(shard)


def test_a_link_in_a_shard_leads_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png("red"))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    make_tar(tmp_path / "b.tar", {"a.txt": b"a wall"})
    with pytest.raises(DataError, match="has no rows"):
        load_own_set(tmp_path / "a.tar")


def test_a_packed_folder_is_no_shard(tmp_path: Path) -> None:
    shard = make_tar(tmp_path / "a.tar", {"a/red.png": png("red"), "a/metadata.csv": b"file_name"})
    with pytest.raises(DataError, match=f"packed folder .a/metadata.csv.: tar -xf {shard} -C "):
        load_own_set(shard)


def test_a_shard_with_several_captions(tmp_path: Path) -> None:
    files = {}
    for c in COLOURS:
        files |= {f"{c}.jpg": png(c), f"{c}.0.txt": b"one", f"{c}.1.txt": b"two"}
        files |= {f"{c}.json": b'{"caption": "one", "image": "x.jpg"}'}  # img2dataset's and more
    data = load_own_set(make_tar(tmp_path / "a.tar", files), "t2i")
    assert (len(data.queries), data.queries[0], data.queries[1]) == (24, "one", "two")


def test_samples_are_not_mixed(tmp_path: Path) -> None:
    texts = {"0.modification.txt": b"in blue", "0.url.txt": b"http:"}
    pictures = {"0.reference.png": png("red"), "0.target.png": png("blue")}
    data = load_own_set(make_tar(tmp_path / "c.tar", texts | pictures), "c2i")
    assert (len(data.gallery), data.relevance[0].tolist()) == (2, [1])
    for number, colour in enumerate(["red", "blue"]):
        make_tar(tmp_path / f"a-{number}.tar", {"0.png": png(colour), "0.txt": b"a wall"})
    with pytest.raises(DataError, match=r"row 2: id '0' is .*/a-1.tar/0.png here and .*a-0.tar/0"):
        load_own_set(tmp_path / "a-*.tar")
    make_tar(tmp_path / "b.tar", {"0.png": png("red"), "1.png": png("blue"), "0.txt": b"a wall"})
    with pytest.raises(DataError, match="the files of '0' do not lie one after the other"):
        load_own_set(tmp_path / "b.tar")
    make_tar(tmp_path / "m.tar", {"0.jpg": png("red"), "0.png": png("blue"), "0.txt": b"a wall"})
    with pytest.raises(
        DataError, match=r"0.png is the second file for the image of '0'; .*0.OTHER"
    ):
        load_own_set(tmp_path / "m.tar")


def test_lines_of_a_caption_are_said(tmp_path: Path) -> None:
    files = {}
    for c in COLOURS:
        files |= {f"{c}.png": png(c), f"{c}.txt": f"a {c} wall\n{c}!\n".encode()}
    shard = make_tar(tmp_path / "a.tar", files)
    assert load_own_set(shard, "t2i").queries[0] == "a red wall\nred!"
    report = check_own(OwnSource(str(shard)), lambda items, _: items)
    (problem,) = report.problems
    assert problem.startswith(r"12 captions with several lines, such as 'a red wall\nred!'; each")
