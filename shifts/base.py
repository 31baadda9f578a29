"""What a shift is, a corruption of one query item by its own random generator, and the items."""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""(n,) float32 in [-1, 1]."""
Frames = NDArray[np.uint8]
"""(T, H, W, 3) uint8 RGB, T at least 1."""


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
            (``Audio``), "video" ((T, H, W, 3) uint8 arrays), "composed"
            (``Composed``) or "any".
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
        problem = item_problem(cls.card.modality, item)
        if problem:
            raise ShiftError(f"shift {cls.card.name!r} works on {problem}")


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """A mono recording.

    Attributes:
        samples: (n,) float32 in [-1, 1]; no samples are allowed here, but no shift takes them.
        rate: samples per second, Hz.

    Raises:
        ShiftError: samples of another type, shape or range, or a rate that is no positive int.
    """

    samples: Samples
    rate: int

    def __post_init__(self) -> None:
        if isinstance(self.rate, bool) or not isinstance(self.rate, int) or self.rate < 1:
            raise ShiftError(f"the rate of an Audio is a positive int in Hz, not {self.rate!r}")
        samples = self.samples
        if not isinstance(samples, np.ndarray):
            raise ShiftError(
                f"the samples of an Audio are a float32 array, not a {type(samples).__name__}"
            )
        if samples.dtype != np.float32 or samples.ndim != 1:
            raise ShiftError(
                "the samples of an Audio are one channel of float32, (n,), not a "
                f"{samples.dtype} array of shape {samples.shape}; average channels and divide "
                "16-bit samples by 32768 first"
            )
        # Written so that a NaN, which compares false with everything, is refused as well.
        if samples.size and not np.abs(samples).max() <= 1.0:
            raise ShiftError("the samples of an Audio are finite and within [-1, 1]; these are not")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Audio):
            return NotImplemented
        return self.rate == other.rate and np.array_equal(self.samples, other.samples)

    __hash__ = None  # type: ignore[assignment]  # holds an array

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate


@dataclass(frozen=True, slots=True, eq=False)
class Composed:
    """A composed query.

    Attributes:
        image: the reference image, (H, W, 3) uint8 RGB.
        text: the modification text.
    """

    image: NDArray[np.uint8]
    text: str

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Composed):
            return NotImplemented
        return self.text == other.text and np.array_equal(self.image, other.image)

    __hash__ = None  # type: ignore[assignment]  # holds an array


_WANTED = {
    "image": "(H, W, 3) uint8 images",
    "text": "str",
    "audio": "Audio items (shifts.base.Audio)",
    "video": "(T, H, W, 3) uint8 videos of at least one frame and pixel",
    "composed": "Composed items (shifts.base.Composed)",
}
_DIMENSIONS = {"image": 3, "video": 4}
_KINDS: dict[str, type] = {"text": str, "audio": Audio, "composed": Composed}


def item_problem(modality: str, item: object) -> str:
    """What shifts of a modality work on and were not given, or ""."""
    if not isinstance(item, _KINDS.get(modality, object)) or not _pictures(modality, item):
        return f"{_WANTED[modality]}, not on {_described(item)}"
    if isinstance(item, Audio) and modality == "audio" and not len(item.samples):
        return f"{_WANTED[modality]} with at least one sample; this one is empty"
    if isinstance(item, Composed) and modality == "composed":
        for part, value in (("image", item.image), ("text", item.text)):
            if problem := item_problem(part, value):
                return f"{_WANTED[modality]} whose {part}s are {problem}"
    return ""


def _pictures(modality: str, item: object) -> bool:
    """Whether an item is what its modality asks for, as far as that is an array of pixels."""
    if modality not in _DIMENSIONS:
        return True
    if not isinstance(item, np.ndarray) or item.dtype != np.uint8 or not item.size:
        return False
    return item.ndim == _DIMENSIONS[modality] and item.shape[-1] == 3


def _described(item: object) -> str:
    if isinstance(item, np.ndarray):
        return f"{item.dtype} array of shape {item.shape}"
    return type(item).__name__


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
