"""Every command that the pages show is one that the command line and the Makefile understand."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.cli.main import command
from tests.docs.test_pages import FENCE, ROOT, pages

TODAY = [page for page in pages() if page.name != "CHANGELOG.md"]  # which has old commands
COMMAND = re.compile(r"^ *(?:\.venv/bin/)?((?:queryshift|make|python) .*)", re.MULTILINE)


def shown(text: str) -> Iterator[list[str]]:
    """The words of each command in the blocks of a page."""
    for kind, block in FENCE.findall(text):
        for line in COMMAND.findall(block.replace("\\\n", " ")) if kind in ("", "sh") else ():
            yield [word for word in shlex.split(line, comments=True) if word != "..."]


def understood(words: list[str]) -> None:
    program, *rest = words
    if program == "make":
        # As a user's shell has it: make check, which starts the tests, hands its variables down.
        plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        call = ["make", "-n", *rest]
        subprocess.run(call, cwd=ROOT, check=True, capture_output=True, env=plain)
    elif program == "queryshift" and not rest[0].startswith("-"):
        command(rest[0]).parser().parse_args(rest[1:])
    elif rest[0] == "-m" and rest[1].startswith(("benchmark", "docs", "tests")):
        assert importlib.util.find_spec(rest[1]), rest[1]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("page", TODAY, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_understood(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for words in shown(text):
        understood(words)
    for name in re.findall(r"`queryshift ([a-z][\w-]*)", re.sub(FENCE, "", text)):
        command(name)
