"""Composed queries: a reference image with a modification text, shifted in one part or in both.

CIRR-C and FIQ-C as REST names them are not defined in public; this is our reading. The published
robustness code for composed retrieval corrupts the gallery too. Here a shift gets a query item and
nothing else: the gallery's copy of a reference image is another item, which no shift ever sees, so
the gallery stays clean by construction. A cache must not look the reference up there, though: the
corrupted image has to be encoded on its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from shifts.base import Composed, Shift, ShiftCard, check_choices
from shifts.builtin import check_option_names, make_shift, option_names, parse_pairs, shift_names

PARTS = ("image", "text")

TEXT_SEVERITY = (1, 2, 4, 6, 7)
"""Severity 1..5 of the pair as a severity of the text shifts, which have seven."""


@dataclass(frozen=True)
class ComposedOptions:
    """Options of ``composed``."""

    part: str = field(
        default="both",
        metadata={"help": "which part of the query shifts", "choices": ("image", "text", "both")},
    )
    image: str = field(default="gaussian_noise", metadata={"help": "any image shift"})
    text: str = field(default="char_swap", metadata={"help": "any text shift"})
    image_options: tuple[str, ...] = field(
        default=(),
        metadata={"help": "its options as name=value, separated by commas: constants=mini64"},
    )
    text_options: tuple[str, ...] = field(
        default=(), metadata={"help": "its options as name=value, separated by commas"}
    )

    def __post_init__(self) -> None:
        """Raises ShiftError for what cannot be right whatever the data are.

        That is an unknown part, an entry that is not name=value, and in a part that shifts an
        unknown shift or an option that it has not.
        """
        check_choices(self)
        for part in PARTS:
            pairs = parse_pairs(getattr(self, f"{part}_options"))
            if self.part in (part, "both"):
                check_option_names(getattr(self, part), part, pairs)


class ComposedShift(Shift):
    """An image shift on the image, a text shift on the text, or both at the same severity index.

    The parts draw from generators of their own, so a part comes out the same whether the other one
    shifts with it or not. Text severities are ``TEXT_SEVERITY``; a text shift with a single
    severity keeps that one throughout.

    Raises:
        ShiftError: on creation, for a shift that is unknown, of another modality, or cannot be
            made with its options. Only the parts that shift are looked at.
    """

    Options = ComposedOptions
    card = ShiftCard(
        "composed",
        "composed",
        (1, 2, 3, 4, 5),
        "an image shift, a text shift or both on a composed query",
        "this project's; REST's CIRR-C and FIQ-C are not public",
        monotone=False,
        exact=False,
    )

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        given = self.options
        self._image_shift = self._text_shift = None
        if given.part != "text":
            self._image_shift = make_shift(given.image, "image", parse_pairs(given.image_options))
        if given.part != "image":
            self._text_shift = make_shift(given.text, "text", parse_pairs(given.text_options))
            for severity in self.card.severities:
                self._text_shift.check_severity(text_severity(self._text_shift, severity))

    @classmethod
    def fitting(cls, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """As for any shift; of the options of the two parts those that the parts' shifts have."""
        found = super().fitting(defaults, given)
        chosen: dict[str, Any] = {entry.name: entry.default for entry in fields(cls.Options)}
        chosen |= {**found, **given}
        for part in PARTS:
            pairs = found.get(f"{part}_options")
            if pairs and chosen[part] in shift_names(part):
                own = option_names(chosen[part], part)
                found[f"{part}_options"] = [p for p in pairs if p.partition("=")[0] in own]
        return found

    @property
    def fingerprint(self) -> str:
        """Those of the two shifts, where they have one."""
        parts = (self._image_shift, self._text_shift)
        return "+".join(filter(None, (part.fingerprint for part in parts if part is not None)))

    def untouched(self, item: Composed) -> Composed:
        """With the text as the text shift leaves it."""
        if self._text_shift is None:
            return item
        return Composed(item.image, self._text_shift.untouched(item.text))

    def corrupt(self, item: Composed, severity: int, rng: np.random.Generator) -> Composed:
        """A new item; a part that does not shift is copied."""
        seeds = rng.integers(0, 2**63, size=2)
        for_image, for_text = (np.random.Generator(np.random.PCG64(int(s))) for s in seeds)
        image, text = item.image.copy(), item.text
        if self._image_shift is not None:
            image = self._image_shift.apply(image, severity, for_image)
        if self._text_shift is not None:
            text = self._text_shift.apply(text, text_severity(self._text_shift, severity), for_text)
        return Composed(image, text)


def text_severity(shift: Shift, severity: int) -> int:
    """The severity of a text shift that stands for ``severity`` (1 to 5) of the pair."""
    known = shift.card.severities
    return known[0] if len(known) == 1 else TEXT_SEVERITY[severity - 1]
