"""CLIP-like models through open_clip: built-in architectures and local model folders."""

from __future__ import annotations

import copy
import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import torch
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from torch import nn

from benchmark.backbones import checkpoint
from benchmark.backbones.base import image_transform
from benchmark.backbones.places import (
    CONFIG_FILE,
    LOCAL_DIR,
    PART,
    checked_config,
    model_folder,
    parted,
    read_config,
    refuse_pointers,
)
from benchmark.backbones.towers import OpenClipBackbone, image_tower, text_tower
from benchmark.cell import BackboneSpec
from benchmark.errors import UnknownNameError, WeightsError, did_you_mean, reason_of
from methods.base import QueryEncoder

HUB = "hf-hub:"
"""Prefix of a model name that means a model of open_clip's form on the hub."""

VOCABULARY_FILE = "bpe_simple_vocab.txt.gz"
"""A model folder may bring its own byte-pair merges under this name."""


def load(spec: BackboneSpec) -> OpenClipBackbone:
    """Loads what a specification names.

    ``model`` is an open_clip name, with ``pretrained`` a tag or a local file ("file#entry" for one
    of several sets of weights in it); or a folder with ``open_clip_config.json`` and weights, given
    as model ``local-dir:/path`` or as ``pretrained``; or such a folder on the hub, ``hf-hub:NAME``.
    "#entry" may follow a folder or NAME, too; ``pretrained`` may be a file in place of its weights.

    A ``bpe_simple_vocab.txt.gz`` in a folder, in the form of open_clip's own file, replaces the
    standard byte-pair merges, for small models with a small vocabulary.

    Raises:
        UnknownNameError: no such architecture.
        WeightsError: weights are missing, unreadable, of another architecture, or trained with
            another activation function.
        ConfigError: unknown transform.
    """
    found = _named(spec)
    config, folder, name = found.config, found.folder, found.name
    model = build_model(found.built, name)
    quick = bool(config.get("quick_gelu"))
    taken = checkpoint.load_weights(model, found.weights, name, quick, found.part)
    if folder is not None and (vocabulary := folder / VOCABULARY_FILE).is_file():
        tokenizer = _own_tokenizer(vocabulary, config["text_cfg"])
        content = [gzip.decompress(vocabulary.read_bytes())]  # the packed bytes hold a date
    else:
        tokenizer = _named_tokenizer(name if folder is None else f"{LOCAL_DIR}{folder}", config)
        plain = isinstance(tokenizer, open_clip.SimpleTokenizer)  # open_clip's own adds nothing
        content = [] if plain else [checkpoint.tokenizer_content(tokenizer.tokenizer)]
    _check_vocabulary(tokenizer, model, name)
    merged = merge_preprocess_dict(asdict(PreprocessCfg()), dict(found.preprocess))
    merged["size"] = getattr(model.visual, "image_size", merged["size"])
    facts = {"model": config, "preprocess": merged, "transform": spec.transform}
    return OpenClipBackbone(
        model,
        tokenizer,
        image_transform(spec.transform, merged),
        name=name,
        fingerprint=checkpoint.fingerprint(facts, model, [*found.extra, *content]),
        device=spec.device,
        taken=taken,
    )


class _Found(NamedTuple):
    """What a specification names: a model's configuration and file of weights.

    Attributes:
        name: as shown in tables.
        config: open_clip's; ``built`` is the same with every place in it on this machine.
        weights: the file, and which ``part`` of it is meant.
        preprocess: open_clip's facts of it; its own defaults for what is missing.
        folder: that the model lies in, None for one that open_clip knows.
        extra: what the fingerprint has to hold besides.
    """

    name: str
    config: Mapping[str, Any]
    built: Mapping[str, Any]
    weights: Path
    part: str
    preprocess: Mapping[str, Any]
    folder: Path | None = None
    extra: Sequence[bytes] = ()


def _named(spec: BackboneSpec) -> _Found:
    given, part = parted(spec.pretrained)
    name, weights = "", given if spec.pretrained else None
    if spec.model.startswith(LOCAL_DIR):
        folder, entry = parted(spec.model.removeprefix(LOCAL_DIR))
    elif spec.model.startswith(HUB):
        name, _, entry = spec.model.removeprefix(HUB).partition(PART)
        files = [CONFIG_FILE, "*.json", "*.txt", "*.model"]
        expected = f"there is no model {name!r}; expected a name on the hub ({HUB}OWNER/NAME)"
        folder = model_folder(name, expected, files, checkpoint.WEIGHT_FILES)
        name = name.rpartition("/")[2]
    elif spec.pretrained and (given / CONFIG_FILE).is_file():
        folder, name, weights, entry = given, spec.model, None, part
    else:
        config, name = _known(spec.model), spec.model.replace("/", "-")
        file, tag = checkpoint.find_weights(name, spec.pretrained)
        checkpoint.refuse_activation_mismatch(name, file, bool(config.get("quick_gelu")), tag)
        preprocess = tag or checkpoint.usual_preprocessing(name)
        return _Found(name, config, config, file, part, preprocess)
    if not (folder / CONFIG_FILE).is_file():
        raise WeightsError(
            f"{folder} is not a model folder: {CONFIG_FILE} is missing; expected it beside one of "
            f"{', '.join(checkpoint.WEIGHT_FILES)}"
        )
    refuse_pointers(folder)
    keys = ("model_cfg", "model_cfg.embed_dim", "model_cfg.vision_cfg", "model_cfg.text_cfg")
    facts = read_config(folder / CONFIG_FILE, "a model configuration", keys)
    if weights is not None and not weights.is_file():
        raise WeightsError(f"there is no file of weights {weights}; the folder has its own without")
    config = facts["model_cfg"]
    built, extra = checked_config(config, folder)
    return _Found(
        name or folder.resolve().name,
        config,
        built,
        weights or checkpoint.weights_in(folder, checkpoint.WEIGHT_FILES),
        entry if weights is None else part,
        facts.get("preprocess_cfg") or {},
        folder,
        extra,
    )


def _known(model: str) -> Mapping[str, Any]:
    """The configuration of a built-in architecture.

    Raises:
        UnknownNameError: there is none.
    """
    name, names = model.replace("/", "-"), open_clip.list_models()
    config = open_clip.get_model_config(name) if name in names else None
    if config is None:
        raise UnknownNameError(
            f"unknown open_clip model {model!r}{did_you_mean(model, names)}; give a name that "
            "open_clip lists (MODEL=ViT-B-16-quickgelu), or a folder (MODEL=local-dir:/path)"
        )
    found: Mapping[str, Any] = config
    return found


def build_model(config: Mapping[str, Any], name: str) -> nn.Module:
    """Builds an architecture from open_clip's model configuration, without weights.

    open_clip's own factory is not used for this, because it also looks for weights, and falls back
    to random ones. The global random state is left as it was.

    Raises:
        WeightsError: not a valid configuration.
    """
    cfg = copy.deepcopy(dict(config))
    custom = cfg.pop("custom_text", False) or "hf_model_name" in cfg["text_cfg"]
    if "timm_model_name" in cfg["vision_cfg"]:
        cfg["vision_cfg"]["timm_model_pretrained"] = False
    if "hf_model_name" in cfg["text_cfg"]:
        cfg["text_cfg"]["hf_model_pretrained"] = False
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    if "multimodal_cfg" in cfg:
        kind = open_clip.CoCa  # its towers are used, its captioning decoder is not
    with torch.random.fork_rng(devices=[]):
        try:
            model: nn.Module = kind(**cfg)
        except Exception as error:  # asserts, missing libraries, unknown fields: open_clip's own
            raise WeightsError(
                f"open_clip cannot build {name} from its configuration ({reason_of(error)})"
            ) from None
    return model


def bare_towers(name: str) -> dict[str, QueryEncoder]:
    """The towers of a built-in architecture without weights, to look at their layers.

    Raises:
        UnknownNameError: no such architecture.
    """
    with torch.device("meta"):
        model = build_model(_known(name), name)
    return {"image": image_tower(model), "text": text_tower(model)}


def _named_tokenizer(name: str, config: Mapping[str, Any]) -> Any:
    wanted, local = config["text_cfg"].get("hf_tokenizer_name", ""), name.startswith(LOCAL_DIR)
    foreign = {"trust_remote_code": False, "local_files_only": local} if wanted else {}
    try:
        return open_clip.get_tokenizer(name, **foreign)
    except Exception as error:  # Hugging Face tokenizers: network, files, missing libraries
        remedy = "it needs its files in the local cache, or a network"
        if local:
            remedy = (
                f"'text_cfg.hf_tokenizer_name' of {CONFIG_FILE} says that the folder "
                "has it, so put its files there (tokenizer.json, tokenizer_config.json); nothing "
                "is fetched for a local folder, and code that comes with a model is never run"
            )
        raise WeightsError(
            f"the tokenizer {wanted!r} of {name} cannot be loaded "
            f"({type(error).__name__}: {str(error).partition(chr(10))[0]}); {remedy}"
        ) from None


def _own_tokenizer(vocabulary: Path, text_cfg: Mapping[str, Any]) -> Any:
    try:
        return open_clip.SimpleTokenizer(
            bpe_path=str(vocabulary),
            context_length=text_cfg.get(
                "context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH
            ),
            **(text_cfg.get("tokenizer_kwargs") or {}),
        )
    except (OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise WeightsError(
            f"{vocabulary} cannot be read ({reason_of(error)}); expected gzipped UTF-8 text, a "
            "header line and then one byte-pair merge per line"
        ) from None


def _check_vocabulary(tokenizer: Any, model: Any, name: str) -> None:
    """The tokens of another vocabulary would be out of range, or silently mean other words."""
    if not isinstance(tokenizer, open_clip.SimpleTokenizer):
        return
    # CoCa keeps the number within its text tower.
    entries = model.vocab_size if hasattr(model, "vocab_size") else model.text.vocab_size
    if tokenizer.vocab_size != entries:
        raise WeightsError(
            f"the tokenizer of {name} has {tokenizer.vocab_size} entries, its text tower "
            f"{entries}; a folder with its own vocabulary needs {VOCABULARY_FILE}"
        )
