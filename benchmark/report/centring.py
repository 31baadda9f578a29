"""Centring as a control: which adaptation beats moving the mean alone, and whether ours beats all.

Much of a query shift is one offset of all queries. ``recentre`` takes it away without training, so
what an adaptation is worth is what it adds to that; its centred twin says whether both add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from benchmark.cell import CLEAN, SOURCE
from benchmark.report.claim_rules import TWIN, Claim, ClaimCells, Estimate, Part, with_reason
from benchmark.report.results import CellResult, method_rank
from shifts import BUILTINS

RECENTRE = "recentre"
OURS = "anchored"
RIVALS = ("tcr", "rest", RECENTRE)
MEASURED = "R@1 under shift, points"

_KINDS = {
    **{"frost": "weather", "noises": "noise"},
    **{"synonyms": "words", "voice": "sentences", "models": "sentences"},
}
"""File of a shift -> its kind, where that is not the file's name."""


def shift_kind(name: str) -> str:
    """The kind of a shift: noise, blur, weather, words ...; a shift from outside is its own.

    >>> shift_kind("motion_blur"), shift_kind("video_fog"), shift_kind("none")
    ('blur', 'weather', 'other data')
    """
    if name == CLEAN:
        return "other data"
    frame = name.removeprefix("video_")
    target = BUILTINS.get(frame) or BUILTINS.get(name)
    if target is None:
        return name
    module = target.partition(":")[0].rpartition(".")[2]
    return _KINDS.get(module, module)


def centring_claims(results: Iterable[CellResult]) -> list[Claim]:
    """For each task: every method and its centred twin minus ``recentre``, for each kind of shift.

    All methods among the results are compared, on streams of one shift; pure.
    """
    cells = ClaimCells(result for result in results if result.stream == "single")
    control = cells.of(RECENTRE)
    where = sorted({(cell.task, shift_kind(cell.shift)) for cell in control})
    found = []
    for task in dict.fromkeys(task for task, _ in where):
        parts = [
            part
            for kind in (kind for one, kind in where if one == task)
            for part in _parts(cells, _here(control, task, kind), kind)
        ]
        text = "Each adaptation beats centring alone" + (f", {task}" if task else "")
        found.append(Claim(f"centring {task}".rstrip(), text, tuple(parts)))
    nothing = with_reason(Part(f"any - {RECENTRE}", MEASURED, 1, Estimate()))
    return found or [Claim("centring", "Each adaptation beats centring alone", (nothing,))]


def ours_claim(results: Iterable[CellResult]) -> Claim:
    """``anchored`` minus TCR, REST and recentre, over all tasks; each task in brackets; pure."""
    cells = ClaimCells(result for result in results if result.stream == "single")
    ours = cells.of(OURS)
    tasks = sorted({cell.task for cell in ours})
    parts = []
    for name in RIVALS:
        named = f"{OURS} - {name}"
        parts.append(Part(named, MEASURED, 1, cells.recall(ours, cells.of(name))))
        for task in tasks if len(tasks) > 1 else ():
            here = cells.recall(_here(ours, task), cells.of(name))
            parts.append(Part(f"{named}, {task}", MEASURED, 1, here, counts=False))
    text = "Anchored (ours, experimental) beats TCR, the REST-style method and centring alone"

    return Claim(OURS, text, tuple(map(with_reason, parts)))


def _here(cells: Sequence[CellResult], task: str, kind: str = "") -> list[CellResult]:
    return [c for c in cells if c.task == task and kind in ("", shift_kind(c.shift))]


def _parts(cells: ClaimCells, control: list[CellResult], kind: str) -> list[Part]:
    """Every method with cells where ``control`` has some, minus it."""
    won = {
        name: cells.recall(cells.of(name), control)
        for name in sorted(cells.methods() - {SOURCE, RECENTRE}, key=method_rank)
    }

    def why(part: Part) -> str:
        name = part.name.partition(" - ")[0]
        twin = won.get(name + TWIN)
        if twin is not None and math.isfinite(twin.value):
            return f"its centred twin: {twin.value:+.1f}"
        return "options tuned without centring" if name.endswith(TWIN) else "no centred twin here"

    parts = [
        Part(f"{name} - {RECENTRE}, {kind}", MEASURED, 1, estimate)
        for name, estimate in won.items()
        if estimate.units
    ]
    return [with_reason(part, why) for part in parts]
