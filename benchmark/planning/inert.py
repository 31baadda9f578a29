"""Settings that would have no effect on any cell of a run: refused, not passed over in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmark.cell import CLEAN, SOURCE, Cell
from benchmark.config.run import BenchConfig, Traced
from benchmark.data.datasets.ready_made import is_ready_made
from benchmark.errors import ConfigError

_MINI_SUITE = "mini"
_ONE_TRANSFORM = ("mini-clips",)


def _embedded_data(cell: Cell) -> bool:
    return cell.suite == _MINI_SUITE


def _clean(cell: Cell) -> bool:
    return all(domain.name == CLEAN for domain in cell.domains)


Inert = Callable[[Cell], bool]

INERT: dict[str, tuple[Inert, str]] = {
    "data": (_embedded_data, "the embedded benchmarks read no data"),
    "allow_missing": (_embedded_data, "the embedded benchmarks lack nothing"),
    "ready_made": (
        lambda cell: not any(map(is_ready_made, cell.domains)),
        "none of its queries is a ready-made one, and shift none corrupts nothing",
    ),
    "severity": (_clean, "shift none has no severities"),
    "pretrained": (
        lambda cell: cell.backbone.loader.startswith(_MINI_SUITE),
        "the embedded encoders bring their own weights (another one: --model)",
    ),
    "transform": (
        lambda cell: cell.backbone.loader in _ONE_TRANSFORM,
        "this backbone prepares its clips in one way only",
    ),
    "preset": (lambda cell: cell.method.name == SOURCE, "the source model has no options"),
}
"""Setting -> whether it does nothing in a cell, and why. The one list of such cases.

What is not here has an effect on every cell, is refused with what it contradicts (``executors``:
workers, time limit, address, Slurm's options), or is an upper bound: limit, workers, time limit.
"""


_NARROWING = ("method", "shift", "suite", "benchmark", "stream", "model")


def as_flags(config: BenchConfig) -> dict[str, Traced]:
    """The settings of a run that are not the defaults, as if all were given as flags."""
    default = BenchConfig()
    return {
        name: Traced(getattr(config, name), f"--{name.replace('_', '-')}")
        for name in INERT
        if getattr(config, name) != getattr(default, name)
    }


def check_effects(settings: Mapping[str, Traced], cells: Sequence[Cell]) -> None:
    """Refuses a setting that was given and that no cell heeds.

    Flags are for this run. A file may serve several: its settings are left alone where a flag
    picks some of the cells that it is for, and its preset is for the methods of every run.

    Args:
        settings: those that were given; defaults among them do not count.
        cells: all cells that they were given for.

    Raises:
        ConfigError: says which, where and why.
    """
    default = BenchConfig()
    narrowed = any(_is_flag(settings[name]) for name in _NARROWING if name in settings)
    for name, (inert, reason) in INERT.items():
        given = settings.get(name)
        if given is None or given.value == getattr(default, name) or not cells:
            continue
        if not _is_flag(given) and (narrowed or name == "preset"):
            continue
        if all(map(inert, cells)):
            said = given.origin if _is_flag(given) else f"{given.origin}: {name!r}"
            raise ConfigError(f"{said} has no effect here: {reason}; leave it out")


def _is_flag(setting: Traced) -> bool:
    return setting.origin.startswith("--")
