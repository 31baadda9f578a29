"""What the loaders of other libraries' models have in common: names on the hub, their errors."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.errors import WeightsError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
"""A model's name on the hub."""

_VOLATILE = ("transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype")


def fetched(
    name: str,
    files: Sequence[str] | None = None,
    *,
    local: bool = False,
    setting: str = "PRETRAINED=",
) -> Path:
    """The folder of a model of the hub, in its cache.

    Args:
        name: as on the hub.
        files: patterns of those that are wanted; None for all.
        local: take what the cache has and fetch nothing.
        setting: how a copy's folder is given.

    Raises:
        WeightsError: it is not in the cache and cannot be fetched; says how to fetch it elsewhere.
    """
    hub = importlib.import_module("huggingface_hub")
    known: dict[str, Any] = {"allow_patterns": list(files)} if files else {}
    if local:
        known["local_files_only"] = True
    try:
        return Path(hub.snapshot_download(name, **known))
    except Exception as error:  # network, hub and file system: each has its own classes
        reason = (str(error).strip().splitlines() or ["no message"])[0][:200]
        tried = "" if local else f" and could not be fetched ({type(error).__name__}: {reason})"
        raise WeightsError(
            f"the model {name!r} is not in the local cache{tried}; where there is a network: "
            f"'hf download {name} --local-dir model', copy the folder here and give it: "
            f"{setting}/path/to/model"
        ) from None


def stable(values: Any) -> Any:
    """A configuration without what changes from one version of transformers to the next."""
    if isinstance(values, Mapping):
        return {key: stable(value) for key, value in values.items() if key not in _VOLATILE}
    return values


def said(error: Exception) -> str:
    """Class and message of a foreign error, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
