"""Arrows between the rooms go one way: benchmark -> methods, benchmark -> shifts."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import benchmark

ROOT = Path(benchmark.__file__).resolve().parents[1]
ALLOWED = {
    "methods": {"methods", "torch", "numpy", "pytest"},  # the last two in the shipped contract
    "shifts": {"shifts", "numpy", "scipy", "torch", "PIL", "pytest"},
}
EXTRAS = {"nltk", "sentence_transformers", "transformers"}
"""Packages of extras: only inside functions, at use."""


def imported(tree: ast.AST) -> set[str]:
    """Top-level packages that the code names in import statements."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names)


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert imported(tree) <= ALLOWED[room] | EXTRAS, file
        at_import = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        top = imported(ast.Module(body=list(at_import), type_ignores=[]))
        assert not top & EXTRAS, file
