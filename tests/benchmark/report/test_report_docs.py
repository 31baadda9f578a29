"""The documentation names what the code has: options, columns, figures, links."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path

import pytest
import yaml

from benchmark.config.presets import complete
from benchmark.report.frames import TIDY_COLUMNS
from benchmark.report.plots.layout import LOOKS
from benchmark.report.style import BY_SHIFT, LEADERBOARD
from benchmark.report.verdict import NOTES
from methods import BUILTINS

ROOT = Path(__file__).parents[3]
METHODS = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
OUTPUT = (ROOT / "docs" / "output.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    """The part of docs/methods.md about one method."""
    found = re.search(rf"^## {name}\b.*?(?=^## |\Z)", METHODS, re.MULTILINE | re.DOTALL)
    assert found, f"docs/methods.md has no section on {name}"
    return found.group()


def options_of(name: str) -> type:
    module, kind = BUILTINS[name].split(":")
    return getattr(importlib.import_module(module), kind).Options


@pytest.mark.parametrize("name", sorted(BUILTINS))
def test_every_method_is_documented_with_options_that_it_has(name):
    options, text = options_of(name), section(name)
    for option, value in re.findall(r"`(\w+)=([^`]+)`", text):
        complete(options, {option: yaml.safe_load(value)}, name)
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert rows <= {field.name for field in dataclasses.fields(options)}
    assert name in LOOKS


def test_the_options_of_the_common_protocol_exist():
    shared = METHODS.split("## The common protocol")[1].split("\n## ")[0]
    named = re.findall(r"^\* `(\w+)(?:=(\w+))?`:", shared, re.MULTILINE)
    assert len(named) >= 3
    for name, value in named:
        assert name in {field.name for field in dataclasses.fields(options_of("tent"))}
        if value:
            complete(options_of("tent"), {name: yaml.safe_load(value)}, "tent")


def test_rest_is_called_our_reading_everywhere():
    assert "our reading" in section("rest")
    assert "our reading" in README.lower()
    assert "our reading" in NOTES["rest"]


def test_every_column_is_documented():
    columns = {*TIDY_COLUMNS, *LEADERBOARD, *BY_SHIFT}
    unnamed = [c for c in sorted(columns) if not re.search(rf"(`|\b){re.escape(c)}\b", OUTPUT)]
    assert not unnamed


@pytest.mark.parametrize("document", ["README.md", "docs/methods.md", "docs/output.md"])
def test_links_lead_somewhere(document):
    path = ROOT / document
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    # The picture of the leaderboard is made by `make leaderboard`.
    targets = [t for t in targets if not t.endswith(".png")]
    assert [t for t in targets if not (path.parent / t).exists()] == []
