"""BLIP retrieval through transformers: the two contrastive towers, never the matching head.

Li et al., "BLIP: Bootstrapping Language-Image Pre-training ...", ICML 2022. BLIP's own retrieval
figures re-rank the best candidates with its image-text matching head; the papers on test-time
adaptation score by the cosine of the projections alone, and so do we.
"""

from __future__ import annotations

import logging
import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.constants import OPENAI_DATASET_MEAN as MEAN
from open_clip.constants import OPENAI_DATASET_STD as STD
from torch import Tensor, nn

from benchmark.backbones import checkpoint
from benchmark.backbones.base import TwoTowers, image_transform
from benchmark.backbones.places import model_folder, parted, read_config, refuse_pointers
from benchmark.backbones.weight_file import read_weights
from benchmark.cell import BackboneSpec
from benchmark.config.files import user_path
from benchmark.errors import ConfigError, WeightsError, import_extra, reason_of
from methods.base import QueryEncoder

logger = logging.getLogger(__name__)

TEXT_TOKENS = 35
"""BERT word pieces of a text, class and end token included; the rest is cut (BLIP, TCR)."""

EXAMPLE = "Salesforce/blip-itm-base-coco"
CONFIG_FILE = "config.json"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")
_EXTRA_FILES = ("tokenizer_config.json", "special_tokens_map.json")

_VISION_FACTS = ("image_size", "patch_size", "num_attention_heads", "hidden_act", "layer_norm_eps")
_TEXT_FACTS = ("num_attention_heads", "hidden_act", "layer_norm_eps", "pad_token_id")
"""Settings that change embeddings and do not show in the weights' shapes."""

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
        ConfigError: another transform than "resize".
    """
    if spec.transform != "resize":
        raise ConfigError(
            f"the blip backbone has one image transform, 'resize' (bicubic squeeze to its size), "
            f"not {spec.transform!r}"
        )
    what = "the blip backbone runs BLIP with transformers"
    package = import_extra("transformers", "blip", what, WeightsError)
    folder, weights, part = _sources(spec)
    refuse_pointers(folder)
    config, model = _build(package, folder)
    tokenizer = _tokenizer(package, folder, config)
    vision = config.vision_config
    size, patch = (
        (side, side) if isinstance(side, int) else tuple(map(int, side))
        for side in (vision.image_size, vision.patch_size)
    )
    path = weights or checkpoint.weights_in(folder, WEIGHT_FILES)
    grid = size[0] // patch[0], size[1] // patch[1]
    temperature, taken = _fill(model, path, grid, part)
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
    cut = partial(tokenizer, padding="max_length", truncation=True, max_length=context)
    return TwoTowers(
        {"image": image, "text": text},
        {"image": resize, "text": lambda words: torch.tensor(cut(words)["input_ids"])},
        name=_name(spec, folder) if weights is None else weights.stem,
        fingerprint=checkpoint.fingerprint(
            facts, towers, [checkpoint.tokenizer_content(tokenizer)]
        ),
        logit_scale=scale,
        device=spec.device,
        taken=taken,
    )


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
        raise WeightsError(
            f"the file {spec.pretrained} holds weights only; name the model whose configuration "
            f"and tokenizer belong to it: model: {EXAMPLE} or a local copy of it"
            if given is not None
            else f"the blip backbone needs a model: model: {EXAMPLE}, or PRETRAINED=/path/to/folder"
        )
    expected = (
        f"there is no BLIP folder {spec.model!r}; expected a folder with {CONFIG_FILE}, "
        f"{' or '.join(WEIGHT_FILES)} and {' or '.join(TOKENIZER_FILES)}, or a hub id such as "
        f"{EXAMPLE}"
    )
    wanted = [CONFIG_FILE, *TOKENIZER_FILES, *_EXTRA_FILES]
    return model_folder(spec.model, expected, wanted, WEIGHT_FILES), given, part


def _name(spec: BackboneSpec, folder: Path) -> str:
    is_path = not spec.model or user_path(spec.model).is_dir()
    return folder.resolve().name if is_path else spec.model.rpartition("/")[2]


def _build(package: Any, folder: Path) -> tuple[Any, Any]:
    """The configuration of a folder and a model without its weights.

    Raises:
        WeightsError: unreadable, of another kind of model, or known to give wrong embeddings.
    """
    path = folder / CONFIG_FILE
    keys = ("model_type", "vision_config", "text_config")
    settings = read_config(path, "the configuration of a BLIP model", keys)
    if (kind := settings["model_type"]) != "blip":
        raise WeightsError(f"{folder} holds a {kind!r} model; expected 'blip', such as {EXAMPLE}")
    # transformers' defaults where the file says nothing
    text = settings["text_config"]
    width, heads = text.get("hidden_size", 768), text.get("num_attention_heads", 8)
    if width == 768 and heads != 12:
        raise WeightsError(
            f"{path} gives the text tower {heads} attention heads; all published BLIP models have "
            "12, and copies made before April 2023 said 8, which loads but gives wrong "
            "embeddings; download the model again, or set text_config.num_attention_heads to 12"
        )
    try:
        config = package.BlipConfig.from_dict(settings)
        with torch.random.fork_rng(devices=[]):  # the first weights are drawn, then overwritten
            return config, package.BlipForImageTextRetrieval(config)
    except Exception as error:  # transformers' validation raises classes of its own
        raise WeightsError(f"no BLIP model can be built from {path} ({reason_of(error)})") from None


def _fill(
    model: nn.Module, path: Path, grid: tuple[int, int], part: str
) -> tuple[float | None, str]:
    """Loads a weight file; the temperature if it has one, and which entry of it was taken.

    Original checkpoints (``model_base_retrieval_coco.pth``, ``model_base.pth`` ...) are renamed,
    what they hold for training only is left out, and position embeddings of another image size
    are resized to the grid (patches down and across), bicubic, as BLIP's own loader does.

    Raises:
        WeightsError: unreadable, or names and shapes differ; the matching head may be absent.
    """
    read, taken = read_weights(path, part)
    read = {k: v for k, v in read.items() if not k.endswith("position_ids")}  # just 0, 1, 2 ...
    temperature, state = None, read
    if any(key.startswith("visual_encoder.") for key in read):
        temperature = read.get("temp")
        state = {_renamed(k): v for k, v in read.items() if not _TRAINING_ONLY.match(k)}
        logger.info(
            "%s: an original BLIP checkpoint; %d entries for training only are left out",
            path.name,
            len(read) - len(state),
        )
        if _POSITIONS in state:
            state[_POSITIONS] = resized_positions(state[_POSITIONS], grid)
    wanted = model.state_dict()
    wanted = {k: v for k, v in wanted.items() if k in state or not k.startswith("itm_head.")}
    problem = checkpoint.difference(wanted, state)
    if problem:
        raise WeightsError(
            f"{path} does not hold the BLIP retrieval model of the configuration beside it: "
            f"{problem}; expected the two towers and their projections, as in {EXAMPLE} (models "
            "for captions and questions have no projections)"
        )
    model.load_state_dict(state, strict=False)  # strict but for the matching head
    return None if temperature is None else float(temperature), taken


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


def _tokenizer(package: Any, folder: Path, config: Any) -> Any:
    files = " or ".join(TOKENIZER_FILES)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
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
