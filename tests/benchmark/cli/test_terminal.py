"""Standard output and error of every kind: printing never ends a command."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli.main import OK, UNSHOWN, USER_ERROR, main
from benchmark.cli.terminal import Output, console_over

ROOT = Path(__file__).parents[3]


class WriteOnly:
    """What many programs put in place of standard output."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


class Gone(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def latin() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)


@pytest.mark.parametrize("words", [["list", "methods"], ["list", "methods", "--json"], ["--help"]])
@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (WriteOnly(), OK),
        (None, OK),
        (io.StringIO(), OK),
        (latin(), OK),
        (Gone(), OK),
        (closed(), UNSHOWN),
        (Full(), UNSHOWN),
        (object(), UNSHOWN),
    ],
    ids=["write only", "None", "StringIO", "ascii", "broken pipe", "closed", "full", "object"],
)
def test_commands_end_on_any_output(
    stream: Any, code: int, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(words) == code
    complaint = capsys.readouterr().err
    assert ("could not be written" in complaint) == (code == UNSHOWN)
    assert complaint.count("\n") == (code == UNSHOWN)


@pytest.mark.parametrize("stream", [None, WriteOnly(), Full(), Gone(), closed()])
def test_errors_end_on_any_standard_error(
    stream: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["list", "nothing"]) == USER_ERROR
    assert main(["list", "methods"]) == OK


def test_what_the_encoding_lacks_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = latin()
    monkeypatch.setattr(sys, "stdout", stream)
    console_over(Output(sys.stdout)).print("résultats \udcff 漢")
    assert stream.buffer.getvalue() == b"r?sultats ? ?\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("columns", "width"),
    [
        *((text, 160) for text in ("abc", "80x24", "0", "-5", "", "²", "1.5")),
        *[("1", 20), ("40", 40), ("999999", 1000), ("99999999999", 1000)],
    ],
)
@pytest.mark.parametrize("name", ["COLUMNS", "LINES"])
def test_any_size_from_the_environment(
    columns: str, width: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv(name, columns)
    assert console_over(Output(io.StringIO())).width == (width if name == "COLUMNS" else 160)


def test_forced_colour_on_a_pipe_keeps_the_width_and_draws_no_bars(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = console_over(Output(io.StringIO()))
    assert (console.width, console.is_interactive) == (160, False)
    monkeypatch.setenv("TERM", "xterm")
    assert not console_over(Output(io.StringIO())).is_interactive


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    console_over(Output(stream)).print("red", style="red")
    assert "\x1b[31m" not in stream.getvalue()


def shell(line: str) -> subprocess.CompletedProcess[str]:
    command = line.replace("queryshift", f"{sys.executable} -m benchmark")
    return subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)


def test_a_full_disk_is_one_line_and_a_code_of_its_own() -> None:
    done = shell("queryshift list methods > /dev/full")
    assert done.returncode == UNSHOWN
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


def test_head_and_a_closed_output_are_no_errors() -> None:
    done = shell("set -o pipefail; queryshift list shifts --json | head -1; queryshift --help >&-")
    assert (done.returncode, done.stderr, done.stdout) == (OK, "", "[\n")
