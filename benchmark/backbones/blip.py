"""BLIP retrieval through transformers: the two contrastive towers, never the matching head.

Li et al., "BLIP: Bootstrapping Language-Image Pre-training ...", ICML 2022. BLIP's own retrieval
figures re-rank the best candidates with its image-text matching head; the papers on test-time
adaptation score by the cosine of the projections alone, and so do we.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.constants import OPENAI_DATASET_MEAN as MEAN
from open_clip.constants import OPENAI_DATASET_STD as STD
from torch import Tensor, nn

from benchmark.backbones import blip_weights, checkpoint
from benchmark.backbones.base import TwoTowers, check_device
from benchmark.backbones.places import parted
from benchmark.backbones.transforms import image_transform
from benchmark.cell import BackboneSpec
from benchmark.config.files import user_path
from benchmark.errors import ConfigError, WeightsError, import_extra, reason_of
from methods.base import QueryEncoder

TEXT_TOKENS = 35
"""BERT word pieces of a text, class and end token included; the rest is cut (BLIP, TCR)."""

_VISION_FACTS = ("image_size", "patch_size", "num_attention_heads", "hidden_act", "layer_norm_eps")
_TEXT_FACTS = ("num_attention_heads", "hidden_act", "layer_norm_eps", "pad_token_id")
"""Settings that change embeddings and do not show in the weights' shapes."""


class BlipImageTower(QueryEncoder):
    """BLIP's ViT and its projection; ``forward`` takes (B, 3, S, S) float32 images.

    Adaptable are all LayerNorms: 38,400 scalars in ViT-B/16, 100,352 in ViT-L/16 (as in TCR).
    """

    def __init__(self, vision_model: nn.Module, projection: nn.Module) -> None:
        super().__init__()
        self.vision_model = vision_model
        self.projection = projection

    def forward(self, images: Tensor) -> Tensor:
        states = self.vision_model(pixel_values=images).last_hidden_state
        return F.normalize(self.projection(states[:, 0]).float(), dim=-1)


class BlipTextTower(QueryEncoder):
    """BLIP's BERT in text-only mode and its projection; ``forward`` takes (B, L) int64 tokens.

    Adaptable are all LayerNorms, as in TCR: 56,832 scalars. Of these 18,432 lie in cross-attention
    blocks, which a text-only pass does not run: they get no gradient and stay as they are.
    """

    def __init__(self, text_encoder: nn.Module, projection: nn.Module, pad_id: int) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.projection = projection
        self.pad_id = pad_id

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, D) float32 unit rows; padding is not attended to."""
        states = self.text_encoder(
            input_ids=tokens, attention_mask=(tokens != self.pad_id).long()
        ).last_hidden_state
        return F.normalize(self.projection(states[:, 0]).float(), dim=-1)

    def trimmed(self, tokens: Tensor) -> Tensor:
        """Cuts (B, L) tokens after the longest text of the batch."""
        if not len(tokens):
            return tokens
        return tokens[:, : int((tokens != self.pad_id).sum(dim=1).max())]


def load(spec: BackboneSpec) -> TwoTowers:
    """Loads what a specification names.

    ``model`` is a hub id (Salesforce/blip-itm-base-coco) or a local folder with ``config.json``,
    weights and tokenizer. ``pretrained`` may be such a folder, used instead, or one file of
    weights that takes the place of those of ``model``: an original BLIP checkpoint (.pth) or
    safetensors.

    Raises:
        WeightsError: transformers is missing; files are missing, cannot be fetched or read, or do
            not fit each other.
        ConfigError: unknown device, or another transform than "resize".
    """
    check_device(spec.device)
    if spec.transform != "resize":
        raise ConfigError(
            f"the blip backbone has one image transform, 'resize' (bicubic squeeze to its size), "
            f"not {spec.transform!r}"
        )
    what = "the blip backbone runs BLIP with transformers"
    package = import_extra("transformers", "blip", what, WeightsError)
    folder, weights, part = _sources(spec)
    settings = blip_weights.read_config(folder)
    config = _config(package, settings, folder)
    tokenizer = _tokenizer(package, folder, config)
    size, grid = _geometry(config)
    path = weights or checkpoint.weights_in(folder, blip_weights.WEIGHT_FILES)
    state, temperature, taken = blip_weights.read_original(path, grid, part)
    model = _build(package, config, folder)
    blip_weights.check_fit(model.state_dict(), state, path)
    model.load_state_dict(state, strict=False)  # strict but for the matching head, checked above
    image = BlipImageTower(model.vision_model, model.vision_proj)
    text = BlipTextTower(model.text_encoder, model.text_proj, tokenizer.pad_token_id)
    scale = math.exp(config.logit_scale_init_value) if temperature is None else 1 / temperature
    context = min(TEXT_TOKENS, config.text_config.max_position_embeddings)
    facts = {
        "loader": "blip",
        "vision": {key: getattr(config.vision_config, key) for key in _VISION_FACTS},
        "text": {key: getattr(config.text_config, key) for key in _TEXT_FACTS},
        "context": context,
        "transform": spec.transform,
        "logit_scale": f"{scale:.6g}",  # in neither tower, and methods compute with it
    }
    towers = nn.ModuleDict({"image": image, "text": text})
    resize = image_transform("resize", {"size": size, "mean": MEAN, "std": STD})
    return TwoTowers(
        {"image": image, "text": text},
        {"image": resize, "text": lambda words: _tokens(tokenizer, words, context)},
        name=_name(spec, folder, weights),
        fingerprint=checkpoint.fingerprint(
            facts, towers, [checkpoint.tokenizer_content(tokenizer)]
        ),
        logit_scale=scale,
        device=spec.device,
        taken=taken,
    )


def _tokens(tokenizer: Any, text: str, context: int) -> Tensor:
    """(context,) int64."""
    pieces = tokenizer(text, padding="max_length", truncation=True, max_length=context)
    return torch.tensor(pieces["input_ids"], dtype=torch.int64)


def _sources(spec: BackboneSpec) -> tuple[Path, Path | None, str]:
    """Folder of configuration and tokenizer, the weights' file if it is another one, its entry."""
    given, part = parted(spec.pretrained) if spec.pretrained else (None, "")
    if given is not None and given.is_dir():
        return given, None, part
    if given is not None and not given.is_file():
        raise WeightsError(
            f"there is no file or folder {spec.pretrained!r}; for the blip backbone PRETRAINED is "
            "a folder with configuration, weights and tokenizer, or an original checkpoint (.pth)"
        )
    if not spec.model:
        example = blip_weights.EXAMPLE
        wanted = (
            f"the file {spec.pretrained} holds weights only; name the model whose configuration "
            f"and tokenizer belong to it: model: {example} or a local copy of it"
            if given is not None
            else f"the blip backbone needs a model: model: {example}, or PRETRAINED=/path/to/folder"
        )
        raise WeightsError(wanted)
    return blip_weights.find_folder(spec.model), given, part


def _name(spec: BackboneSpec, folder: Path, weights: Path | None) -> str:
    if weights is not None:
        return weights.stem
    is_path = not spec.model or user_path(spec.model).is_dir()
    return folder.resolve().name if is_path else spec.model.rpartition("/")[2]


def _config(package: Any, settings: Mapping[str, Any], folder: Path) -> Any:
    try:
        return package.BlipConfig.from_dict(dict(settings))
    except Exception as error:  # transformers' validation raises classes of its own
        raise WeightsError(
            f"the configuration of {folder} is not valid ({reason_of(error)})"
        ) from None


def _build(package: Any, config: Any, folder: Path) -> Any:
    with torch.random.fork_rng(devices=[]):  # the first weights are drawn, then overwritten
        try:
            return package.BlipForImageTextRetrieval(config)
        except Exception as error:  # transformers' own
            raise WeightsError(
                f"transformers cannot build the BLIP model of {folder} ({reason_of(error)})"
            ) from None


def _geometry(config: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Image size in pixels and in patches, each (height, width)."""

    def pair(value: Any) -> tuple[int, int]:
        return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))

    size, patch = pair(config.vision_config.image_size), pair(config.vision_config.patch_size)
    return size, (size[0] // patch[0], size[1] // patch[1])


def _tokenizer(package: Any, folder: Path, config: Any) -> Any:
    files = " or ".join(blip_weights.TOKENIZER_FILES)
    if not any((folder / name).is_file() for name in blip_weights.TOKENIZER_FILES):
        raise WeightsError(f"{folder} has no tokenizer; expected {files} beside the configuration")
    try:
        tokenizer = package.BertTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # transformers' and tokenizers' own
        raise WeightsError(
            f"the tokenizer of {folder} cannot be read ({reason_of(error)}); expected BERT's "
            f"{files}"
        ) from None
    special = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
    entries, room = len(tokenizer), config.text_config.vocab_size
    # transformers gives tokens that the vocabulary lacks new numbers after its end
    known = {i for i in special if i != tokenizer.unk_token_id and i < tokenizer.vocab_size}
    if len(known) < 3 or entries > room:
        raise WeightsError(
            f"the tokenizer of {folder} has {entries} entries for a text tower of {room}, or no "
            "[PAD], [CLS] and [SEP]; it must be the one that belongs to the model"
        )
    return tokenizer
