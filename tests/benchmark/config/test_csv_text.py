"""CSV cells that a spreadsheet would run."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from benchmark.config.files import no_formula
from benchmark.report.writing import write_csv


@pytest.mark.parametrize("text", ["=cmd|'/c calc'!A1", "+1+1", "-a", "@SUM(A1)", "\t=1"])
def test_formulas_become_texts(text: str, tmp_path: Path) -> None:
    assert no_formula(text) == f"'{text}"
    frame = pd.DataFrame({text: [1.5, -6.3], "method": [text, "tent"]})
    with write_csv(frame, tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [[f"'{text}", "method"], ["1.5", f"'{text}"], ["-6.3", "tent"]]


@pytest.mark.parametrize("value", ["-6.3", "+1e-3", "-inf", -6.3, None, "", "tent", "a=b"])
def test_numbers_and_other_texts_stay(value: object) -> None:
    assert no_formula(value) == value
