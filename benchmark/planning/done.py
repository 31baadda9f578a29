"""Which cells of a plan are done already: the same cell, of today's data and weights."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from benchmark.cell import BackboneSpec, Cell, PartTexts
from benchmark.evaluation.fingerprints import Fingerprints, data_here, weights_here
from benchmark.planning.estimate import Stored, model_of

if TYPE_CHECKING:
    from benchmark.evaluation.resources import Resources

_GONE = "gone"
"""In place of a fingerprint: data, weights or files that no stored cell can be of."""


class DoneCells:
    """Which planned cells a run's folder has results of.

    A stored cell counts as done if it is the planned one and its data, weights and files of shifts
    are today's. What the folder's ``Fingerprints`` do not know is loaded, where it lies on this
    machine; data or weights that are elsewhere are taken to be unchanged, and counted.

    Args:
        stored: the finished cells of the folder.
        known: the folder's fingerprints.
        resources: makes what loads data and weights; None loads nothing.
    """

    def __init__(
        self,
        stored: Iterable[Stored],
        known: Fingerprints,
        resources: Callable[[], Resources] | None = None,
    ) -> None:
        self._stored: dict[Hashable, list[Stored]] = defaultdict(list)
        for one in stored:
            self._stored[_identity_of(one.cell)].append(one)
        self._known = known
        self._texts = PartTexts()
        self._make = resources
        self._resources: Resources | None = None
        self._current: dict[Hashable, str] = {}
        self.unverified = 0

    def __contains__(self, cell: Cell) -> bool:
        found = self._stored.get(self._identity(cell), ())
        if not found:
            return False
        data, weights = self._data(cell), self._weights(cell)
        fits = [
            one
            for one in found
            if (not data or one.data == data) and (not weights or one.weights == weights)
        ]
        if not fits:
            return False
        # The same cell has the same shifts: where they read files once, they do so today.
        files = self._files(cell) if any(one.files for one in fits) else ""
        fits = [one for one in fits if not files or one.files == files]
        verified = data and weights and (files or not any(one.files for one in fits))
        self.unverified += bool(fits) and not verified
        return bool(fits)

    def _data(self, cell: Cell) -> str:
        place = "data", cell.suite, cell.benchmark, cell.data_root
        return self._today(
            place,
            lambda: self._known.of_data(cell),
            lambda resources: resources.data(cell).fingerprint if data_here(cell) else "",
        )

    def _weights(self, cell: Cell) -> str:
        return self._today(
            cell.backbone,
            lambda: self._known.of_backbone(cell.backbone),
            lambda resources: (
                resources.backbone(cell).fingerprint if weights_here(cell.backbone) else ""
            ),
        )

    def _files(self, cell: Cell) -> str:
        place = cell.benchmark, self._texts.of(cell.shift), self._texts.of(cell.stream)
        return self._today(place, str, lambda resources: resources.shift_files(cell) or _GONE)

    def _today(
        self, place: Hashable, known: Callable[[], str], load: Callable[[Resources], str]
    ) -> str:
        """A fingerprint as it is today, "" where nothing here can tell."""
        if place not in self._current:
            found = known()
            if not found and self._make is not None:
                self._resources = self._resources or self._make()
                try:
                    found = load(self._resources)
                except Exception:  # whatever is wrong with it: a run would not reuse the cell
                    found = _GONE
            self._current[place] = found
        return self._current[place]

    def _identity(self, cell: Cell) -> Hashable:
        parts = (self._texts.of(part) for part in (cell.method, cell.shift, cell.stream))
        return cell.suite, cell.benchmark, _way(cell.backbone), *parts, cell.seed, cell.limit


def _identity_of(cell: Mapping[str, Any]) -> Hashable:
    parts = (json.dumps(cell[name], sort_keys=True) for name in ("method", "shift", "stream"))
    backbone = BackboneSpec(**cell["backbone"])
    return (
        *(cell["suite"], cell["benchmark"], _way(backbone)),
        *parts,
        *(cell["seed"], cell["limit"]),
    )


def _way(backbone: BackboneSpec) -> Hashable:
    return *model_of(backbone), backbone.precision, backbone.compile
