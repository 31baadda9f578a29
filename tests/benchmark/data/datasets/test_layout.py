"""The layouts that are shown are those that the loaders accept, and those of the documentation."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import benchmark
from benchmark.data.datasets.base import DataSet
from benchmark.data.datasets.cirr import load as load_cirr
from benchmark.data.datasets.fashion_gen import load_fashion_gen
from benchmark.data.datasets.fashion_iq import load as load_fashion_iq
from benchmark.data.datasets.karpathy import load_coco, load_flickr30k, load_rsicd, load_rsitmd
from benchmark.data.datasets.layout import LAYOUTS, layout_of
from benchmark.data.datasets.nocaps import load_nocaps
from benchmark.data.datasets.person_search import load_cuhk_pedes, load_icfg_pedes
from benchmark.data.suite import load_suite
from benchmark.errors import DataError

DOCS = Path(benchmark.__file__).parents[1] / "docs" / "catalogue.md"
LOADERS: dict[str, Callable[..., DataSet]] = {
    "coco": load_coco,
    "flickr30k": load_flickr30k,
    "nocaps": load_nocaps,
    "fashion-gen": load_fashion_gen,
    "cuhk-pedes": load_cuhk_pedes,
    "icfg-pedes": load_icfg_pedes,
    "rsicd": load_rsicd,
    "rsitmd": load_rsitmd,
    "fashioniq": load_fashion_iq,
    "cirr": load_cirr,
}


@pytest.mark.parametrize("name", LOADERS)
def test_the_first_file_of_a_layout_is_one_that_the_loader_looks_for(
    tmp_path: Path, name: str
) -> None:
    path = LAYOUTS[name].files[0][0].replace("<category>", "dress")
    # Folders that exist are looked into; the file is not there yet, and then is no annotation.
    (tmp_path / path).parent.mkdir(parents=True)
    with pytest.raises(DataError) as missing:
        LOADERS[name](tmp_path)
    *_, looked, folders, _ = str(missing.value).split("\n")
    assert Path(path).name in looked
    assert str(Path(path).parent) in folders.removeprefix("in ").split(", ")
    for file, _ in LAYOUTS[name].files[1:]:
        if file.endswith(".json"):
            other = file.replace("<category>", "dress")
            (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / other).write_text('["a"]' if "fashion" in name else '{"a": "./dev/a.png"}')
    (tmp_path / path).write_text("[}")
    with pytest.raises(DataError, match="not valid JSON"):
        LOADERS[name](tmp_path)


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
