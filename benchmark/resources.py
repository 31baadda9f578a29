"""What cells of one process share: data, backbones, gallery embeddings, preprocessed queries."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.backbones.base import DualEncoder
from benchmark.cache import InputCache, Recent
from benchmark.cell import BackboneSpec, Cell, MethodSpec, ShiftSpec
from benchmark.datasets.ready_made import ReadyMade, is_ready_made
from benchmark.errors import ConfigError, DataError, did_you_mean
from benchmark.grid import CLEAN
from benchmark.metrics import recall_at
from benchmark.ranking import gallery_of, rank
from benchmark.retrieval import RetrievalSet
from benchmark.stream import QueryStream, chosen_queries
from methods.base import Method, Setup
from shifts.base import Shift, ShiftError, item_generator

ENCODE_BATCH = 64
"""Items encoded at once outside the stream."""

CACHE_BYTES = 1 << 30
"""Bound of the preprocessed queries that are kept in memory."""


class Resources:
    """Loads what cells need and keeps it for the next cell of the same process.

    Args:
        load_data: the retrieval set of a cell (its benchmark and data root decide).
        load_backbone: the dual encoder of a backbone spec.
        make_method: a method from its spec and what the method is given.
        make_shift: a shift from its spec.
        load_ready_made: the ready-made queries that a spec stands for, given the clean set; None
            where the user has named no folder with such files.
        cache_bytes: bound of the preprocessed queries kept in memory; what does not fit is
            computed again, with the same result.
    """

    def __init__(
        self,
        *,
        load_data: Callable[[Cell], RetrievalSet],
        load_backbone: Callable[[BackboneSpec], DualEncoder],
        make_method: Callable[[MethodSpec, Setup], Method],
        make_shift: Callable[[ShiftSpec], Shift],
        load_ready_made: Callable[[Cell, ShiftSpec, RetrievalSet], ReadyMade] | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._load_data = load_data
        self._load_backbone = load_backbone
        self.make_method = make_method
        self.make_shift = make_shift
        self._load_ready_made = load_ready_made
        self._data = Recent[RetrievalSet](8)
        self._backbones = Recent[DualEncoder](2)
        self._galleries = Recent[Tensor](2)
        self._source_recalls = Recent[float](64)
        self._ready_made = Recent[ReadyMade](64)
        self._inputs = InputCache(cache_bytes)

    def data(self, cell: Cell) -> RetrievalSet:
        """The retrieval set of a cell.

        Raises:
            DataError: the loader's, or a set that recall at 10 cannot be measured on.
        """
        return self._data.get(_place(cell), lambda: _checked(self._load_data(cell)))

    def backbone(self, cell: Cell) -> DualEncoder:
        """The dual encoder of a cell; its weights are never adapted."""
        return self._backbones.get(cell.backbone, lambda: self._load_backbone(cell.backbone))

    def key(self, cell: Cell) -> str:
        """The cell's identity; loads its data and backbone for their fingerprints.

        Raises:
            QueryShiftError: data or weights that cannot be loaded or used, or a stream that does
                not fit the data.
        """
        if cell.stream.kind != "single":
            self.stream(cell)
        files = self.shift_files(cell)
        data = self.data(cell).fingerprint
        return cell.key(
            data_fingerprint=f"{data}+{files}" if files else data,
            backbone_fingerprint=self.backbone(cell).fingerprint,
        )

    def shift_files(self, cell: Cell) -> str:
        """Hashes of the files that the cell's shifts work with, "" where there are none.

        Frost photographs, models of text shifts and of their gate, ready-made queries.

        Raises:
            QueryShiftError: ready-made queries that cannot be read or are not those of the data.
        """
        hashes = (self._shift_fingerprint(cell, domain) for domain in cell.domains)
        return "+".join(filter(None, hashes))

    def _shift_fingerprint(self, cell: Cell, spec: ShiftSpec) -> str:
        if spec.name == CLEAN:
            return ""
        if is_ready_made(spec):
            return self.ready_made(cell, spec).fingerprint
        try:
            return self.make_shift(spec).fingerprint
        except Exception:  # whatever it is: the cell's own run says it, and has no result
            return ""

    def ready_made(self, cell: Cell, spec: ShiftSpec) -> ReadyMade:
        """The ready-made queries of one of the cell's shifts.

        Raises:
            ConfigError: no folder with ready-made queries was named.
            QueryShiftError: the loader's.
        """
        load = self._load_ready_made
        if load is None:
            raise ConfigError(
                f"the cell asks for ready-made {spec.label} queries, but no folder with such files "
                "was named (READY_MADE=/path, --ready-made /path)"
            )
        data = self.data(cell)
        key = (data.fingerprint, spec.name, spec.severity)
        return self._ready_made.get(key, lambda: load(cell, spec, data))

    def known_key(self, cell: Cell) -> str:
        """The cell's identity if its data and backbone are loaded already, else ""."""
        data = self._data.peek(_place(cell))
        backbone = self._backbones.peek(cell.backbone)
        return self.key(cell) if data is not None and backbone is not None else ""

    def gallery(self, cell: Cell) -> Tensor:
        """(N, D) float32 unit rows of the clean gallery under the source weights, on the device."""

        def encode() -> Tensor:
            data, backbone = self.data(cell), self.backbone(cell)
            inputs = QueryInputs(data, backbone, gallery=True)
            rows = [
                backbone.encode(data.gallery_modality, batch)
                for batch in inputs.batches(np.arange(len(data.gallery)))
            ]
            return _finite(torch.cat(rows).float(), f"gallery embeddings of {data.name}")

        return self._galleries.get(self._world(cell), encode)

    def forget_gallery(self, cell: Cell) -> None:
        """Drops the cell's gallery embeddings, so that the next cell encodes them afresh."""
        self._galleries.drop(self._world(cell))

    def queries(self, cell: Cell) -> np.ndarray:
        """Indices of the queries that the cell uses, ascending."""
        return chosen_queries(len(self.data(cell).queries), cell.limit)

    def stream(self, cell: Cell) -> QueryStream:
        """The stream of the cell's queries.

        Raises:
            ConfigError: a stream that makes no sense, alone or with these queries.
        """
        queries = self.queries(cell)
        groups = None
        if cell.stream.kind == "correlated":
            data, key = self.data(cell), cell.stream.group_key
            if key and key not in data.group_keys:
                raise ConfigError(
                    f"benchmark {data.name!r} has no group key {key!r}"
                    f"{did_you_mean(key, data.group_keys)}; "
                    f"it has {', '.join(sorted(data.group_keys)) or 'none'}"
                )
            groups = data.group_keys[key][queries] if key else None
        sections = self.data(cell).sections
        if cell.stream.kind == "interleaved" and sections is None:
            raise ConfigError(
                f"an interleaved stream needs several data sets, not {cell.benchmark!r} alone; "
                "name at least two benchmarks (--benchmark a,b)"
            )
        return QueryStream(
            len(queries),
            cell.stream,
            cell.seed,
            groups,
            None if sections is None else sections.of_query[queries],
        )

    def inputs(self, cell: Cell, *, clean: bool = False) -> QueryInputs:
        """The cell's queries, shifted (unless ``clean``) and preprocessed.

        Inputs are kept in memory for the next cell with the same stream, whatever its method.
        """
        data, backbone = self.data(cell), self.backbone(cell)
        if clean or all(domain.name == CLEAN for domain in cell.domains):
            shelf = (*self._world(cell), "clean")
            return QueryInputs(data, backbone, cache=self._inputs, shelf=shelf)
        corruptions = [self._corruption(cell, domain) for domain in cell.domains]
        if not cell.stream.domains:
            return QueryInputs(
                data,
                backbone,
                corrupt=corruptions[0],
                cache=self._inputs,
                shelf=(*self._world(cell), _text(cell.shift), cell.seed),
            )
        stream = self.stream(cell)
        domain_of = dict(
            zip(self.queries(cell)[stream.order].tolist(), stream.shifts.tolist(), strict=True)
        )
        return QueryInputs(
            data,
            backbone,
            corrupt=lambda item, index: corruptions[domain_of[index]](item, index),
            cache=self._inputs,
            shelf=self._stream_key(cell),
        )

    def clean_recall(self, cell: Cell) -> float:
        """R@1 (percent) of the cell's clean queries with the frozen source model."""
        return self._source_recalls.get(
            (*self._world(cell), cell.limit),
            lambda: self._source_recall(cell, self.inputs(cell, clean=True), self.queries(cell)),
        )

    def first_domain_recall(self, cell: Cell, queries: np.ndarray) -> float:
        """R@1 (percent) of the stream's first domain with the frozen source model.

        Args:
            cell: what is run.
            queries: indices of the queries that the first domain hits.
        """
        return self._source_recalls.get(
            (*self._stream_key(cell), "first domain"),
            lambda: self._source_recall(cell, self.inputs(cell), queries),
        )

    def _source_recall(self, cell: Cell, inputs: QueryInputs, queries: np.ndarray) -> float:
        data, backbone = self.data(cell), self.backbone(cell)
        return recall_of(
            lambda batch: backbone.encode(data.query_modality, batch),
            data=data,
            inputs=inputs,
            gallery=self.gallery(cell),
            queries=queries,
        )

    def _corruption(self, cell: Cell, spec: ShiftSpec) -> Callable[[Any, int], Any]:
        """(item, index of the query) -> corrupted item, under one of the cell's domains."""
        if spec.name == CLEAN:
            return lambda item, index: item
        if is_ready_made(spec):
            items = self.ready_made(cell, spec).items
            return lambda item, index: items[index]
        ids = self.data(cell).queries.ids
        corrupt = _corruption(self.make_shift(spec), spec, cell.seed)
        return lambda item, index: corrupt(item, ids[index])

    def _stream_key(self, cell: Cell) -> tuple[Hashable, ...]:
        """What decides which query comes under which shift."""
        stream = json.dumps(cell.stream.to_dict(), sort_keys=True, default=str)
        return (*self._world(cell), _text(cell.shift), stream, cell.seed, cell.limit)

    def _world(self, cell: Cell) -> tuple[Hashable, ...]:
        data, backbone = self.data(cell), self.backbone(cell)
        return data.fingerprint, backbone.fingerprint, backbone.device, cell.backbone.transform


def recall_of(
    embed: Callable[[Tensor], Tensor],
    *,
    data: RetrievalSet,
    inputs: QueryInputs,
    gallery: Tensor,
    queries: np.ndarray,
) -> float:
    """R@1 (percent) of queries that ``embed`` turns into unit rows, by cosine similarity."""
    best: list[int] = []
    with torch.no_grad():
        for section, members in _by_section(data, queries):
            own = gallery[gallery_of(data, section)]
            for start, batch in zip(
                range(0, len(members), ENCODE_BATCH), inputs.batches(members), strict=True
            ):
                part = members[start : start + ENCODE_BATCH]
                scores = embed(batch).float() @ own.T
                best += [int(found[0]) for found in rank(scores, data, part, section)]
    return recall_at(np.array(best), 1)


def _by_section(data: RetrievalSet, queries: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """The queries of each section that has some."""
    if data.sections is None:
        return [(0, queries)]
    of_query = data.sections.of_query[queries]
    return [(int(section), queries[of_query == section]) for section in np.unique(of_query)]


class QueryInputs:
    """Raw items of one retrieval set -> preprocessed batches on the backbone's device."""

    def __init__(
        self,
        data: RetrievalSet,
        backbone: DualEncoder,
        *,
        gallery: bool = False,
        corrupt: Callable[[Any, int], Any] | None = None,
        cache: InputCache | None = None,
        shelf: Hashable = None,
    ) -> None:
        self._items = data.gallery if gallery else data.queries
        self._modality = data.gallery_modality if gallery else data.query_modality
        self._clean_text = data.clean_text if self._modality == "text" else None
        self._backbone = backbone
        self._preprocess = backbone.preprocess(self._modality)
        self._corrupt = corrupt
        self._cache = cache
        self._shelf = shelf
        if cache is not None:
            cache.open(shelf)

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """The collated inputs of these items."""
        return self._backbone.collate(self._modality, [self._one(int(i)) for i in indices])

    def batches(self, indices: np.ndarray, size: int = ENCODE_BATCH) -> Iterator[Tensor]:
        """The inputs of many items, a few at a time."""
        for start in range(0, len(indices), size):
            yield self.batch(indices[start : start + size])

    def _one(self, index: int) -> Tensor:
        known = self._cache.get(self._shelf, index) if self._cache is not None else None
        if known is not None:
            return known
        item = self._items[index]
        if self._corrupt is not None:
            item = self._corrupt(item, index)
        if self._clean_text is not None:
            item = self._clean_text(item)
        made = self._preprocess(item)
        if self._cache is not None:
            self._cache.put(self._shelf, index, made)
        return made


def _place(cell: Cell) -> tuple[str, str, str]:
    return cell.suite, cell.benchmark, cell.data_root


def _text(spec: ShiftSpec) -> str:
    return json.dumps(asdict(spec), sort_keys=True, default=str)


def _corruption(shift: Shift, spec: ShiftSpec, seed: int) -> Callable[[Any, str], Any]:
    shift.check_severity(spec.severity)

    def corrupt(item: Any, item_id: str) -> Any:
        generator = item_generator(seed, spec.name, spec.severity, item_id)
        try:
            return shift.apply(item, spec.severity, generator)
        except ShiftError as error:
            raise DataError(f"query {item_id!r}: {error}") from error

    return corrupt


def _checked(data: RetrievalSet) -> RetrievalSet:
    if not len(data.queries):
        raise DataError(f"benchmark {data.name!r} has no queries")
    if len(data.relevance) != len(data.queries) or len(data.groups) != len(data.queries):
        raise DataError(
            f"benchmark {data.name!r} has {len(data.queries)} queries, but answers for "
            f"{len(data.relevance)} and groups for {len(data.groups)}"
        )
    size, largest = len(data.gallery), max(data.recall_at)
    if data.sections is not None:
        size = int(np.diff(data.sections.bounds).min())
    if size < largest:
        raise DataError(
            f"benchmark {data.name!r} has a gallery of {size}; recall at {largest} needs at least "
            f"{largest} items: use a larger gallery"
        )
    return data


def _finite(rows: Tensor, what: str) -> Tensor:
    if not torch.isfinite(rows).all():
        raise DataError(f"{what} hold NaN or infinity: the weights do not fit or are damaged")
    return rows
