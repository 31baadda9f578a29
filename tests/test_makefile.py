"""The Makefile: what its variables become on the command line, and what its help says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*words: str) -> str:
    variables = (
        "METHOD",
        "SHIFT",
        "SEED",
        "DATA",
        "MODEL",
        "OUT",
        "LIMIT",
        "MAKEFLAGS",
        "MAKELEVEL",
    )
    clean = {name: value for name, value in os.environ.items() if name not in variables}
    done = subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def command(*words: str) -> list[str]:
    """What the target would run after ``python -m benchmark``, split as the shell does."""
    return shlex.split(make("-n", *words).splitlines()[-1].partition(" -m benchmark ")[2])


def test_only_variables_that_are_set_become_flags():
    assert command("bench") == ["bench"]
    assert command("bench", "METHOD=rest", "SHIFT=gaussian") == [
        *("bench", "--method", "rest", "--shift", "gaussian")
    ]


@pytest.mark.parametrize("value", ["/a folder/with blanks", "it's", 'say "x"', "a;b&c", "a*"])
def test_values_reach_the_command_as_one_word(value):
    assert command("bench", f"DATA={value}") == ["bench", "--data", value]


def test_options_are_repeated_and_switches_have_no_value():
    words = command("bench", "OPTIONS=steps=1 lr=1e-4", "ALLOW_MISSING=1", "QUIET=0")
    assert words == ["bench", "--allow-missing", "--option", "steps=1", "--option", "lr=1e-4"]


def test_a_stream_and_its_options():
    words = command("bench", "STREAM=diverse,mixed", "STREAM_OPTIONS=delta=1 domains_per_batch=3")
    options = [*("--stream-option", "delta=1"), *("--stream-option", "domains_per_batch=3")]
    assert words == ["bench", "--stream", "diverse,mixed", *options]


def test_every_flag_of_the_commands_that_make_sets_exists():
    from benchmark.cli.main import COMMANDS

    text = (ROOT / "Makefile").read_text()
    flags = set(re.findall(r"\$\(call (?:flag|switch),\w+,(--[a-z-]+)\)", text)) | {"--option"}
    known = {f for action in COMMANDS["bench"].parser()._actions for f in action.option_strings}
    assert len(flags) > 15
    assert flags <= known


def test_help_lists_every_public_target():
    shown = set(re.findall(r"^  make ([a-z-]+)", make("help"), flags=re.MULTILINE))
    wanted = (
        "help bench suite grid plan claims test perf format lint types check mini-weights tune "
        "leaderboard clean setup docs-figures"
    )
    assert shown == set(wanted.split())


def test_pins_name_versions_alone():
    """No addresses or paths: the file must serve whatever registry the user has."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+]*", pin) for pin in pins)
    assert {"torch", "torchvision", "open_clip_torch"} <= {p.partition("==")[0] for p in pins}
