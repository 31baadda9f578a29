"""Runs one cell: contains what it raises, puts back what it changes, gives its record.

Setup, the stream batch by batch, and what is measured of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.backbones.base import DualEncoder
from benchmark.backbones.precision import matmul_precision
from benchmark.cell import CLEAN, DOMAIN, TRAIN, Cell, Record, Status, domain_labels, unfinished
from benchmark.data.retrieval import RetrievalSet
from benchmark.errors import DataError, reason_of
from benchmark.evaluation.callbacks import Callback, CallbackList
from benchmark.evaluation.environment import Clock, about, cost, counted, environment, start_peak
from benchmark.evaluation.isolation import Isolation, noticed, seed_globals
from benchmark.evaluation.measures import (
    OWN_NAMES,
    Answers,
    Candidates,
    candidates_of,
    changes,
    check_output,
    geometry,
)
from benchmark.evaluation.plugins import class_state, code_facts, foreign, memory_facts
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.source_model import (
    check_queries,
    embed_distinct,
    query_encoder,
    recall_of_rows,
)
from benchmark.evaluation.stream import Batch, derive_seed
from benchmark.evaluation.workers import frames_of
from benchmark.metrics import probes, ranking, recall
from methods.base import Diverged, Method, NotApplicable, Setup

Arrays = dict[str, np.ndarray]
"""Numbers per query of a finished cell, one row per query in ascending order of query index.

``query``: index in the retrieval set; ``best_rank`` (int64) and ``ap`` (float64): see ``metrics``
(without labels ``changed@1`` and ``changed@10`` instead: see ``candidates``);
``group``: its cluster; ``order``: positions in these arrays in the order of the stream, so
that ``best_rank[order]`` runs along the stream; ``domain``, only for streams of several domains:
which of them hit the query. All but ``ap`` are int64.
"""


def run_cell(
    cell: Cell, resources: Resources, *, progress: Callback | None = None
) -> tuple[Record, Arrays]:
    """Runs one cell.

    Whatever goes wrong in the cell becomes a record with status "failed" and the reason (for
    errors that are not the user's the last frames too, in ``info["frames"]``), so that a grid goes
    on; ``sys.exit`` too. Only the user's Ctrl-C passes through. What the cell did to this process
    is put back (see ``isolation``).

    Args:
        resources: data, weights and caches; kept for the next cell.
        progress: told of the start and of every batch.

    Returns:
        The record and, where the cell is done, its numbers per query (else an empty dict).

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C, whatever the cell made of it.
    """
    with noticed() as pressed:
        before = Isolation(foreign=bool(foreign(cell)))
        resources.disk.written.clear()  # from now on it is the cell's own
        try:
            record, arrays = _contained(cell, resources, progress, pressed)
        finally:
            broken, tainted = before.restore()
            if tainted:
                resources.forget()
        if pressed():
            raise KeyboardInterrupt
    if broken and record.status is not Status.SKIPPED:
        reason = (
            f"MethodError: the code of this cell (method {cell.method.name!r}) replaced "
            f"{', '.join(broken[:5])}, which all cells share; they were put back, and the cell "
            "does not count"
        )
        info = {name: value for name, value in record.info.items() if name != "embed_dim"}
        failed = unfinished(cell, record.key, Status.FAILED, reason)
        return replace(failed, info=info, environment=environment(cell.backbone.device)), {}
    return record, arrays


def _contained(
    cell: Cell, resources: Resources, progress: Callback | None, pressed: Callable[[], bool]
) -> tuple[Record, Arrays]:
    """The cell's record and arrays, whatever is raised in it."""
    key = ""
    info, facts = dict[str, Any](), dict[str, Any]()
    try:
        facts = environment(cell.backbone.device)
        key = resources.key(cell)
        info = about(cell, resources) | code_facts(cell)
        given = resources.data(cell).query_modality
        for domain in cell.domains:
            if domain.name != CLEAN and not domain.ready_made:
                needed = resources.make_shift(domain).card.modality
                if needed not in ("any", given):
                    raise NotApplicable(
                        f"shift {domain.name!r} works on {needed} queries; "
                        f"{cell.benchmark!r} has {given} ones"
                    )
        with matmul_precision(cell.backbone):
            done = CellRun(cell, resources, progress or CallbackList()).record(key, info, facts)
        if resources.shift_files(cell) != info.get("shift_files", ""):
            raise DataError(
                "the files that the shift works with have changed while the cell ran, so its "
                "result would belong to neither state; run again once nothing writes to them"
            )
        return done
    except BaseException as error:
        if pressed():
            raise KeyboardInterrupt from None
        if isinstance(error, NotApplicable):
            record = unfinished(cell, key, Status.SKIPPED, str(error))
        else:
            record = unfinished(cell, key, Status.FAILED, reason_of(error))
            info |= frames_of(error)
    return replace(record, info=info, environment=facts), {}


class CellRun:
    """One run of a cell, and what is kept of its stream."""

    def __init__(self, cell: Cell, resources: Resources, progress: Callback) -> None:
        self.cell, self.resources, self.progress = cell, resources, progress
        self.data: RetrievalSet = resources.data(cell)
        self.backbone: DualEncoder = resources.backbone(cell)
        self.clock = Clock(self.backbone.device)
        self.copies: dict[int, ranking.Copies | None] = {}  # of each section's gallery
        self.queries = resources.queries(cell)
        self.stream = resources.stream(cell)
        # Which shift hits each query, by position; the stream has it by place in its order.
        self.shifts = self.stream.shifts[np.argsort(self.stream.order)]
        own = cell.stream.group_key == DOMAIN
        self.domains = self.data.group_keys[DOMAIN][self.queries] if own else self.shifts
        self.domain_labels = domain_labels(cell.stream, self.data.info)
        self.answers: Answers | Candidates = Candidates(self.data, self.queries)
        if self.data.labelled:
            self.answers = Answers(self.data, self.queries)
        self.occurrences = probes.KOccurrences()
        self.embeddings = torch.empty(0)  # (Q, D) float32, in the order of the stream
        self.seen, self.batches = 0, list[dict[str, float]]()
        self.first_result = math.nan  # when the first batch was ranked, on time.perf_counter

    def record(
        self, key: str, info: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> tuple[Record, Arrays]:
        since = "cell" if start_peak(self.backbone.device) else "process"
        begun = time.perf_counter()
        with self.clock("gallery"):
            gallery = self.resources.gallery(self.cell)
        with self.resources.untouched(self.cell):
            with self.clock("setup"):
                method = self._method(gallery)
            state = class_state(type(method))
            with counted(method.encoder, self.clock) as passes:
                self._adapt(method, gallery)
            measured = self._probes(gallery)
            parts = {"domain": self.domains} if self.domain_labels else {}
            if self.data.sections is not None:
                parts["section"] = self.data.sections.of_query[self.queries]
            if isinstance(self.answers, Candidates):
                found = self.answers.metrics() | self._reference(method, self.answers)
            else:
                found = self.answers.metrics(parts, self.domain_labels)
                found |= self._forgetting(method)
                found |= self._first_domain(method, self.answers)
        self.clock.wait()
        record = Record(
            key=key,
            status=Status.DONE,
            cell=self.cell.to_dict(),
            info={**info, "embed_dim": gallery.shape[1], **memory_facts(type(method), state)},
            metrics=found,
            probes=measured,
            cost={
                "seconds": time.perf_counter() - begun,
                "seconds_to_first_result": self.first_result - begun,
                **cost(self.clock, passes, list(map(len, self.stream))),
            },
            batches=tuple(self.batches),
            environment={**facts, "peak_since": since},
        )
        return record, {
            "query": self.queries,
            **self.answers.arrays(),
            "group": np.asarray(self.data.groups, dtype=np.int64)[self.queries],
            "order": self.stream.order.astype(np.int64),
            **parts,
        }

    def _method(self, gallery: Tensor) -> Method:
        """The method, with the gallery of the stream's first batch."""
        cell, first = self.cell, next(iter(self.stream))
        encoder = query_encoder(self.resources, cell)
        seed = derive_seed("method", cell.seed, cell.benchmark, cell.shift.name)
        seed_globals(seed)
        setup = Setup(
            encoder=encoder,
            gallery=gallery[ranking.gallery_of(self.data, first.section)],
            logit_scale=self.backbone.logit_scale,
            generator=torch.Generator().manual_seed(seed),
        )
        return self.resources.make_method(cell.method, setup)

    def _adapt(self, method: Method, gallery: Tensor) -> None:
        labelled, inputs = self.data.labelled, self.resources.inputs(self.cell)
        self.progress.cell_started(self.cell, len(self.stream), len(self.queries))
        self.embeddings = torch.empty((len(self.queries), gallery.shape[1]), dtype=torch.float32)
        section = next(iter(self.stream)).section
        wanted = method.wants_source or not labelled
        source = self.resources.source_rows(self.cell) if wanted else None
        with inputs.batches([self.queries[batch.queries] for batch in self.stream]) as loaded:
            for batch in self.stream:
                own = gallery[ranking.gallery_of(self.data, batch.section)]
                if batch.section != section:
                    section = batch.section
                    method.use_gallery(own)
                if section not in self.copies:  # its first batch
                    self._fill_bank(method, section)
                with self.clock("data"):
                    queries = next(loaded)
                rows = None
                if source is not None:
                    with self.clock("source"):
                        rows = source(queries)
                        if method.wants_source:
                            method.use_source(rows if labelled else rows.clone())
                self._step(method, batch, queries, own, rows)

    def _fill_bank(self, method: Method, section: int) -> None:
        """Offers the queries to a section's gallery that are known before its first batch."""
        resources, cell = self.resources, self.cell
        if method.wants_stream:
            with self.clock("source"):  # noted only where it is used
                known, load = resources.source_rows(cell), resources.inputs(cell).batch
                mine = (self.queries[b.queries] for b in self.stream if b.section == section)
                method.use_stream(torch.cat([*map(known, map(load, mine))]))
        if cell.method.options.get("bank") == TRAIN:
            with self.clock("source"):
                method.use_training(resources.homes.training_rows(cell, section))

    def _step(
        self, method: Method, batch: Batch, queries: Tensor, gallery: Tensor, source: Tensor | None
    ) -> None:
        """Adapts on one batch, ranks it in its section's gallery and notes what came out.

        ``source`` are the batch's (B, D) embeddings under the source model, where they are known.
        """
        with self.clock("step"):
            output = method.step(queries)
        with self.clock("rank"):
            try:
                log = check_output(output, gallery, len(batch), lr="lr" in self.cell.method.options)
            except Diverged:  # unless it is the model's doing, before any adaptation
                check_queries(self.resources, self.cell, self.queries[batch.queries], queries)
                raise
            # The harness's own names come last: a method's log cannot displace them.
            log["queries"] = float(len(batch))
            if batch.section not in self.copies:
                self.copies[batch.section] = ranking.copies_of(gallery)
            copies = self.copies[batch.section]
            scores = ranking.settled(output.scores.detach(), copies)
            numbers = self.queries[batch.queries]
            shown = ranking.without_excluded(scores, self.data, numbers, batch.section)
            self.occurrences.add(shown, batch.section)
            if isinstance(self.answers, Answers):
                log |= self.answers.add(batch, scores)
            else:
                assert source is not None
                before = ranking.settled(source.float() @ gallery.T, copies)
                self.answers.add(batch, scores, before, copies)
        if not self.batches:  # ranks are on the host by now, on a GPU too
            self.first_result = time.perf_counter()
        start, self.seen = self.seen, self.seen + len(batch)
        self.embeddings[start : self.seen] = output.embeddings.detach()
        self.batches.append(log)
        self.progress.batch_done(self.cell, log)

    def _probes(self, gallery: Tensor) -> dict[str, float]:
        """Where the queries lie, how near to their answers (without labels: how unsure they are).

        And how many of them the shifts changed, by how much; nothing of clean ones.
        """
        embeddings, gallery = self.embeddings, gallery.cpu()
        self.embeddings = torch.empty(0)  # what follows embeds the clean queries
        logs = [{n: v for n, v in log.items() if not OWN_NAMES.match(n)} for log in self.batches]
        found = probes.log_means(logs)
        labels = [None if spec.name == CLEAN else spec.label for spec in self.cell.domains]
        if any(labels):
            with self.clock("data"):
                shifted = self.resources.changes(self.cell)
            found |= shifted.summary(self.shifts, labels)
        if self.data.labelled:
            order, relevance = self.queries[self.stream.order], self.data.relevance
            found["uniformity"] = probes.uniformity(embeddings)
            found["gap"] = probes.gap(embeddings, gallery)
            found["consistency"] = probes.consistency(embeddings, gallery, relevance, order)
        else:
            found |= geometry(embeddings, gallery, self.backbone.logit_scale)
        found["effective_rank"] = probes.effective_rank(embeddings)
        hubness = self.occurrences.skewness()
        if math.isfinite(hubness):  # not where every item occurs equally often
            found["hubness"] = hubness
        return found

    def _forgetting(self, method: Method) -> dict[str, float]:
        """R@1 on the clean queries of the source model's home; nothing where it has none."""
        home = self.resources.homes.of(self.cell)
        if home is None:
            return {}
        with self.clock("clean"):
            queries = self.resources.queries(home)
            before = self.resources.source_recall(home, queries, clean=True)
            same = self._as_source(method, home, queries[:1])
            after = before if same else self._recall(method, home, queries, clean=True)
        return {"clean_R@1_before": before, "clean_R@1_after": after, "forgetting": after - before}

    def _as_source(self, method: Method, home: Cell, few: np.ndarray) -> bool:
        """Whether a method without training embeds as the source: a hook or mode may differ."""
        if method.card.trains or getattr(method.embed, "__func__", None) is not Method.embed:
            return False
        inputs = self.resources.inputs(home, clean=True)
        embeds = method.embed, partial(self.backbone.encode, inputs.modality)
        return torch.equal(*(embed_distinct(embed, inputs, few) for embed in embeds))

    def _recall(
        self, method: Method, cell: Cell, queries: np.ndarray, *, clean: bool = False
    ) -> float:
        """R@1 (percent) of some of a cell's queries with the method as it is now."""
        resources = self.resources
        rows = embed_distinct(method.embed, resources.inputs(cell, clean=clean), queries)
        return recall_of_rows(rows, queries, resources.data(cell), resources.gallery(cell))

    def _reference(self, method: Method, candidates: Candidates) -> dict[str, float]:
        """Clean queries without labels: where they lie, and whose candidates the method changes.

        Where they are the cell's own queries before the shift, the shift is measured by whose
        candidates it changes. Nothing where there are no clean queries but the stream itself.
        """
        home = self.resources.homes.of(self.cell)
        shifted = any(domain.name != CLEAN for domain in self.cell.domains)
        if home is None or (home.benchmark == self.cell.benchmark and not shifted):
            return {}
        with self.clock("clean"):
            data, gallery = self.resources.data(home), self.resources.gallery(home)
            queries = self.resources.queries(home)
            rows = self.resources.source_alone(home, queries, clean=True)
            before = candidates_of(rows, gallery)
            inputs = self.resources.inputs(home, clean=True)
            after = candidates_of(embed_distinct(method.embed, inputs, queries), gallery)
        measured = geometry(rows, gallery, self.backbone.logit_scale)
        found = {f"clean_{name}": value for name, value in measured.items()}
        size = len(data.gallery)
        parts = {"clean": changes(after, before, size)}
        ids = (data.queries.ids, self.data.queries.ids)
        if list(ids[0]) == list(ids[1]) and list(data.gallery.ids) == list(self.data.gallery.ids):
            _, ours, theirs = np.intersect1d(self.queries, queries, return_indices=True)
            parts["shift"] = changes(candidates.source[ours], before[theirs], size)
        for kind, of_kind in parts.items():
            found |= {f"{kind}_{n}": float(100.0 * v.mean()) for n, v in of_kind.items()}
        return found

    def _first_domain(self, method: Method, answers: Answers) -> dict[str, float]:
        """R@1 on the queries of the first domain: source model, as they passed, adapted model.

        Left out of single ones: the source's own cell and the cell's R@1 say it.
        """
        if self.cell.stream.kind in ("single", "arrival"):
            return {}
        positions = np.flatnonzero(self.domains == self.domains.min())  # a limit may empty others
        queries = self.queries[positions]
        with self.clock("again"):
            before = self.resources.source_recall(self.cell, queries)
            after = self._recall(method, self.cell, queries)
        return {
            "first_domain_R@1_before": before,
            "first_domain_R@1_during": recall.recall_at(answers.best_rank[positions], 1),
            "first_domain_R@1_after": after,
        }
