"""What a shift is: a corruption of one query item, deterministic in its own random generator."""

from __future__ import annotations

import copy
import hashlib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

_ITEM_MODULES = {
    "audio": "shifts.audio.item",
    "video": "shifts.video.item",
    "composed": "shifts.composed",
}
"""Modality -> module whose ``item_problem`` checks its items; imported when first needed."""


class ShiftError(ValueError):
    """Raised for a severity, an option or an item that a shift cannot work with."""


def user_folder(text: str) -> Path:
    """A folder that an option names; ``~`` stands for the home folder.

    Raises:
        ShiftError: that home folder is not known here.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ShiftError(
            f"{text!r}: no such home folder is known here; write the whole path"
        ) from None


@dataclass(frozen=True, slots=True)
class ShiftCard:
    """What a shift is, as data.

    Attributes:
        name: registry name.
        modality: "image" (items are (H, W, 3) uint8 arrays), "text" (str), "audio"
            (``shifts.audio.item.Audio``), "video" ((T, H, W, 3) uint8 arrays), "composed"
            (``shifts.composed.Composed``) or "any".
        severities: the severities that exist, ascending.
        summary: one line.
        source: paper or generator that the operator and its constants come from.
        randomised: whether it draws random numbers.
        monotone: whether a higher severity is meant to change more.
        exact: False where the operator approximates what its family is known for.
        version: raised whenever its output bytes change; part of a result's identity.
    """

    name: str
    modality: str
    severities: tuple[int, ...]
    summary: str
    source: str
    randomised: bool = True
    monotone: bool = True
    exact: bool = True
    version: int = 1

    def __post_init__(self) -> None:
        """Raises TypeError for a field of another type, and for severities that are no numbers."""
        for item in fields(self):
            value, kind = getattr(self, item.name), str(item.type).partition("[")[0]
            if type(value).__name__ != kind:
                raise TypeError(f"the card of {self.name!r}: {item.name} is {value!r}, not {kind}")
        if not self.severities or {type(severity) for severity in self.severities} != {int}:
            given = self.severities
            raise TypeError(f"the card of {self.name!r}: severities are {given!r}, not numbers")


@dataclass(frozen=True, slots=True)
class NoOptions:
    """Options of a shift that has none."""


@dataclass(frozen=True)
class ShiftOptions:
    """Options of a shift: frozen fields whose metadata say ``help`` and, if so, ``choices``."""

    def __post_init__(self) -> None:
        """Raises ShiftError for a value that is not among its field's choices."""
        check_choices(self)


def check_choices(options: Any) -> None:
    """Raises ShiftError for a field whose value is not among its metadata's ``choices``."""
    for item in fields(options):
        choices, value = item.metadata.get("choices"), getattr(options, item.name)
        if choices is not None and value not in choices:
            known = ", ".join(map(repr, choices))
            raise ShiftError(f"option {item.name!r} cannot be {value!r}; choose one of {known}")


class Shift(ABC):
    """A corruption. Subclasses set ``card`` and ``Options`` and write ``corrupt``."""

    card: ClassVar[ShiftCard]
    Options: ClassVar[type] = NoOptions

    def __init_subclass__(cls, **words: Any) -> None:
        """Raises TypeError for a card that is none."""
        super().__init_subclass__(**words)
        if "card" in vars(cls) and not isinstance(vars(cls)["card"], ShiftCard):
            raise TypeError(f"{cls.__name__}.card is no ShiftCard, but {vars(cls)['card']!r}")

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options

    def apply(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        """Corrupts one item.

        Args:
            item: what ``card.modality`` says (see ``ShiftCard``); it is not modified.
            severity: one of ``card.severities``.
            rng: the item's own generator (see ``item_generator``).

        Returns:
            A new item of the same kind (for arrays: same shape and dtype).

        Raises:
            ShiftError: unknown severity or an item of the wrong kind.
        """
        self.check_severity(severity)
        self.check_item(item)
        return self.corrupt(item, severity, rng)

    @classmethod
    def fitting(cls, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a benchmark's default options that this shift has.

        Args:
            defaults: option -> value, meant for whatever shift has such an option.
            given: options set by hand; they win, and what they do not fit is their author's error.
        """
        own = {entry.name for entry in fields(cls.Options)}
        return {name: value for name, value in defaults.items() if name in own}

    def untouched(self, item: Any) -> Any:
        """The item as this shift returns it when its operator edits nothing.

        Some families rewrite every item on the way, such as texts that they re-space. The harness
        does not count that as a change (``coverage`` in a record).
        """
        return item

    @property
    def fingerprint(self) -> str:
        """Hash of the files that the shift works with, for a result's identity; "" for none."""
        return ""

    @abstractmethod
    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        """The operator itself; severity and item are already checked."""

    @classmethod
    def check_severity(cls, severity: object) -> None:
        """Raises ShiftError unless ``severity`` is one of the card's."""
        known = cls.card.severities
        if isinstance(severity, bool) or not isinstance(severity, int) or severity not in known:
            raise ShiftError(
                f"shift {cls.card.name!r} has no severity {severity!r}; "
                f"it has {', '.join(map(str, known))}"
            )

    @classmethod
    def check_item(cls, item: object) -> None:
        """Raises ShiftError unless ``item`` is of the card's modality."""
        modality, problem = cls.card.modality, ""
        if modality == "image" and (found := not_a_picture(item)):
            problem = f"(H, W, 3) uint8 images, not on {found}"
        if modality == "text" and not isinstance(item, str):
            problem = f"str, not on {type(item).__name__}"
        if modality in _ITEM_MODULES:
            problem = importlib.import_module(_ITEM_MODULES[modality]).item_problem(item)
        if problem:
            raise ShiftError(f"shift {cls.card.name!r} works on {problem}")


def not_a_picture(item: object) -> str:
    """What an item is instead of an (H, W, 3) uint8 array with pixels; "" where it is one."""
    if not isinstance(item, np.ndarray):
        return type(item).__name__
    good = item.dtype == np.uint8 and item.ndim == 3 and item.shape[2] == 3 and item.size > 0
    return "" if good else f"{item.dtype} array of shape {item.shape}"


def item_generator(seed: int, shift: str, severity: int, item_id: str) -> np.random.Generator:
    """The generator of one item: same arguments, same numbers, whatever the order or machine.

    The method under test is left out on purpose, so that all methods see the same stream.
    """
    key = f"{seed}\x1f{shift}\x1f{severity}\x1f{item_id}".encode()
    digest = hashlib.sha256(key).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


class NoShift(Shift):
    """Returns an equal item; the only shift that takes items of every modality.

    Its single severity is 0, so that no result row can be mistaken for a corrupted one.
    """

    card = ShiftCard(
        name="none",
        modality="any",
        severities=(0,),
        summary="clean queries, for in-domain reference",
        source="none",
        randomised=False,
    )

    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        """A copy, so that a caller who edits the result never edits the data set."""
        return copy.deepcopy(item)
