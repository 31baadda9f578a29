"""The converter opens pickles that would harm, and nothing happens."""

from __future__ import annotations

import collections
import datetime
import io
import json
import os
import pickle
import resource
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.data.datasets.captioned import load_fashion_gen
from benchmark.data.datasets.convert_fashion_gen import (
    RefusedError,
    convert,
    main,
    read,
    read_plain,
)
from benchmark.errors import DataError
from tests.benchmark.fixtures_karpathy import write_pictures
from tests.benchmark.fixtures_pairs import fashion_records, make_fashion_gen

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def write_pickles(folder: Path, records: list[Any], protocol: int = 4) -> Path:
    folder.mkdir(exist_ok=True)
    for number, record in enumerate(records):
        (folder / f"{number:06d}.pkl").write_bytes(pickle.dumps(record, protocol))
    return folder


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def with_extra(extra: Any) -> dict[str, Any]:
    return fashion_records()[0] | {"extra": extra}


# What is read


def test_converted_records_load_as_the_written_ones(tmp_path: Path) -> None:
    written = load_fashion_gen(make_fashion_gen(tmp_path / "a").parents[1])
    pickles = write_pickles(tmp_path / "pickles", fashion_records())
    own = tmp_path / "b" / "fashion-gen"
    write_pictures(own / "extracted_valid_images", [r["img_name"] for r in fashion_records()])
    assert convert(pickles, own / "fashion_gen_validation.jsonl") == 6
    assert load_fashion_gen(tmp_path / "b").fingerprint == written.fingerprint


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_and_plain_kind(protocol: int) -> None:
    record: dict[str, Any] = with_extra(
        [1, 2.5, None, True, (1,), {3}, frozenset({4}), b"x", 1j, bytearray(b"y")][:9]
    )
    record = collections.OrderedDict(record)
    found = read_plain(pickle.dumps(record, protocol), ("img_name", "captions", "super_cls_id"))
    assert found == {k: record[k] for k in ("img_name", "captions", "super_cls_id")}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.str_("TOPS é"), "TOPS é"),
        (np.bytes_(b"TOPS"), "TOPS"),
        (np.int64(-7), -7),
        (np.uint8(200), 200),
        (np.float32(0.5), 0.5),
        (np.dtype(">i4").type(5), 5),
        (np.bool_(True), True),
    ],
)
def test_scalars_of_numpy_are_read_without_it(value: Any, expected: Any, protocol: int) -> None:
    assert read_plain(pickle.dumps({"k": value}, protocol), ["k"]) == {"k": expected}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_are_left_out(protocol: int) -> None:
    raw = pickle.dumps(with_extra(np.arange(12.0).reshape(3, 4)), protocol)
    assert read_plain(raw, ["img_name", "none"]) == {"img_name": "100001_1.png"}
    with pytest.raises(RefusedError, match="key 'extra' holds a Left; expected a text or a list"):
        read_plain(raw, ["extra"])


def test_texts_that_python_2_wrote() -> None:
    raw = (
        b"(dp0\nS'img_name'\np1\nS'1_1.png'\np2\nsS'captions'\np3\n(lp4\nS'caf\\xc3\\xa9'\np5\nas."
    )
    assert read_plain(raw, ["img_name", "captions"]) == {
        "img_name": "1_1.png",
        "captions": ["café"],
    }


def test_files_are_read_in_sorted_order_and_numbers_become_texts(tmp_path: Path) -> None:
    records = [r | {"product_id": int(r["product_id"])} for r in fashion_records()]
    pickles = write_pickles(tmp_path / "pickles", records)
    (pickles / "readme.txt").write_text("no pickle")
    out = tmp_path / "o.jsonl"
    convert(pickles, out)
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert lines == fashion_records()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


# What is refused


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "call",
    [
        (os.system, "echo"),
        (eval, "1"),
        (exec, "x = 1"),
        (getattr, "a", "upper"),
        (open, "f", "w"),
        (__import__, "os"),
        (subprocess.Popen, "true"),
        (datetime.date, 2020, 1, 1),
        (bytearray, 10),
        (np.frombuffer, b"12345678"),
        (io.StringIO,),
    ],
)
def test_any_other_name_is_refused_and_never_called(call: Any, protocol: int) -> None:
    raw = pickle.dumps(with_extra(Call(*call)), protocol)
    with pytest.raises(RefusedError, match=r"it asks for [\w.]+; only plain"):
        read_plain(raw, ["img_name"])


def test_a_harmful_pickle_leaves_no_trace_and_no_output(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    records = [*fashion_records()[:2], with_extra(Call(os.system, f"touch {trace}"))]
    pickles = write_pickles(tmp_path / "pickles", records)
    out = tmp_path / "o.jsonl"
    with pytest.raises(DataError, match=r"000002\.pkl is refused: it asks for (posix|os)\.system"):
        convert(pickles, out)
    assert not trace.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"pickles"}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "it cannot be read"),
        (pickle.dumps(fashion_records()[0])[:-20], "it cannot be read"),
        (pickle.dumps([1, 2]), "it holds a list; expected a dictionary"),
        (b"\x80\x04P1\n.", "it cannot be read|it refers to an object outside"),
        (b"\x80\x02Ucabc\nQ.", "it cannot be read|outside of the file"),
        (pickle.dumps({"captions": {"a": 1}}), "key 'captions' holds a dict"),
        (pickle.dumps({"captions": b"\xff"}), "it cannot be read"),
    ],
)
def test_no_record(tmp_path: Path, raw: bytes, expected: str) -> None:
    folder = tmp_path / "pickles"
    folder.mkdir()
    (folder / "a.pkl").write_bytes(raw)
    with pytest.raises(DataError, match=rf"a\.pkl is refused: .*({expected})"):
        convert(folder, tmp_path / "o.jsonl")


def test_a_list_that_holds_itself(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RefusedError, match="RecursionError"):
        read_plain(pickle.dumps({"captions": endless}), ["captions"])


def test_a_pickle_that_wants_all_memory_is_refused_and_the_next_is_read(tmp_path: Path) -> None:
    # LONG_BINPUT with a large index makes the decoder's memo grow to many gigabytes.
    bomb = b"\x80\x02}r" + struct.pack("<I", (1 << 31) - 1) + b"."
    (tmp_path / "bomb.pkl").write_bytes(bomb)
    sound = tmp_path / "sound.pkl"
    sound.write_bytes(pickle.dumps(fashion_records()[0]))
    limit = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(DataError, match=r"bomb\.pkl is refused: it needs more memory"):
        read(tmp_path / "bomb.pkl")
    assert resource.getrlimit(resource.RLIMIT_AS) == limit
    assert read(sound) == fashion_records()[0]


# The command


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"img_name": "../1_1.png"}, "image path '../1_1.png' is refused"),
        ({"img_name": None}, "'img_name' must be a string, found null"),
        ({"captions": []}, "'captions' is empty"),
        ({"captions": [1]}, "caption 1 must be a string"),
        ({"super_cls_name": ["x"]}, "'super_cls_name' must be a string, found a list"),
    ],
)
def test_what_comes_back_is_checked(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    pickles = write_pickles(tmp_path / "pickles", [fashion_records()[0] | change])
    with pytest.raises(DataError, match=r"000000\.pkl: ") as error:
        convert(pickles, tmp_path / "o.jsonl")
    assert expected in str(error.value)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pickles = write_pickles(tmp_path / "pickles", fashion_records())
    out = tmp_path / "o.jsonl"
    assert main([str(pickles), str(out)]) == 0
    assert capsys.readouterr().out == f"6 records in {out}\n"
    before = out.read_bytes()
    assert main([str(pickles), str(out)]) == 2
    assert "exists; remove it or give --force" in capsys.readouterr().err
    assert main([str(pickles), str(out), "--force"]) == 0
    assert out.read_bytes() == before


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_without_pickles(
    tmp_path: Path, there: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pickles"
    if there:
        folder.mkdir()
    assert main([str(folder), str(tmp_path / "o.jsonl")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert ("holds no *.pkl file" if there else "is no folder") in message


def test_an_output_folder_that_does_not_exist(tmp_path: Path) -> None:
    pickles = write_pickles(tmp_path / "pickles", fashion_records())
    with pytest.raises(DataError, match=r"cannot write .*o\.jsonl"):
        convert(pickles, tmp_path / "no" / "o.jsonl")
