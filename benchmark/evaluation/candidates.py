"""What can be said of a stream without labels: whose candidates change, and against what."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmark.data.retrieval import RetrievalSet
from benchmark.evaluation.stream import Batch
from benchmark.metrics import probes, ranking

LISTED = 10
"""Length of the list of candidates that are compared."""


class Candidates:
    """The first candidates of a stream's queries, beside those of the source model.

    Args:
        data: what is retrieved.
        queries: (Q,) index of each query in the retrieval set.
    """

    def __init__(self, data: RetrievalSet, queries: np.ndarray) -> None:
        self.data, self.queries = data, queries
        self._ours: dict[int, np.ndarray] = {}
        self._source: dict[int, np.ndarray] = {}

    def add(
        self, batch: Batch, scores: Tensor, source: Tensor, copies: ranking.Copies | None
    ) -> dict[str, float]:
        """Notes a batch's candidates; says nothing of it, as there is no recall.

        Args:
            batch: which queries.
            scores: (B, N) the method's.
            source: (B, N) the source model's.
            copies: equal items of the gallery, which count as one.
        """
        queries = self.queries[batch.queries]
        for found, values in ((self._ours, scores), (self._source, source)):
            shown = ranking.without_excluded(values, self.data, queries, batch.section)
            rows = first_candidates(shown, copies)
            found.update(zip(batch.queries.tolist(), rows, strict=True))
        return {}

    @property
    def source(self) -> np.ndarray:
        """(Q, k) candidates of each query under the source model."""
        return np.stack([self._source[place] for place in range(len(self.queries))])

    def metrics(self) -> dict[str, float]:
        """Percent of the queries whose first candidate changes, and whose first ten do."""
        return {name: float(100.0 * np.mean(found)) for name, found in self.arrays().items()}

    def arrays(self) -> dict[str, np.ndarray]:
        """1 for each query whose first candidate (first ten) differs from the source model's."""
        ours = np.stack([self._ours[place] for place in range(len(self.queries))])
        return changes(ours, self.source, len(self.data.gallery))


def first_candidates(scores: Tensor, copies: ranking.Copies | None) -> np.ndarray:
    """(B, k) the items with the highest of (B, N) scores, the first one first."""
    items = scores.topk(min(LISTED, scores.shape[1]), dim=1).indices
    if copies is not None:  # which of two equal items comes first means nothing
        same = torch.arange(scores.shape[1], device=items.device)
        same[copies.later] = copies.first
        items = same[items]
    return items.cpu().numpy()


def changes(ours: np.ndarray, theirs: np.ndarray, gallery: int) -> dict[str, np.ndarray]:
    """Which of (Q, k) lists of candidates differ: in the first item, and as sets of ten.

    Sets of ten are left out where the gallery has no more items than that.
    """
    found = {"changed@1": (ours[:, 0] != theirs[:, 0]).astype(np.int64)}
    if gallery > LISTED:
        differ = (np.sort(ours, axis=1) != np.sort(theirs, axis=1)).any(axis=1)
        found[f"changed@{LISTED}"] = differ.astype(np.int64)
    return found


def candidates_of(rows: Tensor, gallery: Tensor) -> np.ndarray:
    """(n, k) first candidates of n queries with these embeddings, by cosine similarity."""
    copies = ranking.copies_of(gallery)
    return np.concatenate(
        [
            first_candidates(
                ranking.settled(part.float().to(gallery.device) @ gallery.T, copies), copies
            )
            for part in rows.split(256)
        ]
    )


def geometry(rows: Tensor, gallery: Tensor, logit_scale: float) -> dict[str, float]:
    """Where the queries (Q, D) lie and how unsure they are, without labels."""
    rows, gallery = rows.float().cpu(), gallery.cpu()
    return {
        "uniformity": probes.uniformity(rows),
        "gap": probes.gap(rows, gallery),
        "prediction_entropy": probes.prediction_entropy(rows, gallery, logit_scale),
    }
