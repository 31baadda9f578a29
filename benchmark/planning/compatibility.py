"""Compatibility: which shifts fit which queries, which backbones which tasks; loads nothing."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from benchmark.cell import CLEAN, BackboneSpec
from benchmark.data.datasets import ready_made
from benchmark.data.suite import BenchmarkCard
from benchmark.errors import UnknownNameError, did_you_mean
from benchmark.registry import BACKBONES, SHIFTS
from shifts.base import ShiftCard


def facts(shift: str) -> ShiftCard | ready_made.Corruption:
    """Modality and severities of a shift, also of one that exists ready-made only."""
    return SHIFTS.get(shift).card if shift in SHIFTS else ready_made.corruption(shift)


def why_not(card: BenchmarkCard, what: str | BackboneSpec) -> str:
    """Why a benchmark cannot be run with a shift or on a backbone; "" where it can.

    A backbone of which nothing is declared is taken to fit.
    """
    if isinstance(what, str):
        return _why_not_shift(card, what)
    if what.loader not in BACKBONES:
        return ""
    known = BACKBONES.info(what.loader).facts.get("modalities", ())
    if not known or {card.query, card.gallery} <= set(known):
        return ""
    return (
        f"backbone {what.loader!r} encodes {', '.join(known)}; {card.id!r} has {card.query} "
        f"queries and {card.gallery} items"
    )


def _why_not_shift(card: BenchmarkCard, shift: str) -> str:
    if shift == CLEAN:
        return ""
    modality = facts(shift).modality
    if card.setting == "QGS":
        return (
            f"shift {shift!r} does not fit benchmark {card.id!r}: there nothing is corrupted, the "
            f"data themselves are the shift; use {CLEAN!r}"
        )
    if modality in (card.query, "any"):
        return ""
    return f"shift {shift!r} works on {modality} queries; {card.id!r} has {card.query} ones"


def fitting_shifts(card: BenchmarkCard) -> str:
    """What can be used instead of a shift that does not fit, as the end of an error."""
    if card.setting == "QGS":
        return ""
    able = [name for name in SHIFTS.usable() if name != CLEAN and not why_not(card, name)]
    return f"; shifts that fit: {', '.join(able)}"


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
