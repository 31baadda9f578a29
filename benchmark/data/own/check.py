"""What is understood of a user's own data: what ``queryshift data check --data TABLE`` says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmark.data.datasets.base import ClipPairs, ComposedQueries, DataSet, ImageTextPairs
from benchmark.data.datasets.check import Track, broken_files
from benchmark.data.own.load import Understood, read_own, understand
from benchmark.data.own.source import OwnSource, own_card
from benchmark.data.own.tables import open_table
from benchmark.data.retrieval import RetrievalSet
from benchmark.errors import DataError, shown


@dataclass
class Report:
    """What was understood.

    Attributes:
        facts: what and how much of it, as pairs of texts.
        problems: what a run would refuse, or what is doubtful.
    """

    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def check_own(source: OwnSource, track: Track) -> Report:
    """Reads everything, decodes every file, and runs nothing.

    Args:
        source: where the data lie.
        track: shows progress.

    Raises:
        DataError: a table that cannot be read at all.
    """
    found = understand(source)
    report = Report()
    report.facts["kind"] = found.task.replace("_", "-")
    report.facts["results"] = ", ".join(found.benchmarks)
    table = open_table(source.place, dict(source.columns))
    report.facts["columns"] = ", ".join(table.columns)
    report.facts["rows"] = f"{sum(map(len, table.chunks())):,}"
    data = _loaded(source, found, report)
    if data is not None:
        _describe(data, report)
        report.problems += broken_files(data, track)
    return report


def _loaded(source: OwnSource, found: Understood, report: Report) -> DataSet | RetrievalSet | None:
    """All of it; else what is there, with the reason among the problems."""
    card = own_card(found.benchmarks[0])
    assert card is not None
    for allow in (False, True):
        try:
            return read_own(card, source, allow_missing=allow)
        except DataError as error:
            if str(error) not in report.problems:
                report.problems.append(str(error))
    return None


def _describe(data: DataSet | RetrievalSet, report: Report) -> None:
    facts = report.facts
    if isinstance(data, RetrievalSet):
        lengths = np.diff(data.relevance.offsets)
        facts["queries"] = f"{len(data.queries):,} ({data.query_modality})"
        facts["gallery"] = f"{len(data.gallery):,} ({data.gallery_modality})"
        if data.labelled:
            facts["gallery"] += f", of which {data.info['distractors']:,} answer nothing"
            facts["answers per query"] = _spread(lengths)
            facts["grades"] = ", ".join(f"{grade:g}" for grade in data.info["grades"])
        _same_content("gallery items", data.gallery, report)
    else:
        facts |= {name: f"{count:,}" for name, count in data.counts.items()}
    if isinstance(data, ImageTextPairs):
        per_image = np.bincount(data.caption_image)
        facts[f"captions per {data.modality}"] = _spread(per_image)
        hashes = np.fromiter(map(hash, data.captions), dtype=np.int64, count=len(data.captions))
        rows = np.unique(np.stack([data.caption_image, hashes]), axis=1).shape[1]
        if rows < len(hashes):
            report.problems.append(
                f"{len(hashes) - rows:,} captions occur twice with the same {data.modality}; each "
                "counts as a caption of its own"
            )
        several = [text for text in data.captions if "\n" in text]
        if several:
            report.problems.append(
                f"{len(several):,} captions have several lines, such as {shown(several[0])}; each "
                "counts as one: several captions are rows, a list, or .0.txt, .1.txt in a shard"
            )
        _same_content(f"{data.modality}s", data.images, report)
        if data.identities is not None:
            facts["groups"] = f"{data.identities.max() + 1:,}"
    if isinstance(data, ComposedQueries):
        _same_content("images", data.images, report)
    if isinstance(data, ClipPairs):
        _same_content("sounds", data.audios, report)
    if names := data.info.get("domains"):
        facts["domains"] = ", ".join(names)
    _small(data, report)


def _small(data: DataSet | RetrievalSet, report: Report) -> None:
    sizes: Iterable[int] = (
        [len(data.gallery)] if isinstance(data, RetrievalSet) else data.counts.values()
    )
    if isinstance(data, RetrievalSet) and not data.labelled:
        return
    if min(sizes) < 10:
        report.problems.append(
            f"recall at 10 needs a gallery of at least 10 items; the smaller side has {min(sizes)}"
        )


def _same_content(what: str, items: Any, report: Report) -> None:
    digests = getattr(items, "digests", ())
    if more := len(digests) - len(set(digests)):
        first: dict[str, str] = {}
        pair = next(
            (first[digest], name)
            for name, digest in zip(items.ids, digests, strict=True)
            if first.setdefault(digest, name) != name
        )
        report.problems.append(
            f"{more:,} {what} have the content of another, such as {pair[0]!r} and {pair[1]!r}; "
            "give them one id, or one group"
        )


def _spread(counts: np.ndarray) -> str:
    low, middle, high = counts.min(), np.median(counts), counts.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}, median {middle:g}"
