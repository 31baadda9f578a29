"""What REST's abstract and figure claim, and what beats centring, with a verdict each.

Which claims there are: Li, Yang, Peng, "Toward Robust and Harmonious Adaptation for Cross-modal
Retrieval", arXiv 2511.14416: abstract and first figure; we did not have the rest.
``claim_rules`` has the rules of the verdicts.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from benchmark.cell import CLEAN, SOURCE
from benchmark.metrics import CONFLICT_DEGREES
from benchmark.report.claim_rules import (
    PARTS,
    TWIN,
    Claim,
    ClaimCells,
    Estimate,
    Part,
    diverse,
    over_benchmarks,
    single,
)
from benchmark.report.pools import finite_mean, grouped
from benchmark.report.results import CellResult, method_rank
from shifts import BUILTINS

REST = "rest"
ENTROPY_METHODS = ("tent", "eata", "sar", "read")
BASELINES = (SOURCE, *ENTROPY_METHODS, "tcr")
MEASURED = "R@1 under shift, points"
PROBES = {"uniformity": -1, "consistency": -1, "gap": 1}
"""Probe -> the sign of what a shift is claimed to do to it."""


def claims(results: Iterable[CellResult]) -> list[Claim]:
    """All claims, judged by the finished cells among the results of the grid ``claims``; pure."""
    results = list(results)
    cells = ClaimCells(results)
    about_rest = [_damage, _conflict, _online, _kept, _ablation]
    return [*(claim(cells) for claim in about_rest), *centring_claims(results), ours_claim(results)]


def _probe(cell: CellResult, name: str) -> float:
    return cell.record.probes.get(name, math.nan)


def _damage(cells: ClaimCells) -> Claim:
    """The source model's probes under shift minus those on the same queries uncorrupted."""
    unshifted = (c for c in cells.of(SOURCE) if c.shift == CLEAN and c.stream == "single")
    clean = grouped(unshifted, lambda cell: cell.place)
    parts = []
    for probe, sign in PROBES.items():
        values: dict[str, list[float]] = defaultdict(list)
        for cell in single(cells.of(SOURCE)):
            before = [_probe(other, probe) for other in clean.get(cell.place, [])] or [math.nan]
            change = _probe(cell, probe) - float(np.mean(before))
            if math.isfinite(change):
                values[cell.benchmark].append(change)
        found = over_benchmarks(values)
        why = f"the probe's definition is our reading of the figure's axis{found.against(sign)}"
        parts.append(Part(probe, f"change of {probe} under shift", sign, found, why))
    text = "Query shift lowers the queries' uniformity and their consistency with the gallery, and"
    return Claim("shift", f"{text} widens the gap between them", tuple(parts))


def _conflict(cells: ClaimCells) -> Claim:
    values: dict[str, list[float]] = defaultdict(list)
    measured = [cell for cell in single(cells.of(REST)) if math.isfinite(_probe(cell, "angle"))]
    for cell in measured:
        values[cell.benchmark].append(_probe(cell, "angle") - CONFLICT_DEGREES)
    share = finite_mean(_probe(cell, "conflict") for cell in measured)
    found = over_benchmarks(values)
    why = (
        f"{100 * share:.0f} % of the updates conflict; which gradient stands for general knowledge "
        f"is our reading (divergence from the source model's predictions){found.against(1)}"
    )
    text = "The gradients of adaptation and of general knowledge conflict (angle above 90 degrees)"
    part = Part("angle", "mean angle minus 90, degrees", 1, found, why)
    return Claim("conflict", text, (part,))


def _online(cells: ClaimCells) -> Claim:
    rest = single(cells.of(REST))
    # All comparisons are on the same cells: those that every baseline with any has.
    ran = [single(cells.of(name)) for name in BASELINES if name != SOURCE]
    everywhere = [{(cell.setting, cell.seed) for cell in found} for found in ran if found]
    rest = [cell for cell in rest if all((cell.setting, cell.seed) in one for one in everywhere)]
    decoupling = cells.recall(rest, single(cells.of(REST, "gradient decoupling")))

    costs = f"decoupling costs {-decoupling.value:.1f} points here (see ablation); "
    parts = []
    for name in BASELINES:
        won = cells.recall(rest, single(cells.of(name)), rest)
        why = "all methods are tuned for the twins, the baselines too"
        if name == SOURCE:
            why = "there may be little to win on these shifts"
        why = costs * (decoupling.high < 0) + why
        parts.append(Part(f"REST - {name}", MEASURED, 1, won, why))
    text = "Under online query shift REST beats the unadapted model and each baseline"
    return Claim("online", text, tuple(parts))


def _kept(cells: ClaimCells) -> Claim:
    rest = diverse(cells.of(REST))
    parts = []
    for name in ("tcr", *ENTROPY_METHODS):
        other = diverse(cells.of(name))
        forgot = [c.record.metrics.get("forgetting", math.nan) for c, _ in cells.pairs(other, rest)]
        lost = finite_mean(forgot)
        why = f"{name} changes clean R@1 by {lost:+.1f} points on these streams"
        why += ": little is forgotten" if lost > -1 else ""
        if math.isnan(lost):
            why = f"{name} has no home to forget on these streams"
        kept = cells.clean_recall(rest, other)
        measured = "clean R@1 after a diverse stream, points"
        parts.append(Part(f"REST - {name}", measured, 1, kept, why))
    text = "Under diverse shift REST keeps more clean recall than TCR and the entropy methods"
    return Claim("diverse", text, tuple(parts))


def _ablation(cells: ClaimCells) -> Claim:
    rest = cells.of(REST)
    parts = []
    for name in PARTS:
        without = cells.of(REST, name)
        found = {MEASURED: cells.recall(single(rest), single(without))}
        # What decoupling is for is not recall under shift but what remains of general knowledge.
        if name == "gradient decoupling":
            found["clean R@1 after all streams, points"] = cells.clean_recall(rest, without)
        for measured, estimate in found.items():
            why = (
                f"leaving it out changes the number by {0.0 - estimate.value:+.1f}; the preset was "
                "tuned with all parts on, and the weights are TCR's"
            )
            counts = measured == [*found][-1]
            parts.append(Part(f"with - without {name}", measured, 1, estimate, why, counts))
    return Claim("ablation", "Each of REST's parts earns its place", tuple(parts))


# Centring as a control: which adaptation beats moving the mean alone, and whether ours beats all.
# Much of a query shift is one offset of all queries. ``recentre`` takes it away without training,
# so what an adaptation is worth is what it adds to that; its centred twin says whether both add up.

RECENTRE = "recentre"
OURS = "anchored"
RIVALS = ("tcr", "rest", RECENTRE)

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
    text, found = "Each adaptation beats centring alone", []
    for task, control in sorted(grouped(cells.of(RECENTRE), lambda cell: cell.task).items()):
        kinds = sorted(grouped(control, lambda cell: shift_kind(cell.shift)).items())
        parts = tuple(part for kind, here in kinds for part in _parts(cells, here, kind))
        of_task = f", {task}" if task else ""
        found.append(Claim(f"centring {task}".rstrip(), f"{text}{of_task}", parts))
    nothing = Part(f"any - {RECENTRE}", MEASURED, 1, Estimate())
    return found or [Claim("centring", text, (nothing,))]


def ours_claim(results: Iterable[CellResult]) -> Claim:
    """``anchored`` minus TCR, REST and recentre, over all tasks; each task in brackets; pure."""
    cells = ClaimCells(result for result in results if result.stream == "single")
    ours = cells.of(OURS)
    tasks = sorted({cell.task for cell in ours})
    parts = []
    for name in RIVALS:
        named = f"{OURS} - {name}"
        parts.append(Part(named, MEASURED, 1, cells.recall(ours, cells.of(name), ours)))
        for task in tasks if len(tasks) > 1 else ():
            own = [cell for cell in ours if cell.task == task]
            here = cells.recall(own, cells.of(name), own)
            parts.append(Part(f"{named}, {task}", MEASURED, 1, here, counts=False))
    text = "Anchored (ours, experimental) beats TCR, the REST-style method and centring alone"
    return Claim(OURS, text, tuple(parts))


def _parts(cells: ClaimCells, control: list[CellResult], kind: str) -> list[Part]:
    """Every method with cells where ``control`` has some, minus it."""
    won = {
        name: cells.recall(cells.of(name), control, control)
        for name in sorted(cells.methods() - {SOURCE, RECENTRE}, key=method_rank)
    }
    parts = []
    for name, estimate in won.items():
        twin = won.get(name + TWIN)
        why = "options tuned without centring" if name.endswith(TWIN) else "no centred twin here"
        if twin is not None and math.isfinite(twin.value):
            why = f"its centred twin: {twin.value:+.1f}"
        if estimate.units:
            parts.append(Part(f"{name} - {RECENTRE}, {kind}", MEASURED, 1, estimate, why))
    return parts
