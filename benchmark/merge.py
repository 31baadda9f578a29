"""Run folders read strictly, and several of them joined into one, once all is known to fit.

What makes two rows of a table incomparable is refused by name: other data, weights or files of a
shift under the same name, other versions of a method or shift, two results of one cell.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.cell import Cell, Record, Status, data_identity
from benchmark.errors import ResultsError
from benchmark.metrics import recall_at
from benchmark.store import RunStore, cell_from_dict, read_record

NAMED = 8
"""Problems that an error spells out; the rest are counted."""

_KEY = re.compile(r"[0-9a-f]{16}")
_RECALL = re.compile(r"R@(\d+)")
_NEEDED = ("best_rank", "ap", "group", "order")


@dataclass(frozen=True)
class StoredCell:
    """A readable record with what lies beside it.

    Attributes:
        path: its JSON file.
        arrays: its numbers per query; empty where the cell is not done.
    """

    path: Path
    record: Record
    cell: Cell
    arrays: Mapping[str, np.ndarray]

    @property
    def done(self) -> bool:
        return self.record.status is Status.DONE

    @property
    def name(self) -> str:
        """Where it lies, short: the run's folder and the file's name."""
        return f"{self.path.parent.parent.name}/{self.path.stem}"


@dataclass(frozen=True)
class Merged:
    """What a merge has done.

    Attributes:
        cells: how many the new folder has, by status.
        duplicates: how many more there were of the same cells, with the same results.
    """

    cells: Mapping[str, int]
    duplicates: int


def read_run(folder: Path) -> tuple[list[StoredCell], list[str]]:
    """Every record of a run by file name, and what is wrong with the files that are none.

    A finished cell's numbers per query must be there and agree with its record: with its key, its
    number of queries, its recalls.
    """
    store = RunStore(folder)
    cells: list[StoredCell] = []
    problems: list[str] = []
    for path in sorted(store.cells.glob("*.json")):
        if path.name.startswith("."):
            continue
        try:
            cells.append(_read(store, path))
        except ResultsError as error:
            problems.append(str(error))
    if not cells and not problems:
        problems.append(f"{store.cells} holds no record; is it the folder of a run?")
    return cells, problems


def _read(store: RunStore, path: Path) -> StoredCell:
    record = read_record(path)
    wrong = _malformed(record)
    if wrong:
        raise ResultsError(f"{path} is no readable record: {wrong}")
    cell = cell_from_dict(record.cell)
    arrays: Mapping[str, np.ndarray] = {}
    if record.status is Status.DONE:
        arrays = store.arrays_of(record)
        wrong = _inconsistent(record, cell, arrays)
        if wrong:
            raise ResultsError(f"{path} does not agree with itself: {wrong}")
    return StoredCell(path, record, cell, arrays)


def _malformed(record: Record) -> str:
    """What has the wrong type, or an empty string: JSON from elsewhere can hold anything."""
    cell = record.cell
    if not isinstance(record.key, str) or not _KEY.fullmatch(record.key):
        return f"its key is {record.key!r}, not 16 hex digits"
    for name in ("info", "environment"):
        if not isinstance(getattr(record, name), Mapping):
            return f"{name!r} is not an object"
    parts = (cell["method"], cell["shift"], *cell["stream"].get("domains", ()))
    names = [cell["suite"], cell["benchmark"], *(part["name"] for part in parts)]
    if not all(isinstance(name, str) for name in names):
        return f"one of its names is not a text: {', '.join(map(repr, names))}"
    whole = (cell["seed"], *(part.get("version", 1) for part in parts))
    if not all(isinstance(number, int) for number in whole):
        return "its seed or a version is not a whole number"
    if not all(isinstance(part.get("options", {}), Mapping) for part in parts):
        return "the options of its method or of a shift are not an object"
    return ""


def _inconsistent(record: Record, cell: Cell, arrays: Mapping[str, np.ndarray]) -> str:
    """Where a finished record contradicts itself or its numbers per query, or an empty string."""
    lacking = [name for name in _NEEDED if name not in arrays]
    if lacking:
        return f"its numbers per query lack {', '.join(lacking)}"
    lengths = {name: np.shape(arrays[name]) for name in _NEEDED}
    if len(set(lengths.values())) > 1 or not lengths["best_rank"] or not lengths["best_rank"][0]:
        return f"its numbers per query are of different or no length: {lengths}"
    if any(arrays[name].dtype.kind not in "iuf" for name in _NEEDED):
        return "its numbers per query are not numbers"
    if _key_of(record, cell) != record.key:
        return "its key is not that of its cell, data and weights; it was changed by hand"
    for name, value in record.metrics.items():
        cut_off = _RECALL.fullmatch(name)
        if cut_off:
            counted = recall_at(arrays["best_rank"], int(cut_off.group(1)))
            if not abs(counted - value) <= 1e-9:  # NaN is none either
                return f"{name} is {value}, but its ranks give {counted}"
    return ""


def _key_of(record: Record, cell: Cell) -> str:
    info = record.info
    names = ("data_fingerprint", "shift_files", "home_fingerprint")
    return cell.key(
        data_fingerprint=data_identity(*(str(info.get(name, "")) for name in names)),
        backbone_fingerprint=str(info.get("backbone_fingerprint", "")),
    )


def merge_runs(folders: Sequence[Path], target: Path) -> Merged:
    """Joins the cells of several runs in a new folder, byte by byte as they are.

    A finished result goes before an unfinished one of the same cell, an earlier folder's before a
    later one's.

    Args:
        folders: runs to join.
        target: a folder that is not there yet, or empty.

    Raises:
        ResultsError: files that are no records, rows that must not stand together, two different
            results of one cell, or a target that cannot be written. Nothing is written then.
    """
    _check_target(folders, target)
    cells: list[StoredCell] = []
    problems: list[str] = []
    for folder in dict.fromkeys(path.resolve() for path in folders):
        found, wrong = read_run(folder)
        cells += found
        problems += wrong
    _refuse(problems, "; repair or delete these files, then merge again")
    _refuse(
        conflicts(cells),
        "; such rows must not stand in one table: run the older ones again, or merge the folders "
        "that agree",
    )
    chosen, duplicates = _without_duplicates(cells)
    _copy(chosen, target)
    counts: dict[str, int] = defaultdict(int)
    for cell in chosen:
        counts[cell.record.status.value] += 1
    return Merged(dict(counts), duplicates)


def _check_target(folders: Sequence[Path], target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ResultsError(f"{target} exists and is not empty; name a new folder (--out)")
    for folder in folders:
        if folder.resolve() in (target.resolve(), *target.resolve().parents):
            raise ResultsError(f"{target} lies in {folder}, which is to be merged; name another")


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
        + ", ".join(
            f"{_shown(value, values)} in {stored.name}" for value, stored in sorted(values.items())
        )
        for what, values in sorted(seen.items())
        if len(values) > 1
    ]


def _facts(stored: StoredCell) -> Iterator[tuple[str, str]]:
    """What must agree, with its value. The schema does: ``read_record`` takes no other one."""
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
    yield f"weights of backbone {_text(spec)}", str(info.get("backbone_fingerprint", ""))


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True, default=str)


def _shown(value: str, others: Iterable[str]) -> str:
    """A value at the length of a line; the whole where that would hide how it differs."""
    short = _cut(value)
    return value if any(_cut(other) == short for other in others if other != value) else short


def _cut(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:24]}..{value[-12:]}"


def _without_duplicates(cells: Sequence[StoredCell]) -> tuple[list[StoredCell], int]:
    by_key: dict[str, list[StoredCell]] = defaultdict(list)
    for stored in cells:
        by_key[stored.record.key].append(stored)
    chosen, problems = [], []
    for same in by_key.values():
        finished = [stored for stored in same if stored.done]
        first = (finished or same)[0]
        chosen.append(first)
        for other in finished[1:]:
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
    found = [
        name
        for section in ("metrics", "probes")
        for name in sorted({**getattr(first.record, section), **getattr(record, section)})
        if not _same(getattr(first.record, section).get(name), getattr(record, section).get(name))
    ]
    return found + [
        f"{name} per query"
        for name in sorted({**first.arrays, **arrays})
        if name not in first.arrays
        or name not in arrays
        or first.arrays[name].dtype != arrays[name].dtype
        or not np.array_equal(first.arrays[name], arrays[name])
    ]


def _same(first: float | None, second: float | None) -> bool:
    """Equal numbers; NaN equals NaN, and a missing number only a missing one or a stored NaN."""
    a, b = (np.nan if value is None else value for value in (first, second))
    return bool(a == b or (np.isnan(a) and np.isnan(b)))


def _copy(cells: Sequence[StoredCell], target: Path) -> None:
    """All files into a folder beside the target, which then takes its name: all or nothing."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        (temporary / "cells").mkdir(parents=True)
        for stored in cells:
            name = stored.cell.stem(stored.record.key)
            shutil.copyfile(stored.path, temporary / "cells" / f"{name}.json")
            if stored.done:
                numbers = stored.path.with_suffix(".npz")
                shutil.copyfile(numbers, temporary / "cells" / f"{name}.npz")
        temporary.rename(target)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ResultsError(f"cannot write {target}: {reason}; choose another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
