"""Presets of method options: the published settings, or those tuned on validation data.

``published`` is what each method's code has as defaults, with the rules of ``presets/paper.yaml``
for single benchmarks, backbones and sides of the queries. Any other preset is a file: a shipped
``presets/NAME.yaml``, or the user's own by its path. The tuning command writes them::

    about: one line (optional)
    data: mini-validation   # what the options were chosen on (optional)
    extends: mini           # the preset of what the file does not speak of (optional)
    fixed:                  # options that are not tuned, on every side (optional)
      memo: {views: 8}
    image:                  # side of the queries
      tent: {lr: 0.002}     # method: options that differ from its defaults
    text:
      tent: {lr: 0.001}
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from benchmark.config.files import user_path
from benchmark.config.validate import applicable, complete, mapping, parse
from benchmark.config.yaml import Document, read_document
from benchmark.errors import ConfigError, unknown

PUBLISHED = "published"
"""The preset of the methods' defaults and the rules of ``presets/paper.yaml``."""

BY_HAND = "by hand"
"""Origin of an option that the user set."""

USER_FILE = "queryshift-preset.yaml"
"""Where the tuning command writes a user's preset, in the current folder."""

MODALITIES = ("image", "text", "video", "audio", "composed")

_FOLDER = Path(__file__).parent / "presets"
_RULES = _FOLDER / "paper.yaml"
_OPTIONS = Annotated[dict[str, Any], BeforeValidator(lambda options: options or {})]
_KIND = mapping(
    {
        **dict.fromkeys((*MODALITIES, "fixed"), dict[str, _OPTIONS]),
        **dict.fromkeys(("about", "data", "extends"), str),
    }
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a method runs, as far as its published settings depend on it.

    Attributes:
        query: modality of the queries, one of ``MODALITIES``.
        dataset: the benchmark's data set; several of an interleaved stream are joined by "+".
        backbone: name of the backbone's loader.
        batch_size: queries per batch.
    """

    query: str
    dataset: str = ""
    backbone: str = ""
    batch_size: int = 64


@dataclass(frozen=True, slots=True)
class Resolved:
    """The options of a method, and where they come from.

    Attributes:
        values: all options.
        label: the preset's name, followed by "+" and the names set by hand ("mini+lr,steps").
        origins: option -> what it was chosen by or on, for those that are not the defaults:
            ``PUBLISHED``, ``BY_HAND``, or the data that a preset was tuned on.
    """

    values: dict[str, Any]
    label: str
    origins: dict[str, str]


def preset_names(folder: Path = _FOLDER) -> tuple[str, ...]:
    found = (path.stem for path in folder.glob("*.yaml") if path.name != _RULES.name)
    return (PUBLISHED, *sorted(found))


def shipped_path(preset: str) -> Path:
    return (_FOLDER / f"{preset}.yaml").resolve()


def is_file(preset: str) -> bool:
    """Whether a preset is meant as the path of a file."""
    return preset.endswith((".yaml", ".yml"))


def resolve(
    method: str,
    options: type,
    preset: str,
    place: Place,
    overrides: Mapping[str, Any] | None = None,
    *,
    folder: Path = _FOLDER,
) -> Resolved:
    """The final value of every option of a method.

    Args:
        method: the method's name.
        options: its options dataclass.
        preset: "published", the name of a shipped preset file, or the path of one.
        place: where it runs.
        overrides: options set by hand, as text or typed; they win.
        folder: where preset files lie.

    Returns:
        A method that a preset does not speak of (one from a plugin, or one without anything to
        tune) runs on its published settings, and its label says "published".

    Raises:
        UnknownNameError: an option that the method has not.
        ConfigError: no such preset, a malformed preset file, or a value that does not fit.
    """
    owner = f"method {method!r}"
    if place.query not in MODALITIES:
        raise ConfigError(f"presets exist for {', '.join(MODALITIES)}, not {place.query!r}")
    label, chosen, origins = _chosen(method, options, preset, place, folder)
    by_hand = dict(overrides or {})
    values = complete(options, {**chosen, **by_hand}, owner)
    origins |= dict.fromkeys(by_hand, BY_HAND)
    label = f"{label}+{','.join(sorted(by_hand))}" if by_hand else label
    return Resolved(values, label, origins)


def _chosen(
    method: str, options: type, preset: str, place: Place, folder: Path
) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Name of the preset that speaks of the method, its options and what each was chosen on."""
    seen: list[str] = []
    fixed: dict[str, Any] = {}
    while preset != PUBLISHED:
        if preset in seen:
            raise ConfigError(f"presets extend one another: {' -> '.join([*seen, preset])}")
        seen.append(preset)
        path = _path(preset, folder)
        document, data = _read_preset(path)
        for side in ("fixed", place.query):
            where = functools.partial(document.where, at=(side, method))
            parse(options, data.get(side, {}).get(method, {}), f"method {method!r}", where)
        fixed = data.get("fixed", {}).get(method, {}) | fixed
        found = data.get(place.query, {}).get(method)
        if found is not None:
            origin = data.get("data") or path.stem
            origins = dict.fromkeys(fixed, BY_HAND) | dict.fromkeys(found, origin)
            return path.stem, fixed | found, origins
        preset = data.get("extends") or PUBLISHED
    found = applicable(options, published(method, place)) | fixed
    return PUBLISHED, found, dict.fromkeys(found, PUBLISHED) | dict.fromkeys(fixed, BY_HAND)


def _path(preset: str, folder: Path) -> Path:
    if is_file(preset):
        path = user_path(preset)
        if not path.is_file():
            raise ConfigError(
                f"there is no preset file {preset} (--preset); queryshift tune --method NAME "
                f"writes one, and {', '.join(preset_names(folder))} are shipped"
            )
        return path
    check_preset(preset, folder)
    return folder / f"{preset}.yaml"


def check_preset(preset: str, folder: Path = _FOLDER) -> None:
    """Raises UnknownNameError for a preset that is neither shipped nor meant as a file."""
    known = preset_names(folder)
    if not is_file(preset) and preset not in known:
        advice = "; 'make tune' writes it, PRESET=published needs none" if preset == "mini" else ""
        raise unknown("option preset", preset, known, f", or the path of a preset file{advice}")


def published(method: str, place: Place) -> dict[str, Any]:
    """What the rules of ``presets/paper.yaml`` say of a method in a place."""
    facts = {"query": place.query, "dataset": place.dataset, "backbone": place.backbone}
    found: dict[str, Any] = {}
    for rule in _rules():
        where = rule.get("where", {})
        if method in rule["methods"] and all(facts[k] in v for k, v in where.items()):
            found |= rule["options"]
    return {k: place.batch_size if v == "batch_size" else v for k, v in found.items()}


@functools.cache
def _rules() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = read_document(_RULES).data["rules"]
    return rules


def tuned(options: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    """Which options of a method were tuned and on what, as tables say it; "" without options.

    >>> tuned({"lr": 1, "steps": 3}, {"lr": "mini-validation", "steps": "by hand"})
    'lr on mini-validation; steps by hand'
    >>> tuned({"lr": 1}, {}), tuned({"lr": 1}, {"lr": "published"}), tuned({}, {})
    ('untuned', 'untuned (published lr)', '')
    """
    if not options:
        return ""
    by_origin: dict[str, list[str]] = {}
    for name, origin in sorted(origins.items()):
        by_origin.setdefault(origin, []).append(name)
    of_papers = ", ".join(by_origin.pop(PUBLISHED, []))
    hand = by_origin.pop(BY_HAND, [])
    parts = [f"{', '.join(names)} on {origin}" for origin, names in sorted(by_origin.items())]
    parts += [f"{', '.join(hand)} by hand"] if hand else []
    said = "; ".join(parts) or "untuned"
    return f"{said} (published {of_papers})" if of_papers else said


def read_preset(path: Path) -> Mapping[str, Any]:
    """A preset file, checked for shape; whether the options exist is checked when used.

    Raises:
        ConfigError: not a preset file.
    """
    return _read_preset(path)[1]


def _read_preset(path: Path) -> tuple[Document, dict[str, Any]]:
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise ConfigError(f"{path} is not a preset file: {error}") from None


@functools.lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> tuple[Document, dict[str, Any]]:
    """Once for each state of the file: a sweep asks for every one of its variants."""
    document = read_document(path)
    return document, document.check(_KIND)
