"""The source model: its embeddings, where caches keep them, and its home data set."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from benchmark.backbones.base import check_alone, checked_rows
from benchmark.backbones.precision import PreciseBackbone
from benchmark.cell import CLEAN, TRAIN, TRANSDUCTIVE, Cell
from benchmark.data.datasets.base import Numbered
from benchmark.data.retrieval import RetrievalSet
from benchmark.errors import DataError
from benchmark.evaluation.cache import LRUCache
from benchmark.evaluation.environment import numerics
from benchmark.evaluation.loader import QueryInputs
from benchmark.evaluation.measures import Changes
from benchmark.evaluation.plugins import code_of, plugin_code
from benchmark.metrics.ranking import copies_of, gallery_of, rank, settled
from benchmark.metrics.recall import recall_at
from methods.base import NotApplicable, QueryEncoder
from shifts.base import Shift

if TYPE_CHECKING:
    from benchmark.evaluation.resources import Resources

SCHEMA = 3
"""Raised when the harness computes cached content in another way."""

BLOCK, TEXT_BLOCK = 16, 32
"""Items embedded at once outside the stream. Texts gain from larger blocks, most with several
threads; but they come in many lengths, each with a block that is not full."""

BY_GALLERY = "by gallery"
"""How banks are filled in advance; cells of the time when all galleries shared one had no word."""

LOADED_AT_ONCE = 64
"""Items outside the stream that a loader worker makes at once."""

RANKED_AT_ONCE = 64
"""Queries outside the stream that are ranked at once."""


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
        indices: (n,) of the items; at least one.

    Returns:
        (n, D) rows in the order of the indices, on the device that ``embed`` gives them.

    Raises:
        WeightsError: the first block's are none.
        DataError: those of some items have no direction.
    """
    known = Numbered()
    numbers = np.empty(len(indices), dtype=np.int64)
    waiting: dict[torch.Size, list[tuple[int, Tensor]]] = {}
    rows = torch.empty(0)  # by number: as soon as it is known what they are
    size = TEXT_BLOCK if inputs.modality == "text" else BLOCK

    def finish(block: list[tuple[int, Tensor]]) -> None:
        nonlocal rows
        members = [batch for _, batch in block]
        members += members[-1:] * (size - len(block))
        found = embed(batch := torch.cat(members))
        if not len(rows):
            found = checked_rows(found, batch, f"{inputs.modality} embeddings")
            if inputs.gallery:
                check_alone(embed, batch, found)
            rows = found.new_empty(len(indices), *found.shape[1:])
        rows[[number for number, _ in block]] = found.detach()[: len(block)]
        block.clear()

    parts = np.split(indices, range(LOADED_AT_ONCE, len(indices), LOADED_AT_ONCE))
    with inputs.prepared(parts) as loaded:
        for place, made in enumerate(row for part in loaded for row in part):
            content = hashlib.blake2b(f"{made.dtype} {tuple(made.shape)}".encode(), digest_size=16)
            content.update(made.contiguous().flatten().view(torch.uint8).numpy().data)
            before, numbers[place] = len(known), known.add(content.digest())
            if len(known) > before:
                batch = inputs.collated([made])
                block = waiting.setdefault(batch.shape, [])
                block.append((before, batch))
                if len(block) == size:
                    finish(block)
    for block in filter(None, waiting.values()):
        finish(block)
    if len(known) < len(indices):  # else they are in their own order
        rows = rows[torch.from_numpy(numbers).to(rows.device)]
    check_items(rows, inputs, indices)
    return rows


def check_items(rows: Tensor, inputs: QueryInputs, indices: np.ndarray) -> None:
    """Raises DataError, with the first one's id, for items whose rows are no unit rows."""
    lengths = rows.norm(dim=1)
    bad = indices[~((lengths > 0) & (lengths < torch.inf)).cpu().numpy()]
    if len(bad):
        raise DataError(
            f"{len(bad)} of {len(rows)} {inputs.modality} embeddings have no direction (NaN, "
            f"infinity or only zeros), that of {inputs.items.ids[bad[0]]!r} first: leave such "
            "items out, or mend the model; a narrow --precision can overflow"
        )


def check_queries(resources: Resources, cell: Cell, numbers: np.ndarray, batch: Tensor) -> None:
    """The same for a batch's queries, as the source model embeds them."""
    inputs = resources.inputs(cell)
    check_items(resources.backbone(cell).encode(inputs.modality, batch), inputs, numbers)


@torch.no_grad()
def recall_of_rows(rows: Tensor, queries: np.ndarray, data: RetrievalSet, gallery: Tensor) -> float:
    """R@1 (percent) from the (n, D) embeddings of n queries, by cosine similarity."""
    best = array("q")
    of_query = np.zeros(len(queries)) if data.sections is None else data.sections.of_query[queries]
    for section in map(int, np.unique(of_query)):
        places = np.flatnonzero(of_query == section)
        own = gallery[gallery_of(data, section)]
        copies = copies_of(own)
        for start in range(0, len(places), RANKED_AT_ONCE):
            part = places[start : start + RANKED_AT_ONCE]
            embedded = rows[torch.from_numpy(part).to(rows.device)].float().to(gallery.device)
            scores = settled(embedded @ own.T, copies)
            best.extend(int(found.min()) for found in rank(scores, data, queries[part], section))
    return recall_at(np.array(best), 1)


class Homes:
    """Homes of cells and their training queries, as the given resources tell them."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._found = LRUCache[Cell | None](256)
        self._rows = LRUCache[Tensor](1)
        self._missing: dict[tuple[str, str, str], str] = {}

    def of(self, cell: Cell) -> Cell | None:
        """The cell whose clean queries forgetting is measured on; None where there is none.

        It is the cell's own set where that is the source model's domain. Its limit says how many
        queries are used: a fixed draw of as many as the cell has, or of a share of them.
        """
        named = self.named(cell)
        if named is None and self._any(cell) is None:
            return None
        home = named or cell
        if self.why_missing(cell):
            return None
        try:
            size = len(self._resources.data(home).queries)
        except DataError as error:  # the user does not have it
            if named is None:
                raise
            self._missing[place_of(home)] = str(error)
            return None
        own = len(self._resources.queries(cell))
        wanted = -(-own // self._resources.clean_share(cell))
        if home is cell and wanted == own:
            return cell
        return replace(home, limit=wanted if wanted < size else None)

    def named(self, cell: Cell) -> Cell | None:
        """The cell of another set that is the home, whether the user has it or not; or None."""
        found = self._any(cell)
        return None if found is None or found.benchmark == cell.benchmark else found

    def why_missing(self, cell: Cell) -> str:
        """Why the set that the cell's home names could not be used, or an empty string."""
        named = self.named(cell)
        return "" if named is None else self._missing.get(place_of(named), "")

    def fingerprints(self, cell: Cell, of: Callable[[Cell], str] | None = None) -> tuple[str, str]:
        """What a cell's key says of its home, and of queries that its method's bank has in advance.

        "" where the home is all of the cell's own queries, or there is none. Cells that measure on
        all queries keep the keys that they had before there were shares.

        Args:
            of: the fingerprint of another set; by default the set is loaded for it.
        """
        if of is None:
            self.of(cell)  # finds out whether the user has the set

            def of(place: Cell) -> str:
                return self._resources.data(place).fingerprint

        named, training = self.named(cell), self.training(cell)
        share = self._resources.clean_share(cell)
        home, train = "", "" if training is None else f"{of(training)} {BY_GALLERY}"
        if cell.method.options.get("bank") == TRANSDUCTIVE:
            train = f"stream {BY_GALLERY}"
        if self._any(cell) is not None and not self.why_missing(cell):
            home = "" if named is None else of(named)
            home = home if share == 1 else f"{home}/{share}"
        return home, train

    def training(self, cell: Cell) -> Cell | None:
        """The cell whose clean queries fill the bank of this one's method.

        None where the method has no bank of training queries, or the benchmark names none.
        """
        banked = cell.method.options.get("bank") == TRAIN
        return self._resources.training_of(cell) if banked else None

    def training_rows(self, cell: Cell, section: int) -> Tensor:
        """(n, D) embeddings of the bank's clean training queries, a copy; kept for the next cell.

        Args:
            section: one of the cell's; the training set's section of that name counts alone, all
                of the set where it has no queries of one.

        Raises:
            NotApplicable: there are no training queries.
        """
        training = self.training(cell)
        if training is None:
            raise NotApplicable(
                f"benchmark {cell.benchmark!r} names no training queries for bank={TRAIN!r}; "
                "take another bank, such as past_queries"
            )
        data, queries = self._resources.data(training), self._resources.queries(training)
        key = data.fingerprint, training.limit, training.backbone
        rows = self._rows.get(
            key, lambda: self._resources.source_alone(training, queries, clean=True)
        )
        theirs, ours = data.sections, self._resources.data(cell).sections
        if theirs is None or ours is None or ours.names[section] not in theirs.names:
            return rows.clone()
        mine = theirs.of_query[queries] == theirs.names.index(ours.names[section])
        return rows[torch.from_numpy(mine)] if mine.any() else rows.clone()  # a limit may empty it

    def _any(self, cell: Cell) -> Cell | None:
        key = place_of(cell), cell.backbone, cell.stream.group_key  # real domains have none
        return self._found.get(key, lambda: self._resources.home_of(cell))


def query_encoder(resources: Resources, cell: Cell) -> QueryEncoder:
    """A fresh copy of the tower of a cell's queries, which has been tried on the first of them.

    Data and backbone that have passed are not tried again.

    Raises:
        QueryShiftError: its embeddings are none of the gallery's kind, or not near float32's.
    """
    data, backbone = resources.data(cell), resources.backbone(cell)
    encoder = backbone.query_encoder(data.query_modality)

    def passed() -> bool:
        precise = backbone if isinstance(backbone, PreciseBackbone) else None
        first = resources.queries(cell)[next(iter(resources.stream(cell))).queries]
        batch = resources.inputs(cell).batch(first if precise else first[:2])
        with torch.no_grad():
            rows = encoder(batch)
        if precise:
            precise.compare_queries(data.query_modality, batch, rows)
        width = resources.gallery(cell).shape[1]
        checked_rows(rows, batch, f"{data.query_modality} query embeddings", width)
        if not cell.backbone.compile:  # for one item alone it would compile anew
            check_alone(encoder, batch, rows)
        return True

    key = (data.fingerprint, backbone.fingerprint, backbone.device, cell.backbone)
    resources.tried.get(key, passed)
    return encoder


def place_of(cell: Cell) -> tuple[str, str, str]:
    """What decides the data of a cell."""
    return cell.suite, cell.benchmark, cell.data_root


def gallery_key(resources: Resources, cell: Cell) -> str | None:
    """Where the disk cache keeps a gallery's embeddings; None where that cannot be said."""
    return _key("gallery", _facts(resources, cell, resources.backbone(cell).device))


def inputs_key(resources: Resources, cell: Cell, *, clean: bool = False) -> str | None:
    """Where it keeps a cell's preprocessed queries, shifted or ``clean``; None as above."""
    if not resources.disk.max_bytes:
        return None
    facts: dict[str, Any] = {"queries": _digest(resources.queries(cell))}
    shifts: list[Shift] = []
    if not clean:
        for spec in cell.domains:
            if spec.name != CLEAN and not spec.ready_made:
                shifts.append(resources.make_shift(spec))
        facts |= {"files": resources.shift_files(cell), "seed": cell.seed}
        facts["domains"] = [asdict(domain) for domain in cell.domains]
        if cell.stream.domains:  # which query comes under which
            stream = resources.stream(cell)
            facts["assignment"] = _digest(stream.order, stream.shifts)
    # Made on the CPU, wherever they are encoded.
    return _key("queries", _facts(resources, cell, "cpu", *shifts), **facts)


def source_key(
    inputs: str | None, device: str, parts: Sequence[np.ndarray], *, alone: bool = False
) -> str | None:
    """Where it keeps the source model's embeddings of inputs; None where that cannot be said.

    Args:
        inputs: where the inputs lie; it stands for all that they depend on.
        device: torch device string of the encoder.
        parts: the queries of each batch: who shares a batch decides the last bits.
        alone: each query for itself, and ``parts`` only says which.
    """
    known = None if inputs is None else {"inputs": inputs.partition("-")[2]}
    facts = {"numerics": numerics(device), "parts": _digest(*parts), "alone": alone}
    return _key("source", known, **facts)


def changes_key(inputs: str | None) -> str | None:
    """Where it keeps what the shifts did to the queries of these inputs."""
    known = None if inputs is None else {"inputs": inputs.partition("-")[2]}
    return _key("changes", known, code=code_of(Changes))


def _key(kind: str, known: Mapping[str, Any] | None, **facts: Any) -> str | None:
    """The key of plain facts; equal facts, equal key, on every machine. None where none is known.

    Its digest has 32 hex digits.
    """
    if known is None:
        return None
    values = {**known, **facts, "what": kind, "schema": SCHEMA}
    text = json.dumps(values, sort_keys=True, default=str)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _facts(resources: Resources, cell: Cell, device: str, *shifts: Shift) -> dict[str, Any] | None:
    """What everything depends on; None where code takes part whose source cannot be found."""
    data, backbone = resources.data(cell), resources.backbone(cell)
    code = code_of(backbone, data.queries, data.gallery, data.clean_text, *shifts)
    if not code:
        return None
    # A plugin's loader gives objects of our classes, so its own code is none of theirs.
    loaders = {n: c for n, c in plugin_code(cell).items() if n.startswith(("backbone", "benchm"))}
    spec = asdict(cell.backbone) | {"model": cell.backbone.model_name}
    del spec["device"], spec["pretrained"]  # numerics and the fingerprint say them
    return {
        "data": data.fingerprint,
        "queries_are": data.query_modality,
        "gallery_is": data.gallery_modality,
        "backbone": backbone.fingerprint,
        "spec": spec,
        "numerics": numerics(device),
        "code": code,
        **loaders,
    }


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in arrays:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(part, dtype=np.int64).tobytes())
    return digest.hexdigest()
