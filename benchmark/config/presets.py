"""Options of methods and shifts, and presets: the published settings, or those tuned on data.

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

import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from benchmark.cell import MethodSpec
from benchmark.config.files import Document, read_document, user_path
from benchmark.config.validate import Place as At
from benchmark.config.validate import check, kinds_of, mapping
from benchmark.errors import ConfigError, reason_of, unknown

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


def preset_names() -> tuple[str, ...]:
    found = (path.stem for path in _FOLDER.glob("*.yaml") if path.name != _RULES.name)
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
    version: int = 1,
) -> MethodSpec:
    """A method with the final value of every option, and where the values come from.

    Args:
        preset: "published", the name of a shipped preset file, or the path of one.
        overrides: options set by hand, as text or typed; they win.
        version: of the method's card.

    Returns:
        A method that a preset does not speak of (one from a plugin, or one without anything to
        tune) runs on its published settings, and its label says "published".

    Raises:
        UnknownNameError: an option that the method has not.
        ConfigError: no such preset, a malformed preset file, or a value that does not fit.
    """
    if place.query not in MODALITIES:
        raise ConfigError(f"presets exist for {', '.join(MODALITIES)}, not {place.query!r}")
    label, chosen, origins = _chosen(method, options, preset, place)
    by_hand = dict(overrides or {})
    values = complete(options, {**chosen, **by_hand}, f"method {method!r}")
    origins |= dict.fromkeys(by_hand, BY_HAND)
    label = f"{label}+{','.join(sorted(by_hand))}" if by_hand else label
    return MethodSpec(method, label, values, version, origins)


def _chosen(
    method: str, options: type, preset: str, place: Place
) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Name of the preset that speaks of the method, its options and what each was chosen on."""
    seen: list[str] = []
    fixed: dict[str, Any] = {}
    while preset != PUBLISHED:
        if preset in seen:
            raise ConfigError(f"presets extend one another: {' -> '.join([*seen, preset])}")
        seen.append(preset)
        check_preset(preset)
        path = user_path(preset) if is_file(preset) else shipped_path(preset)
        document, data = read_preset(path)
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


def check_preset(preset: str) -> None:
    """Raises ConfigError for a preset that is neither shipped nor a file."""
    known = preset_names()
    if is_file(preset) and not user_path(preset).is_file():
        raise ConfigError(
            f"there is no preset file {preset}; queryshift tune --method NAME "
            f"writes one, and {', '.join(known)} are shipped"
        )
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
def _rules() -> Any:
    return read_document(_RULES).data["rules"]


def tuned(options: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    """Which options of a method were tuned and on what, as tables say it; "" without options.

    >>> tuned({"lr": 1, "steps": 3}, {"lr": "mini-validation", "steps": "by hand"})
    'lr on mini-validation; steps by hand'
    >>> tuned({"lr": 1}, {}), tuned({"lr": 1}, {"lr": "published"}), tuned({}, {})
    ('untuned', 'untuned (published lr)', '')
    """
    if not options:
        return ""
    by_origin: dict[str, list[str]] = {PUBLISHED: [], BY_HAND: []}
    for name, origin in sorted(origins.items()):
        by_origin.setdefault(origin, []).append(name)
    of_papers, hand = (", ".join(by_origin.pop(origin)) for origin in (PUBLISHED, BY_HAND))
    parts = [f"{', '.join(names)} on {origin}" for origin, names in sorted(by_origin.items())]
    said = "; ".join([*parts, *([f"{hand} by hand"] if hand else [])]) or "untuned"
    return f"{said} (published {of_papers})" if of_papers else said


def read_preset(path: Path) -> tuple[Document, dict[str, Any]]:
    """A preset file, checked for shape; whether the options exist is checked when used.

    Raises:
        ConfigError: not a preset file.
    """
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise ConfigError(f"{path} is not a preset file: {error}") from None


@functools.lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> tuple[Document, dict[str, Any]]:
    """Once for each state of the file: a sweep asks for every one of its variants."""
    document = read_document(path)
    return document, document.check(_KIND)


# Options of methods and shifts: a frozen dataclass with defaults, whose fields say what may stand
# there. All else is derived from that.


def option_names(options: type) -> tuple[str, ...]:
    """Names of the options that a dataclass declares, in order."""
    return tuple(field.name for field in dataclasses.fields(options) if field.init)


def attributes(described: Any) -> dict[str, str]:
    """The ``Attributes:`` section of a class's Google-style docstring as name -> text."""
    meanings: dict[str, str] = {}
    name = ""
    _, _, section = (inspect.getdoc(described) or "").partition("Attributes:\n")
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        indent = len(line) - len(line.lstrip())
        head, colon, text = line.strip().partition(":")
        if indent == 4 and colon and head.isidentifier():
            name = head
            meanings[name] = text.strip()
        elif name and line.strip():
            meanings[name] += " " + line.strip()
    return meanings


def applicable(options: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that the dataclass has a field for."""
    return {name: value for name, value in values.items() if name in option_names(options)}


def parse(
    options: type, values: Mapping[str, Any], owner: str, where: str | Callable[[At], str] = ""
) -> dict[str, Any]:
    """Converts the given values to their fields' types.

    Args:
        values: option name -> text (``"1e-3"``, ``"true"``) or an already typed value.
        owner: what they are options of, for messages ("method 'tent'").
        where: file and line, as ``validate.check`` takes it.

    Raises:
        UnknownNameError: no such option; says the nearest ones.
        ConfigError: a value of the wrong type or range.
    """
    parsed: dict[str, Any] = check(_kind(options), dict(values), where, owner=owner)
    return parsed


def complete(options: type, values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """All options as a plain dict: the given ones (see ``parse``), defaults for the rest.

    The dataclass is built once, so that its own checks speak.

    Raises:
        UnknownNameError: as ``parse``.
        ConfigError: as ``parse``, a value that the dataclass itself refuses or that cannot be
            stored, or an option that neither has a default nor is given.
    """
    parsed = parse(options, values, owner)
    for field in dataclasses.fields(options):
        bare = field.default is field.default_factory is dataclasses.MISSING
        if bare and field.init and field.name not in parsed:
            raise ConfigError(f"{owner}: option {field.name!r} has no default; give it a value")
    try:
        made = dataclasses.asdict(options(**parsed))
    except Exception as error:  # MethodError, ShiftError, and whatever a plugin's own check raises
        known = isinstance(error, TypeError | ValueError)
        raise ConfigError(f"{owner}: {error if known else reason_of(error)}") from None
    try:
        json.dumps(made, allow_nan=False)  # they are stored, and part of a result's identity
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{owner}: its options cannot be stored as JSON ({error}); expected finite numbers, "
            "texts, truth values, lists and mappings (a function that makes the method, lambda "
            "setup: Mine(setup, ...), may hold anything in evaluate)"
        ) from None
    return made


@functools.lru_cache(maxsize=256)
def _kind(options: type) -> Any:
    try:
        return mapping(kinds_of(options))
    except Exception as error:  # a plugin's annotation may name anything
        name = f"{options.__module__}.{options.__qualname__}"
        raise ConfigError(f"the types of the options {name} cannot be read: {error}") from None
