"""The worked examples of the docs: their files are written, installed and run as the pages say."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["tutorial", "add-a-method", "add-a-shift", "add-a-benchmark", "add-a-backbone"]
FENCE = re.compile(r"^```(\w+)(?: title=\"([\w.-]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def install(toml: str, site: Path) -> None:
    """The metadata that pip would write: where Python finds a package's entry points."""
    said = tomllib.loads(toml)["project"]
    folder = site / f"{said['name'].replace('-', '_')}-{said['version']}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Name: {said['name']}\nVersion: {said['version']}\n")
    lines = []
    for group, entries in said["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines))


def birds(folder: Path) -> None:
    """Data in the form that the page on benchmarks reads."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        name = f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(folder / name)
        rows.append({"image": name, "captions": [f"bird {number}", f"a photo of bird {number}"]})
    (folder / "test.json").write_text(json.dumps(rows))


def commands(block: str) -> list[list[str]]:
    """The lines of a block that the test runs; set-up is left to make and pip."""
    lines = block.replace("\\\n", " ").splitlines()
    return [
        words for line in lines if (words := shlex.split(line))[:1] in (["queryshift"], ["python"])
    ]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, page: str
) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks, folder = FENCE.findall(text), tmp_path
    for language, title, block in blocks:
        if "queryshift new" in block:
            made = [words[1:] for words in commands(block) if words[1] == "new"]
            assert main([*made[0], "--out", str(tmp_path)]) == 0
            (folder,) = tmp_path.glob("queryshift-*")
            install((folder / "pyproject.toml").read_text(), tmp_path)
        if title:
            (folder / title).write_text(block, encoding="utf-8")
        if language == "toml":
            install(block, tmp_path)
    birds(tmp_path / "data" / "birds")
    installed = text.index("pip install")
    path = os.pathsep.join([str(tmp_path), str(folder), str(ROOT)])
    cache = tmp_path_factory.getbasetemp() / "cache"  # galleries are encoded once for all pages
    ran = 0
    for language, _, block in blocks:
        if language != "sh" or text.index(block) < installed:
            continue
        for program, *words in commands(block):
            start = [sys.executable, *(["-m", "benchmark"] if program == "queryshift" else [])]
            short = ["--limit", "12", "--no-figures", "--quiet"] if words[0] == "bench" else []
            done = subprocess.run(
                [*start, *words, *short],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": path, "QUERYSHIFT_CACHE": str(cache)},
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, (
                f"{program} {words}: {done.stdout[-800:]}{done.stderr[-800:]}"
            )
            ran += 1
    assert ran >= (2 if folder == tmp_path else 1)


def test_the_page_on_methods_shows_what_new_writes(tmp_path: Path) -> None:
    assert main(["new", "method", "sharpen", "--out", str(tmp_path)]) == 0
    (written,) = tmp_path.glob("*/queryshift_sharpen.py")
    assert f"\n{written.read_text()}```" in (ROOT / "docs/add-a-method.md").read_text()


def test_the_examples_in_docstrings_hold() -> None:
    rooms = ("benchmark", "methods", "queryshift", "shifts")
    paths = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    shown = [path.relative_to(ROOT) for path in paths if ">>> " in path.read_text("utf-8")]
    names = [".".join(path.with_suffix("").parts) for path in shown]
    assert len(names) > 15
    for name in names:
        assert not doctest.testmod(importlib.import_module(name)).failed, name
