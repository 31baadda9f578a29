"""Every built-in text shift keeps the contract, and its outputs on a few captions are frozen.

A change of the frozen table is a change of results: raise the shift's ``card.version``, then
rewrite the table with ``python tests/shifts/test_text_contract.py`` (repository root on the path).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shifts.base import Shift, item_generator
from shifts.builtin import builtin_class, names_of
from shifts.testing import run_contract

TABLE = Path(__file__).parent / "data" / "text_outputs.json"
NEEDS_WORDNET = {"sr", "ri"}
NEEDS_MODELS = {"formal", "casual", "passive", "active", "back_trans"}
LEFT_OUT = NEEDS_WORDNET | NEEDS_MODELS
NAMES = [name for name in names_of("text") if name not in LEFT_OUT]
CAPTIONS = (
    "A man in a black-and-white shirt is riding a big brown horse next to the beach.",
    "two small dogs running through the tall grass, one holding a frisbee (a red one)",
    "\u05db\u05dc\u05d1 \u05e8\u05e5 \U0001f415 a photo of 3 kids near a bus at night",
)


def load(name: str) -> type[Shift]:
    return builtin_class(name)


def outputs() -> dict[str, dict[str, Any]]:
    """name -> severity -> outputs; the character level also in the later generation."""
    table: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        kind = load(name)
        variants = {name: kind()}
        if "generation" in getattr(kind.Options, "__dataclass_fields__", {}):
            variants[f"{name} 1.1.11"] = kind(kind.Options(generation="1.1.11"))
        for label, shift in variants.items():
            severities = (kind.card.severities[0], kind.card.severities[-1])
            table[label] = {
                str(severity): [
                    shift.apply(caption, severity, item_generator(0, name, severity, str(i)))
                    for i, caption in enumerate(CAPTIONS)
                ]
                for severity in severities
            }
    return table


@pytest.mark.parametrize("name", NAMES)
def test_built_in_keeps_the_contract(name: str) -> None:
    assert {r.check: r.problem for r in run_contract(load(name)) if not r.passed} == {}


@pytest.mark.parametrize("name", [*NAMES, *sorted(LEFT_OUT)])
def test_listing_and_card_agree(name: str) -> None:
    card = load(name).card
    assert (card.name, card.modality) == (name, "text")


def test_outputs_are_frozen() -> None:
    assert outputs() == json.loads(TABLE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    TABLE.write_text(json.dumps(outputs(), indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
