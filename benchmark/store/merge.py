"""Run folders read strictly, and several of them joined into one, once all is known to fit.

What makes two rows of a table incomparable is refused by name: other data, weights or files of a
shift under the same name, other versions of a method or shift, two results of one cell.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.cell import Record
from benchmark.errors import ResultsError
from benchmark.store.records import StoredCell
from benchmark.store.run_store import NAMED, RunStore


def merge_runs(folders: Sequence[Path], target: Path) -> tuple[dict[str, int], int]:
    """Joins the cells of several runs in a new folder, byte by byte as they are.

    A finished result goes before an unfinished one of the same cell, an earlier folder's before a
    later one's.

    Args:
        target: a folder that is not there yet, or empty.

    Returns:
        How many cells the new folder has, by status, and how many more there were of the same
        ones, with the same results.

    Raises:
        ResultsError: files that are no records, rows that must not stand together, two different
            results of one cell, or a target that cannot be written. Nothing is written then.
    """
    target = target.resolve()  # "." has no name to write beside
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ResultsError(f"{target} exists and is not empty; name a new folder (--out)")
    for folder in folders:
        if folder.resolve() in (target, *target.parents):
            raise ResultsError(f"{target} lies in {folder}, which is to be merged; name another")
    cells: list[StoredCell] = []
    problems: list[str] = []
    for folder in dict.fromkeys(path.resolve() for path in folders):
        store = RunStore(folder)
        found, wrong = store.read()
        cells += found
        problems += wrong if found or wrong else [f"{store.cells} holds no record"]
    _refuse(problems, "; repair or delete these files or leave the folder out, then merge again")
    _refuse(
        conflicts(cells),
        "; such rows must not stand in one table: run the older ones again, or merge the folders "
        "that agree",
    )
    chosen, duplicates = _without_duplicates(cells)
    _copy(chosen, target)
    return dict(Counter(cell.record.status.value for cell in chosen)), duplicates


def _refuse(problems: Sequence[str], what_to_do: str) -> None:
    if problems:
        more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        raise ResultsError("; ".join(problems[:NAMED]) + more + what_to_do)


def conflicts(cells: Iterable[StoredCell]) -> list[str]:
    """What has the same name and is not the same in all of these cells, one line each."""
    seen: dict[str, dict[str, StoredCell]] = defaultdict(dict)
    for stored in cells:
        for what, value in _facts(stored):
            seen[what].setdefault(value, stored)
    return [
        f"{what} differs: "
        + ", ".join(f"{value} in {stored.name}" for value, stored in sorted(values.items()))
        for what, values in sorted(seen.items())
        if len(values) > 1
    ]


def _facts(stored: StoredCell) -> Iterator[tuple[str, str]]:
    """What must agree, with its value. The schema does: no other one is read."""
    cell, info = stored.cell, stored.record.info
    yield f"version of method {cell.method.name!r}", str(cell.method.version)
    for shift in cell.domains:
        yield f"version of shift {shift.name!r}", str(shift.version)
    if not stored.done:
        return
    place = f"benchmark {cell.benchmark!r} (suite {cell.suite!r})"
    yield f"data of {place}", str(info.get("data_fingerprint", ""))
    shifts = "+".join(f"{shift.label} {_text(shift.options)}" for shift in cell.domains)
    yield f"files of shift {shifts} on {place}", str(info.get("shift_files", "none"))
    spec = {name: value for name, value in asdict(cell.backbone).items() if name != "device"}
    backbone = f"backbone {_text(spec)}"
    yield f"weights of {backbone}", str(info.get("backbone_fingerprint", ""))
    # Which queries forgetting is measured on, and how many of them, hangs on the weights too.
    home = f"clean queries for forgetting on {place} by {backbone}"
    for what, name in (f"training queries of {place}", "train"), (home, "home"):
        if f"{name}_fingerprint" in info:
            yield what, info[f"{name}_fingerprint"]


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True, default=str)


def _without_duplicates(cells: Sequence[StoredCell]) -> tuple[list[StoredCell], int]:
    by_key: dict[str, list[StoredCell]] = defaultdict(list)
    finished = {stored.cell.unfinished_key for stored in cells if stored.done}
    for stored in cells:
        if stored.done or stored.record.key not in finished:
            by_key[stored.record.key].append(stored)
    chosen, problems = [], []
    for first, *others in by_key.values():
        chosen.append(first)
        for other in others if first.done else ():
            different = differences(first, other.record, other.arrays)
            if different:
                problems.append(f"{first.name} and {other.name} ({', '.join(different)})")
    _refuse(
        [f"different results of the same cell: {problem}" for problem in problems],
        "; find out which is right (queryshift verify), then delete the other's .json and .npz",
    )
    return sorted(chosen, key=lambda stored: stored.path.name), len(cells) - len(chosen)


def differences(first: StoredCell, record: Record, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Names of metrics, probes and arrays that are not bit for bit the same; costs may differ."""
    found: list[str] = []
    both = first.record, record
    for before, now in ([one.metrics for one in both], [one.probes for one in both]):
        found += [
            name
            for name in sorted({**before, **now})
            # NaN equals NaN, and a missing number only a missing one or NaN.
            if not np.array_equal(before.get(name, np.nan), now.get(name, np.nan), equal_nan=True)
        ]
    old, new = first.arrays, arrays
    return found + [
        f"{name} per query"
        for name in sorted({**old, **new})
        if not (name in old and name in new and old[name].dtype == new[name].dtype)
        or not np.array_equal(old[name], new[name])
    ]


def _copy(cells: Sequence[StoredCell], target: Path) -> None:
    """All files into a folder beside the target, which then takes its name: all or nothing."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        (temporary / "cells").mkdir(parents=True)
        for stored in cells:
            files = (stored.path, *([stored.path.with_suffix(".npz")] if stored.done else []))
            for path in files:
                shutil.copyfile(path, temporary / "cells" / path.name)
        temporary.rename(target)
    except OSError as error:
        reason = f"{error.strerror or type(error).__name__}; free space there"
        raise ResultsError(f"cannot write {target}: {reason}, or name another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
