"""Where the disk cache keeps what a cell needs: everything that it depends on, as a key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmark.backbones.base import DualEncoder
from benchmark.cell import Cell
from benchmark.data.retrieval import RetrievalSet
from benchmark.evaluation.cache import Address
from benchmark.evaluation.cache.keys import address, code_of, numerics
from benchmark.evaluation.changes import Changes
from benchmark.evaluation.stream import QueryStream
from shifts.base import Shift
from shifts.change import sizes


def of_gallery(data: RetrievalSet, backbone: DualEncoder, cell: Cell) -> Address | None:
    """Where the gallery's embeddings lie; None where that cannot be said."""
    facts = _facts(data, backbone, cell, backbone.device)
    if facts is None:
        return None
    about = {"data": data.name, "backbone": backbone.name, "items": len(data.gallery)}
    return Address(address(**facts, what="gallery"), about)


def of_inputs(
    data: RetrievalSet,
    backbone: DualEncoder,
    cell: Cell,
    *,
    stream: QueryStream | None,
    shifts: Sequence[Shift],
    files: str,
    queries: np.ndarray,
) -> Address | None:
    """Where a stream's preprocessed queries lie; None where that cannot be said.

    Args:
        data: the retrieval set.
        backbone: whose preprocessing.
        cell: names shifts and seed.
        stream: decides which query comes under which domain; None for clean queries.
        shifts: the shifts at work.
        files: what is known of the files that they read.
        queries: the indices of the queries used.
    """
    # Made on the CPU, wherever they are encoded.
    facts = _facts(data, backbone, cell, "cpu", *shifts)
    if facts is None:
        return None
    about: dict[str, Any] = {"data": data.name, "backbone": backbone.name}
    facts |= {"what": "queries", "queries": _digest(queries)}
    if stream is not None:
        facts |= {"files": files, "seed": cell.seed, "domains": [asdict(d) for d in cell.domains]}
        about |= {"shift": cell.shift.label, "seed": cell.seed}
        if cell.stream.domains:
            facts["assignment"] = _digest(stream.order, stream.shifts)
            about["stream"] = cell.stream.kind
    return Address(address(**facts), about)


def of_source(
    inputs: Address | None,
    backbone: DualEncoder,
    parts: Sequence[np.ndarray],
    *,
    alone: bool = False,
) -> Address | None:
    """Where the source model's embeddings of inputs lie; None where that cannot be said.

    Args:
        inputs: where the inputs lie; it stands for all that they depend on.
        backbone: whose embeddings.
        parts: the queries of each batch: who shares a batch decides the last bits.
        alone: each query for itself, and ``parts`` only says which.
    """
    if inputs is None:
        return None
    key = address(
        what="source",
        inputs=inputs.key,
        numerics=numerics(backbone.device),
        parts=_digest(*parts),
        alone=alone,
    )
    return Address(key, inputs.about)


def of_changes(inputs: Address | None) -> Address | None:
    """Where it lies what the shifts did to the queries of these inputs."""
    if inputs is None:
        return None
    key = address(what="changes", inputs=inputs.key, code=code_of(Changes, sizes))
    return Address(key, inputs.about)


def _facts(
    data: RetrievalSet, backbone: DualEncoder, cell: Cell, device: str, *shifts: Shift
) -> dict[str, Any] | None:
    """What everything depends on; None where code takes part whose source cannot be found."""
    code = code_of(backbone, data.queries, data.gallery, data.clean_text, *shifts)
    if not code:
        return None
    return {
        "data": data.fingerprint,
        "queries_are": data.query_modality,
        "gallery_is": data.gallery_modality,
        "backbone": backbone.fingerprint,
        "spec": {
            name: value
            for name, value in asdict(cell.backbone).items()
            if name not in ("device", "pretrained")  # numerics and the fingerprint say them
        }
        | {"model": cell.backbone.model_name},
        "numerics": numerics(device),
        "code": code,
    }


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(len(array).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
    return digest.hexdigest()
