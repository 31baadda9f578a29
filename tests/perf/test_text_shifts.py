"""Captions per second of every text shift, one core, generator set-up included (aim: 5,000)."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from shifts.base import Shift, item_generator
from shifts.builtin import builtin_class, names_of

CAPTIONS = [
    "A man in a black-and-white shirt, riding his skateboard down the street (near a park).",
    "a brown dog running through the tall grass with a frisbee in its mouth .",
    "Two women sitting at a wooden table next to a window are eating slices of pizza.",
    "There is a red striped star to the left of a small blue umbrella on the sand.",
] * 250
NEEDS_WORDNET = {"sr", "ri"}
NEEDS_MODELS = {"formal", "casual", "passive", "active", "back_trans"}
LEFT_OUT = NEEDS_WORDNET | NEEDS_MODELS
NAMES = [name for name in names_of("text") if name not in LEFT_OUT]


@pytest.mark.parametrize("name", NAMES)
def test_captions_per_second(name: str, benchmark: BenchmarkFixture) -> None:
    shift: Shift = builtin_class(name)()
    severity = shift.card.severities[-1]

    def corrupt_all() -> None:
        for i, caption in enumerate(CAPTIONS):
            shift.apply(caption, severity, item_generator(0, name, severity, str(i)))

    benchmark.pedantic(corrupt_all, rounds=5, warmup_rounds=1)
    rate = len(CAPTIONS) / benchmark.stats.stats.median
    benchmark.extra_info["captions_per_second"] = round(rate)
