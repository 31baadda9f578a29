"""Finding, reading and checking the weights of an open_clip model."""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from open_clip.pretrained import download_pretrained, get_pretrained_cfg
from torch import Tensor, nn

from benchmark.backbones.base import fingerprint as fingerprint  # where plugins look for it
from benchmark.backbones.places import CONFIG_FILE, parted
from benchmark.backbones.weight_file import read_weights
from benchmark.errors import WeightsError, amount, did_you_mean
from shifts.digests import digest_of

logger = logging.getLogger(__name__)

WEIGHT_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
)
"""Weight files looked for in a local folder, in order (open_clip's own preferred names)."""

_HUB_FILES = (WEIGHT_FILES[0], WEIGHT_FILES[2])
"""Weight files of a hub model whose tag names none, in open_clip's order."""

FRACTIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of weights that are read; of others (int8, float8) the scale is not known."""

_OPENAI_ONLY = ("input_resolution", "context_length", "vocab_size")
"""Entries that OpenAI's own checkpoints carry beside the weights, and nobody else's."""

_OPENAI_NAME = re.compile(r"(^|[^a-z])openai([^a-z]|$)")


def find_weights(model: str, pretrained: str) -> tuple[Path, Mapping[str, Any]]:
    """The weight file that ``pretrained`` means for a built-in architecture.

    Args:
        pretrained: path of a local file, or one of open_clip's tags, fetched into its cache.

    Returns:
        The file, and what open_clip knows about a tag (preprocessing, activation).

    Raises:
        WeightsError: nothing was given, no such file or tag, or the download failed.
    """
    tags = open_clip.list_pretrained_tags_by_model(model)
    expected = (
        f"expected a file of weights for {model} (PRETRAINED=/path/to/weights.safetensors) "
        f"or one of open_clip's tags: {', '.join(tags) or 'none for this model'}"
    )
    if not pretrained:
        raise WeightsError(f"model {model!r} needs weights; {expected}")
    path = parted(pretrained)[0]
    if path.is_file():
        return path, {}
    tag = get_pretrained_cfg(model, pretrained)
    if tag:
        try:
            return Path(download_pretrained(dict(tag))), tag
        except Exception as error:  # urllib, Hugging Face hub, files: each has its own classes
            raise WeightsError(
                f"the weights {pretrained!r} of {model} could not be fetched "
                f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); "
                "without a network give a local file: PRETRAINED=/path/to/weights.safetensors"
            ) from None
    if path.is_dir():
        raise WeightsError(f"{path} is a folder without {CONFIG_FILE}; {expected}")
    kind = "no such file" if "/" in pretrained or path.suffix else "no such file or tag"
    raise WeightsError(
        f"weights {pretrained!r}: {kind}{did_you_mean(pretrained, tags)}; {expected}"
    )


def usual_preprocessing(model: str) -> dict[str, Any]:
    """The facts of preprocessing that all tags of a name share, for a file of weights alone."""
    tags = [
        get_pretrained_cfg(model, tag) for tag in open_clip.list_pretrained_tags_by_model(model)
    ]
    return {
        key: value
        for key, value in (tags[0] if tags else {}).items()
        if key in ("mean", "std", "interpolation", "resize_mode")
        and all(tag.get(key) == value for tag in tags)
    }


def weights_in(folder: Path, names: Sequence[str]) -> Path:
    """The first of these files that a folder has.

    Raises:
        WeightsError: it has none.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(f"no weights in {folder}; looked for {', '.join(names)}")


def refuse_activation_mismatch(model: str, path: Path, quick: bool, tag: Mapping[str, Any]) -> None:
    """Refuses OpenAI-style weights under the plain model name, and the reverse.

    open_clip only warns about it and returns other numbers: the weights fit either activation.

    Raises:
        WeightsError: names the model that fits.
    """
    if tag:
        wanted = bool(tag.get("quick_gelu", False))
    elif any(_OPENAI_NAME.search(part.lower()) for part in path.parts[-4:]):
        wanted = True  # OpenAI trained all of its CLIP models with QuickGELU
    else:
        return
    if wanted == quick:
        return
    advice = f"{model}-quickgelu" if wanted else model.removesuffix("-quickgelu")
    raise WeightsError(
        f"{path.name} was trained with {'QuickGELU' if wanted else 'GELU'} activations, but "
        f"{model!r} uses {'QuickGELU' if quick else 'GELU'}: the embeddings would be wrong; "
        f"use MODEL={advice} (or rename the file, if 'openai' in its path does not mean that)"
    )


def load_weights(model: nn.Module, path: Path, name: str, quick: bool, part: str = "") -> str:
    """Reads a weight file into a model, strictly: same names, same shapes.

    Positions are not interpolated to another image size, unlike in open_clip, because that would
    be another model under the same name.

    Returns:
        Which entry of the file was taken, "" for a plain state dict.

    Raises:
        WeightsError: unreadable file, another architecture, or OpenAI's weights under a plain
            model name.
    """
    state, taken = read_weights(path, part)
    if any(key in state for key in _OPENAI_ONLY):
        refuse_activation_mismatch(name, path, quick, {"quick_gelu": True})
        state = {key: value for key, value in state.items() if key not in _OPENAI_ONLY}
    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    wanted = model.state_dict()
    for key in ("logit_scale", "logit_bias"):  # scalar in some releases, one element in others
        if key in state and key in wanted and state[key].numel() == wanted[key].numel():
            state[key] = state[key].reshape(wanted[key].shape)
    advice = (
        f"; give the file that belongs to {name}, or the model name that the file was made for "
        "(MODEL=...)"
    )
    fill(model, state, f"{path} does not hold weights of {name}", advice)
    return taken


def fill(model: nn.Module, state: Mapping[str, Tensor], said: str, advice: str = "") -> None:
    """Loads a state dict, strictly.

    Raises:
        WeightsError: names or shapes differ; what is ``said``, how, and the advice.
    """
    if problem := difference(model.state_dict(), state):
        raise WeightsError(f"{said}: {problem}{advice}")
    model.load_state_dict(state)


def difference(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """How two state dicts differ in names, shapes and kinds, with an example each, or "".

    Of numbers in place of fractions, what they were rounded with is not known: quantised weights.
    """
    missing = [key for key in wanted if key not in found]
    extra = [key for key in found if key not in wanted]
    both = [key for key in wanted if key in found]
    other = [key for key in both if wanted[key].shape != found[key].shape]
    foreign = [key for key in both if not _of_one_kind(wanted[key], found[key])]
    parts = []
    if missing:
        parts.append(f"{amount(len(missing), 'entry')} missing (such as {missing[0]!r})")
    if extra:
        parts.append(f"{len(extra)} unknown (such as {extra[0]!r})")
    if other:
        key = other[0]
        parts.append(
            f"{len(other)} of another shape (such as {key!r}: {tuple(found[key].shape)} instead "
            f"of {tuple(wanted[key].shape)})"
        )
    if foreign:
        value = found[key := foreign[0]]
        kind = f"{str(value.dtype).removeprefix('torch.')}, {value.layout}, on {value.device}"
        parts.append(f"{len(foreign)} of another kind (such as {key!r}: {kind})")
    return ", ".join(parts)


def _of_one_kind(wanted: Tensor, found: Tensor) -> bool:
    """Whether both hold fractions, or both whole numbers, and the second can be copied."""
    plain = found.layout is torch.strided and not found.is_meta and not found.is_quantized
    return plain and wanted.is_floating_point() == (found.dtype in FRACTIONS)


def tokenizer_content(tokenizer: Any) -> bytes:
    """What decides a transformers tokenizer's tokens: vocabulary, normalisation, special tokens.

    Part of a backbone's fingerprint: other files beside the same weights give other embeddings.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # one in Python: its vocabulary, and the file that it has read
        file = str(getattr(tokenizer, "vocab_file", None) or "")
        rules = {
            "vocabulary": sorted(tokenizer.get_vocab().items()),
            "file": digest_of(Path(file)) if os.path.isfile(file) else "",
        }
    else:
        rules = json.loads(backend.to_str())
        for state in ("padding", "truncation"):  # left there by the last call
            rules.pop(state, None)
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    sides = [getattr(tokenizer, name, "") for name in ("padding_side", "truncation_side")]
    return json.dumps([rules, special, sides], sort_keys=True).encode()


def cached_weights(model: str, tag: str) -> Path | None:
    """The file that a tag's weights lie in on this machine, or None; nothing is fetched."""
    facts = get_pretrained_cfg(model.replace("/", "-"), tag) or {}
    name, file = os.path.split(facts.get("hf_hub", ""))
    if name:
        # safetensors first, as open_clip looks for them
        names = [Path(file).with_suffix(".safetensors").name, file] if file else _HUB_FILES
        hub = importlib.import_module("huggingface_hub")
        found = (hub.try_to_load_from_cache(name, one) for one in names)
        return next((Path(path) for path in found if isinstance(path, str)), None)
    path = Path(os.path.expanduser("~/.cache/clip")) / os.path.basename(facts.get("url", ""))
    return path if path.is_file() else None
