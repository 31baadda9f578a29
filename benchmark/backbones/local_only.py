"""Local model folders of open_clip whose configuration names other places or brings code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.backbones.checkpoint import CONFIG_FILE
from benchmark.errors import WeightsError

_TEXT_CONFIG = "config.json"
_REMEDY = "nothing is fetched for a local folder, and code that comes with a model is never run"


def text_config(config: Mapping[str, Any], folder: Path) -> Path | None:
    """The file that describes a text tower of Hugging Face's, where a folder's model has one.

    ``hf_model_name`` is a folder within the model's own, or a name on the hub whose configuration
    lies in the local cache. Of that place the configuration alone is read, never weights.

    Args:
        config: the model's part of ``open_clip_config.json``.
        folder: where that file lies.

    Raises:
        WeightsError: it is in neither place.
    """
    name = config["text_cfg"].get("hf_model_name")
    if not name:
        return None
    if (folder / name / _TEXT_CONFIG).is_file():
        return folder / name / _TEXT_CONFIG
    cached = _cached(str(name))
    if cached is not None:
        return cached
    raise WeightsError(
        f"{folder / CONFIG_FILE}: 'text_cfg.hf_model_name' is {name!r}, and {_REMEDY}; put that "
        f'model\'s {_TEXT_CONFIG} into {folder / "text"} and write "hf_model_name": "text"'
    )


def checked_config(config: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], list[bytes]]:
    """A folder's model configuration with every place in it on this machine.

    Args:
        config: the model's part of ``open_clip_config.json``.
        folder: where that file lies.

    Returns:
        The configuration to build the model from, and what its fingerprint has to hold besides.

    Raises:
        WeightsError: it names a model elsewhere, or code; says key, file and remedy.
    """
    timm = config["vision_cfg"].get("timm_model_name")
    if timm and not re.fullmatch(r"[\w.-]+", str(timm)):
        raise WeightsError(
            f"{folder / CONFIG_FILE}: 'vision_cfg.timm_model_name' is {timm!r}, and {_REMEDY}; "
            "write the architecture's plain name there (vit_base_patch16_224)"
        )
    if (config["text_cfg"].get("tokenizer_kwargs") or {}).get("trust_remote_code"):
        raise WeightsError(
            f"{folder / CONFIG_FILE}: 'text_cfg.tokenizer_kwargs' asks for 'trust_remote_code', "
            f"and {_REMEDY}; take it out"
        )
    file = text_config(config, folder)
    if file is None:
        return dict(config), []
    content = file.read_bytes()
    try:
        code = json.loads(content).get("auto_map")
    except (ValueError, AttributeError) as error:
        raise WeightsError(f"{file} is no model configuration ({error}); expected JSON") from None
    if code:
        raise WeightsError(f"{file}: 'auto_map' names code ({code}), and {_REMEDY}; take it out")
    return {**config, "text_cfg": {**config["text_cfg"], "hf_model_name": str(file.parent)}}, [
        content
    ]


def _cached(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, _TEXT_CONFIG)
    except HFValidationError:  # a path, or no name that a hub could have
        return None
    return Path(found) if isinstance(found, str) else None
