"""CLIP-like models through open_clip: built-in architectures and local model folders."""

from __future__ import annotations

import copy
import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from torch import Tensor, nn

from benchmark.backbones import checkpoint
from benchmark.backbones.base import TwoTowers, check_device
from benchmark.backbones.places import CONFIG_FILE, PART, checked_config, fetched, parted
from benchmark.backbones.towers import image_tower, text_tower
from benchmark.backbones.transforms import image_transform
from benchmark.cell import BackboneSpec
from benchmark.errors import UnknownNameError, WeightsError, did_you_mean, reason_of
from methods.base import QueryEncoder

LOCAL_DIR = "local-dir:"
"""Prefix of a model name that means a folder, as in open_clip."""

HUB = "hf-hub:"
"""Prefix of a model name that means a model of open_clip's form on the hub."""

VOCABULARY_FILE = "bpe_simple_vocab.txt.gz"
"""A model folder may bring its own byte-pair merges under this name."""

Tokenizer = Callable[[list[str]], Tensor]


class OpenClipBackbone(TwoTowers):
    """A ``DualEncoder`` over an open_clip ``CLIP`` or ``CustomTextCLIP``, in float32 and eval mode.

    Args:
        model: the model, weights loaded; frozen and owned from now on.
        tokenizer: list of texts -> (B, context) int64 tokens.
        transform: (H, W, 3) uint8 array -> (3, S, S) float32 tensor.
        name: as shown in tables.
        fingerprint: see ``DualEncoder``.
        device: torch device string.
        taken: see ``TwoTowers``.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        transform: Callable[[Any], Tensor],
        *,
        name: str,
        fingerprint: str,
        device: str = "cpu",
        taken: str = "",
    ) -> None:
        model = model.float()
        super().__init__(
            {"image": image_tower(model), "text": text_tower(model)},
            {"image": transform, "text": lambda text: tokenizer([text])[0]},
            name=name,
            fingerprint=fingerprint,
            logit_scale=float(model.logit_scale.detach().exp()),  # type: ignore[operator]
            device=device,
            taken=taken,
        )


def load(spec: BackboneSpec) -> OpenClipBackbone:
    """Loads what a specification names.

    ``model`` is an open_clip name, with ``pretrained`` a tag or a local file ("file#entry" for one
    of several sets of weights in it); or a folder with ``open_clip_config.json`` and weights, given
    as model ``local-dir:/path`` or as ``pretrained``; or such a folder on the hub, ``hf-hub:NAME``.
    "#entry" may follow a folder or NAME, too; ``pretrained`` may be a file in place of its weights.

    Raises:
        UnknownNameError: no such architecture.
        WeightsError: weights are missing, unreadable, of another architecture, or trained with
            another activation function.
        ConfigError: unknown transform or device.
    """
    how = (spec.transform, spec.device)
    if spec.model.startswith(LOCAL_DIR):
        folder = Path(spec.model.removeprefix(LOCAL_DIR))
        return load_local_dir(folder, *how, weights=spec.pretrained)
    if spec.model.startswith(HUB):
        name, mark, entry = spec.model.removeprefix(HUB).partition(PART)
        folder = Path(f"{_from_hub(name)}{mark}{entry}")
        short = name.rpartition("/")[2]
        return load_local_dir(folder, *how, name=short, weights=spec.pretrained)
    given, part = parted(spec.pretrained)
    if spec.pretrained and (given / CONFIG_FILE).is_file():
        return load_local_dir(Path(spec.pretrained), *how, name=spec.model)
    check_device(spec.device)
    name = spec.model.replace("/", "-")
    config = open_clip.get_model_config(name) if name in open_clip.list_models() else None
    if config is None:
        raise UnknownNameError(
            f"unknown open_clip model {spec.model!r}"
            f"{did_you_mean(spec.model, open_clip.list_models())}; give a name that open_clip "
            "lists (MODEL=ViT-B-16-quickgelu), or a folder (MODEL=local-dir:/path)"
        )
    weights, tag = checkpoint.find_weights(name, spec.pretrained)
    quick = bool(config.get("quick_gelu", False))
    checkpoint.refuse_activation_mismatch(name, weights, quick, tag)
    model = build_model(config, name)
    taken = checkpoint.load_weights(model, weights, name, quick, part)
    tokenizer = _named_tokenizer(name, config)
    _check_vocabulary(tokenizer, model, name)
    return _assemble(
        model,
        tokenizer,
        config=config,
        preprocess=dict(tag),
        transform=spec.transform,
        name=name,
        device=spec.device,
        extra=_vocabulary(tokenizer),
        taken=taken,
    )


def _from_hub(name: str) -> Path:
    wanted = [CONFIG_FILE, "*.json", "*.txt", "*.model", *checkpoint.WEIGHT_FILES[:1]]
    folder = fetched(name, wanted)
    if not any((folder / file).is_file() for file in checkpoint.WEIGHT_FILES):
        folder = fetched(name, [*wanted, *checkpoint.WEIGHT_FILES])
    return folder


def load_local_dir(
    path: Path,
    transform: str = "resize",
    device: str = "cpu",
    *,
    name: str = "",
    weights: str = "",
) -> OpenClipBackbone:
    """Loads a folder with ``open_clip_config.json`` and weights (open_clip's local-dir scheme).

    A ``bpe_simple_vocab.txt.gz`` in the folder, in the form of open_clip's own file, replaces the
    standard byte-pair merges, for small models with a small vocabulary.

    Args:
        path: the folder, or "folder#entry" for one of several sets of weights in its file.
        transform: "resize" or "clip".
        device: torch device string.
        name: as shown in tables; the folder's name by default.
        weights: a file, or "file#entry", in place of the folder's own.

    Raises:
        WeightsError: files are missing, or they do not fit each other.
        ConfigError: unknown transform or device.
    """
    check_device(device)
    path, part = parted(str(path))
    if not path.is_dir():
        raise WeightsError(
            f"there is no model folder {path}; expected a folder with {CONFIG_FILE} "
            f"and {checkpoint.WEIGHT_FILES[0]}"
        )
    name = name or path.resolve().name
    file, part = parted(weights) if weights else (None, part)
    facts, file = checkpoint.find_in_folder(path, file)
    config = facts["model_cfg"]
    local, extra = checked_config(config, path)
    model = build_model(local, name)
    quick = bool(config.get("quick_gelu", False))
    taken = checkpoint.load_weights(model, file, name, quick, part)
    vocabulary = path / VOCABULARY_FILE
    if vocabulary.is_file():
        tokenizer = _own_tokenizer(vocabulary, config["text_cfg"])
        extra += [gzip.decompress(vocabulary.read_bytes())]  # the packed bytes hold a date
    else:
        tokenizer = _named_tokenizer(f"{LOCAL_DIR}{path}", config)
        extra += _vocabulary(tokenizer)
    _check_vocabulary(tokenizer, model, name)
    return _assemble(
        model,
        tokenizer,
        config=config,
        preprocess=dict(facts.get("preprocess_cfg") or {}),
        transform=transform,
        name=name,
        device=device,
        extra=extra,
        taken=taken,
    )


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
    config = open_clip.get_model_config(name) if name in open_clip.list_models() else None
    if config is None:
        raise UnknownNameError(
            f"unknown open_clip model {name!r}{did_you_mean(name, open_clip.list_models())}"
        )
    with torch.device("meta"):
        model = build_model(config, name)
    return {"image": image_tower(model), "text": text_tower(model)}


def _assemble(
    model: nn.Module,
    tokenizer: Tokenizer,
    *,
    config: Mapping[str, Any],
    preprocess: Mapping[str, Any],
    transform: str,
    name: str,
    device: str,
    extra: Sequence[bytes] = (),
    taken: str = "",
) -> OpenClipBackbone:
    merged = merge_preprocess_dict(asdict(PreprocessCfg()), dict(preprocess))
    merged["size"] = getattr(model.visual, "image_size", merged["size"])
    facts = {"model": config, "preprocess": merged, "transform": transform}
    return OpenClipBackbone(
        model,
        tokenizer,
        image_transform(transform, merged),
        name=name,
        fingerprint=checkpoint.fingerprint(facts, model, extra),
        device=device,
        taken=taken,
    )


def _named_tokenizer(name: str, config: Mapping[str, Any]) -> Tokenizer:
    wanted, local = config["text_cfg"].get("hf_tokenizer_name", ""), name.startswith(LOCAL_DIR)
    foreign = {"trust_remote_code": False, "local_files_only": local} if wanted else {}
    try:
        tokenizer: Tokenizer = open_clip.get_tokenizer(name, **foreign)
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
    return tokenizer


def _vocabulary(tokenizer: Any) -> list[bytes]:
    """What a tokenizer adds to the fingerprint; nothing where it is open_clip's own."""
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return []
    return [checkpoint.tokenizer_content(tokenizer.tokenizer)]


def _own_tokenizer(vocabulary: Path, text_cfg: Mapping[str, Any]) -> Tokenizer:
    try:
        tokenizer: Tokenizer = open_clip.SimpleTokenizer(
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
    return tokenizer


def _check_vocabulary(tokenizer: Any, model: nn.Module, name: str) -> None:
    """The tokens of another vocabulary would be out of range, or silently mean other words."""
    if isinstance(tokenizer, open_clip.SimpleTokenizer) and tokenizer.vocab_size != (
        entries := _entries(model)
    ):
        raise WeightsError(
            f"the tokenizer of {name} has {tokenizer.vocab_size} entries, its text tower "
            f"{entries}; a folder with its own vocabulary needs {VOCABULARY_FILE}"
        )


def _entries(model: Any) -> int:
    """Entries of a text tower's vocabulary; CoCa keeps the number within its text tower."""
    return int(model.vocab_size if hasattr(model, "vocab_size") else model.text.vocab_size)
