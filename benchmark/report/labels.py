"""What to call the variants of a method, and places that share a name."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.report.pairs import CellResult

Setting = tuple[str, ...]
Variant = tuple[str, str, str]


def canonical(value: object) -> str:
    """A text that equal values share."""
    return json.dumps(value, sort_keys=True, default=str)


def variant_labels(results: Sequence[CellResult]) -> dict[tuple[Setting, Variant], str]:
    """What to call each variant at each place: as little as tells it from its siblings.

    The method's name alone where there is one variant; with the preset where presets differ; with
    the differing options otherwise.
    """
    siblings: dict[tuple[Setting, str], dict[Variant, Mapping[str, Any]]] = defaultdict(dict)
    for result in results:
        spec = result.record.cell["method"]
        options: Mapping[str, Any] = spec.get("options", {})
        facts = {**options, "version": spec.get("version", 1)}
        siblings[result.place, result.method][result.variant] = facts
    labels = {}
    for (place, name), variants in siblings.items():
        presets = {preset for _, preset, _ in variants}
        keys = sorted({key for facts in variants.values() for key in facts})
        telling = [k for k in keys if len({canonical(f.get(k)) for f in variants.values()}) > 1]
        for variant, values in variants.items():
            parts = [variant[1]] if len(presets) > 1 else []
            if len(presets) < len(variants):
                parts += [f"{key}={values.get(key)}" for key in telling]
            note = f" [{', '.join(parts)}]" if len(variants) > 1 else ""
            labels[place, variant] = name + note
    return labels


def told_apart(names: Mapping[Setting, tuple[str, CellResult]]) -> dict[Setting, str]:
    """A name for each place; with weights and a number where one name stands for several.

    Args:
        names: place -> its name, and any of its cells.
    """
    counts = Counter(name for name, _ in names.values())
    titles: dict[Setting, str] = {}
    for place, (name, cell) in names.items():
        weights = str(cell.record.info.get("backbone_fingerprint", ""))[:8]
        title = name if counts[name] == 1 else f"{name} ({weights})"
        same = sum(known == title or known.startswith(f"{title} #") for known in titles.values())
        titles[place] = f"{title} #{same + 1}" if same else title
    return titles
