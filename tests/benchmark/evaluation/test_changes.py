"""How much of a stream its shift changes: by hand, for all kinds of queries, also from caches."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.cell import Cell, Record, ShiftSpec, Status, StreamSpec
from benchmark.data.datasets.ready_made import ReadyMade
from benchmark.data.retrieval import Texts
from benchmark.evaluation.cache import DiskCache
from benchmark.evaluation.measures import sizes
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from shifts.base import Audio, Composed, Shift, ShiftCard
from shifts.text.characters import Keyboard
from tests.benchmark import fakes
from tests.benchmark.evaluation.cache import test_cells as senses

HALF = ShiftSpec("half", 1)


class Half(Shift):
    """Moves about half of the items by a tenth of full scale."""

    card = ShiftCard("half", "any", (1,), "moves half of the items", "none", randomised=False)
    step = 0.1

    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        if isinstance(item, str):
            return f"{int(item.split()[0])} 9" if int(item.split()[0]) % 2 else item
        if isinstance(item, Composed):
            return Composed(self.corrupt(item.image, severity, rng), item.text)
        values = item.samples if isinstance(item, Audio) else item
        if not values.reshape(-1)[0] > np.median(values):
            return item
        if isinstance(item, Audio):
            towards = np.where(values > 0.5, values - 2 * self.step, values + 2 * self.step)
            return Audio(towards.astype(np.float32), item.rate)
        step = round(255 * self.step)
        return np.where(values > 127, values - step, values + step).astype(np.uint8)


def resources(shift: Callable[[], Shift] = Half, **more: Any) -> Resources:
    loaders: dict[str, Any] = {
        "load_data": senses.load_data,
        "load_backbone": senses.load_backbone,
        "make_method": fakes.make_method,
        "make_shift": lambda spec: shift(),
    }
    return Resources(**{**loaders, **more})


def run(cell: Cell, shared: Resources) -> Record:
    record, _ = run_cell(cell, shared)
    assert record.status == Status.DONE, record.reason
    return record


def by_hand(modality: str) -> tuple[float, float]:
    """Share changed and mean size, percent, one item at a time."""
    data, shift = senses.retrieval_set(modality), Half()
    found = []
    for number in range(30):
        before = data.queries[number]
        after = shift.corrupt(before, 1, np.random.default_rng(0))
        found.append(float(np.mean(list(sizes(before, after).values()))))
    return 100 * float(np.mean(np.array(found) > 0)), 100 * float(np.mean(found))


@pytest.mark.parametrize("modality", senses.MODALITIES)
def test_a_record_says_how_many_queries_changed_and_by_how_much(modality: str) -> None:
    share, size = by_hand(modality)
    assert 0 < share < 100
    probes = run(senses.cell("source", modality, shift=HALF), resources()).probes
    assert probes["coverage"] == pytest.approx(share)
    assert probes["change_size"] == pytest.approx(size)
    parts = {name for name in probes if name.startswith(("coverage_", "change_size_"))}
    if modality != "composed":
        assert not parts
        return
    assert probes["coverage_image"] == pytest.approx(share)
    assert probes["change_size_image"] == pytest.approx(2 * size), "a query's is its parts' mean"
    assert (probes["coverage_text"], probes["change_size_text"]) == (0.0, 0.0)


def test_clean_queries_have_no_coverage() -> None:
    probes = run(senses.cell("source", "image", shift=ShiftSpec("none", 0)), resources()).probes
    assert not any(name.startswith(("coverage", "change_size")) for name in probes)


@pytest.mark.parametrize("modality", ["image", "composed"])
@pytest.mark.parametrize("kept", ["everything", "no changes", "no inputs"])
def test_the_numbers_are_the_same_from_a_cache(tmp_path: Path, modality: str, kept: str) -> None:
    cell = senses.cell("source", modality, shift=HALF)

    def shared() -> Resources:
        return resources(disk=DiskCache(tmp_path, 1 << 24))

    expected = run(cell, resources()).probes
    assert run(cell, shared()).probes == expected
    unwanted = {"no changes": "changes", "no inputs": "queries"}.get(kept)
    for stored in list(DiskCache(tmp_path, 1).entries()):
        if stored.kind == unwanted:
            stored.path.unlink()
    other = senses.cell("trained", modality, shift=HALF)
    again = run(other, shared()).probes
    assert {"coverage", "change_size"} <= set(again)
    for name in (name for name in again if name.startswith(("coverage", "change_size"))):
        assert again[name] == expected[name]
    assert "changes" in {stored.kind for stored in DiskCache(tmp_path, 1).entries()}


def test_a_second_cell_of_a_stream_corrupts_nothing_again() -> None:
    class Counted(Half):
        count = 0

        def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
            Counted.count += 1
            return super().corrupt(item, severity, rng)

    shared = resources(Counted)
    first = run(senses.cell("source", "image", shift=HALF), shared)
    second = run(senses.cell("trained", "image", shift=HALF), shared)
    assert Counted.count == 30
    assert first.probes["coverage"] == second.probes["coverage"]


def test_a_cell_that_fails_midway_leaves_right_numbers_for_the_next() -> None:
    shared = resources()
    failed, _ = run_cell(senses.cell("bad", "image", how="raises", shift=HALF), shared)
    assert failed.status == Status.FAILED
    found = run(senses.cell("source", "image", shift=HALF), shared).probes
    assert found["coverage"] == pytest.approx(by_hand("image")[0])


def test_each_domain_has_its_own_and_clean_ones_do_not_count() -> None:
    class Nothing(Half):
        def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
            return item

    domains = (HALF, ShiftSpec("nothing", 1), ShiftSpec("none", 0))
    stream = StreamSpec("mixed", batch_size=8, domains=domains)
    shared = resources(make_shift=lambda spec: Half() if spec.name == "half" else Nothing())
    record, arrays = run_cell(senses.cell("source", "image", stream=stream), shared)
    assert record.status == Status.DONE, record.reason
    data = senses.retrieval_set("image")
    moved = np.array([not np.array_equal(Half().corrupt(data.queries[i], 1, None), data.queries[i])
                      for i in range(30)])  # fmt: skip
    at = [arrays["domain"] == number for number in range(3)]
    assert record.probes["coverage_half-1"] == pytest.approx(100 * moved[at[0]].mean())
    assert record.probes["coverage_nothing-1"] == 0.0
    expected = 100 * moved[at[0]].sum() / (at[0] | at[1]).sum()
    assert record.probes["coverage"] == pytest.approx(expected)
    assert "coverage_none-0" not in record.probes


class Words(fakes.FakeBackbone):
    """Sees the letters of a caption, small ones only."""

    def _text(self, item: str) -> Tensor:
        letters = np.zeros(fakes.SIZE * fakes.SIZE * 3, np.float32)
        letters[: len(item)] = [ord(letter) % 97 / 97 for letter in item.lower()[: len(letters)]]
        return torch.from_numpy(letters)


class Rewrite(Shift):
    """A text shift from a function."""

    card = ShiftCard("rewrite", "text", (1,), "rewrites", "none", randomised=False)

    def __init__(self, rewrite: Callable[[str], str]) -> None:
        super().__init__()
        self._rewrite = rewrite

    def corrupt(self, item: str, severity: int, rng: np.random.Generator) -> str:
        return self._rewrite(item)


class Spaced(Rewrite):
    """Sets blanks around full stops in every text, whether it edits the text or not."""

    def untouched(self, item: str) -> str:
        return item.replace(".", " . ")


def captions(
    shift: Callable[[], Shift], texts: list[str], clean: Callable[[str], str] | None = None
) -> dict[str, float]:
    world = fakes.world()
    data = dataclasses.replace(
        world,
        query_modality="text",
        queries=Texts(world.queries.ids, [texts[i % len(texts)] for i in range(30)]),
        clean_text=clean,
    )
    shared = resources(shift, load_data=lambda cell: data, load_backbone=lambda spec: Words())
    return dict(run(fakes.cell(shift=ShiftSpec("rewrite", 1)), shared).probes)


UNSEEN: dict[str, tuple[Callable[[], Shift], Callable[[str], str] | None]] = {
    "capitals that the tokenizer folds": (lambda: Rewrite(str.upper), None),
    "a full stop that the cleaning takes": (
        lambda: Rewrite(lambda text: text + "."),
        lambda text: text.replace(".", ""),
    ),
    "spacing that the family does to all": (lambda: Spaced(lambda t: t.replace(".", " . ")), None),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_what_does_not_reach_the_encoder_changes_nothing(name: str) -> None:
    shift, clean = UNSEEN[name]
    probes = captions(shift, ["a dog. a cat", "two men. one ball"], clean)
    assert (probes["coverage"], probes["change_size"]) == (0.0, 0.0)


def test_text_is_measured_by_the_characters_edited() -> None:
    probes = captions(lambda: Rewrite(lambda text: text.replace("dog", "fog")), ["a dog", "a cat"])
    # "a dog" and "a fog" share four characters of five.
    assert probes["coverage"] == 50.0
    assert probes["change_size"] == pytest.approx(50.0 * (1 - 4 / 5))


def test_a_keyboard_without_a_table_for_the_language_changes_nothing() -> None:
    assert captions(Keyboard, ["a brown dog runs fast on grass"])["coverage"] == 100.0
    not_there = captions(Keyboard, ["собака на траві", "людина з м'ячем, біля дому"])
    assert (not_there["coverage"], not_there["change_size"]) == (0.0, 0.0)


def test_a_step_of_pixels_that_preprocessing_undoes_changes_nothing() -> None:
    class Coarse(senses.Senses):
        def _pixels(self, item: np.ndarray) -> Tensor:
            return super()._pixels(item // 64 * 64)

    class OneUp(Half):
        def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
            return np.where(item % 64 == 0, item + 1, item).astype(np.uint8)

    cell = senses.cell("source", "image", shift=HALF)
    assert run(cell, resources(OneUp)).probes["coverage"] > 0
    unseen = run(cell, resources(OneUp, load_backbone=lambda spec: Coarse()))
    assert (unseen.probes["coverage"], unseen.probes["change_size"]) == (0.0, 0.0)


def test_frames_that_the_encoder_does_not_read_change_nothing() -> None:
    class First(senses.Senses):
        def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
            made = super().preprocess(modality)
            return (lambda frames: made(frames[:1])) if modality == "video" else made

    class Rest(Half):
        def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
            return np.concatenate([item[:1], 255 - item[1:]])

    shared = resources(Rest, load_backbone=lambda spec: First())
    assert run(senses.cell("source", "video", shift=HALF), shared).probes["coverage"] == 0.0


def test_ready_made_queries_are_compared_with_the_clean_ones() -> None:
    values = fakes.pictures(30)
    values[:6] = 255 - values[:6]
    ready = ReadyMade(fakes.Pictures(fakes.world().queries.ids, values), "h")
    shared = fakes.resources(load_ready_made=lambda cell, spec, data: ready)
    cell = fakes.cell(shift=ShiftSpec("fog", 5, {"ready_made": True}))
    assert run(cell, shared).probes["coverage"] == pytest.approx(20.0)


@pytest.mark.parametrize("letters", ["ab", "etaoin shrdlu"])
@pytest.mark.parametrize("kept", [0.98, 0.8, 0.3, 0.0])
def test_long_texts_are_measured_as_difflib_would(letters: str, kept: float) -> None:
    chance = random.Random(0)
    before = "".join(chance.choices(letters, k=600))
    after = "".join(x if chance.random() < kept else chance.choice(["", "a", "xy"]) for x in before)
    ratio = SequenceMatcher(None, before, after, autojunk=False).ratio()
    assert sizes(before, after) == {"text": 1.0 - ratio}


def test_sizes_by_hand() -> None:
    dark, light = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 51, np.uint8)
    assert sizes(dark, light) == sizes(light, dark) == {"pixels": pytest.approx(0.2)}
    one = Audio(np.zeros(8, np.float32), 100)
    assert sizes(one, Audio(np.full(8, -0.5, np.float32), 100)) == {"samples": 0.25}
    assert np.isnan(sizes(one, Audio(one.samples, 200))["samples"])
    assert np.isnan(sizes(dark, dark[:2])["pixels"])
    assert sizes("abcd", "abcx") == {"text": pytest.approx(0.25)}
    both = sizes(Composed(dark, "red"), Composed(light, "red"))
    assert both == {"pixels": pytest.approx(0.2), "text": 0.0}
