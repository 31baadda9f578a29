"""examples/quickstart.ipynb runs from top to bottom in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import benchmark

ROOT = Path(benchmark.__file__).resolve().parents[1]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"

# A cell's last line is shown if it is an expression, as a notebook does.
RUNNER = """
import ast, json, sys
names = {"__name__": "__main__"}
for source in json.load(sys.stdin):
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None
    if value is not None:
        ways = [way for way in ("_repr_html_", "_repr_png_") if callable(getattr(value, way, None))]
        shown = next((text for way in ways if (text := getattr(value, way)())), None)
        print(type(value).__name__, type(shown).__name__)
"""


@pytest.mark.slow
def test_the_notebook_runs_and_shows_tables_and_figures(tmp_path: Path) -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    ran = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(["".join(cell["source"]) for cell in code]),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    shown = ran.stdout.splitlines()
    assert shown[0] == "Result str"
    assert "Figure bytes" in shown
    assert shown.count("DataFrame str") == 3
    assert any("against no adaptation" in line for line in shown)
    assert not list(tmp_path.iterdir())
