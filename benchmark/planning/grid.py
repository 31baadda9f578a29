"""From a grid of choices to a list of cells: pure, no data and no model touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

from benchmark.cell import (
    CLEAN,
    BackboneSpec,
    Cell,
    Identity,
    MethodSpec,
    PartTexts,
    ShiftSpec,
    StreamSpec,
)
from benchmark.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Grid:
    """The choices of each axis; ``cells`` is their product.

    Attributes:
        suite: name of the suite that all benchmarks belong to.
        severities: where not empty, every shift (but "none") is run at each of these instead of
            at the severity that its spec carries.
        limit: see ``Cell``.
        data_root: see ``Cell``.

    Example:
        >>> grid = Grid(
        ...     suite="mini",
        ...     benchmarks=("mini-coco-c-image",),
        ...     methods=(MethodSpec("source", "mini", {}),),
        ...     shifts=(ShiftSpec("contrast", 5),),
        ...     severities=(1, 3),
        ... )
        >>> [(cell.shift.name, cell.shift.severity) for cell in grid.cells()]
        [('contrast', 1), ('contrast', 3)]
    """

    suite: str
    benchmarks: tuple[str, ...]
    methods: tuple[MethodSpec, ...]
    shifts: tuple[ShiftSpec, ...]
    severities: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0,)
    backbones: tuple[BackboneSpec, ...] = (BackboneSpec(),)
    streams: tuple[StreamSpec, ...] = (StreamSpec(),)
    limit: int | None = None
    data_root: str = ""

    def __post_init__(self) -> None:
        for axis in ("benchmarks", "methods", "shifts", "seeds", "backbones", "streams"):
            if not getattr(self, axis):
                raise ConfigError(f"the grid has no {axis}; name at least one")

    def cells(self, keep: Callable[[Cell], bool] | None = None) -> list[Cell]:
        """All cells, duplicates removed.

        Benchmark and backbone change slowest and methods fastest, so that cells which share data,
        gallery embeddings and shifted queries lie side by side.

        Args:
            keep: cells for which it returns False are left out.
        """
        found: dict[Identity, Cell] = {}
        texts = PartTexts()
        axes = product(
            self.benchmarks,
            self.backbones,
            self._shifts(),
            self.seeds,
            self.streams,
            self.methods,
        )
        for benchmark, backbone, shift, seed, stream, method in axes:
            cell = Cell(
                suite=self.suite,
                benchmark=benchmark,
                backbone=backbone,
                method=method,
                shift=shift,
                stream=stream,
                seed=seed,
                limit=self.limit,
                data_root=self.data_root,
            )
            if keep is None or keep(cell):
                found.setdefault(texts.identity(cell), cell)
        return list(found.values())

    def _shifts(self) -> list[ShiftSpec]:
        swept: list[ShiftSpec] = []
        for shift in self.shifts:
            if self.severities and shift.name != CLEAN:
                swept += [replace(shift, severity=severity) for severity in self.severities]
            else:
                swept.append(shift)
        return swept
