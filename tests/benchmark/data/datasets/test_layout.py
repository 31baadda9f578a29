"""The layouts that are shown are those that the loaders accept, and those of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import benchmark
from benchmark.data.card import load_suite
from benchmark.data.datasets.folders import LAYOUTS, layout_of
from benchmark.errors import DataError
from tests.benchmark.fixtures_sets import SETS

DOCS = Path(benchmark.__file__).parents[1] / "docs" / "catalogue.md"


@pytest.mark.parametrize("name", SETS)
def test_the_first_file_of_a_layout_is_one_that_the_loader_looks_for(
    tmp_path: Path, name: str
) -> None:
    load, _ = SETS[name]
    path = next(iter(LAYOUTS[name].files)).replace("<category>", "dress")
    # Folders that exist are looked into; the file is not there yet, and then is no annotation.
    (tmp_path / path).parent.mkdir(parents=True)
    with pytest.raises(DataError) as missing:
        load(tmp_path)
    assert LAYOUTS[name].access in str(missing.value)
    *_, looked, folders, _ = str(missing.value).split("\n")
    assert Path(path).name in looked
    assert str(Path(path).parent) in folders.removeprefix("in ").split(", ")
    for file in list(LAYOUTS[name].files)[1:]:
        if file.endswith(".json"):
            other = file.replace("<category>", "dress")
            (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / other).write_text('["a"]' if "fashion" in name else '{"a": "./dev/a.png"}')
    (tmp_path / path).write_text("[}")
    with pytest.raises(DataError, match="not valid JSON"):
        load(tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_no_data_folder_and_a_wrong_one(tmp_path: Path, name: str) -> None:
    load, _ = SETS[name]
    with pytest.raises(DataError, match=r"needs your own copy.*DATA="):
        load(None)
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_documentation_says_where_every_data_set_is(name: str) -> None:
    text = DOCS.read_text(encoding="utf-8")
    line = rf"^\* .*`{name}`.*: {re.escape(LAYOUTS[name].access)}$"
    assert re.search(line, text, re.MULTILINE)


def test_every_data_set_of_the_paper_suite_has_a_layout() -> None:
    assert all(layout_of(card.dataset) for card in load_suite("paper").benchmarks)


def test_variants_share_a_layout_and_strangers_have_none() -> None:
    assert layout_of("nocaps-near") is LAYOUTS["nocaps"]
    assert layout_of("mini-coco") is None
    assert layout_of("cocoa") is None
