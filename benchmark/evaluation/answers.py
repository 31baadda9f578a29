"""What the ranks of the relevant items give: recalls, mAP, nDCG, by domain and by section."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from benchmark.data.retrieval import NDCG, NDCG_AT, SUBSET_AT, RetrievalSet
from benchmark.evaluation.stream import Batch
from benchmark.metrics import ranking
from benchmark.metrics import recall as metrics
from benchmark.metrics.recall import ndcg_at, recalls_by_part


class Answers:
    """Ranks of a stream's queries, as they pass.

    Args:
        data: what is retrieved.
        queries: (Q,) index of each query in the retrieval set.
        domains: (Q,) number of the domain that hits each.
        domain_labels: names of the domains by number; none for a single one.
    """

    def __init__(
        self,
        data: RetrievalSet,
        queries: np.ndarray,
        domains: np.ndarray,
        domain_labels: Sequence[str],
    ) -> None:
        self.data, self.queries = data, queries
        self._domains, self._labels = domains, domain_labels
        self.best_rank = np.zeros(len(queries), dtype=np.int64)
        self._ap = np.zeros(len(queries))
        self._ndcg = None if data.relevance.grades is None else np.zeros(len(queries))
        self._subset_rank = np.zeros(len(queries), dtype=np.int64)

    def add(self, batch: Batch, scores: Tensor) -> dict[str, float]:
        """Ranks a batch by its (B, N) scores; gives its R@1."""
        queries, data = self.queries[batch.queries], self.data
        found = ranking.rank(scores, data, queries, batch.section)
        for position, query, of_query in zip(batch.queries, queries, found, strict=True):
            self.best_rank[position] = of_query.min()
            self._ap[position] = metrics.average_precision(of_query)
            if self._ndcg is not None:
                grades = data.relevance.grades_of(int(query))
                self._ndcg[position] = ndcg_at(of_query, grades, NDCG_AT)
        if data.subset is not None:
            self._subset_rank[batch.queries] = ranking.subset_ranks(
                scores, data, queries, batch.section
            )
        return {"R@1": metrics.recall_at(self.best_rank[batch.queries], 1)}

    def metrics(self) -> dict[str, float]:
        """Every metric of the whole stream, in percent."""
        return {
            **metrics.summary(self.best_rank, self._ap, self.data.recall_at),
            **({} if self._ndcg is None else {NDCG: float(100.0 * np.mean(self._ndcg))}),
            **self._subset(),
            **self._by_domain(),
            **self._by_section(),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """The numbers per query: ``best_rank`` and ``ap``, and ``ndcg`` where there are grades."""
        graded = {} if self._ndcg is None else {"ndcg": self._ndcg}
        return {"best_rank": self.best_rank, "ap": self._ap, **graded}

    def _subset(self) -> dict[str, float]:
        if self.data.subset is None:
            return {}
        return {f"R_subset@{k}": metrics.recall_at(self._subset_rank, k) for k in SUBSET_AT}

    def _by_domain(self) -> dict[str, float]:
        """R@1 of each domain's queries as they passed; domains that hit none are left out."""
        found = recalls_by_part(self.best_rank, self._domains, self._labels, 1)
        return {f"R@1_{label}": value for label, value in found.items()}

    def _by_section(self) -> dict[str, float]:
        """Recalls of each section's queries, and the means of the sections (``section_R@k``).

        FashionIQ reports the mean of its categories, which have different numbers of queries.
        """
        sections = self.data.sections
        if sections is None:
            return {}
        of_query = sections.of_query[self.queries]
        found: dict[str, float] = {}
        for k in self.data.recall_at:
            recalls = recalls_by_part(self.best_rank, of_query, sections.names, k)
            found |= {f"R@{k}_{name}": value for name, value in recalls.items()}
            found[f"section_R@{k}"] = sum(recalls.values()) / len(recalls)
        return found
