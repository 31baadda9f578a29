"""Embeddings of galleries and of queries outside the stream, and the source model's of a stream."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from benchmark.data.retrieval import RetrievalSet
from benchmark.evaluation.loader import QueryInputs
from benchmark.metrics.ranking import copies_of, gallery_of, rank, settled
from benchmark.metrics.recall import recall_at

BLOCK, TEXT_BLOCK = 16, 32
"""Items embedded at once outside the stream. Texts gain from larger blocks, most with several
threads; but they come in many lengths, each with a block that is not full."""

LOADED_AT_ONCE = 64
"""Items outside the stream that a loader worker makes at once."""

RANKED_AT_ONCE = 64
"""Queries outside the stream that are ranked at once."""


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
        self._made.append(rows.detach().clone())  # the method may write into what it gets
        if self._place == self._count:
            self._keep(torch.cat(self._made).cpu())
            self._made.clear()
        return rows


def embed_distinct(
    embed: Callable[[Tensor], Tensor], inputs: QueryInputs, indices: np.ndarray
) -> Tensor:
    """Rows of items outside the stream; equal inputs have equal rows, bit for bit.

    Each distinct input is embedded once. It is collated alone, so that no longer neighbour pads it,
    and embedded in a block of fixed size and of its own shape, the last one filled up: kernels
    choose the order of their sums by the shape of what they get. So a row does not depend on the
    other items either, as long as a kernel treats all rows of a block alike; where it does not (MKL
    on CPUs without AVX-512), other items can move a row by rounding, but equal inputs together.

    Args:
        embed: (block, ...) collated inputs -> (block, D) rows, each from its own input.
        inputs: of the items.
        indices: (n,) of the items; at least one.

    Returns:
        (n, D) rows in the order of the indices, on the device that ``embed`` gives them.
    """
    number_of: dict[bytes, int] = {}
    numbers = np.empty(len(indices), dtype=np.int64)
    waiting: dict[torch.Size, list[tuple[int, Tensor]]] = {}
    done: list[Tensor] = []
    order: list[int] = []

    size = TEXT_BLOCK if inputs.modality == "text" else BLOCK

    def finish(block: list[tuple[int, Tensor]]) -> None:
        members = [batch for _, batch in block]
        members += members[-1:] * (size - len(block))
        done.append(embed(torch.cat(members)).detach()[: len(block)])
        order.extend(number for number, _ in block)
        block.clear()

    parts = np.split(indices, range(LOADED_AT_ONCE, len(indices), LOADED_AT_ONCE))
    with inputs.prepared(parts) as loaded:
        for place, made in enumerate(row for part in loaded for row in part):
            content = hashlib.sha256(f"{made.dtype} {tuple(made.shape)}".encode())
            content.update(made.contiguous().flatten().view(torch.uint8).numpy().data)
            digest = content.digest()
            if digest not in number_of:
                number_of[digest] = len(number_of)
                batch = inputs.collated([made])
                block = waiting.setdefault(batch.shape, [])
                block.append((number_of[digest], batch))
                if len(block) == size:
                    finish(block)
            numbers[place] = number_of[digest]
    for block in filter(None, waiting.values()):
        finish(block)
    rows = torch.cat(done)
    row_of = np.empty(len(order), dtype=np.int64)
    row_of[order] = np.arange(len(order))
    return rows[torch.from_numpy(row_of[numbers]).to(rows.device)]


def recall_of(
    embed: Callable[[Tensor], Tensor],
    *,
    data: RetrievalSet,
    inputs: QueryInputs,
    gallery: Tensor,
    queries: np.ndarray,
) -> float:
    """R@1 (percent) of queries that ``embed`` turns into unit rows, by cosine similarity."""
    rows = embed_distinct(embed, inputs, queries)
    return recall_of_rows(rows, queries, data=data, gallery=gallery)


@torch.no_grad()
def recall_of_rows(
    rows: Tensor, queries: np.ndarray, *, data: RetrievalSet, gallery: Tensor
) -> float:
    """R@1 (percent) from the (n, D) embeddings of n queries."""
    best: list[int] = []
    for section, places in _by_section(data, queries):
        own = gallery[gallery_of(data, section)]
        copies = copies_of(own)
        for start in range(0, len(places), RANKED_AT_ONCE):
            part = places[start : start + RANKED_AT_ONCE]
            embedded = rows[torch.from_numpy(part).to(rows.device)].float().to(gallery.device)
            scores = settled(embedded @ own.T, copies)
            best += [int(found.min()) for found in rank(scores, data, queries[part], section)]
    return recall_at(np.array(best), 1)


def _by_section(data: RetrievalSet, queries: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The places of each section's queries, for sections that have some."""
    if data.sections is None:
        yield 0, np.arange(len(queries))
        return
    of_query = data.sections.of_query[queries]
    for section in np.unique(of_query):
        yield int(section), np.flatnonzero(of_query == section)
