"""A cell: one benchmark, backbone, method, shift, stream and seed; the unit of work and resume."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

SCHEMA_VERSION = 2
"""Raised when the layout of a stored record changes."""

STRICT = {"strict": True, "extra": "forbid", "revalidate_instances": "always"}
"""How stored cells and records are read: nothing is converted, nothing may be surplus."""


class Status(StrEnum):
    """How a cell ended. Only ``DONE`` counts as done."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"


CLEAN = "none"
"""Name of the shift that leaves queries alone; it has no severities to sweep."""

SOURCE = "source"
"""Name of the method that adapts nothing; it runs beside every other."""

DOMAIN = "domain"
"""Group key of queries that come from several real domains."""

FLOAT32 = "float32"
"""The precision that everything is computed in unless a backbone's spec says otherwise."""

EMBEDDED = "mini"
"""What names of embedded backbones begin with, and the preset that was tuned for them."""


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """Which dual encoder.

    Attributes:
        loader: registry name of the backbone loader ("mini", "open_clip", or a plugin's).
        model: model name within the loader ("ViT-B-16-quickgelu"; "" where there is only one).
        pretrained: tag, path of a local file, or "" (the loader's own weights).
        transform: image transform ("resize" = TCR's plain resize, "clip" = the model's own crop,
            "pad" = towards a square first).
        device: "cpu" or "cuda"; recorded, but not part of the identity.
        precision: number format of the encoder's matrix products (``precision.PRECISIONS``).
        compile: whether the query tower goes through ``torch.compile``.
    """

    loader: str = "mini"
    model: str = ""
    pretrained: str = ""
    transform: str = "resize"
    device: str = "cpu"
    precision: str = FLOAT32
    compile: bool = False

    @property
    def embedded(self) -> bool:
        """Whether it is one of this package's own encoders."""
        return self.loader.startswith(EMBEDDED)

    @property
    def model_name(self) -> str:
        """The model without the folder that it lies in: moved weights are the same weights."""
        place = self.model.removeprefix("local-dir:")
        if place == self.model and not place.startswith(("/", "~")):
            return self.model  # a name, or one on a hub
        return f"local-dir:{os.path.basename(os.path.normpath(place))}"

    def to_dict(self) -> dict[str, Any]:
        """A plain dict; the ordinary way of computing is left out: a new one moves no identity."""
        values = dataclasses.asdict(self)
        if self.precision == FLOAT32:
            del values["precision"]
        if not self.compile:
            del values["compile"]
        return values


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """Which method, with every option resolved to its final value.

    Attributes:
        name: registry name.
        preset: its name, followed by "+" and the names of options set by hand ("mini+lr,steps").
        options: all options of the method, defaults included.
        version: the method card's version.
        origins: option -> what it was chosen by or on, for those that are not the method's
            defaults: "published", "by hand", or the data that a preset was tuned on; recorded,
            but not part of the identity.
    """

    name: str
    preset: str
    options: Mapping[str, Any]
    version: int = 1
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return method_label(self.name, self.options)


def method_label(name: str, options: Mapping[str, Any]) -> str:
    """A method's name, with its bank, which decides what it may see, and whether it centres.

    A trained method that centres is a method of its own in tables: it is the centred twin of the
    one that does not, and another thing to beat.

    >>> method_label("nnn", {"bank": "past_queries", "k": 128})
    'nnn[past_queries]'
    >>> method_label("tcr", {"centre": True, "lr": 0.01})
    'tcr[centred]'
    """
    notes = [str(options["bank"])] if "bank" in options else []
    notes += ["centred"] if options.get("centre") is True else []
    return f"{name}[{', '.join(notes)}]" if notes else name


TRAIN, TRANSDUCTIVE = "train", "transductive"
"""Values of a method's option ``bank``: queries of the training split, all of the stream."""

READY_MADE = "ready_made"
"""The option that marks a shift's queries as ready-made in cells, rows and tables."""


@dataclass(frozen=True, slots=True)
class ShiftSpec:
    """Which shift ("none" for clean queries), with its options and its card's version."""

    name: str
    severity: int
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1

    @property
    def label(self) -> str:
        """Name and severity, as in ``contrast-5``."""
        return f"{self.name}-{self.severity}"

    @property
    def ready_made(self) -> bool:
        """Whether the queries are read from files instead of being generated."""
        return bool(self.options.get(READY_MADE))


STREAM_OPTIONS: dict[str, tuple[str, ...]] = {
    "continual": ("group_key",),
    "mixed": ("group_key",),
    "diverse": ("domains_per_batch", "group_key"),
    "correlated": ("group_key", "delta"),
}
"""Stream kind -> the fields of ``StreamSpec`` that are options of that kind alone."""


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """How queries arrive (docs/streams.md). The method is never reset within a stream.

    Attributes:
        kind: one of ``stream.KINDS``; "single" is one shift, shuffled by the seed.
        domains: the shifts of a stream that has several, in the order that matters to it; empty
            for "single" and "correlated", whose one shift is the cell's.
        domains_per_batch: how many of the domains each batch of a "diverse" stream holds.
        group_key: what a "correlated" stream is ordered by: a name in ``RetrievalSet.group_keys``;
            ``DOMAIN`` makes the data's own domains those of a stream of several.
        delta: concentration of a "correlated" stream; small means long runs of one group.
    """

    kind: str = "single"
    batch_size: int = 64
    domains: tuple[ShiftSpec, ...] = ()
    domains_per_batch: int = 2
    group_key: str = ""
    delta: float = 0.1

    def to_dict(self) -> dict[str, Any]:
        """What defines the stream, as a plain dict: fields that its kind does not use are left out.

        So a kind's new option leaves the identity of all other streams alone.
        """
        used = ("kind", "batch_size", *STREAM_OPTIONS.get(self.kind, ()))
        values = {name: getattr(self, name) for name in used}
        if not self.group_key:
            values.pop("group_key", None)
        if self.domains:
            values["domains"] = [dataclasses.asdict(domain) for domain in self.domains]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StreamSpec:
        domains = tuple(ShiftSpec(**domain) for domain in values.get("domains", ()))
        return cls(**{**values, "domains": domains})


@dataclass(frozen=True, slots=True)
class Cell:
    """One unit of work.

    Attributes:
        suite: name of the suite that the benchmark belongs to.
        benchmark: benchmark id.
        shift: what hits the queries; for a stream of several domains their ``stream.summary``,
            which only names them.
        seed: run seed; order of the stream, corruption and the method's own draws derive from it.
        limit: use only this many queries (a fixed subset), or None for all.
        data_root: the user's folder of data sets, "" for embedded data; not part of the identity.
    """

    suite: str
    benchmark: str
    backbone: BackboneSpec
    method: MethodSpec
    shift: ShiftSpec
    stream: StreamSpec = StreamSpec()
    seed: int = 0
    limit: int | None = None
    data_root: str = ""
    __pydantic_config__: ClassVar[Mapping[str, Any]] = STRICT

    @property
    def domains(self) -> tuple[ShiftSpec, ...]:
        """The shifts that hit the queries: those of the stream, or the cell's only one."""
        return self.stream.domains or (self.shift,)

    def to_dict(self) -> dict[str, Any]:
        """A plain nested dict, for JSON."""
        parts = {name: dataclasses.asdict(getattr(self, name)) for name in ("method", "shift")}
        parts |= {"backbone": self.backbone.to_dict(), "stream": self.stream.to_dict()}
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | parts

    def key(self, *, data_fingerprint: str, backbone_fingerprint: str) -> str:
        """Identity of the cell's result: 16 hex digits over everything that can change a number.

        Where the data lie and the device's name are left out; what the data and weights *are*
        comes in through the two fingerprints.
        """
        return key_of(
            self.to_dict(),
            data_fingerprint=data_fingerprint,
            backbone_fingerprint=backbone_fingerprint,
        )

    @property
    def unfinished_key(self) -> str:
        """The key under which the cell is stored while it has no result.

        It depends on the cell alone, so that there is one such record, whether or not data and
        weights could be loaded; no result can have it.
        """
        return self.key(data_fingerprint="", backbone_fingerprint="")

    def stem(self, key: str) -> str:
        """File name of the stored record, without suffix: readable prefix and the key."""
        kind = () if self.stream.kind == "single" else (self.stream.kind,)
        parts = (self.benchmark, *kind, self.shift.label, self.method.name, f"s{self.seed}")
        return file_name(parts, key)


def file_name(parts: Iterable[str], key: str) -> str:
    """What a file or folder is called: a readable prefix and a key that tells it from others."""
    text = "_".join("".join(c if c.isalnum() or c in "-." else "-" for c in p) for p in parts)
    # With what is added to it, also while a file is written, a name may have 255 bytes.
    return f"{text.encode()[:208].decode(errors='ignore')}_{key}"


def domain_labels(stream: StreamSpec, data: Mapping[str, Any]) -> list[str]:
    """What the domains of a stream are called: its shifts, or the names that the data have.

    Args:
        data: facts about the data (``RetrievalSet.info``), with ``domains`` where they have some.
    """
    if stream.domains:
        return [domain.label for domain in stream.domains]
    return list(data.get("domains", ())) if stream.group_key == DOMAIN else []


def data_identity(data: str, files: str = "", home: str = "", train: str = "") -> str:
    """What stands for a cell's data in its key.

    Args:
        data: fingerprint of the retrieval set.
        files: of the files that its shifts work with, "" for none.
        home: of another set that forgetting is measured on, "" for none.
        train: of the training queries in the method's bank, "" for none.
    """
    parts = (data, files, home and f"home:{home}", train and f"train:{train}")
    return "+".join(filter(None, parts))


def key_of(cell: Mapping[str, Any], *, data_fingerprint: str, backbone_fingerprint: str) -> str:
    """``Cell.key`` of a cell as ``Cell.to_dict`` or a stored record has it."""
    # Of weights that lie in a file the fingerprint stands for the content; a path says nothing.
    backbone = {k: v for k, v in cell["backbone"].items() if k not in ("device", "pretrained")}
    backbone["model"] = BackboneSpec(**cell["backbone"]).model_name
    identity = {
        **{name: value for name, value in cell.items() if name != "data_root"},
        "backbone": backbone,
        "method": {k: v for k, v in cell["method"].items() if k != "origins"},
        "data": data_fingerprint,
        "weights": backbone_fingerprint,
        "schema": SCHEMA_VERSION,
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Record:
    """What is stored of a cell, as one JSON file (numbers per query lie beside it as ``.npz``).

    docs/output.md lists the columns with their units.

    Attributes:
        key: the cell's identity (see ``Cell.key``); stored without a result, the cell's
            ``unfinished_key``.
        status: how it ended.
        cell: ``Cell.to_dict()``.
        reason: why, where the status is not "done" (for failures: exception type and message).
        info: suite, data and weights facts that a row must say: ``data_fingerprint``,
            ``backbone_fingerprint``, ``backbone_name``, ``queries``, ``gallery``,
            ``query_modality``, ``task``, ``embed_dim``; ``home`` (whose clean queries forgetting is
            measured on, "" where there is none), ``home_queries``, ``home_fingerprint``.
        metrics: ``R@1`` ... ``mAP`` (percent), forgetting, recall of each domain.
        probes: geometry of the embeddings, and methods' own means.
        cost: seconds by part, passes and memory.
        batches: one dict per batch: ``queries`` (count), ``R@1`` (of that batch, percent) and the
            method's log.
        environment: versions, git commit, CPU, threads, device, start time (UTC, ISO).
        schema: layout version of this record.
        arrays: SHA-256 of the numbers per query beside it, "" where there are none; set when it is
            stored.
        digest: SHA-256 of all of the above (see ``records.sealed``); set when it is stored.
    """

    key: str
    status: Status
    cell: Mapping[str, Any]
    reason: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    probes: Mapping[str, float] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    batches: tuple[Mapping[str, float], ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA_VERSION
    arrays: str = ""
    digest: str = ""
    __pydantic_config__: ClassVar[Mapping[str, Any]] = STRICT


class PartTexts:
    """Tells cells apart; each part is turned into text once, however many cells share it.

    A grid has thousands of cells made of a few parts. Turning every cell into text would take
    longer than all the rest of planning.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, str]] = {}

    def identity(self, cell: Cell) -> Hashable:
        """What two cells share if and only if they are the same cell.

        Where the data lie (``data_root``) does not count, as it does not for ``Cell.key``.
        """
        parts = (self.of(part) for part in (cell.method, cell.shift, cell.stream))
        return cell.suite, cell.benchmark, cell.backbone, *parts, cell.seed, cell.limit

    def of(self, part: MethodSpec | ShiftSpec | StreamSpec) -> str:
        """The part as text: equal parts have equal texts."""
        if id(part) not in self._known:
            plain = part.to_dict() if isinstance(part, StreamSpec) else dataclasses.asdict(part)
            # The part is kept too, so that its id stays its own.
            self._known[id(part)] = part, json.dumps(plain, sort_keys=True)
        return self._known[id(part)][1]


def unfinished(cell: Cell, key: str, status: Status, reason: str) -> Record:
    """The record of a cell that has no result, and why.

    Where no key is known (data or weights could not be loaded, a worker died before it told) it
    has the cell's ``unfinished_key``.
    """
    return Record(key or cell.unfinished_key, status, cell.to_dict(), reason)
