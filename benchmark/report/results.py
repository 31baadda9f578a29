"""Results: a stored cell with its numbers per query, and what it is called.

A *setting* is everything that a cell and its source cell share: suite, benchmark, weights, data,
shift, stream and query limit. A *variant* is a method with its resolved options. At the end: which
shifts change nothing.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from benchmark.cell import CLEAN, Record, Status, method_label
from benchmark.config.presets import tuned
from benchmark.metrics.intervals import Comparison, paired_comparison
from methods import BUILTINS

Setting = tuple[str, ...]
Variant = tuple[str, str, str]
SECTIONS = ("metrics", "probes", "cost")
"""Parts of a record that hold its numbers."""


def canonical(value: object) -> str:
    """A text that equal values share."""
    return sys.intern(json.dumps(value, sort_keys=True, default=str))


_NO_NUMBERS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class CellResult:
    """A record with the numbers per query that lie beside it; empty where there are none.

    Attributes:
        record: the stored record.
        ranks: (Q,) whole numbers, rank of each query's best relevant item, from 1.
        group: (Q,) int64 cluster of each query, for intervals.
        order: (Q,) int64 positions in ``ranks``, in the order of the stream.
    """

    record: Record
    ranks: np.ndarray = field(default_factory=lambda: _NO_NUMBERS)
    group: np.ndarray = field(default_factory=lambda: _NO_NUMBERS)
    order: np.ndarray = field(default_factory=lambda: _NO_NUMBERS)

    @property
    def hits(self) -> np.ndarray:
        """(Q,) whether a relevant item is ranked first."""
        return np.asarray(self.ranks == 1)

    @property
    def done(self) -> bool:
        """Whether the cell ended well and has its numbers per query."""
        return self.record.status == Status.DONE and len(self.ranks) > 0

    @property
    def unlabelled(self) -> bool:
        """Whether nothing is known of its queries' answers, so that it has no recall."""
        return bool(self.record.info.get("unlabelled"))

    @property
    def coverage(self) -> float:
        """Percent of the queries that its shift changed; NaN for clean queries."""
        return float(self.record.probes.get("coverage", math.nan))

    @property
    def suite(self) -> str:
        return str(self.record.cell["suite"])

    @property
    def benchmark(self) -> str:
        return str(self.record.cell["benchmark"])

    @property
    def task(self) -> str:
        return str(self.record.info.get("task", ""))

    @property
    def backbone(self) -> str:
        """The model's name, that of its loader where the cell failed before it was read."""
        return str(self.record.info.get("backbone_name") or self.record.cell["backbone"]["loader"])

    @property
    def weights(self) -> str:
        """Fingerprint of the weights; "" where the cell failed before they were read."""
        return str(self.record.info.get("backbone_fingerprint", ""))

    @property
    def queries(self) -> int | None:
        """Number of queries, None where the cell failed before they were read."""
        return self.record.info.get("queries")

    @property
    def gallery(self) -> int | None:
        """Number of gallery items, as ``queries``."""
        return self.record.info.get("gallery")

    @property
    def options(self) -> Mapping[str, Any]:
        """The method's options, all of them."""
        found: Mapping[str, Any] = self.record.cell["method"].get("options", {})
        return found

    @property
    def version(self) -> int:
        """The method's version."""
        return int(self.record.cell["method"].get("version", 1))

    @property
    def method(self) -> str:
        """The method's name, with its bank and whether it centres (``method_label``)."""
        return method_label(str(self.record.cell["method"]["name"]), self.options)

    @property
    def preset(self) -> str:
        return str(self.record.cell["method"]["preset"])

    @property
    def by_hand(self) -> Mapping[str, Any]:
        """The options that were set by hand, which stand behind the preset's name."""
        names = self.preset.partition("+")[2].split(",")
        return {name: self.options[name] for name in names if name in self.options}

    @property
    def origins(self) -> Mapping[str, str]:
        """What the method's options were chosen by or on, where that is known."""
        found: Mapping[str, str] = self.record.cell["method"].get("origins", {})
        return found

    @property
    def tuned(self) -> str:
        """Which options of the method were tuned and on what; "" where it has none."""
        return tuned(self.options, self.origins)

    @property
    def shift(self) -> str:
        return str(self.record.cell["shift"]["name"])

    @property
    def severity(self) -> int:
        return int(self.record.cell["shift"]["severity"])

    @property
    def stream(self) -> str:
        """Kind of the stream."""
        return str(self.record.cell.get("stream", {}).get("kind", "single"))

    @property
    def severities(self) -> str:
        """The severity as text; where a stream has several, their range: "3-5", or "1-5-1"."""
        domains = self.record.cell.get("stream", {}).get("domains", ())
        found = sorted({int(domain["severity"]) for domain in domains})
        if len(found) < 2:
            return str(self.severity)
        ends = f"{found[0]}-{found[-1]}"
        return f"{ends}-{found[0]}" if self.stream == "gradual" else ends

    @property
    def named_shift(self) -> str:
        """The shift with its severity, where it has some."""
        return self.shift if self.shift == CLEAN else f"{self.shift} {self.severities}"

    @property
    def where(self) -> str:
        """Benchmark, shift and, where it is not the plain one, kind of the stream."""
        stream = "" if self.stream == "single" else f"{self.stream} "
        return f"{self.benchmark} / {stream}{self.named_shift}"

    @property
    def batch_size(self) -> int:
        return int(self.record.cell.get("stream", {}).get("batch_size", 0))

    @property
    def seed(self) -> int:
        return int(self.record.cell["seed"])

    @cached_property
    def _against(self) -> dict[str, Comparison]:
        return {}

    def against(self, source: CellResult) -> Comparison:
        """R@1 of this cell against that of its source cell; computed once for all tables."""
        key = source.record.key
        if key not in self._against:
            self._against[key] = paired_comparison(self.hits, source.hits, self.group)
        return self._against[key]

    @cached_property
    def variant(self) -> Variant:
        """Method name, preset and a canonical text of version and options."""
        rest = {"version": self.version, "options": self.options}
        return self.method, self.preset, canonical(rest)

    @cached_property
    def place(self) -> Setting:
        """The setting without the shifts: suite, benchmark, weights, data, stream, limit."""
        cell, info = self.record.cell, self.record.info
        stream = {k: v for k, v in cell.get("stream", {}).items() if k != "domains"}
        return (
            self.suite,
            self.benchmark,
            self.weights,
            str(info.get("data_fingerprint", "")),
            canonical(stream),
            canonical(cell.get("limit")),
        )

    @cached_property
    def setting(self) -> Setting:
        """Everything that a cell shares with its source cell, but for the seed."""
        spec = self.record.cell["shift"]
        rest = {"options": spec.get("options", {}), "version": spec.get("version", 1)}
        # Frost photographs, ready-made queries: other files are another shift of the same name.
        if files := self.record.info.get("shift_files"):
            rest["files"] = files
        if domains := self.record.cell.get("stream", {}).get("domains"):
            rest["domains"] = domains
        return (*self.place, self.shift, f"{self.severity:03d}", canonical(rest))


def method_rank(name: str) -> tuple[int, str]:
    """Sorting key of methods: built-ins in their declared order, then the others by name."""
    names, plain = list(BUILTINS), name.split("[")[0]
    return (names.index(plain) if plain in BUILTINS else len(names), name)


def variant_labels(results: Sequence[CellResult]) -> dict[tuple[Setting, Variant], str]:
    """What to call each variant at each place: as little as tells it from its siblings.

    The method's name alone where there is one variant; with the preset where presets differ; with
    the differing options otherwise. Where others were set by hand at another place, those: what is
    averaged over places has one label.
    """
    siblings: dict[tuple[Setting, str], dict[Variant, Mapping[str, Any]]] = defaultdict(dict)
    by_hand: dict[Variant, Mapping[str, Any]] = {}
    for result in results:
        facts = {**result.options, "version": result.version}
        siblings[result.place, result.method][result.variant] = facts
        by_hand[result.variant] = result.by_hand
    sets: dict[str, set[frozenset[str]]] = defaultdict(set)
    for (_, name), variants in siblings.items():
        sets[name].add(frozenset(canonical(by_hand[variant]) for variant in variants))
    labels = {}
    for (place, name), variants in siblings.items():
        presets = {preset for _, preset, _ in variants}
        keys = sorted({key for facts in variants.values() for key in facts})
        telling = [k for k in keys if len({canonical(f.get(k)) for f in variants.values()}) > 1]
        for variant, values in variants.items():
            parts = [variant[1]] if len(presets) > 1 else []
            told = set(telling) if len(presets) < len(variants) else set()
            told |= by_hand[variant].keys() if len(sets[name]) > 1 else set()
            parts += [f"{key}={values.get(key)}" for key in sorted(told)]
            labels[place, variant] = f"{name} [{', '.join(parts)}]" if parts else name
    return labels


def place_facts(cell: CellResult) -> list[str]:
    """What may tell a place from another one of the same benchmark and kind of stream."""
    suite, _, weights, data, _, limit = cell.place
    stream = cell.record.cell.get("stream", {})
    told = ("kind", "batch_size", "domains")
    return [
        cell.backbone,
        f"weights {weights[:8] or 'unknown'}",
        f"suite {suite}",
        f"limit {limit}".replace("null", "none"),
        f"batch {cell.batch_size}",
        ", ".join(f"{name} {value}" for name, value in stream.items() if name not in told),
        f"data {data[:8]}",
    ]


def tell_apart(parts: Sequence[Sequence[str]], always: int) -> list[str]:
    """A name for each sequence of parts: the first ``always`` ones, and what tells it apart.

    Further parts are added, in their order, to the names that are still the same and differ there.
    """
    names = [" · ".join(filter(None, row[:always])) for row in parts]
    for place in range(always, max(map(len, parts), default=0)):
        values: dict[str, set[str]] = defaultdict(set)
        for name, row in zip(names, parts, strict=True):
            values[name].add(row[place])
        names = [
            f"{name} · {row[place]}" if len(values[name]) > 1 else name
            for name, row in zip(names, parts, strict=True)
        ]
    return names


def told_apart(cells: Sequence[CellResult], *, shifts: bool) -> list[str]:
    """What tells rows apart that agree in all that their columns say; "" for all others.

    Args:
        cells: of each row any.
        shifts: whether a row is of one shift.
    """
    said = [
        canonical([*cell.place[:3], cell.stream, *([cell.shift, cell.severity] if shifts else [])])
        for cell in cells
    ]
    values = {cell.setting: _shift_facts(cell) if shifts else {} for cell in cells}
    keys = dict.fromkeys(key for of_one in values.values() for key in of_one)
    told = {at: [f"{key} {of_one.get(key)}" for key in keys] for at, of_one in values.items()}
    facts = [
        [name, *place_facts(cell), *told[cell.setting]]
        for name, cell in zip(said, cells, strict=True)
    ]
    names = tell_apart(facts, 1)
    return [name[len(row) + 3 :] for name, row in zip(names, said, strict=True)]


def _shift_facts(cell: CellResult) -> dict[str, Any]:
    """What the name and severity of a shift do not say; of a stream's domains by their label."""
    rest = json.loads(cell.setting[-1])
    domains = {f"{of.pop('name')}-{of.pop('severity')}": of for of in rest.pop("domains", ())}
    return {"domains": ", ".join(domains)} | domains | rest.pop("options", {}) | rest


K = TypeVar("K")


def place_names(places: Mapping[K, tuple[str, CellResult]]) -> dict[K, str]:
    """A name for each place, with what tells it apart where one name stands for several.

    Args:
        places: place -> its name, and any of its cells.
    """
    parts = [[name, *place_facts(cell)] for name, cell in places.values()]
    return dict(zip(places, numbered(tell_apart(parts, 1)), strict=True))


def numbered(names: Sequence[str], sign: str = " #") -> list[str]:
    """The names in order, from the second of the same on with a number."""
    before = [names[:at].count(name) for at, name in enumerate(names)]
    return [f"{name}{sign}{n + 1}" if n else name for name, n in zip(names, before, strict=True)]


NOTHING = "changed nothing"
LITTLE = 5.0
"""A shift that changes a smaller share of the queries (percent) is warned of."""
PARTS = ("image", "text")
"""Parts of composed queries that a shift changes, each or both."""


def most_shifted(
    results: Sequence[CellResult],
) -> tuple[list[CellResult], dict[Setting, list[str]]]:
    """The cells that stand for their benchmark: the shifted ones, where there are any.

    Of these, the ones whose shift changed nothing are left out, unless no other is finished.

    Returns:
        The cells, and for each place the shifts left out because they changed nothing.
    """
    shifted = [result for result in results if result.shift != CLEAN]
    done = [result for result in shifted if result.record.status == Status.DONE]
    empty = {r.setting for r in done} - {r.setting for r in done if r.coverage}  # NaN counts
    real = {result.place for result in done if result.setting not in empty}
    left_out: dict[Setting, list[str]] = defaultdict(list)
    counted = []
    for result in shifted:
        if result.setting not in empty or result.place not in real:
            counted.append(result)
        elif result.named_shift not in left_out[result.place]:
            left_out[result.place].append(result.named_shift)
    places = {result.place for result in shifted}
    unshifted = [result for result in results if result.place not in places]
    return [*counted, *unshifted], left_out
