"""Where own data come from: the source as text, its name, its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.data.own.source import OwnSource


@pytest.mark.parametrize(
    "source",
    [
        OwnSource("/a/b.csv"),
        OwnSource("/a/50%?.csv", (("image", "a=b&c"),), gallery="/x y.csv", split="ü"),
        OwnSource("hf:me/birds", clean="/c//d.csv", qrels="q?r"),
        OwnSource("hf:me/birds@en"),
    ],
)
def test_a_source_travels_as_text(source: OwnSource) -> None:
    assert OwnSource.of(source.text) == source
    assert OwnSource.of(str(Path(source.text))).columns == source.columns


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("/a/My birds (new).csv", "My-birds-new"),
        ("/a/b/", "b"),
        ("/a/shard-{000..012}.tar", "shard"),
        ("/a/birds/*.tar", "birds"),
        ("hf:me/birds", "birds"),
        ("hf:me/birds@en", "birds-en"),
        ("/a/+.csv", "data"),
    ],
)
def test_names(place: str, name: str) -> None:
    assert OwnSource(place).name == name


def test_a_folder_with_a_configuration_is_found_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "birds").mkdir()
    assert OwnSource("hf:birds@en").absolute().place == f"hf:{tmp_path}/birds@en"
    assert OwnSource("hf:me/birds@en").absolute().place == "hf:me/birds@en"
