"""What the frozen source model makes of queries, computed once for all methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.inputs import ENCODE_BATCH, QueryInputs
from benchmark.metrics import recall_at
from benchmark.ranking import gallery_of, rank
from benchmark.retrieval import RetrievalSet


class SourceRows:
    """Embeddings of a stream's batches under the source model, handed out in the stream's order.

    Rows that are not known are computed from the very batch that the method gets. Its composition
    decides the last bits of an embedding, so they are the bits that the method itself would have
    computed at the source weights.

    Args:
        encode: (B, ...) collated inputs -> (B, D) rows under the source weights.
        count: number of queries in the stream.
        known: (count, D) rows in the order of the stream, where they were computed before.
        keep: called with all rows when the last batch has been computed.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        count: int,
        known: Tensor | None,
        keep: Callable[[Tensor], None],
    ) -> None:
        self._encode, self._count, self._known, self._keep = encode, count, known, keep
        self._made: list[Tensor] = []
        self._place = 0

    def batch(self, queries: Tensor) -> Tensor:
        """(B, D) rows of the next batch of the stream, on its device."""
        start, self._place = self._place, self._place + len(queries)
        if self._known is not None:
            # A copy: the place of a slice in memory may decide the last bits of sums over it.
            return self._known[start : self._place].to(queries.device, copy=True)
        rows = self._encode(queries)
        self._made.append(rows.detach())
        if self._place == self._count:
            self._keep(torch.cat(self._made).cpu())
            self._made.clear()
        return rows


def encode_all(
    encode: Callable[[Tensor], Tensor], inputs: QueryInputs, parts: Sequence[np.ndarray]
) -> Tensor:
    """(queries, D) float32 rows on the CPU, part by part."""
    return torch.cat([encode(inputs.batch(part)).float().cpu() for part in parts])


def recall_of(
    embed: Callable[[Tensor], Tensor],
    *,
    data: RetrievalSet,
    inputs: QueryInputs,
    gallery: Tensor,
    queries: np.ndarray,
) -> float:
    """R@1 (percent) of queries that ``embed`` turns into unit rows, by cosine similarity."""
    parts = parts_of(data, queries)
    rows = (embed(inputs.batch(part)) for _, part in parts)
    return recall_of_rows(rows, parts, data=data, gallery=gallery)


def recall_of_rows(
    rows: Iterable[Tensor],
    parts: Sequence[tuple[int, np.ndarray]],
    *,
    data: RetrievalSet,
    gallery: Tensor,
) -> float:
    """R@1 (percent) from the embeddings of each part (see ``parts_of``)."""
    best: list[int] = []
    with torch.no_grad():
        for (section, part), embedded in zip(parts, rows, strict=True):
            scores = embedded.float().to(gallery.device) @ gallery[gallery_of(data, section)].T
            best += [int(found[0]) for found in rank(scores, data, part, section)]
    return recall_at(np.array(best), 1)


def parts_of(data: RetrievalSet, queries: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """The queries of each section, with its number, in chunks in the order given."""
    return [
        (section, members[start : start + ENCODE_BATCH])
        for section, members in _by_section(data, queries)
        for start in range(0, len(members), ENCODE_BATCH)
    ]


def _by_section(data: RetrievalSet, queries: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The queries of each section that has some."""
    if data.sections is None:
        yield 0, queries
        return
    of_query = data.sections.of_query[queries]
    for section in np.unique(of_query):
        yield int(section), queries[of_query == section]
