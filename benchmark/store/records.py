"""The reader of stored cells: one record with its numbers per query, believed only if they agree.

A record is a JSON file that holds a digest of itself and one of the ``.npz`` file beside it. What
was copied under another name, edited, damaged or put together from two cells is refused with the
file's name and the reason; it then counts as not finished.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from benchmark.cell import (
    SCHEMA_VERSION,
    Cell,
    Record,
    Status,
    data_identity,
    domain_labels,
    key_of,
)
from benchmark.config.files import regular
from benchmark.errors import ResultsError, shown
from benchmark.metrics.recall import of_queries, recall_at

LARGEST = 1 << 30
"""Bytes that a record, or its numbers per query when unpacked, may have: 20 million queries."""

NEEDED = ("query", "best_rank", "ap", "group", "order")
"""Arrays that a finished cell has; ``domain`` too where its stream has several domains."""

UNLABELLED = ("query", "group", "order", "changed@1")
"""Arrays that a finished cell has where nothing is known of the queries' answers."""

_RECALL = re.compile(r"R@(\d{1,9})")
_NEAR = 1e-9


class OtherSchemaError(ResultsError):
    """Raised for a record of another layout: no damage, but nothing that this version can read."""

    def __init__(self, path: Path, schema: int) -> None:
        super().__init__(f"{path}: its schema is {schema}; this version reads {SCHEMA_VERSION}")
        self.schema = schema


class _BadRecord(Exception):
    """Why a file is no good record; the file's name is added by ``read_cell``."""


@dataclass(frozen=True)
class StoredCell:
    """A record that agrees with itself and with what lies beside it.

    Attributes:
        path: its JSON file.
        arrays: its numbers per query (see ``runner.Arrays``); empty where the cell is not done.
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


_CELL, _RECORD = TypeAdapter(Cell), TypeAdapter(Record)


def cell_from_dict(values: Mapping[str, Any]) -> Cell:
    """The inverse of ``Cell.to_dict``.

    Raises:
        ValueError: something of the wrong type, missing or surplus.
    """
    return _CELL.validate_json(to_json(values))


_SOUND = set[tuple[str, str]]()
"""Names and digests of records found to agree with themselves: a run reads its folder twice."""


def read_cell(path: Path) -> StoredCell:
    """The cell that a JSON file and the numbers beside it hold.

    Raises:
        OtherSchemaError: the record has another layout.
        ResultsError: the file is no record or contradicts itself; says what is wrong.
    """
    try:
        values = json.loads(_content(path).decode("utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it is not a JSON object")
        if type(schema := values.get("schema")) is not int:
            raise ValueError(f"its schema is {schema!r}; this version reads {SCHEMA_VERSION}")
        if schema != SCHEMA_VERSION:
            raise OtherSchemaError(path, schema)
        record = _record(values)
        cell = cell_from_dict(record.cell)
        content = path.name, str(values["digest"])  # which covers the arrays
        if content not in _SOUND:
            _check_identity(record, cell, path)
        arrays = _arrays(record, path.with_suffix(".npz"))
        if content not in _SOUND and record.status is Status.DONE:
            _check_arrays(record, cell, arrays)
            _check_metrics(record, cell, arrays)
        _SOUND.add(content)
    except _BadRecord as error:
        raise ResultsError(f"{path} does not agree with itself: {error}") from error
    except ResultsError:
        raise
    except Exception as error:  # whatever a file from elsewhere provokes in JSON, zip and numpy
        said = _first_fault(error) if isinstance(error, ValidationError) else str(error)
        reason = " ".join(said.split())[:200] or type(error).__name__
        raise ResultsError(f"{path} is no readable record: {reason}") from error
    return StoredCell(path, record, cell, arrays)


def packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of the ``.npz`` file; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def text_of(record: Record, numbers: bytes) -> str:
    """The JSON text of a record, sealed; numbers that are not finite become null.

    Args:
        numbers: content of the ``.npz`` file beside it, empty where there is none.
    """
    values = vars(record)
    plain = values | _measured(values, lambda number: number if math.isfinite(number) else None)
    plain["arrays"] = hashlib.sha256(numbers).hexdigest() if numbers else ""
    # The digest is that of what a reader will find: tuples have become lists by then.
    values = json.loads(json.dumps(plain, allow_nan=False))
    return json.dumps(sealed(values), indent=1) + "\n"


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """A record's JSON values with the digest of all of them.

    The digest is of the values, not of the text: other white space or order changes nothing.
    """
    others = {name: value for name, value in values.items() if name != "digest"}
    text = json.dumps(others, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return {**others, "digest": hashlib.sha256(text.encode()).hexdigest()}


def _content(path: Path) -> bytes:
    size = regular(path).stat().st_size
    if size > LARGEST:
        raise ValueError(f"{path.name} has {size} bytes; at most {LARGEST} are read")
    return path.read_bytes()


def _record(values: dict[str, Any]) -> Record:
    for name in ("key", "status", "cell", "digest", "arrays"):
        if name not in values:
            raise ValueError(f"it has no {name!r}")
    if sealed(values)["digest"] != values["digest"]:
        raise _BadRecord("its digest is not that of its content; it was changed after it was saved")
    measured = _measured(values, lambda number: math.nan if number is None else number)
    status = Status(values["status"])
    return _RECORD.validate_python(Record(**{**values, **measured, "status": status}))


def _measured(
    values: Mapping[str, Any], change: Callable[[Any], float | None]
) -> dict[str, Mapping[str, float | None] | tuple[Mapping[str, float | None], ...]]:
    """The numbers of a record, each changed so."""

    def changed(numbers: Mapping[str, Any]) -> dict[str, float | None]:
        return {name: change(number) for name, number in numbers.items()}

    found = {name: changed(values.get(name, {})) for name in ("metrics", "probes", "cost")}
    return {**found, "batches": tuple(map(changed, values.get("batches", ())))}


def _first_fault(error: ValidationError) -> str:
    """What has the wrong type, is missing or surplus: JSON from elsewhere can hold anything."""
    fault = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, fault['loc']))!r} is {shown(fault['input'])}: {fault['msg']}"


def _check_identity(record: Record, cell: Cell, path: Path) -> None:
    done = record.status is Status.DONE
    info = record.info if done else {}
    names = ("data_fingerprint", "shift_files", "home_fingerprint", "train_fingerprint")
    data = (str(info.get(name, "")) for name in names)
    # Of the values as they are stored: a part that is missing there has no default.
    key = key_of(
        record.cell,
        data_fingerprint=data_identity(*data),
        backbone_fingerprint=str(info.get("backbone_fingerprint", "")),
    )
    if record.key != key:
        what = "cell, data and weights" if done else "cell"
        raise _BadRecord(f"its key is not that of its {what}; it was changed by hand")
    name = f"{cell.stem(record.key)}.json"
    if path.name != name:
        raise _BadRecord(f"it holds the record of another name ({name}); is it a copy?")


def _arrays(record: Record, path: Path) -> dict[str, np.ndarray]:
    """The numbers per query of a finished record, which must be those that it was saved with."""
    if record.status is not Status.DONE:
        return {}
    try:
        content = _content(path)
    except FileNotFoundError:
        raise _BadRecord(f"its numbers per query are missing ({path.name})") from None
    # Before anything is unpacked: so only what was saved beside this record is ever opened.
    if hashlib.sha256(content).hexdigest() != record.arrays:
        raise _BadRecord(
            f"its numbers per query ({path.name}) are not those that it was saved with; they are "
            "damaged or of another cell"
        )
    return _unpacked(content)


def _unpacked(content: bytes) -> dict[str, np.ndarray]:
    """The inverse of ``packed``, quicker than ``np.load``: cells of a run have the same headers.

    Nothing is allocated that a header only claims, and no objects are made.
    """
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST:
            raise _BadRecord(f"its numbers per query would be {size} bytes, more than {LARGEST}")
        for name in archive.namelist():
            raw = archive.read(name)
            start = 10 + int.from_bytes(raw[8:10], "little")
            shape, dtype = _header(raw[:start])
            if math.prod(shape) * dtype.itemsize != len(raw) - start:
                raise _BadRecord(f"{name} is not of the size that it says ({shape})")
            values = np.frombuffer(raw, dtype, offset=start).reshape(shape)
            arrays[name.removesuffix(".npy")] = values
    return arrays


@lru_cache(maxsize=1024)
def _header(raw: bytes) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type that the header of an ``.npy`` file says."""
    stream = io.BytesIO(raw)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array is not in version 1.0 of numpy's format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject or (fortran and len(shape) > 1):
        raise ValueError(f"an array is of type {dtype}, or its columns come first")
    return shape, dtype


def _check_arrays(record: Record, cell: Cell, arrays: Mapping[str, np.ndarray]) -> None:
    """Checks the numbers per query alone."""
    unlabelled = bool(record.info.get("unlabelled"))
    needed = (UNLABELLED if unlabelled else NEEDED) + ("domain",) * bool(cell.stream.domains)
    lacking = [name for name in needed if name not in arrays]
    if lacking:
        raise _BadRecord(f"its numbers per query lack {', '.join(lacking)}")
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or len(shapes["query"]) != 1 or not len(arrays["query"]):
        raise _BadRecord(f"its numbers per query are of different or no length: {shapes}")
    for name, array in arrays.items():
        if array.dtype.kind not in ("f" if name == "ap" else "i" if name in needed else "iufb"):
            raise _BadRecord(f"{name} per query is of type {array.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise _BadRecord(f"{name} per query is not finite")
    count = len(arrays["query"])
    said = record.info.get("queries", count)
    if count != said:
        raise _BadRecord(f"it is of {said} queries, its numbers per query are of {count}")
    if not unlabelled:
        ranks, ap = arrays["best_rank"], arrays["ap"]
        if ranks.min() < 1 or ranks.max() > record.info.get("gallery", ranks.max()):
            raise _BadRecord("its ranks are outside the gallery")
        if ap.min() < 0.0 or ap.max() > 1.0 + _NEAR:
            raise _BadRecord("its average precisions are not between 0 and 1")
    if not np.array_equal(np.sort(arrays["order"]), np.arange(count)):
        raise _BadRecord("the order of its stream does not name each query once")
    domain, domains = arrays.get("domain"), len(cell.stream.domains)
    if domains and domain is not None and not 0 <= domain.min() <= domain.max() < domains:
        raise _BadRecord("its numbers per query name a domain that its stream does not have")


def _check_metrics(record: Record, cell: Cell, arrays: Mapping[str, np.ndarray]) -> None:
    """Checks that the ranks, or without labels the changes, do not contradict a metric."""
    unlabelled = bool(record.info.get("unlabelled"))
    if not unlabelled and "R@1" not in record.metrics:
        raise _BadRecord("it has no R@1")
    counted = _changed(arrays) if unlabelled else _counted(record, cell, arrays)
    for name, value in counted.items():
        said = record.metrics.get(name, math.nan if unlabelled else value)
        if not abs(said - value) <= _NEAR:  # NaN is none either
            raise _BadRecord(f"{name} is {said}, but its ranks give {value}")
    if unlabelled:
        return
    batches = [batch for batch in record.batches if "queries" in batch]
    if not batches:
        return
    sizes = np.array([batch["queries"] for batch in batches])
    hits = (arrays["best_rank"] == 1)[arrays["order"]]
    if sizes.sum() != len(hits) or (sizes < 1).any() or (sizes % 1).any():
        raise _BadRecord(
            f"its batches are of {sizes.sum():g} queries, its numbers per query of {len(hits)}"
        )
    starts = np.cumsum([0, *sizes[:-1]]).astype(np.int64)
    recalls = 100.0 * np.add.reduceat(hits.astype(np.int64), starts) / sizes
    stored = [batch.get("R@1", recall) for batch, recall in zip(batches, recalls, strict=True)]
    for far in np.flatnonzero(~(np.abs(np.array(stored) - recalls) <= _NEAR)):
        raise _BadRecord(f"R@1 of batch {far} is {stored[far]}, but its ranks give {recalls[far]}")


def _changed(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    """What the numbers per query give without labels."""
    return {n: float(100.0 * np.mean(arrays[n])) for n in arrays if n.startswith("changed@")}


def _counted(record: Record, cell: Cell, arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    """What the numbers per query give for the metrics that follow from them alone."""
    stored = record.metrics
    cut_offs = sorted(int(found[1]) for found in map(_RECALL.fullmatch, stored) if found)
    sections: list[str] = []
    if "section" in arrays:
        numbers, part = np.unique(arrays["section"], return_inverse=True)
        arrays = {**arrays, "section": part}
        # The record has the names of the sections, the arrays their numbers: in the same order.
        start = f"R@{cut_offs[-1]}_"  # of domains only R@1 is stored
        sections = [name.removeprefix(start) for name in stored if name.startswith(start)]
        if len(sections) != len(numbers):
            sections = list(map(str, numbers))
    labels = domain_labels(cell.stream, record.info.get("data", {}))
    first = arrays["best_rank"]
    first = first[arrays["domain"] == 0] if "domain" in arrays else first
    during = {"first_domain_R@1_during": recall_at(first, 1)} if len(first) else {}
    return of_queries(arrays, cut_offs, labels, sections) | during
