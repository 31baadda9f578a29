"""Stored cells run again, to verify their numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
import torch

from benchmark.cell import Cell, Record, Status
from benchmark.config.run import MOST_THREADS, BenchConfig
from benchmark.data.own.source import OwnSource
from benchmark.errors import ConfigError, QueryShiftError, reason_of
from benchmark.evaluation.environment import about, environment
from benchmark.evaluation.plugins import CODE
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import Arrays, run_cell
from benchmark.executors import REFUSALS, stream_of
from benchmark.store.merge import differences
from benchmark.store.records import StoredCell

SAME_BYTES = (
    *("python", "torch", "torchvision", "open_clip", "numpy"),
    *("platform", "cpu", "threads", "device", "device_name"),
)
"""Where all of these agree, a cell gives the same bytes: everything else is seeded."""

MOVED_RANKS = 0.10
"""Elsewhere: at most this share of the queries may have another best rank. Other rounding moves
near ties, and optimisers of Adam's kind turn the sign of a vanishing gradient into a step."""

MOVED_POINTS = 1.0
"""Elsewhere: a metric may differ by so many points, or by one query where that is more."""

MOVED_PROBES = 0.02
"""Elsewhere: a probe may differ by this share of its size, or by as much where it is below 1."""

_OVERALL = re.compile(r"R@\d+|mean_recall|mAP|clean_R@1_(before|after)")
"""Metrics over all queries; those of single domains hang on a handful of the ranks."""

_HARNESS_PROBES = ("uniformity", "gap", "consistency", "effective_rank")
"""The harness's probes; a method's own log (counts, losses) is compared only bit for bit."""


_IDENTITY = {
    "data": "data_fingerprint",
    "weights": "backbone_fingerprint",
    "shift's files": "shift_files",
    "clean queries for forgetting": "home_fingerprint",
    "training queries": "train_fingerprint",
}
"""What a cell's key stands for beside the cell itself, as messages call it -> its name there."""


class Verdict(StrEnum):
    """What came of running a cell again; the first two are good."""

    SAME = "same bytes"
    WITHIN = "within tolerance"
    DIFFERENT = "different"
    NOT_RUN = "cannot be run"


@dataclass(frozen=True)
class Check:
    """One cell, run again.

    Attributes:
        stored: the cell as it was stored.
        verdict: what came of it.
        details: what differs, or why it cannot be run; empty where nothing does.
        environment: fact -> (stored, now), of those in ``SAME_BYTES`` that differ.
    """

    stored: StoredCell
    verdict: Verdict
    details: tuple[str, ...] = ()
    environment: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return self.verdict in (Verdict.SAME, Verdict.WITHIN)


def draw(cells: Sequence[StoredCell], share: float, seed: int) -> list[StoredCell]:
    """A random sample of the finished cells, at least one; the same seed draws the same.

    Args:
        share: how much of them, above 0 and at most 1.

    Returns:
        Cells that share data and streams side by side.

    Raises:
        ConfigError: a share that is none, or no finished cell.
    """
    if not 0.0 < share <= 1.0:
        raise ConfigError(f"--sample must be above 0 and at most 1, not {share:g}")
    done = sorted((cell for cell in cells if cell.done), key=lambda cell: cell.record.key)
    if not done:
        raise ConfigError("no cell of this run is finished; there is nothing to run again")
    count = math.ceil(share * len(done) - 1e-9)  # 0.05 * 20 is a little more than 1
    chosen = np.random.default_rng(seed).choice(len(done), size=max(1, count), replace=False)
    return sorted((done[i] for i in chosen), key=lambda one: (str(stream_of(one.cell)), one.name))


def verify(
    cells: Sequence[StoredCell],
    resources: Resources,
    config: BenchConfig | None = None,
    device: str = "cpu",
) -> Iterator[Check]:
    """Runs cells again, one after the other.

    Args:
        resources: data and weights of this machine.
        config: says where data and weights lie here, and how many threads torch has; by default
            as many as each cell was stored with.
    """
    config = config or BenchConfig()
    before = torch.get_num_threads()
    try:
        for stored in cells:
            count = config.threads or stored.record.environment.get("threads")
            if not isinstance(count, int) or not 0 < count <= MOST_THREADS:
                count = before
            torch.set_num_threads(count)
            yield _check(stored, placed(stored.cell, config, device), resources)
    finally:
        torch.set_num_threads(before)


def _check(stored: StoredCell, cell: Cell, resources: Resources) -> Check:
    now, before = environment(cell.backbone.device), stored.record.environment
    others = (name for name in SAME_BYTES if before.get(name) != now.get(name))
    elsewhere = {name: (before.get(name), now.get(name)) for name in others}
    try:
        key = resources.key(cell)
    except REFUSALS as error:
        why = str(error) if isinstance(error, QueryShiftError) else reason_of(error)
        return Check(stored, Verdict.NOT_RUN, (" ".join(why.split()),), elsewhere)
    if key != stored.record.key:
        then, here = stored.record.info, about(cell, resources)
        reasons = tuple(
            f"the {what} here are others ({here.get(name, '')}) than the cell's "
            f"({then.get(name, '')})"
            for what, name in _IDENTITY.items()
            if here.get(name, "") != then.get(name, "")
        )
        changed = "its key here is another one: the cell was changed on the way"
        return Check(stored, Verdict.NOT_RUN, reasons or (changed,), elsewhere)
    record, arrays = run_cell(cell, resources)
    if record.status is not Status.DONE:
        return Check(stored, Verdict.NOT_RUN, (record.reason,), elsewhere)
    check = compare(stored, record, arrays, elsewhere)
    if not check.good and stored.record.info.get(CODE) != record.info.get(CODE):
        check = replace(check, details=(*check.details, "the code of its plugins has changed"))
    return check


def compare(
    stored: StoredCell, record: Record, arrays: Arrays, elsewhere: Mapping[str, tuple[Any, Any]]
) -> Check:
    """Compares a stored cell with the same cell run again.

    Args:
        stored: as it was stored.
        record: as it came out now.
        arrays: its numbers per query now.
        elsewhere: what of the environment differs; empty asks for the same bytes.
    """
    verdict, details = Verdict.SAME, differences(stored, record, arrays)
    if details and not elsewhere:
        verdict, details = Verdict.DIFFERENT, _measured(stored, record, details)
    elif details:
        beyond = _beyond(stored, record, arrays)
        verdict = Verdict.DIFFERENT if beyond else Verdict.WITHIN
        details = beyond or details
    return Check(stored, verdict, tuple(details), elsewhere)


def _measured(stored: StoredCell, record: Record, names: Sequence[str]) -> list[str]:
    """The names with both numbers, where they are numbers."""
    before = {**stored.record.metrics, **stored.record.probes}
    now = {**record.metrics, **record.probes}
    return [
        f"{name} {before[name]:.6g} is now {now[name]:.6g}" if name in before.keys() & now else name
        for name in names
    ]


def _beyond(stored: StoredCell, record: Record, arrays: Arrays) -> list[str]:
    """What differs by more than another machine explains."""
    before = stored.arrays
    for name in ("query", "group", "order", "domain", "section"):
        if not np.array_equal(before.get(name, ()), arrays.get(name, ())):
            return [f"{name} per query: these are other queries, or in another order"]
    found = []
    ranks = "changed@1" if record.info.get("unlabelled") else "best_rank"
    if ranks not in before:
        return [f"there is no {ranks} per query in the stored cell"]
    moved = float(np.mean(before[ranks] != arrays[ranks]))
    if moved > MOVED_RANKS:
        found.append(f"{100 * moved:.1f} % of the queries have another rank")
    points = max(MOVED_POINTS, 100.0 / len(arrays["query"]) + 1e-9)
    metrics, probes = stored.record.metrics, stored.record.probes
    margins = {n: points for n in sorted({**metrics, **record.metrics}) if _OVERALL.fullmatch(n)}
    margins |= {n: MOVED_PROBES * max(1.0, abs(probes.get(n, 0.0))) for n in _HARNESS_PROBES}
    now, then = {**record.metrics, **record.probes}, {**metrics, **probes}
    far = [  # a missing number is as good as NaN
        name
        for name, margin in margins.items()
        if not np.isclose(
            now.get(name, np.nan), then.get(name, np.nan), rtol=0.0, atol=margin, equal_nan=True
        )
    ]
    return found + _measured(stored, record, far)


def placed(cell: Cell, config: BenchConfig, device: str) -> Cell:
    """The cell on this machine: where data and weights lie here; its key stays the same."""
    weights = config.pretrained or cell.backbone.pretrained
    backbone = replace(cell.backbone, device=device, pretrained=weights)
    root = config.data or cell.data_root
    if cell.suite == "own":  # its columns and split stay as they are
        own, names = OwnSource.of(cell.data_root), ("gallery", "qrels", "clean")
        moved = {name: getattr(config, name) or getattr(own, name) for name in names}
        root = replace(own, place=config.data or own.place, **moved).absolute().text
    return replace(cell, backbone=backbone, data_root=root)
