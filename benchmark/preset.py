"""Presets of method options: the published values, or those tuned for the embedded default.

``published`` is what each method's code has as defaults. Any other preset is a file
``presets/NAME.yaml``, written by the tuning command::

    about: one line (optional)
    image:                  # side of the queries
      tent: {lr: 0.002}     # method: options that differ from its defaults
    text:
      tent: {lr: 0.001}
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmark.errors import ConfigError, did_you_mean
from benchmark.options import complete, parse

PUBLISHED = "published"
"""The preset that needs no file: the defaults of each method's options."""

MODALITIES = ("image", "text", "video", "audio", "composed")

_FOLDER = Path(__file__).parent / "presets"


def preset_names(folder: Path = _FOLDER) -> tuple[str, ...]:
    """Names of the presets that exist."""
    return (PUBLISHED, *sorted(path.stem for path in folder.glob("*.yaml")))


def resolve(
    method: str,
    options: type,
    preset: str,
    query_modality: str,
    overrides: Mapping[str, Any] | None = None,
    *,
    folder: Path = _FOLDER,
) -> tuple[dict[str, Any], str]:
    """The final value of every option of a method, and a label that says where they come from.

    Args:
        method: the method's name.
        options: its options dataclass.
        preset: "published", or the name of a preset file.
        query_modality: one of ``MODALITIES``.
        overrides: options set by hand, as text or typed; they win.
        folder: where preset files lie.

    Returns:
        Options, complete, and the label: the preset's name, followed by "+" and the names set by
        hand ("mini+lr,steps"). A method that a preset does not speak of (one from a plugin, or one
        without anything to tune) runs on its defaults, and its label says "published".

    Raises:
        UnknownNameError: an option that the method has not.
        ConfigError: no such preset, a malformed preset file, or a value that does not fit.
    """
    owner = f"method {method!r}"
    tuned = {} if preset == PUBLISHED else _tuned(preset, query_modality, folder).get(method)
    label = PUBLISHED if tuned is None else preset
    if tuned:
        parse(options, tuned, f"{owner} in {folder / f'{preset}.yaml'}")
    by_hand = dict(overrides or {})
    values = complete(options, {**(tuned or {}), **by_hand}, owner)
    return values, f"{label}+{','.join(sorted(by_hand))}" if by_hand else label


def _tuned(preset: str, query_modality: str, folder: Path) -> Mapping[str, Mapping[str, Any]]:
    path = folder / f"{preset}.yaml"
    if not preset.isidentifier() or not path.is_file():
        known = preset_names(folder)
        advice = (
            "; run 'make tune' to write it, or use PRESET=published" if preset == "mini" else ""
        )
        raise ConfigError(
            f"there is no option preset {preset!r}{did_you_mean(preset, known)} ({path}); "
            f"known: {', '.join(known)}{advice}"
        )
    data = read_preset(path)
    if query_modality not in MODALITIES:
        raise ConfigError(f"presets exist for {', '.join(MODALITIES)}, not {query_modality!r}")
    return data.get(query_modality) or {}


def read_preset(path: Path) -> Mapping[str, Any]:
    """A preset file, checked for shape; whether the options exist is checked when used.

    Raises:
        ConfigError: not a preset file.
    """
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is not a preset file: {error}") from None


@functools.lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> Mapping[str, Any]:
    """Once for each state of the file: a sweep asks for every one of its variants."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping with {', '.join(MODALITIES)}")
    for key, methods in data.items():
        if key == "about":
            continue
        if key not in MODALITIES:
            raise ConfigError(
                f"{path}: unknown key {key!r}{did_you_mean(str(key), MODALITIES)}; "
                f"expected {', '.join(MODALITIES)} or about"
            )
        if not isinstance(methods, dict) or not all(
            isinstance(name, str) and isinstance(options, dict | None)
            for name, options in methods.items()
        ):
            raise ConfigError(f"{path}: {key!r} must map methods to mappings of options")
        data[key] = {name: options or {} for name, options in methods.items()}
    return data
