"""Data sets of Hugging Face's library, and Parquet tables: read where they lie, offline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.data.check import check_own
from benchmark.data.own.source import OwnSource, is_own
from benchmark.errors import DataError
from tests.benchmark.fixtures_own import COLOURS, load_own_set, make_pictures, pixels, png

pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet (pyarrow)")
pa = pytest.importorskip("pyarrow")

FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How Hugging Face's tables hold a picture."""


def table(images: list[Any], captions: list[Any], **kinds: Any) -> Any:
    columns = {"image": images, "caption": captions}
    return pa.table({name: pa.array(values, kinds.get(name)) for name, values in columns.items()})


def embedded(names: Mapping[str, str]) -> Any:
    """A table of pictures with two captions each, as the hub has them; colour -> name."""
    return table(
        [{"bytes": png(c), "path": name} for c, name in names.items()],
        [[f"a {c} wall", f"{c}!"] for c in names],
        image=FILE,
    )


def plain_names() -> dict[str, str]:
    return {c: f"{c}.png" for c in COLOURS}


def test_parquet_with_lists_of_captions(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pics")
    paths = [f"pics/{c}.png" for c in COLOURS]
    pq.write_table(table(paths, [[f"a {c}", f"{c}!"] for c in COLOURS]), tmp_path / "t.parquet")
    data = load_own_set(tmp_path / "t.parquet", "t2i")
    assert (len(data.queries), data.queries[3]) == (24, "green!")
    pq.write_table(table(paths, [[[f"a {c}"]] for c in COLOURS]), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"row 1: caption is .'a red'., a list; expected a text"):
        load_own_set(tmp_path / "t.parquet")
    pq.write_table(table(paths, [{"en": f"a {c}"} for c in COLOURS]), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"row 1: caption is .* a dict; expected a text"):
        load_own_set(tmp_path / "t.parquet")


def test_parquet_with_pictures_in_it(tmp_path: Path) -> None:
    pq.write_table(embedded(plain_names()), tmp_path / "t.parquet")
    data = load_own_set(tmp_path / "t.parquet")
    assert data.queries.ids[:2] == ["red.png", "green.png"]
    np.testing.assert_array_equal(data.queries[11], pixels("cyan"))
    raw = table(
        [png(c) for c in COLOURS for _ in "ab"], [f"{c} {x}" for c in COLOURS for x in "ab"]
    )
    pq.write_table(raw, tmp_path / "raw.parquet")
    data = load_own_set(tmp_path / "raw.parquet")
    assert data.queries.ids[:2] == ["row-1", "row-3"]  # two rows with one picture
    assert data.relevance[1].tolist() == [2, 3]
    np.testing.assert_array_equal(data.queries[1], pixels("green"))


def test_names_without_folders_may_be_the_same(tmp_path: Path) -> None:
    pq.write_table(embedded(dict.fromkeys(COLOURS, "1.png")), tmp_path / "t.parquet")
    data = load_own_set(tmp_path / "t.parquet")
    assert len(set(data.queries.ids)) == len(COLOURS)
    np.testing.assert_array_equal(data.queries[5], pixels("white"))


def test_a_broken_parquet_file(tmp_path: Path) -> None:
    pq.write_table(embedded(plain_names()), tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"t.parquet cannot be read as Parquet") as error:
        load_own_set(tmp_path / "t.parquet")
    assert "\n" not in str(error.value)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library with an empty cache, and no network."""
    library = pytest.importorskip("datasets", reason="needs the extra datasets")
    monkeypatch.setattr(library.config, "HF_CACHE_HOME", tmp_path / "cache")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache" / "datasets")

    def reached(*_: Any, **__: Any) -> None:
        pytest.fail("the network was tried")

    monkeypatch.setattr("huggingface_hub.HfApi.hf_hub_download", reached)
    return library


def test_a_data_set_of_the_cache(tmp_path: Path, library: Any) -> None:
    folder = tmp_path / "birds" / "data"
    folder.mkdir(parents=True)
    for split, count in (("train", 3), ("test", 12)):
        rows = embedded(dict(list(plain_names().items())[:count]))
        pq.write_table(rows, folder / f"{split}-00000-of-00001.parquet")
    library.load_dataset(str(folder.parent))
    cache = library.config.HF_DATASETS_CACHE
    (cache / "birds").rename(cache / "me___birds")  # as the library calls what it fetched

    report = check_own(OwnSource("hf:me/birds"), lambda files, _: files)
    assert (report.facts["images"], report.facts["captions"]) == ("12", "24")
    assert report.problems == []
    data = load_own_set("hf:me/birds")
    assert data.name == "own:birds-i2t"
    assert data.queries.ids[1] == "green.png"
    np.testing.assert_array_equal(data.queries[1], pixels("green"))
    assert len(load_own_set("hf:me/birds", split="train").gallery) == 6
    pq.write_table(embedded(plain_names()), tmp_path / "t.parquet")
    assert load_own_set(tmp_path / "t.parquet").fingerprint == data.fingerprint
    with pytest.raises(DataError, match=r"'me/bees' cannot be loaded .* fetch it once"):
        load_own_set("hf:me/bees")


def test_a_data_set_of_several_configurations(tmp_path: Path, library: Any) -> None:
    folder, listed = tmp_path / "birds", ""
    for language in ("en", "fr"):
        (folder / language).mkdir(parents=True)
        rows = table(
            [{"bytes": png(c), "path": None} for c in COLOURS],
            [f"{c} {language}" for c in COLOURS],
            image=FILE,
        )
        pq.write_table(rows, folder / language / "test-0.parquet")
        listed += (
            f"- config_name: {language}\n  data_files:\n  - split: test\n    path: {language}/*\n"
        )
    (folder / "README.md").write_text(f"---\nconfigs:\n{listed}---\n")
    choose = r"'{}' has 2 configurations here, en, fr: say which, hf:{}@en$"
    with pytest.raises(DataError, match=choose.format(folder, folder)):
        load_own_set(f"hf:{folder}")
    with pytest.raises(DataError, match=r"en, fr, and 'frr' is none of .* did you mean 'fr': say"):
        load_own_set(f"hf:{folder}@frr")
    assert load_own_set(f"hf:{folder}@fr", "t2i").queries[0] == "red fr"

    for language in ("en", "fr"):
        library.load_dataset(str(folder), language)
    cache = library.config.HF_DATASETS_CACHE
    (cache / "birds").rename(cache / "me___birds")
    data = load_own_set("hf:me/birds@fr", "t2i")
    assert (data.name, data.queries[1]) == ("own:birds-fr-t2i", "green fr")
    with pytest.raises(DataError, match=choose.format("me/birds", "me/birds")):
        load_own_set("hf:me/birds")
    with pytest.raises(DataError, match=r"en, fr, and 'zzz' is none of them: say which"):
        load_own_set("hf:me/birds@zzz")
    with pytest.raises(DataError, match=r"did you mean 'me/birds'; fetch it once: .*\('me/bird'\)"):
        load_own_set("hf:me/bird")


def test_what_stands_in_place_of_one_picture(tmp_path: Path) -> None:
    pq.write_table(table([[png(c)] for c in COLOURS], list(COLOURS)), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="row 1: image is a list; expected one path, or one file"):
        load_own_set(tmp_path / "t.parquet")


def test_a_data_set_that_was_saved(tmp_path: Path, library: Any) -> None:
    make_pictures(tmp_path / "pics")
    rows = {
        "image": [str(tmp_path / f"pics/{c}.png") for c in COLOURS],
        "text": [f"a {c} wall" for c in COLOURS],
    }
    rows = library.Dataset.from_dict(rows).cast_column("image", library.Image())
    rows.save_to_disk(tmp_path / "saved")
    assert is_own(str(tmp_path / "saved"))
    for place in (tmp_path / "saved", f"hf:{tmp_path / 'saved'}"):
        data = load_own_set(place, "t2i", columns={"caption": "text"})
        assert data.queries[11] == "a cyan wall"
        np.testing.assert_array_equal(data.gallery[11], pixels("cyan"))
    with pytest.raises(DataError, match=r"columns 'image', 'text'.*--columns caption=text$"):
        load_own_set(tmp_path / "saved")


def test_files_that_a_data_set_only_names(tmp_path: Path, library: Any) -> None:
    """They are read below the library's cache and the data set's folder, and nowhere else."""
    for number, home in enumerate((tmp_path / "cache", tmp_path / "elsewhere")):
        make_pictures(home)
        images = [{"bytes": None, "path": str(home / f"{c}.png")} for c in COLOURS]
        rows = table(images, [f"a {c}" for c in COLOURS], image=FILE)
        folder = tmp_path / f"set{number}"
        folder.mkdir()
        library.Dataset(rows).cast_column("image", library.Image()).to_parquet(folder / "a.parquet")
    data = load_own_set(f"hf:{tmp_path / 'set0'}", split="train")
    np.testing.assert_array_equal(data.queries[2], pixels("blue"))
    with pytest.raises(DataError, match=r"image of row 1 is the file .*red.png', outside"):
        load_own_set(f"hf:{tmp_path / 'set1'}", split="train")
