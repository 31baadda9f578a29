"""Where backbones are read from: files, folders and the hub's cache, told without loading any."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from benchmark.cell import BackboneSpec
from benchmark.config.files import user_path
from benchmark.errors import UnknownNameError, WeightsError, did_you_mean, reason_of, shown
from benchmark.registry import BACKBONES

CONFIG_FILE = "open_clip_config.json"
"""Of a model folder in open_clip's form."""

LOCAL_DIR = "local-dir:"
"""Prefix of a model name that means a folder, as in open_clip."""

_BY_NAME = ("open_clip", "weighted_sum")
"""Loaders whose model is a name and whose weights may be a tag."""

_BY_FOLDER = ("blip", "hf", "pe_av")
"""Loaders whose model is a folder or a name on a hub, with configuration and tokenizer."""

_SHARE = re.compile(r"@[^@/]*$")
"""The share of the reference image that a model of weighted_sum may end in."""

_TEXT_CONFIG = "config.json"
_REMEDY = "nothing is fetched for a local folder, and code that comes with a model is never run"

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
"""A model's name on the hub."""

HF_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
"""What ``hf`` looks for in the local cache; the oldest models have no owner."""

_VOLATILE = ("transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype")

POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS has not fetched."""

POINTED = "is a pointer of Git LFS and not the file itself: git lfs pull"

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


def check_name(loader: str, model: str) -> None:
    """Refuses a model that a backbone with models of its own does not have.

    Raises:
        UnknownNameError: says which there are.
    """
    models = BACKBONES.info(loader).facts.get("models")
    if models is None or model in ("", *models):
        return
    there = f"there are {', '.join(models)}" if models else f"it has one, so say {loader} alone"
    raise UnknownNameError(
        f"unknown model {model!r} of {loader}{did_you_mean(model, models)}; {there}"
    )


def check_path(spec: BackboneSpec) -> None:
    """Refuses a path at which nothing lies, and for ``hf`` a name that is not in the local cache.

    Raises:
        WeightsError: says which.
    """
    model = _SHARE.sub("", spec.model) if spec.loader == "weighted_sum" else spec.model
    for given in (model, spec.pretrained):
        path, _ = parted(given.removeprefix(LOCAL_DIR))
        named = given.startswith((LOCAL_DIR, "/", "./", "../", "~")) or given.count("/") > 1
        named |= spec.loader == "hf" and given != "" and not HF_ID.fullmatch(given)
        if named and not path.exists():
            raise WeightsError(
                f"there is no file or folder {path}; expected one for the backbone {spec.loader}"
            )
    source = spec.pretrained or model
    if spec.loader == "hf" and source and not user_path(source).exists():
        fetched(source, local=True, setting="--model hf:")


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
    if model.startswith(LOCAL_DIR):
        given, _ = parted(model.removeprefix(LOCAL_DIR))
        return [given, *_described_elsewhere(given)]
    if given is not None and given.is_dir():
        return [given, *_described_elsewhere(given)]
    if spec.loader in _BY_FOLDER:  # configuration and tokenizer lie with the model
        named = user_path(model) if model else None
        return [path for path in (given, named) if path is not None]
    if spec.loader in _BY_NAME and (given is None or not given.is_file()):
        from benchmark.backbones.checkpoint import cached_weights  # imports torch

        given = cached_weights(model, spec.pretrained)
    if given is not None and spec.loader in _BY_NAME:
        import open_clip

        config = open_clip.get_model_config(model.replace("/", "-")) or {}
        if "siglip" in model.lower() or "hf_tokenizer_name" in config.get("text_cfg", {}):
            return []  # its tokenizer is of a hub's cache
    return [] if given is None else [given]


def _described_elsewhere(folder: Path) -> list[Path]:
    """The configuration of a folder's text tower, where it may lie outside that folder."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["model_cfg"]
        found = text_config(config, folder)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, WeightsError):
        return []  # not a folder of open_clip's; what is wrong with one is said when it is loaded
    return [] if found is None else [found]


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
    with contextlib.suppress(WeightsError):
        inside = (folder / name).is_dir()
        place = folder / name if inside else fetched(str(name), [_TEXT_CONFIG], local=True)
        if (place / _TEXT_CONFIG).is_file():
            return place / _TEXT_CONFIG
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
    refuse_code(file)
    content = file.read_bytes()
    return {**config, "text_cfg": {**config["text_cfg"], "hf_model_name": str(file.parent)}}, [
        content
    ]


def refuse_pointers(folder: Path) -> None:
    """Refuses pointers of Git LFS beside the weights; as a vocabulary one would even load.

    Raises:
        WeightsError: says which file.
    """
    for file in sorted(folder.iterdir() if folder.is_dir() else ()):
        if file.suffix in (".json", ".txt", ".model", ".gz") and file.is_file():
            with file.open("rb") as opened:
                head = opened.read(len(POINTER))
            if head == POINTER:
                raise WeightsError(f"{file} {POINTED}")


def refuse_code(file: Path) -> None:
    """Refuses a model that comes with code, which another class would stand in for.

    Raises:
        WeightsError: the configuration names code; one that is absent or broken says so elsewhere.
    """
    try:
        code = json.loads(file.read_bytes()).get("auto_map")
    except (OSError, ValueError, AttributeError):
        return
    if code:
        raise WeightsError(
            f"{file}: 'auto_map' names code of the model's own "
            f"({', '.join(map(str, code)) if isinstance(code, dict) else shown(code)}), which is "
            "never run; if the class of transformers serves instead, take auto_map out"
        )


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


def model_folder(source: str, expected: str, files: Sequence[str], weights: Sequence[str]) -> Path:
    """The local folder of a model: a path, or a name on the hub, fetched into its cache.

    Args:
        source: what the user has given.
        expected: the message where it is neither.
        files: patterns of what is fetched.
        weights: patterns of files of weights; all but the first are fetched only where there is no
            such file.

    Raises:
        WeightsError: no such folder, or it could not be fetched.
    """
    folder = user_path(source)
    if folder.is_dir():
        return folder
    if not HUB_ID.fullmatch(source):
        raise WeightsError(expected)
    folder = fetched(source, [*files, *weights[:1]])
    if weights[1:] and not any(next(folder.glob(name), None) for name in weights):
        folder = fetched(source, [*files, *weights])
    return folder


def read_config(path: Path, what: str, keys: Sequence[str]) -> dict[str, Any]:
    """A model's configuration that has these keys, some within others ("model_cfg.text_cfg").

    Raises:
        WeightsError: it is none; says what is expected.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        for key in keys:
            found = reduce(getitem, key.split("."), config)
            if key.endswith(("_config", "_cfg", "_map")) and not isinstance(found, dict):
                raise ValueError(f"{key!r} is of another kind")
        return dict(config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path} is not {what} ({reason_of(error)}); expected JSON with "
            f"{', '.join(map(repr, keys))}"
        ) from None


def stable(values: Any) -> Any:
    """A configuration without what changes from one version of transformers to the next."""
    if isinstance(values, Mapping):
        return {key: stable(value) for key, value in values.items() if key not in _VOLATILE}
    return values
