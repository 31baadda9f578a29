"""Keys of the disk cache: hashes over everything that a cached number depends on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.backbones.base import DualEncoder
from benchmark.cell import Cell
from benchmark.data.retrieval import RetrievalSet
from benchmark.evaluation.cache_entry import CacheKey
from benchmark.evaluation.changes import Changes
from benchmark.evaluation.environment import version_of
from benchmark.evaluation.stream import QueryStream
from shifts.base import Shift

SCHEMA = 3
"""Raised when the harness computes cached content in another way."""

_ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")
"""Variables that keep torch's libraries from using instructions that the processor has."""

_LIBRARIES = ("numpy", "pillow", "torchvision", "open_clip_torch", "transformers")


def of_gallery(data: RetrievalSet, backbone: DualEncoder, cell: Cell) -> CacheKey | None:
    """Where the gallery's embeddings lie; None where that cannot be said."""
    return _key("gallery", _facts(data, backbone, cell, backbone.device))


def of_inputs(
    data: RetrievalSet,
    backbone: DualEncoder,
    cell: Cell,
    *,
    stream: QueryStream | None,
    shifts: Sequence[Shift],
    files: str,
    queries: np.ndarray,
) -> CacheKey | None:
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
    facts: dict[str, Any] = {"queries": _digest(queries)}
    if stream is not None:
        facts |= {"files": files, "seed": cell.seed, "domains": [asdict(d) for d in cell.domains]}
        if cell.stream.domains:
            facts["assignment"] = _digest(stream.order, stream.shifts)
    # Made on the CPU, wherever they are encoded.
    return _key("queries", _facts(data, backbone, cell, "cpu", *shifts), **facts)


def of_source(
    inputs: CacheKey | None,
    backbone: DualEncoder,
    parts: Sequence[np.ndarray],
    *,
    alone: bool = False,
) -> CacheKey | None:
    """Where the source model's embeddings of inputs lie; None where that cannot be said.

    Args:
        inputs: where the inputs lie; it stands for all that they depend on.
        backbone: whose embeddings.
        parts: the queries of each batch: who shares a batch decides the last bits.
        alone: each query for itself, and ``parts`` only says which.
    """
    known = None if inputs is None else {"inputs": inputs.digest}
    facts = {"numerics": _numerics(backbone.device), "parts": _digest(*parts), "alone": alone}
    return _key("source", known, **facts)


def of_changes(inputs: CacheKey | None) -> CacheKey | None:
    """Where it lies what the shifts did to the queries of these inputs."""
    known = None if inputs is None else {"inputs": inputs.digest}
    return _key("changes", known, code=_code_of(Changes))


def _key(kind: str, known: Mapping[str, Any] | None, **facts: Any) -> CacheKey | None:
    """The key of plain facts; equal facts, equal key, on every machine. None where none is known.

    Its digest has 32 hex digits.
    """
    if known is None:
        return None
    values = {**known, **facts, "what": kind, "schema": SCHEMA}
    text = json.dumps(values, sort_keys=True, default=str)
    return CacheKey(kind, hashlib.sha256(text.encode()).hexdigest()[:32])


def _facts(
    data: RetrievalSet, backbone: DualEncoder, cell: Cell, device: str, *shifts: Shift
) -> dict[str, Any] | None:
    """What everything depends on; None where code takes part whose source cannot be found."""
    code = _code_of(backbone, data.queries, data.gallery, data.clean_text, *shifts)
    if not code:
        return None
    spec = asdict(cell.backbone) | {"model": cell.backbone.model_name}
    del spec["device"], spec["pretrained"]  # numerics and the fingerprint say them
    return {
        "data": data.fingerprint,
        "queries_are": data.query_modality,
        "gallery_is": data.gallery_modality,
        "backbone": backbone.fingerprint,
        "spec": spec,
        "numerics": _numerics(device),
        "code": code,
    }


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(len(array).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
    return digest.hexdigest()


def _numerics(device: str) -> dict[str, Any]:
    """What decides the last bits of what torch computes: build, device, threads, precision.

    An entry is only shared where these agree, so that a cached number is the one that would have
    been computed.
    """
    facts: dict[str, Any] = {
        "torch": str(torch.__version__),
        "libraries": _versions(),
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "amx": torch.cpu._is_amx_tile_supported(),
        "isa": {name: os.environ.get(name, "") for name in _ISA_VARIABLES},
        "threads": torch.get_num_threads(),
        "matmul": torch.get_float32_matmul_precision(),
    }
    if device.startswith("cuda"):
        facts |= {
            "device": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "tf32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
            "benchmark": torch.backends.cudnn.benchmark,
        }
    return facts


@cache
def _versions() -> dict[str, str]:
    return {name: found for name in _LIBRARIES if (found := version_of(name))}


def _code_of(*things: object) -> str:
    """A hash of the source files that functions and objects come from; "" where one has none.

    Versions are raised by hand, and while a shift or a backbone is being written they are not:
    cached inputs must not outlive the code that made them. All files of the top-level package
    count, of this package those of the part that it is in (``benchmark.backbones``).
    """
    hashes = [_code(str(thing.__module__)) for thing in things if thing is not None]
    return "" if "" in hashes else "+".join(sorted(set(hashes)))


@cache
def _code(module: str) -> str:
    parts = module.split(".")
    package = sys.modules.get(".".join(parts[: 2 if parts[0] == "benchmark" else 1]))
    folders = list(getattr(package, "__path__", []))
    files = sorted(path for folder in folders for path in Path(folder).rglob("*.py"))
    if not folders:
        own = getattr(package or sys.modules.get(module), "__file__", None)
        files = [Path(own)] if own else []
    digest = hashlib.sha256()
    for path in files:
        try:
            digest.update(path.read_bytes())
        except OSError:
            return ""
    return digest.hexdigest()[:16] if files else ""
