"""Raw items -> batches that an encoder takes: decode, corrupt, clean, preprocess, collate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from benchmark.backbones.base import DualEncoder, Staged
from benchmark.cache import Shelf
from benchmark.cell import ShiftSpec
from benchmark.errors import DataError
from benchmark.retrieval import RetrievalSet
from shifts.base import Shift, ShiftError, item_generator

ENCODE_BATCH = 64
"""Items encoded at once outside the stream."""


class QueryInputs:
    """Raw items of one retrieval set -> preprocessed batches on the backbone's device.

    Where the backbone's preprocessing comes in two stages, the small form between them is kept.

    Args:
        data: whose items.
        backbone: preprocesses and collates.
        gallery: the gallery's items instead of the queries.
        corrupt: (item, index of the query) -> corrupted item.
        shelf: keeps what is made.
    """

    def __init__(
        self,
        data: RetrievalSet,
        backbone: DualEncoder,
        *,
        gallery: bool = False,
        corrupt: Callable[[Any, int], Any] | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self._items = data.gallery if gallery else data.queries
        self._modality = data.gallery_modality if gallery else data.query_modality
        self._clean_text = data.clean_text if self._modality == "text" else None
        self._backbone = backbone
        preprocess = backbone.preprocess(self._modality)
        staged = preprocess if isinstance(preprocess, Staged) else None
        self._make = staged.compact if staged else preprocess
        self._expand = staged.expand if staged else None
        self._corrupt = corrupt
        self._shelf = shelf

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """The collated inputs of these items."""
        batch = self._backbone.collate(self._modality, [self._one(int(i)) for i in indices])
        if self._shelf is not None:
            self._shelf.rest()
        return batch

    def batches(self, indices: np.ndarray, size: int = ENCODE_BATCH) -> Iterator[Tensor]:
        """The inputs of many items, a few at a time."""
        for start in range(0, len(indices), size):
            yield self.batch(indices[start : start + size])

    def _one(self, index: int) -> Tensor:
        made = self._shelf.get(index) if self._shelf is not None else None
        if made is None:
            made = self._compact(index)
            if self._shelf is not None:
                self._shelf.put(index, made)
        return self._expand(made) if self._expand is not None else made

    def _compact(self, index: int) -> Tensor:
        item = self._items[index]
        if self._corrupt is not None:
            item = self._corrupt(item, index)
        if self._clean_text is not None:
            item = self._clean_text(item)
        return self._make(item)


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
