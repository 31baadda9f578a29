"""Raw items -> batches that an encoder takes: decode, corrupt, clean, preprocess, collate."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.backbones.base import DualEncoder, Staged
from benchmark.cell import ShiftSpec
from benchmark.data.retrieval import RetrievalSet
from benchmark.errors import DataError
from benchmark.evaluation.cache import StreamCache
from benchmark.evaluation.changes import Changes
from shifts.base import Shift, ShiftError, item_generator
from shifts.change import sizes

_PLAIN_TO_SEE = 0.01
"""From this mean difference on (of full scale), pixels or samples that changed reach the encoder as
a change; below it the preprocessed forms are compared, which costs a second preprocessing."""


def _itself(item: Any) -> Any:
    return item


@dataclass(frozen=True)
class Corruption:
    """What hits a query.

    Attributes:
        apply: (item, index of the query) -> corrupted item.
        untouched: item -> how the shift returns it when its operator does nothing to it (see
            ``Shift.untouched``).
    """

    apply: Callable[[Any, int], Any]
    untouched: Callable[[Any], Any] = _itself


class QueryInputs:
    """Raw items of one retrieval set -> preprocessed batches on the backbone's device.

    Where the backbone's preprocessing comes in two stages, the small form between them is kept.

    Args:
        data: whose items.
        backbone: preprocesses and collates.
        gallery: the gallery's items instead of the queries.
        corruption: what hits a query, by its index; None for one that nothing hits.
        cache: keeps what is made.
        changes: told what the corruption did to each query.
    """

    def __init__(
        self,
        data: RetrievalSet,
        backbone: DualEncoder,
        *,
        gallery: bool = False,
        corruption: Callable[[int], Corruption | None] = lambda index: None,
        cache: StreamCache | None = None,
        changes: Changes | None = None,
    ) -> None:
        self._items = data.gallery if gallery else data.queries
        self._modality = data.gallery_modality if gallery else data.query_modality
        self._clean_text = data.clean_text if self._modality == "text" else None
        self._backbone = backbone
        preprocess = backbone.preprocess(self._modality)
        staged = preprocess if isinstance(preprocess, Staged) else None
        self._make = staged.compact if staged else preprocess
        self._expand = staged.expand if staged else None
        self._corruption = corruption
        self._cache = cache
        self._changes = changes

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """The collated inputs of these items."""
        return self._backbone.collate(self._modality, [self._one(int(i)) for i in indices])

    def alone(self, index: int) -> tuple[bytes, Tensor]:
        """A digest of one item's input, and the input as a batch of its own.

        Equal inputs have equal digests, whatever they were made from.
        """
        made = self._one(index).contiguous()
        digest = hashlib.sha256(f"{made.dtype} {tuple(made.shape)}".encode())
        digest.update(made.flatten().view(torch.uint8).numpy().data)
        return digest.digest(), self._backbone.collate(self._modality, [made])

    def _one(self, index: int) -> Tensor:
        made = self._cache.get(index) if self._cache is not None else None
        if made is None:
            made = self._compact(index)
            if self._cache is not None:
                self._cache.put(index, made)
        return self._expand(made) if self._expand is not None else made

    def measure(self, indices: np.ndarray) -> None:
        """Notes what happens to queries whose inputs came from a cache."""
        for index in map(int, indices):
            if self._corruption(index) is not None:
                self._compact(index)
            elif self._changes is not None:
                self._changes.leave(index)

    def _compact(self, index: int) -> Tensor:
        item, hit = self._items[index], self._corruption(index)
        if hit is None:
            if self._changes is not None:
                self._changes.leave(index)
            return self._prepared(item)
        # A copy: a shift that works in place must not change the data.
        after = self._cleaned(hit.apply(copy.deepcopy(item), index))
        made = self._make(after)
        if self._changes is not None:
            plain = hit.untouched(item)
            found = sizes(self._cleaned(plain), after)
            same = [item] if plain is item else [item, plain]
            self._changes.note(index, self._changed(found, made, same), found)
        return made

    def _changed(self, found: Mapping[str, float], made: Tensor, same: Sequence[Any]) -> bool:
        """Whether what the encoder gets differs from what it would get of unchanged items.

        Args:
            found: ``sizes`` of the change.
            made: the preprocessed query.
            same: items that count as unchanged.
        """
        if not any(found.values()):  # NaN, of arrays of another shape, is not 0
            return False
        if any(size >= _PLAIN_TO_SEE for name, size in found.items() if name != "text"):
            return True
        return not any(torch.equal(made, self._prepared(item)) for item in same)

    def _prepared(self, item: Any) -> Tensor:
        return self._make(self._cleaned(item))

    def _cleaned(self, item: Any) -> Any:
        return item if self._clean_text is None else self._clean_text(item)


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
            return shift.apply(item, spec.severity, generator)
        except ShiftError as error:
            raise DataError(f"query {item_id!r}: {error}") from error

    return corrupt
