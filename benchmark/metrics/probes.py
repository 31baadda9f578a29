"""Numbers that explain a recall: geometry of the query embeddings, angles between gradients.

Uniformity, gap and consistency follow our reading of the axes of REST's teaser figure
(arXiv 2511.14416); uniformity is what the reference code of TCR prints.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from benchmark.data.retrieval import Relevance
from benchmark.metrics import CONFLICT_DEGREES

_PAIRS_AT_ONCE = 1 << 14

_ROWS_AT_ONCE = 1 << 16
"""Rows that are held in float64 at once. More than these are summed in parts, which may differ from
one sum in the last digit; all published benchmarks have fewer."""

HUBNESS_AT = 10
"""k of the k-occurrences; Radovanovic et al. (2010) use it throughout."""


def uniformity(queries: Tensor) -> float:
    """Mean Euclidean distance of the query embeddings (Q, D) to their mean."""
    centre = _mean(queries)

    def apart(part: Tensor) -> Tensor:  # whose float64 rows are gone before the next ones come
        return part.to(torch.float64, copy=True).sub_(centre).norm(dim=1)

    return float(torch.cat(list(map(apart, queries.split(_ROWS_AT_ONCE)))).mean())


def gap(queries: Tensor, gallery: Tensor) -> float:
    """Euclidean distance between the mean query (Q, D) and the mean gallery item (N, D)."""
    return float((_mean(queries) - _mean(gallery)).norm())


def _mean(rows: Tensor) -> Tensor:
    """(D,) float64 mean of (n, D) rows."""
    sums = (part.double().sum(dim=0) for part in rows.split(_ROWS_AT_ONCE))
    return reduce(torch.add, sums) / len(rows)


def consistency(queries: Tensor, gallery: Tensor, relevance: Relevance, order: np.ndarray) -> float:
    """Mean cosine of matched pairs; a query with n relevant items contributes n pairs.

    Args:
        queries: (Q, D) unit rows.
        gallery: (N, D) unit rows, same device.
        relevance: answers by query index.
        order: (Q,) query index of each row of ``queries``.
    """
    ends = np.cumsum(np.diff(relevance.offsets)[order])
    count, total = int(ends[-1]), 0.0
    for start in range(0, count, _PAIRS_AT_ONCE):
        pairs = np.arange(start, min(start + _PAIRS_AT_ONCE, count))
        rows = np.searchsorted(ends, pairs, side="right")
        last = relevance.offsets[order[rows] + 1]  # behind the answers of each pair's query
        items = relevance.indices[last - (ends[rows] - pairs)]
        left = queries[torch.from_numpy(rows).to(queries.device)].double()
        right = gallery[torch.from_numpy(items).to(gallery.device)].double()
        total += float((left * right).sum())
    return total / count


def prediction_entropy(queries: Tensor, gallery: Tensor, logit_scale: float) -> float:
    """How unsure the predictions are: 0 where one item takes all, 1 where all items are alike.

    Mean over the queries of the Shannon entropy of softmax(logit_scale * cosine) over the gallery,
    divided by that of the uniform distribution, ln N. It is what Tent minimises (Wang et al., ICLR
    2021, equation 1), with gallery items in place of classes.

    Args:
        queries: (Q, D) unit rows.
        gallery: (N, D) unit rows, N > 1, same device.
        logit_scale: what the model multiplies cosines by.
    """
    total = 0.0
    for part in queries.split(256):
        logits = logit_scale * (part.double() @ gallery.double().T)
        total += float(torch.special.entr(logits.softmax(dim=1)).sum())
    return total / (len(queries) * math.log(len(gallery)))


def effective_rank(embeddings: Tensor) -> float:
    """How many directions the query embeddings (Q, D) use: from 1 (collapsed) to min(Q, D).

    exp of the entropy of the singular values divided by their sum (Roy and Vetterli, EUSIPCO 2007,
    eq. 1-4), of the matrix as it is, not centred. The singular values are the square roots of the
    eigenvalues of the (D, D) Gram matrix, in float64: no decomposition of all Q rows.
    """

    def gram_of(part: Tensor) -> Tensor:
        points = part.double()
        return points.T @ points

    gram = reduce(torch.add, map(gram_of, embeddings.split(_ROWS_AT_ONCE)))
    values = torch.linalg.eigvalsh(gram).clamp_min(0.0).sqrt()
    share = values / values.sum()
    return float(torch.special.entr(share).sum().exp())


class KOccurrences:
    """Counts for each gallery item how many queries have it among their k best, as they pass.

    Of each section's gallery apart, since its items are ranked for the section's queries only.
    Among equal scores at the k-th place it is the library's choice which one counts.

    Args:
        k: length of the lists.
    """

    def __init__(self, k: int = HUBNESS_AT) -> None:
        self.k = k
        self._counts: dict[int, Tensor] = {}

    def add(self, scores: Tensor, section: int = 0) -> None:
        """Counts a batch: scores (B, N), higher is better, -inf for items that do not take part."""
        size = scores.shape[1]
        best, items = scores.topk(min(self.k, size), dim=1)
        counts = self._counts.setdefault(section, torch.zeros(size, dtype=torch.int64))
        counts += torch.bincount(items[best > -torch.inf].cpu(), minlength=size)

    def skewness(self) -> float:
        """Skewness of the k-occurrences, m3 / m2**1.5 (Radovanovic et al., JMLR 2010, section 2).

        Around 0 no item is drawn above others; large values mean hubs: few items that answer most
        queries. The mean over the sections that had queries. NaN where all items of a section
        occur equally often, as in a gallery of k items, where it is not defined.
        """
        return float(np.mean([_skewness(c.numpy()) for c in self._counts.values()] or [math.nan]))


def _skewness(values: np.ndarray) -> float:
    centred = values - values.mean()
    deviation = math.sqrt(float((centred**2).mean()))
    return float((centred**3).mean()) / deviation**3 if deviation else math.nan


def log_means(batches: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Mean over batches of every logged number; batches where it is absent or NaN are left out.

    A name that is never finite is left out altogether (for example an angle that was never
    defined). Where ``angle`` (degrees) is logged without ``conflict``, the share of batches whose
    angle exceeds 90 degrees is added as ``conflict``.
    """
    values: dict[str, list[float]] = {}
    for batch in batches:
        for name, value in batch.items():
            if math.isfinite(value):
                values.setdefault(name, []).append(value)
    if "angle" in values and "conflict" not in values:
        values["conflict"] = [float(angle > CONFLICT_DEGREES) for angle in values["angle"]]
    return {name: math.fsum(found) / len(found) for name, found in values.items()}
