"""Recall@k, mean recall, mean average precision and nDCG@k from ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmark.data.retrieval import NDCG, RECALL_AT, SUBSET_AT


def average_precision(relevant_ranks: np.ndarray) -> float:
    """Average precision over the full ranking: (1/n) sum_i i / r_i for ascending ranks r_i.

    With one relevant item it is 1 / rank.

    >>> average_precision(np.array([1, 4]))
    0.75
    """
    ordered = np.sort(np.asarray(relevant_ranks))
    return float(np.mean(np.arange(1, len(ordered) + 1) / ordered))


def ndcg_at(relevant_ranks: np.ndarray, grades: np.ndarray, k: int) -> float:
    """Normalised discounted cumulative gain of one query among its first ``k`` results, in [0, 1].

    DCG@k is the sum of grade / log2(1 + rank) over the answers with rank <= k; nDCG@k divides it by
    that of the best order (Järvelin and Kekäläinen, ACM TOIS 20(4), 2002, with the discount
    log2(1 + rank)). The gain is the grade itself, as in trec_eval's ``ndcg_cut`` and in BEIR, not
    2**grade - 1.

    Args:
        relevant_ranks: (R,) 1-based rank of every answer of the query.
        grades: (R,) its grade, above 0.
        k: how many results count.

    >>> round(ndcg_at(np.array([2, 1]), np.array([3.0, 1.0]), 10), 4)
    0.7967
    """
    counted = relevant_ranks <= k
    found = float((grades[counted] / np.log2(1.0 + relevant_ranks[counted])).sum())
    best = np.sort(grades)[::-1][:k]
    return found / float((best / np.log2(np.arange(2, len(best) + 2))).sum())


def recall_at(best_ranks: np.ndarray, k: int) -> float:
    """Percent of queries with at least one relevant item among the first ``k``.

    One hit is enough, also where a query has several relevant items (five captions of an image).
    """
    return 100.0 * int(np.count_nonzero(np.asarray(best_ranks) <= k)) / len(best_ranks)


def of_queries(
    arrays: Mapping[str, np.ndarray],
    cut_offs: Sequence[int] = RECALL_AT,
    domains: Sequence[str] = (),
    sections: Sequence[str] = (),
) -> dict[str, float]:
    """Every metric that the numbers per query of a whole stream give, in percent and unrounded.

    ``R@k`` for each cut-off, their mean and ``mAP``, and what else there are numbers for.
    FashionIQ reports the mean of its categories (``section_R@k``), which have different numbers of
    queries. Domains and sections that have no query are left out.

    Args:
        arrays: ``best_rank`` and ``ap``; ``ndcg``, ``subset_rank``, ``domain`` and ``section``
            where there are such.
        domains: names of the domains by number.
        sections: names of the sections by number.
    """
    ranks = arrays["best_rank"]
    if not len(ranks):
        raise ValueError("no queries were ranked")

    def of_parts(name: str, labels: Sequence[str], k: int) -> dict[str, float]:
        parts = {label: ranks[arrays[name] == number] for number, label in enumerate(labels)}
        return {label: recall_at(own, k) for label, own in parts.items() if len(own)}

    found = {f"R@{k}": recall_at(ranks, k) for k in cut_offs}
    found["mean_recall"] = sum(found.values()) / len(found)
    found["mAP"] = float(100.0 * np.mean(arrays["ap"]))
    if "ndcg" in arrays:
        found[NDCG] = float(100.0 * np.mean(arrays["ndcg"]))
    if "subset_rank" in arrays:
        found |= {f"R_subset@{k}": recall_at(arrays["subset_rank"], k) for k in SUBSET_AT}
    if "domain" in arrays:
        parts = of_parts("domain", domains, 1)
        found |= {f"R@1_{label}": value for label, value in parts.items()}
    for k in cut_offs if "section" in arrays else ():
        parts = of_parts("section", sections, k)
        found |= {f"R@{k}_{name}": value for name, value in parts.items()}
        found[f"section_R@{k}"] = sum(parts.values()) / len(parts)
    return found
