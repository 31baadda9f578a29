"""The outputs of every built-in text shift on a few captions are frozen.

A change of the table is a change of results: raise the shift's ``card.version``, then
rewrite the table with ``python tests/shifts/test_text_contract.py`` (repository root on the path).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shifts.base import item_generator
from shifts.builtin import builtin_class
from tests.shifts.common import offline

TABLE = Path(__file__).parent / "data" / "text_outputs.json"
CAPTIONS = (
    "A man in a black-and-white shirt is riding a big brown horse next to the beach.",
    "two small dogs running through the tall grass, one holding a frisbee (a red one)",
    "\u05db\u05dc\u05d1 \u05e8\u05e5 \U0001f415 a photo of 3 kids near a bus at night",
)


def outputs() -> dict[str, dict[str, Any]]:
    """name -> severity -> outputs; the character level also in the later generation."""
    table: dict[str, dict[str, Any]] = {}
    for name in offline("text"):
        kind = builtin_class(name)
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


def test_outputs_are_frozen() -> None:
    assert outputs() == json.loads(TABLE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    TABLE.write_text(json.dumps(outputs(), indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
