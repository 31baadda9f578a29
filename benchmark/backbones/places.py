"""Where the built-in loaders read a backbone from: its files, told without loading anything."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmark.cell import BackboneSpec
from benchmark.config.files import user_path
from benchmark.errors import WeightsError

_BY_NAME = ("open_clip", "weighted_sum")
"""Loaders whose model is a name and whose weights may be a tag."""

_BY_FOLDER = ("blip", "hf", "pe_av")
"""Loaders whose model is a folder or a name on a hub, with configuration and tokenizer."""

_SHARE = re.compile(r"@[^@/]*$")
"""The share of the reference image that a model of weighted_sum may end in."""


PART = "#"
"""Between a file and the entry that the user wants of it."""


def parted(place: str) -> tuple[Path, str]:
    """A user's file or folder, and the entry of it that the user names, "" where none.

    >>> parted("/a/b.pt#state_dict_ema")
    (PosixPath('/a/b.pt'), 'state_dict_ema')
    """
    file, mark, part = place.rpartition(PART)
    whole = user_path(place)
    return (user_path(file), part) if mark and not whole.exists() else (whole, "")


def weight_files(spec: BackboneSpec) -> list[Path]:
    """The files that a backbone's fingerprint depends on, all of a folder's, sorted.

    An empty list stands for what is not known here: files that are not there, names on a hub, or
    a tokenizer of one.
    """
    places = _places(spec)
    if not all(place.exists() for place in places):
        return []
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place])]
    return sorted(file for file in files if file.is_file())


def _places(spec: BackboneSpec) -> list[Path]:
    """The files and folders that a built-in loader reads; none where it may ask a hub."""
    model, given = spec.model, parted(spec.pretrained)[0] if spec.pretrained else None
    if spec.loader == "weighted_sum":
        model = _SHARE.sub("", model)
    if model.startswith("local-dir:"):
        given, _ = parted(model.removeprefix("local-dir:"))
        return [given, *_described_elsewhere(given)]
    if given is not None and given.is_dir():
        return [given, *_described_elsewhere(given)]
    if spec.loader in _BY_FOLDER:  # configuration and tokenizer lie with the model
        named = user_path(model) if model else None
        return [path for path in (given, named) if path is not None]
    if spec.loader in _BY_NAME and (given is None or not given.is_file()):
        from benchmark.backbones.checkpoint import cached_weights  # imports torch

        given = cached_weights(model, spec.pretrained)
    if given is None or (spec.loader in _BY_NAME and _has_foreign_tokenizer(model)):
        return []
    return [given]


def _described_elsewhere(folder: Path) -> list[Path]:
    """The configuration of a folder's text tower, where it may lie outside that folder."""
    from benchmark.backbones.checkpoint import CONFIG_FILE  # imports torch
    from benchmark.backbones.local_only import text_config

    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["model_cfg"]
        found = text_config(config, folder)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, WeightsError):
        return []  # not a folder of open_clip's; what is wrong with one is said when it is loaded
    return [] if found is None else [found]


def _has_foreign_tokenizer(model: str) -> bool:
    """Whether a model of open_clip takes its tokenizer from a hub's cache."""
    import open_clip

    config = open_clip.get_model_config(model.replace("/", "-")) or {}
    return "siglip" in model.lower() or "hf_tokenizer_name" in config.get("text_cfg", {})
