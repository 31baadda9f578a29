"""What a stream's shifts do to its queries; what they did is noted, and kept with the inputs.

A shift that leaves most queries as they are looks like robustness. So each record says how many
queries came out different (``coverage``) and by how much (``change_size``).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.cell import ShiftSpec
from benchmark.errors import DataError
from shifts.audio.item import Audio
from shifts.base import Shift, ShiftError, item_generator
from shifts.composed import Composed

PARTS = {"composed": {"image": "pixels", "text": "text"}}
"""Modality -> its parts, as ``sizes`` names them; the others are of one part."""


@dataclass(frozen=True)
class Corruption:
    """What hits a query.

    Attributes:
        apply: (item, index of the query) -> corrupted item.
        untouched: item -> how the shift returns it when its operator does nothing to it (see
            ``Shift.untouched``).
    """

    apply: Callable[[Any, int], Any]
    untouched: Callable[[Any], Any] = lambda item: item


def corruption(shift: Shift, spec: ShiftSpec, seed: int) -> Callable[[Any, str], Any]:
    """(item, its id) -> the item under a shift, whatever else is in the stream.

    The function raises DataError where the shift refuses the item.

    Raises:
        ShiftError: a severity that the shift does not have.
    """
    shift.check_severity(spec.severity)

    def corrupt(item: Any, item_id: str) -> Any:
        generator = item_generator(seed, spec.name, spec.severity, item_id)
        try:
            found = shift.apply(item, spec.severity, generator)
        except ShiftError as error:
            raise DataError(f"query {item_id!r}: {error}") from error
        if isinstance(item, np.ndarray | str):
            _refuse_other_kind(found, item, f"shift {spec.name!r} made of query {item_id!r}")
        return found

    return corrupt


def _refuse_other_kind(found: Any, item: Any, what: str) -> None:
    """Refuses what no query of the item's kind can be: it would fail far from its cause."""
    kind = type(found).__name__
    if isinstance(item, str):
        if not isinstance(found, str):
            raise DataError(f"{what} a {kind}; expected a text")
    elif not isinstance(found, np.ndarray):
        raise DataError(f"{what} a {kind}; expected an array of {item.dtype}")
    elif (found.dtype, found.ndim) != (item.dtype, item.ndim) or not found.size:
        raise DataError(
            f"{what} an array of {found.dtype}, shape {found.shape}; expected {item.dtype}, of the "
            f"form of {item.shape}"
        )


def row_of(queries: np.ndarray, index: int) -> int | None:
    """The place of a query in ascending indices of queries; None where it is not among them."""
    row = bisect_left(queries, index)  # a dict of a million places is 100 MB
    return row if row < len(queries) and queries[row] == index else None


class Changes:
    """Two numbers per query and two for each of its parts: whether it changed, and by how much.

    Args:
        queries: ascending indices of the queries of the stream.
        modality: of the queries.
        known: (queries, 2 + 2 * parts) float64, where all of it was noted before.
    """

    def __init__(self, queries: np.ndarray, modality: str, known: Tensor | None = None) -> None:
        self._queries = queries
        self.parts = PARTS.get(modality, {})
        shape = (len(queries), 2 + 2 * len(self.parts))
        fits = known is not None and tuple(known.shape) == shape
        self._noted = np.full(len(queries), fits)
        self._values = known.numpy() if known is not None and fits else np.zeros(shape)
        self.kept = fits

    def note(self, index: int, changed: bool, found: Mapping[str, float]) -> None:
        """Notes one query; what was noted before is the same, so that it does no harm."""
        row = self._row(index)
        size = float(np.mean(list(found.values()))) if changed else 0.0
        # Whether a part changed, and by how much; a size that is not known is that of a change.
        parts = [(float(found[name] != 0.0), found[name]) for name in self.parts.values()]
        self._values[row] = (float(changed), size, *chain.from_iterable(parts))
        self._noted[row] = True  # last: another thread may be reading

    def leave(self, index: int) -> None:
        self._noted[self._row(index)] = True

    def _row(self, index: int) -> int:
        row = row_of(self._queries, index)
        if row is None:
            raise KeyError(index)
        return row

    def missing(self) -> np.ndarray:
        """Indices of the queries that were not noted: their inputs came from a cache."""
        return self._queries[~self._noted]

    def rows(self) -> Tensor:
        return torch.from_numpy(self._values)

    def summary(self, domains: np.ndarray, labels: Sequence[str | None]) -> dict[str, float]:
        """Share of queries changed and mean size of the change, in percent.

        Args:
            domains: which domain hits each query, in the order of the queries.
            labels: of each domain; None for one that leaves the queries alone by intention, whose
                queries do not count.

        Returns:
            ``coverage`` and ``change_size``; with "_image" and "_text" behind it those of the
            parts; where there are several domains each of them with "_<label>" too. An unchanged
            query counts with size 0, one whose size is not known (arrays of another shape) not.
        """
        shifted = np.array([label is not None for label in labels])[domains]
        found = self._means(shifted, "")
        if len(labels) > 1:
            for number, label in enumerate(labels):
                if label is not None:
                    found |= self._means(domains == number, f"_{label}")
        return found

    def _means(self, chosen: np.ndarray, suffix: str) -> dict[str, float]:
        names = [
            f"{name}{part}{suffix}"
            for part in ("", *(f"_{part}" for part in self.parts))
            for name in ("coverage", "change_size")
        ]
        columns = [column[np.isfinite(column)] for column in self._values[chosen].T]
        return {
            name: 100.0 * float(column.mean())
            for name, column in zip(names, columns, strict=True)
            if len(column)
        }


def sizes(before: Any, after: Any) -> Mapping[str, float]:
    """The size of a change by kind of part: "text", "pixels" (also of frames), "samples".

    * text: share of the characters of both texts that the other one does not have in the same
      order, 1 - ``difflib.SequenceMatcher.ratio``.
    * pixels: mean absolute difference, of full scale (255).
    * samples: mean absolute difference, of full scale (from -1 to 1).

    Args:
        before: an item (see ``ShiftCard.modality``).
        after: an item of the same modality.

    Returns:
        Each from 0 (nothing) to 1; a composed item has "pixels" and "text", all others one. NaN
        where two arrays differ in shape, or two recordings in their rate.
    """
    if isinstance(before, Composed):
        return {**sizes(before.image, after.image), **sizes(before.text, after.text)}
    if isinstance(before, str):
        same = before == after or SequenceMatcher(None, before, after, autojunk=False).ratio()
        return {"text": 1.0 - same}
    if isinstance(before, Audio):
        apart = _difference(before.samples, after.samples, 2.0)
        return {"samples": apart if before.rate == after.rate else math.nan}
    return {"pixels": _difference(before, after, 255.0)}


def _difference(before: np.ndarray, after: np.ndarray, full_scale: float) -> float:
    if before.shape != after.shape:
        return math.nan
    # Of unsigned bytes: a plain difference would wrap around, and wider numbers take longer.
    apart = np.maximum(before, after) - np.minimum(before, after)
    return float(apart.mean(dtype=np.float64)) / full_scale if apart.size else 0.0
