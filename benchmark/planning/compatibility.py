"""What goes together: shifts with queries, backbones with tasks. Touches no data and no weights."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from benchmark.cell import BackboneSpec
from benchmark.data.suite import BenchmarkCard
from benchmark.errors import UnknownNameError, did_you_mean
from benchmark.planning.plan import fits, misfit
from benchmark.planning.specs import facts
from benchmark.registry import BACKBONES


def unfit(card: BenchmarkCard, shift: str) -> str:
    """Why a shift cannot be applied to the queries of a benchmark, or ""."""
    if fits(card, shift):
        return ""
    if card.setting == "QGS":
        return misfit(shift, [card])
    return (
        f"shift {shift!r} works on {facts(shift).modality} queries; "
        f"{card.id!r} has {card.query} ones"
    )


def cannot_encode(card: BenchmarkCard, backbone: BackboneSpec) -> str:
    """Why a backbone cannot do a benchmark's task, or "" (also where nothing is declared)."""
    if backbone.loader not in BACKBONES:
        return ""
    known = BACKBONES.info(backbone.loader).facts.get("modalities", ())
    if not known or {card.query, card.gallery} <= set(known):
        return ""
    return (
        f"backbone {backbone.loader!r} encodes {', '.join(known)}; {card.id!r} has {card.query} "
        f"queries and {card.gallery} items"
    )


def check_model(backbone: BackboneSpec) -> None:
    """Refuses a plain model name that open_clip does not know; does not import open_clip.

    Raises:
        UnknownNameError: no such model.
    """
    name = backbone.model
    if backbone.loader != "open_clip" or not name or set(name) & set(":/"):
        return
    known = _open_clip_models()
    if known and name not in known:
        raise UnknownNameError(
            f"unknown open_clip model {name!r}{did_you_mean(name, known)} "
            "(or give a backbone, backbone:model, or local-dir:/path)"
        )


@cache
def _open_clip_models() -> frozenset[str]:
    """Names of open_clip's own configurations, which are files of its package."""
    found = importlib.util.find_spec("open_clip")
    folders = [Path(place) for place in (found and found.submodule_search_locations) or ()]
    return frozenset(p.stem for folder in folders for p in folder.glob("model_configs/*.json"))
