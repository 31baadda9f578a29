"""Measures of a stream's queries: what the shifts did to them, and what a method makes of them.

A shift that leaves most queries as they are looks like robustness. So each record says how many
queries came out different (``coverage``) and by how much (``change_size``). What comes out of a
method is checked, then ranked; without labels it is whose candidates change, and against what.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.data.retrieval import NDCG_AT, RetrievalSet
from benchmark.errors import amount
from benchmark.evaluation.stream import Batch
from benchmark.metrics import probes, ranking
from benchmark.metrics import recall as metrics
from methods.base import DIVERGED, Diverged, MethodError, StepOutput
from methods.centring import sound_rows
from shifts.base import Audio, Composed

PARTS = {"composed": {"image": "pixels", "text": "text"}}
"""Modality -> its parts, as ``sizes`` names them; the others are of one part."""

OWN_NAMES = re.compile(r"(queries|R@1|hubness|(coverage|change_size)(_.*)?)$", re.DOTALL)
"""What the harness alone measures: in a method's log the name would stand for it where it cannot,
as the coverage of clean queries."""

UNIT = 0.02
"""How far from 1 the length of a method's embeddings may be; of bfloat16 it comes out 0.4 % off."""


def row_of(queries: np.ndarray, index: int) -> int | None:
    """The place of a query in ascending indices of queries; None where it is not among them."""
    row = bisect_left(queries, index)  # a dict of a million places is 100 MB
    return row if row < len(queries) and queries[row] == index else None


class Changes:
    """Two numbers per query and two for each of its parts: whether it changed, and by how much.

    Args:
        queries: ascending indices of the queries of the stream.
        modality: of the queries.
        known: (queries, 2 + 2 * parts) float64, where all of it was noted before.
    """

    def __init__(self, queries: np.ndarray, modality: str, known: Tensor | None = None) -> None:
        self._queries = queries
        self.parts = PARTS.get(modality, {})
        shape = (len(queries), 2 + 2 * len(self.parts))
        fits = known is not None and tuple(known.shape) == shape
        self._noted = np.full(len(queries), fits)
        self._values = known.numpy() if known is not None and fits else np.zeros(shape)
        self.kept = fits

    def note(self, index: int, changed: bool | None, found: Mapping[str, float]) -> None:
        """Notes one query, None of one that nothing hits; noting it again does no harm."""
        row = row_of(self._queries, index)
        if row is None:
            raise KeyError(index)
        if changed is not None:
            size = float(np.mean(list(found.values()))) if changed else 0.0
            # Whether a part changed, and by how much; a size not known is that of a change.
            parts = [(float(found[name] != 0.0), found[name]) for name in self.parts.values()]
            self._values[row] = (float(changed), size, *chain.from_iterable(parts))
        self._noted[row] = True  # last: another thread may be reading

    def missing(self) -> np.ndarray:
        """Indices of the queries that were not noted: their inputs came from a cache."""
        return self._queries[~self._noted]

    def rows(self) -> Tensor:
        return torch.from_numpy(self._values)

    def summary(self, domains: np.ndarray, labels: Sequence[str | None]) -> dict[str, float]:
        """Share of queries changed and mean size of the change, in percent.

        Args:
            domains: which domain hits each query, in the order of the queries.
            labels: of each domain; None for one that leaves the queries alone by intention, whose
                queries do not count.

        Returns:
            ``coverage`` and ``change_size``; with "_image" and "_text" behind it those of the
            parts; where there are several domains each of them with "_<label>" too. An unchanged
            query counts with size 0, one whose size is not known (arrays of another shape) not.
        """
        shifted = np.array([label is not None for label in labels])[domains]
        found = self._means(shifted, "")
        if len(labels) > 1:
            for number, label in enumerate(labels):
                if label is not None:
                    found |= self._means(domains == number, f"_{label}")
        return found

    def _means(self, chosen: np.ndarray, suffix: str) -> dict[str, float]:
        names = [
            f"{name}{part}{suffix}"
            for part in ("", *(f"_{part}" for part in self.parts))
            for name in ("coverage", "change_size")
        ]
        columns = [column[np.isfinite(column)] for column in self._values[chosen].T]
        return {
            name: 100.0 * float(column.mean())
            for name, column in zip(names, columns, strict=True)
            if len(column)
        }


def sizes(before: Any, after: Any) -> Mapping[str, float]:
    """The size of a change by kind of part: "text", "pixels" (also of frames), "samples".

    * text: share of the characters of both texts that the other one does not have in the same
      order, 1 - ``difflib.SequenceMatcher.ratio``.
    * pixels: mean absolute difference, of full scale (255).
    * samples: mean absolute difference, of full scale (from -1 to 1).

    Args:
        before: an item (see ``ShiftCard.modality``).
        after: an item of the same modality.

    Returns:
        Each from 0 (nothing) to 1; a composed item has "pixels" and "text", all others one. NaN
        where two arrays differ in shape, or two recordings in their rate.
    """
    if isinstance(before, Composed):
        return {**sizes(before.image, after.image), **sizes(before.text, after.text)}
    if isinstance(before, str):
        same = before == after or 2.0 * _paired(before, after) / (len(before) + len(after))
        return {"text": 1.0 - same}
    if isinstance(before, Audio):
        apart = _difference(before.samples, after.samples, 2.0)
        return {"samples": apart if before.rate == after.rate else math.nan}
    return {"pixels": _difference(before, after, 255.0)}


def _paired(before: str, after: str, width: int = 16) -> int:
    """How many characters ``SequenceMatcher`` pairs: the longest common run, then on either side.

    It looks at each place of a character, and again beside each run. Few places have the same
    ``width`` characters, so runs of these come first, which it pairs alike; then shorter ones.
    """
    if width > 1 and min(len(before), len(after)) < 4 * width:
        blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
        return sum(block.size for block in blocks)
    total, more = 0, width - 1
    if not more:  # single ones: each with the first that is left
        start = 0
        for letter in before:
            if place := after.find(letter, start) + 1:
                total, start = total + 1, place
        return total
    ours, theirs = ([t[i : i + width] for i in range(len(t) - more)] for t in (before, after))
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    parts = [(0, len(before), 0, len(after))]
    while parts:
        a, a_end, b, b_end = parts.pop()
        at, to, size = matcher.find_longest_match(a, max(a, a_end - more), b, max(b, b_end - more))
        if size:
            size += more
            total += size
            parts += [(a, at, b, to), (at + size, a_end, to + size, b_end)]
        else:
            total += _paired(before[a:a_end], after[b:b_end], width // 2)
    return total


def _difference(before: np.ndarray, after: np.ndarray, full_scale: float) -> float:
    if before.shape != after.shape:
        return math.nan
    # Of unsigned bytes: a plain difference would wrap around, and wider numbers take longer.
    apart = np.maximum(before, after) - np.minimum(before, after)
    return float(apart.mean(dtype=np.float64)) / full_scale if apart.size else 0.0


class Answers:
    """Ranks of a stream's queries, as they pass.

    Args:
        queries: (Q,) index of each query in the retrieval set.
    """

    def __init__(self, data: RetrievalSet, queries: np.ndarray) -> None:
        self.data, self.queries = data, queries
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
                self._ndcg[position] = metrics.ndcg_at(of_query, grades, NDCG_AT)
        if data.subset is not None:
            self._subset_rank[batch.queries] = ranking.subset_ranks(
                scores, data, queries, batch.section
            )
        return {"R@1": metrics.recall_at(self.best_rank[batch.queries], 1)}

    def metrics(
        self, parts: Mapping[str, np.ndarray], domain_labels: Sequence[str]
    ) -> dict[str, float]:
        """Every metric of the whole stream, in percent.

        Args:
            parts: the number of each query's "domain" and "section", where there are several.
            domain_labels: names of the domains by number.
        """
        arrays, sections = {**self.arrays(), **parts}, self.data.sections
        if self.data.subset is not None:
            arrays["subset_rank"] = self._subset_rank
        names = () if sections is None else sections.names
        return metrics.of_queries(arrays, self.data.recall_at, domain_labels, names)

    def arrays(self) -> dict[str, np.ndarray]:
        """The numbers per query: ``best_rank`` and ``ap``, and ``ndcg`` where there are grades."""
        graded = {} if self._ndcg is None else {"ndcg": self._ndcg}
        return {"best_rank": self.best_rank, "ap": self._ap, **graded}


LISTED = 10
"""Length of the list of candidates that are compared."""


class Candidates:
    """The first candidates of a stream's queries, beside those of the source model.

    Args:
        queries: (Q,) index of each query in the retrieval set.

    Attributes:
        source: (Q, k) candidates of each query under the source model.
    """

    def __init__(self, data: RetrievalSet, queries: np.ndarray) -> None:
        self.data, self.queries = data, queries
        shape = len(queries), min(LISTED, len(data.gallery))
        self.source, self._ours = np.zeros(shape, np.int64), np.zeros(shape, np.int64)

    def add(
        self, batch: Batch, scores: Tensor, source: Tensor, copies: ranking.Copies | None
    ) -> None:
        """Notes a batch's candidates.

        Args:
            scores: (B, N) the method's.
            source: (B, N) the source model's.
            copies: equal items of the gallery, which count as one.
        """
        queries = self.queries[batch.queries]
        for found, values in ((self._ours, scores), (self.source, source)):
            shown = ranking.without_excluded(values, self.data, queries, batch.section)
            found[batch.queries] = first_candidates(shown, copies)

    def metrics(self) -> dict[str, float]:
        """Percent of the queries whose first candidate changes, and whose first ten do."""
        return {name: float(100.0 * np.mean(found)) for name, found in self.arrays().items()}

    def arrays(self) -> dict[str, np.ndarray]:
        """1 for each query whose first candidate (first ten) differs from the source model's."""
        return changes(self._ours, self.source, len(self.data.gallery))


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


def check_output(output: object, gallery: Tensor, count: int, *, lr: bool) -> dict[str, float]:
    """Refuses what a method must not return; gives its log as plain floats.

    Args:
        gallery: (N, D) what they were scored against.
        count: queries in the batch that it was given.
        lr: it has a learning rate, which may be too high.

    Raises:
        MethodError: wrong type, shape or dtype.
        Diverged: values that are not finite.
    """
    if not isinstance(output, StepOutput):
        raise MethodError(f"step must return a StepOutput, not {type(output).__name__}")
    items, width = gallery.shape
    wanted = {"scores": (count, items), "embeddings": (count, width)}
    for name, shape in wanted.items():
        value = getattr(output, name)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise MethodError(f"{name} must be a floating-point tensor, not {kind}")
        if value.layout is not torch.strided or value.is_meta:
            kind = "one of device meta" if value.is_meta else f"one of layout {value.layout}"
            raise MethodError(f"{name} must be a dense tensor of numbers, not {kind}")
        if tuple(value.shape) != shape:
            raise MethodError(f"{name} must have shape {shape}, not {tuple(value.shape)}")
        bad, what = ~sound_rows(value), "hold NaN or infinity"
        if name == "embeddings" and not bad.any():
            lengths = value.detach().float().norm(dim=1)
            # Weights whose squares overflow are divided by an infinite length.
            bad, what = lengths == 0, "are all zero"
            if not (off := (lengths - 1).abs()).le(UNIT).all() and not bad.any():
                length = float(lengths[off.argmax()])
                raise MethodError(f"embeddings must be rows of length 1, not {length:.3g}")
        if bad.any():
            why = f": {DIVERGED}" * lr
            raise Diverged(f"{name} {what} for {int(bad.sum())} of {amount(count, 'query')}{why}")
    log: dict[str, float] = {}
    if not isinstance(output.log, Mapping):
        kind = type(output.log).__name__
        raise MethodError(f"log must be a mapping from names to numbers, not {kind}")
    for name, number in output.log.items():
        try:
            log[str(name)] = float(number)
        except (TypeError, ValueError):
            raise MethodError(f"log entry {name!r} is not a number: {number!r}") from None
    return log
