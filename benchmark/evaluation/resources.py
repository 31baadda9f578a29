"""What cells of one process share: data, backbones, gallery embeddings, preprocessed queries."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from benchmark.backbones.base import DualEncoder
from benchmark.cell import CLEAN, BackboneSpec, Cell, MethodSpec, ShiftSpec, data_identity
from benchmark.data.retrieval import RetrievalSet, checked
from benchmark.data.tasks import by_content
from benchmark.errors import ConfigError, did_you_mean
from benchmark.evaluation.cache import DiskCache, LRUCache, remove
from benchmark.evaluation.fingerprints import digest, weights_of
from benchmark.evaluation.loader import Corruption, QueryInputs, StreamCache, corruption
from benchmark.evaluation.measures import Changes
from benchmark.evaluation.source_model import (
    Homes,
    changes_key,
    embed_distinct,
    gallery_key,
    inputs_key,
    place_of,
    recall_of_rows,
    source_key,
)
from benchmark.evaluation.stream import QueryStream, chosen_queries
from methods.base import Method, MethodError, Setup
from shifts.base import Shift

if TYPE_CHECKING:
    from benchmark.data.datasets.ready_made import ReadyMade

CACHE_BYTES = 1 << 30
"""Bound of the preprocessed queries that are kept in memory; what does not fit is computed again,
with the same result."""


class Resources:
    """Loads what cells need and keeps it for the next cell of the same process.

    Args:
        load_data: the retrieval set of a cell (its benchmark and data root decide).
        load_backbone: the dual encoder of a backbone spec.
        make_method: a method from its spec and what the method is given.
        make_shift: a shift from its spec.
        load_ready_made: the ready-made queries that a spec stands for, given the clean set; None
            where the user has named no folder with such files.
        home_of: the cell on whose clean queries forgetting is measured, or None where the weights
            have no home; without it every benchmark is its own.
        training_of: the cell whose clean queries are the training queries of a benchmark, or None.
        clean_share: of how many of a cell's queries one clean query is encoded for (forgetting).
        disk: the cache that this process shares with others, or None.
        workers: processes that load ahead (see ``workers.loader_workers``).

    Attributes:
        homes: where forgetting is measured, and training queries come from.
        tried: data and backbones whose queries have been (see ``source_model.query_encoder``).
        spoiled: a cell has changed what others share (see ``forget``); where a process can be
            replaced it now is.
    """

    spoiled = False

    def __init__(
        self,
        *,
        load_data: Callable[[Cell], RetrievalSet],
        load_backbone: Callable[[BackboneSpec], DualEncoder],
        make_method: Callable[[MethodSpec, Setup], Method],
        make_shift: Callable[[ShiftSpec], Shift],
        load_ready_made: Callable[[Cell, ShiftSpec, RetrievalSet], ReadyMade] | None = None,
        home_of: Callable[[Cell], Cell | None] = lambda cell: cell,
        training_of: Callable[[Cell], Cell | None] = lambda cell: None,
        clean_share: Callable[[Cell], int] = lambda cell: 1,
        disk: DiskCache | None = None,
        workers: int | None = None,
    ) -> None:
        self._load_data, self._load_backbone = load_data, load_backbone
        self.make_method, self.make_shift = make_method, make_shift
        self._load_ready_made = load_ready_made
        self.home_of, self.training_of, self.clean_share = home_of, training_of, clean_share
        self.homes = Homes(self)
        self._data = LRUCache[RetrievalSet](8)
        self._backbones = LRUCache[DualEncoder](2)
        self.tried = LRUCache[bool](64)
        self._galleries = LRUCache[Tensor](4)  # of a benchmark and its home, in both directions
        self._source_recalls = LRUCache[float](64)
        self._ready_made: LRUCache[ReadyMade] = LRUCache(64)
        self._workers, self.disk = workers, disk or DiskCache(Path(), 0)
        self._chosen = LRUCache[np.ndarray](2)  # a cell's, its clean queries
        self._streams = LRUCache[StreamCache](2, StreamCache.close)  # a cell's, its clean queries
        self._changes = LRUCache[Changes](16)
        self._source_tables = LRUCache[Tensor](1)  # of one stream: its cells are neighbours
        self._known = LRUCache[tuple[Tensor, DualEncoder, dict[str, bytes]]](2)

    def data(self, cell: Cell) -> RetrievalSet:
        """The retrieval set of a cell.

        Raises:
            DataError: the loader's, or a set that recall at 10 cannot be measured on.
        """
        return self._data.get(place_of(cell), lambda: by_content(checked(self._load_data(cell))))

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
        own, files = self.data(cell).fingerprint, self.shift_files(cell)
        data = data_identity(own, files, *self.homes.fingerprints(cell))
        return cell.key(data_fingerprint=data, backbone_fingerprint=self.backbone(cell).fingerprint)

    def shift_files(self, cell: Cell) -> str:
        """Hashes of the files that the cell's shifts work with, "" where there are none.

        Frost photographs, models of text shifts and of their gate, ready-made queries.

        Raises:
            QueryShiftError: ready-made queries that cannot be read or are not those of the data.
        """
        hashes = []
        for spec in cell.domains:
            if spec.ready_made:
                hashes.append(self.ready_made(cell, spec).fingerprint)
            elif spec.name != CLEAN:
                with suppress(Exception, SystemExit):  # the cell's own run says it: no result
                    hashes.append(str(self.make_shift(spec).fingerprint or ""))
        return "+".join(filter(None, hashes))

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

    def gallery(self, cell: Cell) -> Tensor:
        """(N, D) float32 unit rows of the clean gallery under the source weights, on the device."""
        data, backbone = self.data(cell), self.backbone(cell)

        def encode() -> Tensor:
            return embed_distinct(
                lambda batch: backbone.encode(data.gallery_modality, batch),
                QueryInputs(data, backbone, gallery=True, workers=self._workers),
                np.arange(len(data.gallery)),
            )

        return self._galleries.get(
            self._world(cell),
            lambda: self.disk.get(gallery_key(self, cell), encode).to(backbone.device),
        )

    @contextmanager
    def untouched(self, cell: Cell) -> Iterator[None]:
        """Refuses a method that writes into the gallery or the weights that later cells share.

        By content: a tensor's version counter does not see ``.data``, ``.numpy()`` and the like.

        Raises:
            MethodError: says what was written into.
        """
        world, gallery, backbone = self._world(cell), self.gallery(cell), self.backbone(cell)
        known = self._known.peek(world)
        if known is None or known[0] is not gallery or known[1] is not backbone:
            known = self._known.put(world, (gallery, backbone, _contents(gallery, backbone)))
        version, touched = gallery._version, ""
        try:
            yield
        finally:
            now = _contents(gallery, backbone)
            touched = next((name for name, before in known[2].items() if now[name] != before), "")
            if not touched and gallery._version != version:
                touched = "the gallery"
            if touched:
                self.forget()
        if touched:
            raise MethodError(
                f"method {cell.method.name!r} wrote into {touched}; it must work on a copy, "
                "and so must the model's own forward"
            )

    def forget(self) -> None:
        """Drops all that is kept, and what the cell under way has written to the disk cache.

        For a cell that has written into what is shared, or changed what results depend on: the
        next one loads and computes everything afresh.
        """
        self.spoiled = True
        for kept in (*vars(self).values(), *vars(self.homes).values()):
            if isinstance(kept, LRUCache):
                kept.clear()
        while self.disk.written:
            remove(self.disk.written.pop())

    def queries(self, cell: Cell) -> np.ndarray:
        """Indices of the queries that the cell uses, ascending; shared, not to be written to."""
        count = len(self.data(cell).queries)
        return self._chosen.get((count, cell.limit), lambda: chosen_queries(count, cell.limit))

    def stream(self, cell: Cell) -> QueryStream:
        """The stream of the cell's queries; ConfigError where it makes no sense with them."""
        data, queries, key = self.data(cell), self.queries(cell), cell.stream.group_key
        if key and key not in data.group_keys:
            raise ConfigError(
                f"benchmark {data.name!r} has no group key {key!r}"
                f"{did_you_mean(key, data.group_keys)}; "
                f"it has {', '.join(sorted(data.group_keys)) or 'none'}"
            )
        if cell.stream.kind == "interleaved" and data.sections is None:
            raise ConfigError(
                f"an interleaved stream needs several data sets, not {cell.benchmark!r} alone; "
                "name at least two benchmarks (--benchmark a,b)"
            )
        groups = data.group_keys[key][queries] if key else None
        sections = None if data.sections is None else data.sections.of_query[queries]
        return QueryStream(len(queries), cell.stream, cell.seed, groups, sections)

    def inputs(self, cell: Cell, *, clean: bool = False) -> QueryInputs:
        """The cell's queries, shifted (unless ``clean``) and preprocessed.

        Inputs are kept for all cells with the same stream, whatever their method: in memory for
        those of this process, in the disk cache for all.
        """
        data, backbone = self.data(cell), self.backbone(cell)
        clean = clean or all(domain.name == CLEAN for domain in cell.domains)
        name = (*self._world(cell), "clean", cell.limit) if clean else self._same_inputs(cell)
        cache = self._streams.get(
            name,
            lambda: StreamCache(
                self.queries(cell), self._room, self.disk, inputs_key(self, cell, clean=clean)
            ),
        )
        if clean:
            return QueryInputs(data, backbone, cache=cache, workers=self._workers)
        corruptions = [self._corruption(cell, domain) for domain in cell.domains]
        domain_of = np.zeros(len(data.queries), dtype=np.int32)
        if cell.stream.domains:
            stream = self.stream(cell)
            domain_of[self.queries(cell)[stream.order]] = stream.shifts
        return QueryInputs(
            data,
            backbone,
            corruption=lambda index: corruptions[domain_of[index]],
            cache=cache,
            changes=self._changes_of(cell),
            workers=self._workers,
        )

    def changes(self, cell: Cell) -> Changes:
        """What the cell's shifts did to each of its queries.

        It is noted while queries are corrupted. Those whose inputs came from a cache that has not
        kept it are corrupted once more, with the same result.
        """
        found = self._changes_of(cell)
        missing = found.missing()
        if len(missing):
            self.inputs(cell).measure(missing)
        if not found.kept:
            self.disk.put(changes_key(inputs_key(self, cell)), found.rows())
            found.kept = True
        return found

    def _changes_of(self, cell: Cell) -> Changes:
        def make() -> Changes:
            known = self.disk.find(changes_key(inputs_key(self, cell)))
            return Changes(self.queries(cell), self.data(cell).query_modality, known)

        return self._changes.get(self._same_inputs(cell), make)

    def _room(self) -> int:
        """Bytes of memory that preprocessed queries may still take."""
        return CACHE_BYTES - sum(stream.nbytes for stream in self._streams.values())

    def source_rows(self, cell: Cell) -> Callable[[Tensor], Tensor]:
        """The source model's embeddings of the cell's stream, batch by batch (see ``use_source``).

        They are computed with the first cell of a stream that asks for them, and kept for the
        others: in memory for those of this process, in the disk cache for all. They are computed
        from the very batch that the method gets: its composition decides the last bits of an
        embedding, so they are the bits that the method itself would compute at the source weights.

        Returns:
            (B, ...) the next batch of the stream -> its (B, D) rows, on its device.
        """
        data, backbone, name = self.data(cell), self.backbone(cell), self._same_stream(cell)
        queries, place, made = self.queries(cell), 0, list[Tensor]()
        parts = [queries[batch.queries] for batch in self.stream(cell)]
        key = source_key(inputs_key(self, cell), backbone.device, parts)
        known = self._source_tables.peek(name)
        if known is None:
            known = self.disk.find(key)

        def next_rows(batch: Tensor) -> Tensor:
            nonlocal place
            start, place = place, place + len(batch)
            if known is not None:
                # A copy: the place of a slice in memory may decide the last bits of sums over it.
                return known[start:place].to(batch.device, copy=True)
            rows = backbone.encode(data.query_modality, batch)
            made.append(rows.detach().clone())  # the method may write into what it gets
            if place == len(queries):
                self.disk.put(key, every := torch.cat(made).cpu())
                self._source_tables.put(name, every)
            return rows

        return next_rows

    def source_recall(self, cell: Cell, queries: np.ndarray, *, clean: bool = False) -> float:
        """R@1 (percent) of some of the cell's queries with the frozen source model."""
        part = self._world(cell) if clean else self._same_stream(cell)
        data, gallery = self.data(cell), self.gallery(cell)
        return self._source_recalls.get(
            (*part, clean, hash(queries.tobytes())),
            lambda: recall_of_rows(
                self.source_alone(cell, queries, clean=clean), queries, data, gallery
            ),
        )

    def source_alone(self, cell: Cell, queries: np.ndarray, *, clean: bool = False) -> Tensor:
        """(n, D) embeddings of queries under the frozen source model, each query by itself."""
        data, backbone = self.data(cell), self.backbone(cell)
        inputs = inputs_key(self, cell, clean=clean)
        return self.disk.get(
            source_key(inputs, backbone.device, [queries], alone=True),
            lambda: embed_distinct(
                lambda batch: backbone.encode(data.query_modality, batch),
                self.inputs(cell, clean=clean),
                queries,
            ),
        )

    def _corruption(self, cell: Cell, spec: ShiftSpec) -> Corruption | None:
        """What one of the cell's domains does to a query."""
        if spec.name == CLEAN:
            return None
        if spec.ready_made:
            items = self.ready_made(cell, spec).items
            return Corruption(lambda item, index: items[index])
        return corruption(self.make_shift(spec), spec, cell.seed, self.data(cell))

    def _same_inputs(self, cell: Cell) -> tuple[Hashable, ...]:
        """What decides the inputs of a cell whose queries are shifted."""
        facts = _text(asdict(cell.shift)), self.shift_files(cell), cell.seed, cell.limit
        stream = (_text(cell.stream.to_dict()),) if cell.stream.domains else ()
        return (*self._world(cell), *facts, *stream)

    def _same_stream(self, cell: Cell) -> tuple[Hashable, ...]:
        """What decides which query comes when and under which shift."""
        return (*self._same_inputs(cell), _text(cell.stream.to_dict()))

    def _world(self, cell: Cell) -> tuple[Hashable, ...]:
        data, backbone = self.data(cell), self.backbone(cell)
        return data.fingerprint, backbone.fingerprint, backbone.device, cell.backbone


def _contents(gallery: Tensor, backbone: DualEncoder) -> dict[str, bytes]:
    return {"the gallery": digest([gallery]), "the source weights": digest(weights_of(backbone))}


def _text(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec, sort_keys=True, default=str)
