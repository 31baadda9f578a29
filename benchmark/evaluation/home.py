"""Home of the source weights: the data set on whose clean queries forgetting is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from benchmark.cell import Cell
from benchmark.data.retrieval import RetrievalSet
from benchmark.errors import DataError
from benchmark.evaluation.cache import LRUCache
from benchmark.evaluation.stream import chosen_queries


class Homes:
    """Homes of cells.

    Args:
        find: the cell on whose clean queries forgetting is measured, or None where the weights have
            no home.
        data: the retrieval set of a cell.
    """

    def __init__(
        self, find: Callable[[Cell], Cell | None], data: Callable[[Cell], RetrievalSet]
    ) -> None:
        self._find, self._data = find, data
        self._found = LRUCache[tuple[Cell | None]](256)
        self._missing: dict[tuple[str, str, str], str] = {}

    def of(self, cell: Cell) -> Cell | None:
        """The cell whose clean queries forgetting is measured on; None where there is none.

        It is the cell itself where its own data are the source model's domain. Of another set as
        many queries are used as the cell has, so that measuring costs the same: a fixed draw.
        """
        named = self.named(cell)
        if named is None:
            return cell if self._any(cell) is not None else None
        if place_of(named) in self._missing:
            return None
        try:
            size = len(self._data(named).queries)
        except DataError as error:  # the user does not have it
            self._missing[place_of(named)] = str(error)
            return None
        wanted = len(chosen_queries(len(self._data(cell).queries), cell.limit))
        return replace(named, limit=wanted if wanted < size else None)

    def named(self, cell: Cell) -> Cell | None:
        """The cell of another set that is the home, whether the user has it or not; or None."""
        found = self._any(cell)
        return None if found is None or found.benchmark == cell.benchmark else found

    def why_missing(self, cell: Cell) -> str:
        """Why the set that the cell's home names could not be used, or an empty string."""
        named = self.named(cell)
        return "" if named is None else self._missing.get(place_of(named), "")

    def fingerprint(self, cell: Cell) -> str:
        """Of another set that forgetting is measured on; "" where it is the cell's own, or none."""
        home = self.of(cell)
        return "" if home is None or home is cell else self._data(home).fingerprint

    def _any(self, cell: Cell) -> Cell | None:
        key = place_of(cell), cell.backbone
        return self._found.get(key, lambda: (self._find(cell),))[0]


def place_of(cell: Cell) -> tuple[str, str, str]:
    """What decides the data of a cell."""
    return cell.suite, cell.benchmark, cell.data_root
