"""Tables on terminals of any width, and text that a terminal would obey."""

from __future__ import annotations

import io
import re

import pytest
from rich.text import Text

from benchmark.report.display import FittedTable, SafeConsole, data_table, harmless

NUMBERS = ("71.9", "0.922", "87.5->84.4", "+14.9 [-54.4, +88.9]", "1096")


def printed(what: object, width: int, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    SafeConsole(file=file, width=width, highlight=False).print(what)
    file.flush()
    return file.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined, no-any-return]


def results(rows: int = 3) -> FittedTable:
    table = data_table()
    table.add_column("shift", overflow="fold", max_width=20)
    table.add_column("method", overflow="fold", min_width=8, max_width=24)
    for heading in ("R@1", "uni-\nformity", "clean R@1\nbefore->after", "R@1 against source", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in range(rows):
        name = "gaussian_noise 5" if row == 0 else ""
        table.add_row(Text(name), Text(f"method{row}"), *map(Text, NUMBERS))
    return table


@pytest.mark.parametrize("width", [*range(20, 110), 160])
def test_no_number_is_cut_at_any_width(width: int) -> None:
    text = printed(results(), width)
    assert max(map(len, text.splitlines())) <= width
    whole = " ".join(text.split())
    for number in NUMBERS:
        assert whole.count(number) == 3, f"{number} at {width} columns:\n{text}"
    for row in range(3):
        assert f"method{row}" in text


def test_each_part_names_its_rows_and_order_is_kept() -> None:
    text = printed(results(), 50)
    parts = text.strip().split("\n\n")
    assert len(parts) > 1
    assert all(f"method{row}" in part for part in parts for row in range(3))
    assert text.index("71.9") < text.index("0.922") < text.index("1096")


def test_a_wide_terminal_gets_one_table() -> None:
    assert printed(results(), 100) == printed(results(), 160)
    assert printed(results(), 160).count("gaussian_noise 5") == 1


def test_blocks_repeat_a_name_that_the_table_leaves_out() -> None:
    assert printed(results(), 22).replace("\n", " ").count("gaussian_noise 5,") == 3


def test_a_long_heading_folds_but_its_numbers_stay() -> None:
    table = data_table()
    table.add_column("benchmark", no_wrap=True)
    table.add_column(Text("tent, a_very_long_option_of_it=0.0001"), justify="right")
    table.add_row(Text("mini-coco-c-image"), Text("1,234.5"))
    text = printed(table, 32)
    assert "1,234.5" in text
    assert "mini-coco" in text
    assert max(map(len, text.splitlines())) <= 32


def test_tables_of_text_fold_and_lose_nothing() -> None:
    table = FittedTable(title=Text("methods"))
    for heading in ("name", "from", "what it is"):
        table.add_column(heading)
    table.add_row("recentre", "built-in", "training-free: the queries' mean is the gallery's")
    for width in (20, 30, 40, 60):
        text = printed(table, width)
        assert max(map(len, text.splitlines())) <= width
        assert width < 30 or all(word in text for word in ("recentre", "built-in", "queries'"))


HOSTILE = "a\x1b[2J\x1b]8;;http://x\x1b\\b\x07\x9b31m\u202ec\u2066d\re\udcff"


def test_text_cannot_command_the_terminal() -> None:
    table = data_table()
    table.add_column(Text(HOSTILE))
    table.add_column("R@1", justify="right")
    table.add_row(Text(HOSTILE), Text("71.9"))
    for width in (20, 40, 160):
        for what in (table, Text(HOSTILE)):
            text = printed(what, width)
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


def test_harmless_keeps_writing_of_all_kinds() -> None:
    kept = "é e\u0301 \u00a0\u202f\u200d\u200c 漢字 שלום مرحبا 👩\u200d🔬 \t\n"
    assert harmless(kept) == kept


def test_ascii_output_gets_ascii_lines() -> None:
    assert "71.9" in printed(results(), 160, "ascii")
