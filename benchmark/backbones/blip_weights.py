"""Finding, reading and checking the files of a BLIP model: folders of transformers, and originals.

Nothing here imports transformers: configuration and weights are read by our own safe readers.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.backbones import checkpoint
from benchmark.backbones.places import HUB_ID, fetched
from benchmark.backbones.weight_file import read_weights
from benchmark.config.files import user_path
from benchmark.errors import WeightsError, reason_of

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")
_EXTRA_FILES = ("tokenizer_config.json", "special_tokens_map.json")

EXAMPLE = "Salesforce/blip-itm-base-coco"

_TRAINING_ONLY = re.compile(
    r"(visual_encoder|text_encoder|vision_proj|text_proj)_m\.|text_decoder\.|temp$"
    r"|(image_queue|text_queue|idx_queue|queue_ptr|ptr_queue)$"
)
"""Of an original checkpoint: momentum copies, captioning decoder, negatives, temperature."""

_ORIGINAL_NAMES = (
    ("visual_encoder.cls_token", "vision_model.embeddings.class_embedding"),
    ("visual_encoder.pos_embed", "vision_model.embeddings.position_embedding"),
    ("visual_encoder.patch_embed.proj.", "vision_model.embeddings.patch_embedding."),
    ("visual_encoder.norm.", "vision_model.post_layernorm."),
    ("visual_encoder.blocks.", "vision_model.encoder.layers."),
    (".attn.proj.", ".self_attn.projection."),
    (".attn.", ".self_attn."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
)
"""Parts of names of BLIP's own image tower and what transformers calls them, in this order."""

_POSITIONS = "vision_model.embeddings.position_embedding"


def find_folder(name: str) -> Path:
    """The local folder of a model: a path, or a hub id, fetched into the hub's cache.

    Only configuration, tokenizer and weights are fetched; weights as safetensors where there are.

    Raises:
        WeightsError: no such folder, or it could not be fetched; says what to download and how.
    """
    path = user_path(name)
    if path.is_dir():
        return path
    if not HUB_ID.fullmatch(name):
        raise WeightsError(
            f"there is no BLIP folder {name!r}; expected a folder with {CONFIG_FILE}, "
            f"{' or '.join(WEIGHT_FILES)} and {' or '.join(TOKENIZER_FILES)}, or a hub id such as "
            f"{EXAMPLE}"
        )
    wanted = [CONFIG_FILE, WEIGHT_FILES[0], *TOKENIZER_FILES, *_EXTRA_FILES]
    folder = fetched(name, wanted)
    if not (folder / WEIGHT_FILES[0]).is_file():
        folder = fetched(name, [*wanted, WEIGHT_FILES[1]])
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a folder.

    Raises:
        WeightsError: unreadable, of another kind of model, or known to give wrong embeddings.
    """
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind = config["model_type"]
        text = config["text_config"]
        _ = config["vision_config"].items(), text.items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} is not the configuration of a BLIP model ({reason_of(error)}); "
            "expected JSON with 'model_type', 'vision_config' and 'text_config'"
        ) from None
    if kind != "blip":
        raise WeightsError(f"{folder} holds a {kind!r} model; expected 'blip', such as {EXAMPLE}")
    # transformers' defaults where the file says nothing
    width, heads = text.get("hidden_size", 768), text.get("num_attention_heads", 8)
    if width == 768 and heads != 12:
        raise WeightsError(
            f"{path} gives the text tower {heads} attention heads; all published BLIP models have "
            "12, and copies made before April 2023 said 8, which loads but gives wrong "
            "embeddings; download the model again, or set text_config.num_attention_heads to 12"
        )
    return dict(config)


def read_original(
    path: Path, grid: tuple[int, int], part: str = ""
) -> tuple[dict[str, Tensor], float | None, str]:
    """The tensors of a weight file under transformers' names, and the temperature if it has one.

    Original checkpoints (``model_base_retrieval_coco.pth``, ``model_base.pth`` ...) are renamed,
    what they hold for training only is left out, and position embeddings of another image size
    are resized to the grid, bicubic, as BLIP's own loader does.

    Args:
        path: safetensors, or what torch.save wrote; read with ``weights_only``.
        grid: patches down and across.

    Raises:
        WeightsError: unreadable.
    """
    state, taken = read_weights(path, part)
    state = {k: v for k, v in state.items() if not k.endswith("position_ids")}  # just 0, 1, 2 ...
    if not any(key.startswith("visual_encoder.") for key in state):
        return state, None, taken
    temperature = state.get("temp")
    kept = {_renamed(k): v for k, v in state.items() if not _TRAINING_ONLY.match(k)}
    logger.info(
        "%s: an original BLIP checkpoint; %d entries for training only are left out",
        path.name,
        len(state) - len(kept),
    )
    if _POSITIONS in kept:
        kept[_POSITIONS] = resized_positions(kept[_POSITIONS], grid)
    return kept, None if temperature is None else float(temperature), taken


def _renamed(key: str) -> str:
    if not key.startswith("visual_encoder."):
        return key
    for ours, theirs in _ORIGINAL_NAMES:
        key = key.replace(ours, theirs)
    return key


def resized_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """(1, 1 + n * n, D) position embeddings, class token first, for another grid; bicubic."""
    patches = positions.shape[1] - 1
    side = round(patches**0.5)
    if patches == grid[0] * grid[1] or side * side != patches:
        return positions  # what does not fit is reported by the comparison of shapes
    square = positions[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(square, size=grid, mode="bicubic", align_corners=False)
    logger.info("position embeddings resized from %d x %d to %d x %d", side, side, *grid)
    return torch.cat([positions[:, :1].float(), resized.flatten(2).transpose(1, 2)], dim=1)


def check_fit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    """Raises WeightsError unless the names and shapes agree; the matching head may be absent."""
    without = {k: v for k, v in wanted.items() if k in found or not k.startswith("itm_head.")}
    problem = checkpoint.difference(without, found)
    if problem:
        raise WeightsError(
            f"{path} does not hold the BLIP retrieval model of the configuration beside it: "
            f"{problem}; expected the two towers and their projections, as in {EXAMPLE} (models "
            "for captions and questions have no projections)"
        )
