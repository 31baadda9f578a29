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
        share: of how many of a cell's queries one clean query is encoded for.
    """

    def __init__(
        self,
        find: Callable[[Cell], Cell | None],
        data: Callable[[Cell], RetrievalSet],
        share: Callable[[Cell], int] = lambda cell: 1,
    ) -> None:
        self._find, self._data, self._share = find, data, share
        self._found = LRUCache[tuple[Cell | None]](256)
        self._missing: dict[tuple[str, str, str], str] = {}

    def of(self, cell: Cell) -> Cell | None:
        """The cell whose clean queries forgetting is measured on; None where there is none.

        It is the cell's own set where that is the source model's domain. Its limit says how many
        queries are used: a fixed draw of as many as the cell has, or of a share of them.
        """
        named = self.named(cell)
        if named is None and self._any(cell) is None:
            return None
        home = cell if named is None else named
        if place_of(home) in self._missing:
            return None
        try:
            size = len(self._data(home).queries)
        except DataError as error:  # the user does not have it
            if named is None:
                raise
            self._missing[place_of(home)] = str(error)
            return None
        own = len(chosen_queries(len(self._data(cell).queries), cell.limit))
        wanted = -(-own // self._share(cell))
        return cell if home is cell and wanted == own else _limited(home, wanted, size)

    def named(self, cell: Cell) -> Cell | None:
        """The cell of another set that is the home, whether the user has it or not; or None."""
        found = self._any(cell)
        return None if found is None or found.benchmark == cell.benchmark else found

    def why_missing(self, cell: Cell) -> str:
        """Why the set that the cell's home names could not be used, or an empty string."""
        named = self.named(cell)
        return "" if named is None else self._missing.get(place_of(named), "")

    def fingerprint(self, cell: Cell) -> str:
        """What a cell's key says of its home; "" where that is all of its own queries, or none."""
        if self.of(cell) is None:
            return ""
        named = self.named(cell)
        return self.marked(cell, "" if named is None else self._data(named).fingerprint)

    def marked(self, cell: Cell, other: str) -> str:
        """``fingerprint`` of a cell that has a home, from the fingerprint of another set ("" none).

        Cells that measure on all queries keep the keys that they had before there were shares.
        """
        share = self._share(cell) if self._any(cell) is not None else 1
        return other if share == 1 else f"{other}/{share}"

    def _any(self, cell: Cell) -> Cell | None:
        key = place_of(cell), cell.backbone
        return self._found.get(key, lambda: (self._find(cell),))[0]


def _limited(home: Cell, wanted: int, size: int) -> Cell:
    return replace(home, limit=wanted if wanted < size else None)


def place_of(cell: Cell) -> tuple[str, str, str]:
    """What decides the data of a cell."""
    return cell.suite, cell.benchmark, cell.data_root
