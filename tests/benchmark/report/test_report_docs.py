"""The documentation names what the code has: options, columns, figures, links."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path

import pytest

from benchmark.report.columns import BY_SHIFT, LEADERBOARD
from benchmark.report.plots.style import LOOKS
from benchmark.report.table import NOTES
from benchmark.report.tidy import TIDY_COLUMNS
from methods import BUILTINS

ROOT = Path(__file__).parents[3]
METHODS = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
OUTPUT = (ROOT / "docs" / "output.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    """The part of docs/methods.md about one method, with the options that all share."""
    found = re.search(rf"^## {name}\b.*?(?=^## |\Z)", METHODS, re.MULTILINE | re.DOTALL)
    assert found, f"docs/methods.md has no section on {name}"
    shared = METHODS.split("## The common protocol")[1].split("\n## ")[0]
    return found.group() + shared


@pytest.mark.parametrize("name", sorted(BUILTINS))
def test_every_method_and_option_is_documented(name):
    module, kind = BUILTINS[name].split(":")
    options = getattr(importlib.import_module(module), kind).Options
    text = section(name) + (section("tcr") if name == "rest" else "")
    missing = [f.name for f in dataclasses.fields(options) if f"`{f.name}`" not in text]
    assert not missing
    assert f"| `{name}` |" in README
    assert name in LOOKS


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
