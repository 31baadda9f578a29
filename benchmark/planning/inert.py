"""Settings that would have no effect on any cell of a run: refused, not passed over in silence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmark.cell import CLEAN, SOURCE, Cell
from benchmark.config.run import BenchConfig
from benchmark.errors import ConfigError

_MINI_SUITE = "mini"
_WITHOUT_TRANSFORM = ("cav_mae", "pe_av")


def _embedded_data(cell: Cell) -> bool:
    return cell.suite == _MINI_SUITE


def _clean(cell: Cell) -> bool:
    return all(domain.name == CLEAN for domain in cell.domains)


Inert = Callable[[Cell], bool]

INERT: dict[str, tuple[Inert, str]] = {
    "data": (_embedded_data, "the embedded benchmarks read no data"),
    "allow_missing": (_embedded_data, "the embedded benchmarks lack nothing"),
    "ready_made": (_clean, "nothing is corrupted with shift none"),
    "severity": (_clean, "shift none has no severities"),
    "transform": (
        lambda cell: cell.backbone.loader in _WITHOUT_TRANSFORM,
        "this backbone prepares its clips in one way only",
    ),
    "preset": (lambda cell: cell.method.name == SOURCE, "the source model has no options"),
}
"""Setting -> whether it does nothing in a cell, and why. The one list of such cases."""


def check_effects(config: BenchConfig, cells: Sequence[Cell]) -> None:
    """Refuses a setting that was given and that no cell heeds.

    Raises:
        ConfigError: says which and why.
    """
    default = BenchConfig()
    for name, (inert, reason) in INERT.items():
        if getattr(config, name) != getattr(default, name) and cells and all(map(inert, cells)):
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} has no effect here: {reason}; leave it out")
