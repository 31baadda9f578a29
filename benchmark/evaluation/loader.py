"""Raw items -> batches that an encoder takes: decode, corrupt, clean, preprocess, collate."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.backbones.base import DualEncoder, Staged, on_device
from benchmark.cell import ShiftSpec
from benchmark.data.retrieval import RetrievalSet
from benchmark.errors import DataError
from benchmark.evaluation.cache import DiskCache
from benchmark.evaluation.measures import Changes, row_of, sizes
from benchmark.evaluation.workers import loaded, loader_workers, one_thread
from benchmark.registry import BUILTIN, SHIFTS
from shifts.base import Shift, ShiftError, item_generator, item_problem
from shifts.samples import equal

_PLAIN_TO_SEE = 0.01
"""From this mean difference on (of full scale), pixels or samples that changed reach the encoder as
a change; below it, and of videos, of which an encoder may read a single frame, the preprocessed
forms are compared, which costs a second preprocessing."""

PIECE = 8
"""Items that a loader worker makes at once."""

BLOCK_BYTES = 1 << 16
"""Rows that are kept in memory lie together in blocks of about this size: as tensors of their own,
those of captions take seven times their content."""

BATCHES_AHEAD = 3
"""Batches that loader workers are ahead at most, the one that is waited for included."""


class StreamCache:
    """Preprocessed queries of one stream, by index of the query.

    With a disk cache the first pass over the stream writes an entry, row by row as the queries are
    made, and all later passes, in this process or another, read it. Where the rows differ in shape
    or type, or the disk does not take them, memory serves instead.

    Args:
        queries: ascending indices of the queries that the stream holds; rows are in this order.
        room: bytes that may still be kept in memory.
        disk: None for memory alone.
        key: where the entry lies; None for memory alone.

    Attributes:
        nbytes: kept in memory.
    """

    def __init__(
        self,
        queries: np.ndarray,
        room: Callable[[], int],
        disk: DiskCache | None = None,
        key: str | None = None,
    ) -> None:
        self.nbytes = 0
        self._queries, self._room, self._key = queries, room, key
        self._blocks: list[Tensor] = []
        self._types: list[torch.dtype] = []  # that the rows of each block had
        self._filling: dict[tuple[Any, ...], tuple[int, int]] = {}  # the next place of each form
        self._place = np.full((len(queries), 2), -1, dtype=np.int32)  # block and row of each query
        self._disk = disk if key else None
        found = None if disk is None else disk.open(key)
        self._entry = found if found is not None and found.shape[0] == len(queries) else None

    def has(self, index: int) -> bool:
        """Whether an input is stored."""
        row = row_of(self._queries, index)
        if row is None:
            return False
        on_disk = self._entry is not None and self._entry.has(row)
        return on_disk or bool(self._place[row, 0] >= 0)

    def get(self, index: int) -> Tensor | None:
        """A stored input, in memory of its own or not to be written to; or None."""
        row = row_of(self._queries, index)
        if row is None:
            return None
        found = None if self._entry is None else self._entry.row(row)
        block, place = self._place[row].tolist()
        if found is not None or block < 0:
            return found
        return self._blocks[block][place].to(self._types[block], copy=True)

    def put(self, index: int, value: Tensor) -> None:
        """Keeps an input where that is possible."""
        row = row_of(self._queries, index)
        if row is None or self._write(row, value):
            return
        kept = value
        if value.dtype == torch.int64:  # such as tokens: in half the memory where they fit
            half = value.to(torch.int32)
            kept = half if torch.equal(half.to(torch.int64), value) else value
        if kept.nbytes > self._room():
            return
        form = value.shape, value.dtype, kept.dtype
        block, place = self._filling.get(form, (-1, 0))
        if block < 0 or place == len(self._blocks[block]):
            rows = max(1, min(len(self._queries), BLOCK_BYTES // max(1, kept.nbytes)))
            block, place = len(self._blocks), 0
            self._blocks.append(torch.empty((rows, *kept.shape), dtype=kept.dtype))
            self._types.append(value.dtype)
        self._blocks[block][place] = kept
        self._place[row] = block, place
        self._filling[form] = block, place + 1
        self.nbytes += kept.nbytes

    def close(self) -> None:
        """Lets go of everything; what was never finished is removed from the disk."""
        self._leave_disk()
        self._blocks.clear()
        self._types.clear()
        self._filling.clear()
        self._place.fill(-1)
        self.nbytes, self._room = 0, lambda: 0

    def _write(self, row: int, value: Tensor) -> bool:
        if self._disk is None or self._key is None:
            return False
        if self._entry is None:
            self._entry = self._disk.record(self._key, len(self._queries), value)
        entry = self._entry
        if entry is not None and entry.fits(value) and self._disk.write(entry, row, value):
            return True
        self._leave_disk()
        return False

    def _leave_disk(self) -> None:
        if self._entry is not None:
            self._entry.discard()
        self._entry = self._disk = None


@dataclass(frozen=True)
class Corruption:
    """What hits a query.

    Attributes:
        apply: (item, index of the query) -> corrupted item.
        untouched: item -> how the shift returns it when its operator does nothing to it (see
            ``Shift.untouched``).
    """

    apply: Callable[[Any, int], Any]
    untouched: Callable[[Any], Any] = lambda item: item


def corruption(shift: Shift, spec: ShiftSpec, seed: int, data: RetrievalSet) -> Corruption:
    """What a shift does to a query of these data, whatever else is in the stream.

    It raises DataError where the shift refuses an item, or makes of it what is no such item.

    Raises:
        ShiftError: a severity that the shift does not have.
    """
    shift.check_severity(spec.severity)
    ids, modality = data.queries.ids, data.query_modality
    doubted = spec.name in SHIFTS and SHIFTS.origin(spec.name) != BUILTIN

    def made(item: Any, index: int) -> Any:
        generator = item_generator(seed, spec.name, spec.severity, ids[index])
        # A copy: a shift that works in place must not change the data.
        return shift.apply(copy.deepcopy(item), spec.severity, generator)

    def corrupt(item: Any, index: int) -> Any:
        nonlocal doubted
        try:
            found = made(item, index)
        except ShiftError as error:
            raise DataError(f"query {ids[index]!r}: {error}") from error
        if (problem := item_problem(modality, found)) and not item_problem(modality, item):
            what = f"shift {spec.name!r} made of query {ids[index]!r} what no encoder takes"
            raise DataError(f"{what}: they work on {problem}")
        if doubted and not equal(found, made(item, index)):
            raise DataError(
                f"shift {spec.name!r} makes something else of query {ids[index]!r} the second "
                "time; it may draw random numbers from rng only, and must keep nothing"
            )
        doubted = False  # one query is enough
        return found

    return Corruption(corrupt, shift.untouched)


@dataclass(frozen=True)
class _Made:
    """A query's input before its last stage, and what the corruption did.

    Attributes:
        rows: the input; numpy's, since tensors would need shared memory on their way from a worker.
        changed: whether the query changed; None where nothing hits it.
        sizes: of the change, by part.
    """

    rows: np.ndarray
    changed: bool | None = None
    sizes: Mapping[str, float] = field(default_factory=dict)


class QueryInputs:
    """Raw items of one retrieval set -> preprocessed batches on the backbone's device.

    Where the backbone's preprocessing comes in two stages, the small form between them is kept.
    Every item is made on one torch thread, by whichever process.

    Args:
        backbone: preprocesses and collates.
        gallery: the gallery's items instead of the queries (an attribute, too).
        corruption: what hits a query, by its index; None for one that nothing hits.
        cache: keeps what is made.
        changes: told what the corruption did to each query.
        workers: processes that make inputs ahead; see ``workers.loader_workers``.

    Attributes:
        items: the raw ones.
        modality: of the items.
    """

    def __init__(
        self,
        data: RetrievalSet,
        backbone: DualEncoder,
        *,
        gallery: bool = False,
        corruption: Callable[[int], Corruption | None] = lambda index: None,
        cache: StreamCache | None = None,
        changes: Changes | None = None,
        workers: int | None = 0,
    ) -> None:
        self.gallery = gallery
        self.items = data.gallery if gallery else data.queries
        self.modality = data.gallery_modality if gallery else data.query_modality
        self._clean_text = data.clean_text if self.modality == "text" else None
        self._backbone = backbone
        preprocess = backbone.preprocess(self.modality)
        staged = preprocess if isinstance(preprocess, Staged) else None
        self._make = staged.compact if staged else preprocess
        by_gpu = staged is not None and staged.anywhere and backbone.device.startswith("cuda")
        self._expand = staged.expand if staged and not by_gpu else None
        self._expand_batch = staged.expand if staged and by_gpu else None
        self._corruption = corruption
        self._cache = cache
        self._changes = changes
        self._workers = workers

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        with self.prepared([np.asarray(indices)], workers=0) as found:
            return self.collated(next(found))

    @contextmanager
    def batches(self, parts: Sequence[np.ndarray]) -> Iterator[Iterator[Tensor]]:
        """Gives the batch of each part's items, in order, on the backbone's device.

        While a GPU works on one batch a thread makes the next one ready: fetches it from the
        workers or the cache, and copies it there.

        Args:
            parts: indices of items; see ``prepared``.
        """
        with self.prepared(parts) as loaded:
            made = map(self.collated, loaded)
            if not self._backbone.device.startswith("cuda"):
                yield made
                return
            with ThreadPoolExecutor(1) as thread:
                yield _one_ahead(made, thread)

    def collated(self, inputs: Sequence[Tensor]) -> Tensor:
        """Prepared inputs as a batch on the backbone's device."""
        if self._expand_batch is not None:
            pixels = on_device(torch.stack(list(inputs)), self._backbone.device)
            inputs = list(self._expand_batch(pixels))
        return self._backbone.collate(self.modality, inputs)

    @contextmanager
    def prepared(
        self, parts: Sequence[np.ndarray], *, workers: int | None = None
    ) -> Iterator[Iterator[list[Tensor]]]:
        """Gives the inputs of each part's items, in order, before they are collated.

        What no cache has is made ahead by the loader's workers; an error is raised at the part
        that it belongs to. Leaving the block ends the workers.

        Args:
            workers: 0 makes everything in this process.
        """
        missing = list(map(self._missing, parts))
        # Small pieces keep all workers busy and bring the first batch sooner.
        pieces = (new[at : at + PIECE] for new in missing for at in range(0, len(new), PIECE))
        largest = max(map(len, missing), default=0)
        if workers is None:
            items = sum(map(len, missing))
            workers = loader_workers(self._workers, self._backbone.device, items)
        ahead = BATCHES_AHEAD * -(-largest // PIECE)
        with loaded(self._made_of, pieces, workers, ahead=ahead) as made:
            one_by_one = chain.from_iterable(made)
            yield (
                self._of_part(part, new, list(islice(one_by_one, len(new))))
                for part, new in zip(parts, missing, strict=True)
            )

    def _missing(self, part: np.ndarray) -> np.ndarray:
        """The items of a part that no cache has."""
        if self._cache is None:
            return part
        has = np.array([self._cache.has(index) for index in part.tolist()], dtype=bool)
        return part[~has] if has.any() else part

    def measure(self, indices: np.ndarray) -> None:
        """Notes what happens to queries whose inputs came from a cache."""
        for index in indices.tolist():
            hit = self._corruption(index) is not None
            self._note(index, self._made_of([index])[0] if hit else _Made(np.empty(0)))

    def _of_part(self, part: np.ndarray, new: np.ndarray, made: Sequence[_Made]) -> list[Tensor]:
        rows: dict[int, Tensor] = {}
        for index, one in zip(new.tolist(), made, strict=True):
            rows[index] = torch.from_numpy(one.rows)
            if self._expand is None:  # torch's own memory: it is aligned otherwise than numpy's
                rows[index] = rows[index].clone()
            self._note(index, one)
            if self._cache is not None:
                self._cache.put(index, rows[index])
        found = [rows[i] if i in rows else self._cached(i) for i in part.tolist()]
        if self._expand is None:
            return found
        with one_thread():  # torch's others would spin on cores that loader workers need
            return [self._expand(row) for row in found]

    def _cached(self, index: int) -> Tensor:
        found = self._cache.get(index) if self._cache is not None else None
        # The disk may have refused what it had taken before.
        return torch.from_numpy(self._made_of([index])[0].rows).clone() if found is None else found

    def _note(self, index: int, made: _Made) -> None:
        if self._changes is not None:
            self._changes.note(index, made.changed, made.sizes)

    def _made_of(self, indices: Iterable[int]) -> list[_Made]:
        with one_thread():
            return [self._made(int(index)) for index in indices]

    def _made(self, index: int) -> _Made:
        item, hit = self.items[index], self._corruption(index)
        if hit is None:
            return _Made(self._unshifted(item).numpy())
        after = self._cleaned(hit.apply(item, index))
        made = self._make(after)
        if self._changes is None:
            return _Made(made.numpy(), True)
        plain = hit.untouched(item)
        found = sizes(self._cleaned(plain), after)
        same = [item] if plain is item else [item, plain]
        return _Made(made.numpy(), self._changed(found, made, same), found)

    def _changed(self, found: Mapping[str, float], made: Tensor, same: Sequence[Any]) -> bool:
        """Whether what the encoder gets differs from what it would get of unchanged items.

        Args:
            found: ``sizes`` of the change.
            same: items that count as unchanged.
        """
        if not any(found.values()):  # NaN, of arrays of another shape, is not 0
            return False
        seen = (size for name, size in found.items() if name != "text")
        if self.modality != "video" and any(size >= _PLAIN_TO_SEE for size in seen):
            return True
        return not any(torch.equal(made, self._unshifted(item)) for item in same)

    def _unshifted(self, item: Any) -> Tensor:
        return self._make(self._cleaned(item))

    def _cleaned(self, item: Any) -> Any:
        return item if self._clean_text is None else self._clean_text(item)


def _one_ahead(made: Iterator[Tensor], thread: ThreadPoolExecutor) -> Iterator[Tensor]:
    """The same batches; the next one is under way in a thread while the last one is used."""
    following = thread.submit(_on_one_thread, made)
    while (batch := following.result()) is not None:
        following = thread.submit(_on_one_thread, made)
        yield batch


def _on_one_thread(made: Iterator[Tensor]) -> Tensor | None:
    """The next batch: torch's other threads would wait for cores that loader workers need."""
    with one_thread():
        return next(made, None)
