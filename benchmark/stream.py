"""The online query stream: in which order queries come, in which batches, under which shift."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmark.cell import StreamSpec
from benchmark.errors import ConfigError

KINDS = ("single",)
"""The stream kinds that exist."""


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from named parts: same parts, same seed, on every machine and version.

    >>> derive_seed("order", 0) == derive_seed("order", 0) != derive_seed("order", 1)
    True
    """
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def chosen_queries(count: int, limit: int | None) -> np.ndarray:
    """Which queries a limited run uses: a fixed draw, ascending, the same for every seed.

    A smaller limit chooses a subset of what a larger one chooses.

    Returns:
        (min(count, limit),) int64 query indices.

    Raises:
        ConfigError: a limit below one.
    """
    if limit is None or limit >= count:
        return np.arange(count, dtype=np.int64)
    if limit < 1:
        raise ConfigError(f"limit is {limit}; it must be at least 1 (or left out for all queries)")
    order = np.random.default_rng(derive_seed("limit", count)).permutation(count)
    return np.sort(order[:limit]).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of the stream.

    Attributes:
        queries: (B,) int64 positions in the stream's list of queries.
        shifts: (B,) int64 which of the stream's shifts hits each query; all 0 for "single".
    """

    queries: np.ndarray
    shifts: np.ndarray

    def __len__(self) -> int:
        return len(self.queries)


class QueryStream:
    """Every query once, shuffled by the seed alone; the last batch may be short.

    The method and the batch size do not enter the order, so all methods see the same queries in
    the same order.
    """

    def __init__(self, count: int, spec: StreamSpec, seed: int) -> None:
        if spec.kind not in KINDS:
            raise ConfigError(
                f"stream kind {spec.kind!r} does not exist; known: {', '.join(KINDS)}"
            )
        if spec.batch_size < 1:
            raise ConfigError(f"batch_size is {spec.batch_size}; it must be at least 1")
        self.spec = spec
        self.order = np.random.default_rng(derive_seed("order", seed)).permutation(count)

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self.order) // self.spec.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.order), self.spec.batch_size):
            queries = self.order[start : start + self.spec.batch_size]
            yield Batch(queries, np.zeros(len(queries), dtype=np.int64))
