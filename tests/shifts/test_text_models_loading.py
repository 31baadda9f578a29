"""Sentence-level shifts with models: identity, loading and its errors, on made-up models."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from shifts.base import ShiftError
from shifts.builtin import make_shift
from shifts.composed import ComposedOptions, ComposedShift
from shifts.text import seq2seq
from shifts.text.coverage import coverage
from tests.shifts.fake_transformers import (
    CAPTION,
    RANKED,
    STAND_INS,
    World,
    folder,
    made_up_gate,
    make,
    shifted,
)

# Identity


@pytest.mark.parametrize("name", RANKED)
def test_the_content_of_every_folder_is_in_the_fingerprint(
    name: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = made_up_gate(tmp_path, monkeypatch)

    def prints(**content: bytes) -> str:
        judge = folder(tmp_path, "judge", content.get("judge", b"1"))
        folder(tmp_path, "gate", content.get("gate", b"2"))
        model = folder(tmp_path, "there", content.get("model", b"3"))
        options = {"model": model, "adequacy": judge, "gate": gated}
        return make_shift(name, "text", options).fingerprint

    assert len(prints()) == 3 * 16 + 2
    assert prints() == prints()
    assert len({prints(), prints(judge=b"0"), prints(gate=b"0"), prints(model=b"0")}) == 4
    assert not world.loaded  # telling results apart loads no model


def test_a_model_replaced_within_a_process_is_loaded_again(world: World, tmp_path: Path) -> None:
    for content in (b"one", b"one", b"two"):
        shifted(make_shift("passive", "text", {"model": folder(tmp_path, "there", content)}))
    assert len([kind for kind, *_ in world.loaded if kind == "seq2seq"]) == 2


def test_the_order_of_two_translation_models_matters(world: World, tmp_path: Path) -> None:
    one, two = folder(tmp_path, "one", b"1"), folder(tmp_path, "two", b"2")
    there = make_shift("back_trans", "text", {"model": one, "model_back": two})
    back = make_shift("back_trans", "text", {"model": two, "model_back": one})
    assert there.fingerprint == "+".join(back.fingerprint.split("+")[::-1]) != back.fingerprint


def test_a_composed_query_carries_the_models_fingerprint(world: World, tmp_path: Path) -> None:
    model = folder(tmp_path, "there")
    options = ComposedOptions(part="text", text="active", text_options=(f"model={model}",))
    assert ComposedShift(options).fingerprint == make("active", tmp_path).fingerprint != ""


def test_coverage_counts_captions_that_a_model_changes(world: World, tmp_path: Path) -> None:
    world.answers = lambda model, text: ["A  DOG" if "dog" in text else "other"]
    assert coverage(make("passive", tmp_path), ["a dog", "a cat", "a cow", ""], 1, 0) == 0.5


# Loading


@pytest.mark.parametrize("name", RANKED)
def test_models_are_loaded_once_offline_and_silently(
    name: str, world: World, tmp_path: Path
) -> None:
    judge = folder(tmp_path, "judge")
    for item in "01":
        shifted(make(name, tmp_path, adequacy=judge), item)
    offline = {"local_files_only": True, "trust_remote_code": False, "bars": False}
    full = {**offline, "weights_only": True, "output_loading_info": True}
    there = str(tmp_path / "there")
    assert world.loaded == [
        ("tokenizer", there, offline),
        ("seq2seq", there, full),
        ("tokenizer", judge, offline),
        ("classifier", judge, full),
    ]
    assert world.bars


def test_few_models_are_kept(world: World, tmp_path: Path) -> None:
    for i in range(9):
        seq2seq.load_rewriter(folder(tmp_path, str(i)))
        seq2seq.load_adequacy(folder(tmp_path, str(i)))
    assert seq2seq.load_rewriter.cache_info().currsize == 6
    assert seq2seq.load_adequacy.cache_info().currsize == 2


@pytest.mark.parametrize("name", STAND_INS)
def test_no_model_is_one_error_that_names_the_stand_in(name: str) -> None:
    with pytest.raises(ShiftError, match=f"'{name}' needs a model.*'model'.*'{STAND_INS[name]}'"):
        make_shift(name, "text")


def test_back_translation_needs_the_way_back(world: World, tmp_path: Path) -> None:
    with pytest.raises(ShiftError, match=r"'model_back'.*facebook/wmt19-de-en"):
        make_shift("back_trans", "text", {"model": folder(tmp_path, "there")})


@pytest.mark.parametrize(
    ("name", "option"), [("formal", "model"), ("casual", "adequacy"), ("back_trans", "model_back")]
)
def test_a_missing_folder_and_one_without_a_model_are_named(
    name: str, option: str, world: World, tmp_path: Path
) -> None:
    with pytest.raises(ShiftError, match=rf"'{name}'.*'{option}'.*no folder.*nothing is fetched"):
        make(name, tmp_path, **{option: str(tmp_path / "none")})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ShiftError, match=rf"'{name}'.*'{option}'.*has no config.json"):
        make(name, tmp_path, **{option: str(tmp_path / "empty")})


@pytest.mark.parametrize("name", STAND_INS)
def test_a_missing_package_names_the_extra_and_the_stand_in(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    expected = rf"pip install 'queryshift\[text-models\]'.*'{STAND_INS[name]}'"
    with pytest.raises(ShiftError, match=expected):
        make(name, tmp_path)


@pytest.mark.parametrize("fault", [OSError("no weights\nmore"), KeyError("t6"), ImportError("x")])
def test_a_folder_that_does_not_load_is_one_error(
    fault: Exception, world: World, tmp_path: Path
) -> None:
    world.fault = fault
    with pytest.raises(ShiftError, match=rf"no sequence-to-sequence model.*{type(fault).__name__}"):
        shifted(make("active", tmp_path))
    assert world.bars


def test_a_model_without_all_its_weights_is_refused(world: World, tmp_path: Path) -> None:
    world.missing = {"positions.weight", "head.weight", "head.bias"}
    with pytest.raises(ShiftError, match=r"2 of its weights are not in the file.*'head.bias'"):
        shifted(make("active", tmp_path))


def test_tables_that_are_computed_need_not_be_in_the_file(world: World, tmp_path: Path) -> None:
    world.missing = {"positions.weight"}
    assert shifted(make("active", tmp_path)).startswith(CAPTION)
