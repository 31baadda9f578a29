"""Person search: IRRA's checkpoints of CLIP at 384 x 128, read without IRRA's code.

Jiang and Ye, "Cross-Modal Implicit Relation Reasoning and Aligning for Text-to-Image Person
Retrieval", CVPR 2023. Retrieval uses the two CLIP towers only; the cross-modal encoder and the
classifier serve training and are left out here.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN as MEAN
from open_clip.constants import OPENAI_DATASET_STD as STD
from PIL.Image import Resampling
from torch import Tensor

from benchmark.backbones import checkpoint
from benchmark.backbones.base import Staged, resized, staged
from benchmark.backbones.open_clip import build_model
from benchmark.backbones.places import check_name, parted
from benchmark.backbones.towers import OpenClipBackbone
from benchmark.backbones.weight_file import read_weights
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, WeightsError

logger = logging.getLogger(__name__)

IMAGE_SIZE = (384, 128)
"""Height and width in pixels; with patches of 16 the position grid is 24 x 8."""

VOCABULARY = 49_408
"""Entries of CLIP's vocabulary, kept by IRRA."""

HEAD_WIDTH = 64
"""Of every CLIP transformer; the number of heads is not in the weights."""

TEMPERATURE = 0.02
"""IRRA's fixed temperature of training; its checkpoints hold no learnt one."""

MODELS = {
    "irra": "IRRA, any training",
    "irra-cuhk": "IRRA trained on CUHK-PEDES (irra_cuhk_pedes.pth)",
    "irra-icfg": "IRRA trained on ICFG-PEDES (irra_icfg_pedes.pth)",
}
"""What may be asked for; the weights are the user's in any case."""

_TOWERS = "base_model."
_CROSS_MODAL = re.compile(
    r"(cross_attn|cross_modal_transformer|ln_pre_t|ln_pre_i|ln_post|mlm_head|classifier)\."
)
_BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.")


def load(spec: BackboneSpec) -> OpenClipBackbone:
    """Loads an IRRA checkpoint, ``pretrained``: a .pth as IRRA saves it, or safetensors.

    ``model`` is "" or one of ``MODELS``; it names the training that a benchmark is meant for.

    Raises:
        WeightsError: no file; unreadable; entries missing, unknown or of another shape.
        UnknownNameError: no such model.
        ConfigError: another transform than "resize".
    """
    if spec.transform != "resize":
        raise ConfigError(
            "the person_search backbone has one image transform, 'resize' (bilinear squeeze to "
            f"384 x 128), not {spec.transform!r}"
        )
    path, part = _file(spec)
    state, taken = _towers(path, part)
    name = spec.model or path.stem
    config = _configuration(state, path)
    model = build_model(config, name)
    said = f"{path} does not hold the two towers of an IRRA model"
    # IRRA trains with a fixed scale, some of its forks learn it.
    scale = state.get("logit_scale", torch.tensor(math.log(1 / TEMPERATURE)))
    scale = scale.reshape(()) if scale.numel() == 1 else scale
    checkpoint.fill(model, {**state, "logit_scale": scale}, said)
    tokenizer = person_tokenizer(config["text_cfg"]["context_length"])
    facts = {
        "loader": "person_search",
        "model": config,
        "preprocess": {"size": IMAGE_SIZE, "mean": MEAN, "std": STD, "filter": "bilinear"},
        "tokenizer": "CLIP's without the last merge",
        "left_out": "cross-modal encoder and classifier",
    }
    return OpenClipBackbone(
        model,
        tokenizer,
        person_transform(),
        name=name,
        fingerprint=checkpoint.fingerprint(facts, model),
        device=spec.device,
        taken=taken,
    )


def person_transform() -> Staged:
    """(H, W, 3) uint8 array -> (3, 384, 128) float32, squeezed with a bilinear filter."""
    squeeze = partial(resized, size=IMAGE_SIZE, filter=Resampling.BILINEAR)
    return staged([squeeze], MEAN, STD)


def person_tokenizer(context_length: int = 77) -> Any:
    """CLIP's tokenizer without its last merge, whose id IRRA gives to a mask token for training.

    All other ids stay, those of the start and end tokens too. The one word that the merge makes
    ("jekyll") comes out in two pieces; IRRA's own tokenizer fails on it.
    """
    tokenizer = open_clip.SimpleTokenizer(context_length=context_length)
    last = max(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    del tokenizer.bpe_ranks[last]
    del tokenizer.encoder["".join(last)]
    return tokenizer


def _file(spec: BackboneSpec) -> tuple[Path, str]:
    """The checkpoint, and the entry of it that the user names."""
    check_name("person_search", spec.model)
    what = MODELS[spec.model or "irra"]
    if not spec.pretrained:
        raise WeightsError(
            f"the person_search backbone needs a checkpoint of {what}, as its authors publish "
            "them: PRETRAINED=/path/to/checkpoint.pth; nothing is fetched here"
        )
    path, part = parted(spec.pretrained)
    if not path.is_file():
        raise WeightsError(f"there is no checkpoint {path}; expected a file of {what}")
    return path, part


def _towers(path: Path, part: str) -> tuple[dict[str, Tensor], str]:
    """The towers' entries under CLIP's names; what else IRRA is known to hold is left out."""
    state, taken = read_weights(path, part)
    towers = {k.removeprefix(_TOWERS): v for k, v in state.items() if k.startswith(_TOWERS)}
    if not towers:
        raise WeightsError(
            f"{path} is no IRRA checkpoint: none of its {len(state)} entries starts with "
            f"{_TOWERS!r} (the first is {next(iter(state))!r})"
        )
    rest = [key for key in state if not key.startswith(_TOWERS)]
    unknown = [key for key in rest if not _CROSS_MODAL.match(key)]
    if unknown:
        raise WeightsError(
            f"{path} is no IRRA checkpoint: {len(unknown)} entries are neither CLIP's towers nor "
            f"IRRA's cross-modal part, such as {unknown[0]!r}"
        )
    logger.info("%s: %d entries of IRRA's cross-modal part are left out", path.name, len(rest))
    return towers, taken


def _configuration(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """open_clip's configuration of the towers, from the shapes of their weights.

    Raises:
        WeightsError: a part is missing or of an impossible shape, or of another image size.
    """
    try:
        width, _, patch, _ = state["visual.conv1.weight"].shape
        positions, _ = state["visual.positional_embedding"].shape
        vocabulary, text_width = state["token_embedding.weight"].shape
        context, _ = state["positional_embedding"].shape
        _, embed = state["text_projection"].shape
    except (KeyError, ValueError) as error:
        raise WeightsError(
            f"{path} does not hold the two towers of an IRRA model: {error} is missing or of "
            "another shape; expected CLIP with a vision transformer"
        ) from None
    down, across = IMAGE_SIZE[0] // patch, IMAGE_SIZE[1] // patch
    if positions - 1 != down * across:
        raise WeightsError(
            f"{path} has {positions - 1} patch positions; images of 384 x 128 in patches of "
            f"{patch} have {down} x {across} = {down * across}: the checkpoint is for another "
            "image size or stride"
        )
    if vocabulary != VOCABULARY or width % HEAD_WIDTH or text_width % HEAD_WIDTH:
        raise WeightsError(
            f"{path} has a vocabulary of {vocabulary} and towers {width} and {text_width} wide; "
            f"expected CLIP's {VOCABULARY} entries and multiples of {HEAD_WIDTH}"
        )
    return {
        "embed_dim": embed,
        "quick_gelu": True,  # IRRA starts from OpenAI's weights
        "vision_cfg": {
            "image_size": list(IMAGE_SIZE),
            "layers": _layers(state, "visual."),
            "width": width,
            "head_width": HEAD_WIDTH,
            "patch_size": patch,
        },
        "text_cfg": {
            "context_length": context,
            "vocab_size": vocabulary,
            "width": text_width,
            "heads": text_width // HEAD_WIDTH,
            "layers": _layers(state, ""),
        },
    }


def _layers(state: Mapping[str, Tensor], side: str) -> int:
    found = [match for key in state if (match := _BLOCK.match(key))]
    return 1 + max((int(m[2]) for m in found if (m[1] or "") == side), default=0)
