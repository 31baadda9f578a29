"""The similarity gate: closed cases with made-up encoders, errors, identity."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shifts.base import Shift, ShiftError, item_generator
from shifts.text import gate
from shifts.text.characters import CharSwap
from shifts.text.gate import MOST_DRAWS, GateOptions, first_similar
from shifts.text.sentences import CasualRules, FormalRules, ParaphraseRules
from shifts.text.synonyms import RiLite, SrLite
from shifts.text.words import InsertPunctuation, RandomDelete, RandomSwap

CAPTION = "two small dogs running beside big red cars near old houses"
GATED = [RandomSwap, RandomDelete, InsertPunctuation, SrLite, RiLite, FormalRules, CasualRules]


def bag_of_letters(texts: Sequence[str]) -> np.ndarray:
    return np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], float)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the gate kind "fake" loads as an encoder that counts letters."""
    (tmp_path / "weights.bin").write_bytes(b"one")
    monkeypatch.setitem(gate.LOADERS, "fake", lambda path: bag_of_letters)
    return tmp_path


def shifted(shift: Shift, severity: int, item: str = "0") -> str:
    return shift.apply(CAPTION, severity, item_generator(0, shift.card.name, severity, item))


def draws_of(values: Sequence[str]) -> tuple[Any, list[str]]:
    taken: list[str] = []

    def draw() -> str:
        taken.append(values[len(taken) % len(values)])
        return taken[-1]

    return draw, taken


def plane(texts: Sequence[str]) -> np.ndarray:
    """Rows at known angles: the cosine with "origin" is the text read as a number."""
    cosines = [1.0 if text == "origin" else float(text) for text in texts]
    return np.array([[3 * c, 3 * (1 - c * c) ** 0.5] for c in cosines])


def test_takes_the_first_draw_at_or_above_the_threshold() -> None:
    draw, taken = draws_of(["0.2", "0.89", "0.9000001", "1.0"])
    assert first_similar("origin", draw, plane) == "0.9000001"
    assert taken == ["0.2", "0.89", "0.9000001"]


def test_keeps_the_last_of_a_hundred_draws_when_none_passes() -> None:
    draw, taken = draws_of(["0.1", "0.5", "0.3"])
    assert first_similar("origin", draw, plane) == taken[-1] == "0.1"
    assert len(taken) == MOST_DRAWS == 100


def test_encodes_a_refused_draw_once_and_an_unchanged_caption_never() -> None:
    seen: list[str] = []

    def counting(texts: Sequence[str]) -> np.ndarray:
        seen.extend(texts)
        return plane(texts)

    first_similar("origin", draws_of(["0.1", "0.5"])[0], counting)
    assert seen == ["origin", "0.1", "0.5"]
    seen.clear()
    assert first_similar("origin", draws_of(["origin"])[0], counting) == "origin"
    assert seen == ["origin"]


@pytest.mark.parametrize("kind", GATED, ids=lambda kind: kind.card.name)
def test_the_default_draws_once(kind: type[Shift]) -> None:
    shift = kind()
    assert shift.options == GateOptions("none")
    assert shift.fingerprint == ""
    severity = kind.card.severities[-1]
    assert shifted(shift, severity) == shift.draw(  # type: ignore[attr-defined]
        CAPTION, severity, item_generator(0, kind.card.name, severity, "0")
    )


def test_a_gated_shift_is_nearer_to_the_original_and_still_deterministic(folder: Path) -> None:
    free, gated = RandomDelete(), RandomDelete(GateOptions(f"fake:{folder}"))

    def similarity(shift: Shift) -> list[float]:
        rows = bag_of_letters([CAPTION, *(shifted(shift, 7, str(i)) for i in range(40))])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return list(rows[1:] @ rows[0])

    assert min(similarity(free)) < 0.9 <= min(similarity(gated)) + 1e-12
    assert similarity(gated) == similarity(RandomDelete(GateOptions(f"fake:{folder}")))


def test_word_order_is_nothing_to_a_bag_of_letters(folder: Path) -> None:
    gated = RandomSwap(GateOptions(f"fake:{folder}"))
    assert shifted(gated, 7) == shifted(RandomSwap(), 7)  # the first draw passes


def test_character_level_and_paraphrase_have_no_gate() -> None:
    for kind in (CharSwap, ParaphraseRules):
        assert "gate" not in getattr(kind.Options, "__dataclass_fields__", {})


def test_the_models_content_is_the_fingerprint(folder: Path, tmp_path: Path) -> None:
    one = RandomSwap(GateOptions(f"fake:{folder}")).fingerprint
    assert len(one) == 16
    (folder / "weights.bin").write_bytes(b"two")
    assert RandomSwap(GateOptions(f"fake:{folder}")).fingerprint != one


@pytest.mark.parametrize("value", ["", "0.9", "sentence-transformers", "sentence-transformers:"])
def test_a_malformed_gate_is_refused(value: str) -> None:
    with pytest.raises(ShiftError, match="must be 'none' or 'sentence-transformers:/path"):
        GateOptions(value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ShiftError, match=r"no folder .*nothing is fetched"):
        RandomSwap(GateOptions(f"sentence-transformers:{tmp_path / 'none'}"))


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ShiftError, match=r"pip install 'queryshift\[gate\]'"):
        RandomSwap(GateOptions(f"sentence-transformers:{tmp_path}"))


def test_sentence_transformers_is_loaded_offline_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: dict[str, Any] = {}

    class Model:
        def __init__(self, path: str, **options: Any) -> None:
            calls.update(options, path=path)

        def encode(self, texts: list[str], **options: Any) -> np.ndarray:
            calls["progress"] = options["show_progress_bar"]
            return bag_of_letters(texts)

    package = SimpleNamespace(SentenceTransformer=Model)
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    shifted(RandomDelete(GateOptions(f"sentence-transformers:{tmp_path}")), 7)
    assert calls == {
        "path": str(tmp_path),
        "device": "cpu",
        "local_files_only": True,
        "trust_remote_code": False,
        "progress": False,
    }


def test_a_model_that_does_not_load_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, **options: Any) -> None:
        raise OSError("no config.json")

    package = SimpleNamespace(SentenceTransformer=refuse)
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    with pytest.raises(ShiftError, match="no model that sentence-transformers can load: no config"):
        RandomDelete(GateOptions(f"sentence-transformers:{tmp_path}"))


@pytest.mark.parametrize("rows", [np.zeros(3), np.zeros((2, 3)), np.full((1, 3), np.nan)])
def test_an_encoder_of_the_wrong_shape_is_refused(rows: np.ndarray) -> None:
    with pytest.raises(ShiftError, match="one finite row per text"):
        first_similar("origin", lambda: "other", lambda texts: rows)
