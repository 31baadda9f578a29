"""Streams over the domains that the queries themselves have, without any corruption."""

from __future__ import annotations

import numpy as np

from benchmark.cell import StreamSpec
from benchmark.errors import ConfigError


def by_domain(
    spec: StreamSpec, seed: int, shuffled: np.ndarray, domains: np.ndarray
) -> tuple[np.ndarray, list[int]]:
    """The order of a stream over real domains, and where its batches end.

    "continual" is one domain after the other, in the order of their names, and no batch is of two;
    "mixed" is as shuffled; in "diverse" each batch holds ``domains_per_batch`` domains, equally
    often up to one query, and not those of the batch before as long as there are others left.

    Args:
        spec: kind, batch size and domains per batch.
        seed: for the draws of "diverse".
        shuffled: (N,) a permutation of the queries.
        domains: (N,) int64 domain of each query.

    Raises:
        ConfigError: fewer domains than the kind needs.
    """
    names = np.unique(domains)
    needed = spec.domains_per_batch + 1 if spec.kind == "diverse" else 2
    if len(names) < needed:
        raise ConfigError(
            f"a {spec.kind} stream over the data's own domains needs at least {needed}; they have "
            f"{len(names)}: take another kind (--stream), or data with more domains"
        )
    if spec.kind == "mixed":
        return shuffled, _ends(0, len(shuffled), spec.batch_size)
    queues = {name: shuffled[domains[shuffled] == name] for name in names.tolist()}
    if spec.kind == "continual":
        ends: list[int] = []
        for queue in queues.values():
            start = ends[-1] if ends else 0
            ends += _ends(start, start + len(queue), spec.batch_size)
        return np.concatenate(list(queues.values())), ends
    return _diverse(spec, np.random.default_rng(seed), queues)


def _diverse(
    spec: StreamSpec, rng: np.random.Generator, queues: dict[int, np.ndarray]
) -> tuple[np.ndarray, list[int]]:
    placed: list[np.ndarray] = []
    ends: list[int] = []
    before: set[int] = set()
    while queues:
        fresh = [name for name in queues if name not in before] or list(queues)
        others = [name for name in queues if name not in fresh]
        wanted = min(spec.domains_per_batch, len(queues), spec.batch_size)
        drawn = rng.permutation(fresh)[:wanted].tolist()
        drawn += rng.permutation(others)[: wanted - len(drawn)].tolist() if others else []
        shares = [len(part) for part in np.array_split(np.arange(spec.batch_size), len(drawn))]
        batch = [queues[name][:share] for name, share in zip(drawn, shares, strict=True)]
        for name, share in zip(drawn, shares, strict=True):
            queues[name] = queues[name][share:]
            if not len(queues[name]):
                del queues[name]
        placed.append(rng.permutation(np.concatenate(batch)))
        ends.append((ends[-1] if ends else 0) + len(placed[-1]))
        before = set(drawn)
    return np.concatenate(placed), ends


def _ends(start: int, stop: int, size: int) -> list[int]:
    return [min(begin + size, stop) for begin in range(start, stop, size)]
