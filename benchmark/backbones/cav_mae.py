"""CAV-MAE as a dual encoder of video and audio, from the weights that its authors publish.

Gong et al., "Contrastive Audio-Visual Masked Autoencoder", ICLR 2023: eleven transformer blocks per
modality, then one block that both share but for its normalisation layers, of which each modality
has its own. For retrieval every modality passes alone: the mean of its patch tokens is its
embedding. The decoder and the joint pass are not needed for that and not built.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block  # timm comes with open_clip
from torch import Tensor, nn

from benchmark.backbones import checkpoint
from benchmark.backbones.audio import at_rate, checked_audio, checked_video, kaldi_fbank
from benchmark.backbones.base import TwoTowers, image_transform
from benchmark.backbones.places import check_name, parted
from benchmark.backbones.weight_file import read_weights
from benchmark.cell import BackboneSpec
from benchmark.errors import WeightsError
from methods.base import QueryEncoder

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16_000
"""Of the recordings that CAV-MAE was trained on, Hz."""

MEL_MEAN, MEL_STD = -5.081, 4.4849
"""Of the log-mel energies of its pre-training set; used for every other set as well."""

LOGIT_SCALE = 20.0
"""1 / 0.05: the fixed temperature of its contrastive loss. CAV-MAE learns none."""

PREPROCESS: Mapping[str, Any] = {
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
"""Frames: shorter side, centre crop, ImageNet's mean and deviation (transform "clip")."""

_WEIGHTS_WANTED = (
    "expected a file of CAV-MAE's public weights, such as the scale+ pre-trained model "
    "(PRETRAINED=/path/to/cav-mae-scale+.pth)"
)

HEAD_WIDTH = 64
"""Width of one attention head (768 / 12), from which the number of heads follows."""

MEL_BINS = 128
"""Mel bands of the audio input; the paper knows no other."""

UNUSED = re.compile(
    r"decoder_.*|mask_token"  # reconstruction of masked patches, in pre-training
    r"|norm\.(weight|bias)|blocks_u\.\d+\.norm[12]\.(weight|bias)"  # joint pass of both modalities
    r"|blocks_[av]\.\d+\.norm[12]_[av]\.(weight|bias)"  # only the shared block uses these two
    r"|mlp_head\..*"  # classifier of fine-tuned weights
)
"""Entries of the public weights that retrieval does not use."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the model; the defaults are the published ones.

    Attributes:
        width: of the tokens.
        depth: blocks of each modality alone.
        shared: blocks that both modalities share.
        patch: side of a patch, in mel bands and windows, or in pixels.
        windows: spectrogram windows of one audio input (10 ms each).
        image_size: side of a video frame, pixels.
    """

    width: int = 768
    depth: int = 11
    shared: int = 1
    patch: int = 16
    windows: int = 1024
    image_size: int = 224

    def tokens(self, modality: str) -> int:
        """Number of patches of one input."""
        if modality == "audio":
            return (MEL_BINS // self.patch) * (self.windows // self.patch)
        return (self.image_size // self.patch) ** 2


class Tower(QueryEncoder):
    """One modality's encoder. All of it is adaptable; every LayerNorm in it is used.

    Video: ``forward`` takes (B, F, 3, S, S) frames, and embeddings are averaged over the F frames.
    Audio: (B, windows, 128) normalised log-mel energies. The shared block is held by both towers,
    so that adapting one leaves the other alone.
    """

    def __init__(self, modality: str, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.is_audio = modality == "audio"
        self.patch_embed = nn.Conv2d(
            1 if self.is_audio else 3, width, shape.patch, stride=shape.patch
        )
        self.positions = nn.Parameter(torch.zeros(1, shape.tokens(modality), width))
        self.modality = nn.Parameter(torch.zeros(1, 1, width))
        # One list, so that "the last block" is the one that the modalities share.
        self.blocks = nn.ModuleList(
            Block(width, max(1, width // HEAD_WIDTH), qkv_bias=True, norm_layer=nn.LayerNorm)
            for _ in range(shape.depth + shape.shared)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, inputs: Tensor) -> Tensor:
        # Patches of a sound are numbered along time first: mel bands are the rows of its image.
        images = inputs.transpose(1, 2)[:, None, None] if self.is_audio else inputs
        x = self.patch_embed(images.flatten(0, 1)).flatten(2).transpose(1, 2)
        x = x + self.positions + self.modality
        for block in self.blocks:
            x = block(x)
        rows = self.norm(x).float().mean(dim=1).unflatten(0, images.shape[:2])
        return F.normalize(rows.mean(dim=1), dim=-1)


def load(spec: BackboneSpec) -> TwoTowers:
    """Loads what a specification names.

    ``pretrained`` is a file of public weights; the sizes are read off it. ``model`` is "". Of a
    clip the middle frame is encoded (index 5 of 10), as in CAV-MAE's retrieval evaluation.

    Raises:
        WeightsError: no such file, unreadable, or weights of another model.
        ConfigError: unknown transform.
        UnknownNameError: it has but one model.
    """
    check_name("cav_mae", spec.model)
    path, part = parted(spec.pretrained)
    if not spec.pretrained:
        raise WeightsError(f"CAV-MAE needs weights; {_WEIGHTS_WANTED}")
    if not path.is_file():
        raise WeightsError(f"weights {spec.pretrained!r}: no such file; {_WEIGHTS_WANTED}")
    state, taken = read_weights(path, part)
    try:
        shape = infer_shape(state)
        towers = build_towers(state, shape)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}; {_WEIGHTS_WANTED}") from None
    facts = {
        "shape": asdict(shape),
        "frames": 1,
        "preprocess": PREPROCESS,
        "transform": spec.transform,
        "fbank": (SAMPLE_RATE, MEL_BINS, MEL_MEAN, MEL_STD),
    }
    image = image_transform(spec.transform, {**PREPROCESS, "size": shape.image_size})
    return TwoTowers(
        towers,
        {
            "video": replace(image, compact=lambda item: middle_frame(item, image.compact)),
            "audio": lambda item: spectrogram(item, shape.windows),
        },
        name="CAV-MAE",
        fingerprint=checkpoint.fingerprint(facts, nn.ModuleDict(towers)),
        logit_scale=LOGIT_SCALE,
        device=spec.device,
        taken=taken,
    )


def build_towers(state: Mapping[str, Tensor], shape: Shape) -> dict[str, Tower]:
    """The two towers with public weights in them.

    Raises:
        WeightsError: entries are missing, unknown or of another shape.
    """
    # On "meta" nothing is initialised, so the global random state stays as it is.
    with torch.device("meta"):
        towers = {modality: Tower(modality, shape) for modality in ("audio", "video")}
    own = {m: tower.state_dict() for m, tower in towers.items()}
    names = {m: {key: public_name(key, m, shape.depth) for key in own[m]} for m in own}
    wanted = {names[m][key]: value for m in own for key, value in own[m].items()}
    unused = [key for key in state if UNUSED.fullmatch(key)]
    found = {key: value for key, value in state.items() if not UNUSED.fullmatch(key)}
    problem = checkpoint.difference(wanted, found)
    if problem:
        raise WeightsError(f"these are no weights of CAV-MAE as we know them: {problem}")
    if unused:
        logger.info("left out %d entries that retrieval does not use: %s", len(unused), unused)
    for modality, tower in towers.items():
        copies = {key: found[public].clone() for key, public in names[modality].items()}
        tower.load_state_dict(copies, assign=True)
    return towers


def spectrogram(item: object, windows: int) -> Tensor:
    """A recording as CAV-MAE's input, (windows, 128) float32.

    Resampled to 16 kHz, mean taken away, log-mel energies, cut or padded with zeros at the end,
    and only then normalised, as its authors do: padding is not silence to the model.

    Raises:
        DataError: not an ``Audio``, or without samples.
    """
    samples = at_rate(checked_audio(item), SAMPLE_RATE)
    energies = kaldi_fbank(samples - samples.mean(), SAMPLE_RATE, MEL_BINS)[:windows]
    padded = F.pad(energies, (0, 0, 0, windows - len(energies)))
    return (padded - MEL_MEAN) / MEL_STD


def middle_frame(item: object, image: Callable[[Any], Tensor]) -> Tensor:
    """The middle frame of a video, (1, 3, S, S) float32: of ten frames index 5.

    Raises:
        DataError: not a (T, H, W, 3) uint8 array with a frame.
    """
    video = checked_video(item)
    return image(video[len(video) // 2])[None]


def public_name(key: str, modality: str, depth: int) -> str:
    """The name in the public weights of a tower's parameter.

    Args:
        key: name in the tower.
        modality: "audio" or "video".
        depth: blocks of the modality alone, after which the shared ones come.
    """
    letter = modality[0]
    if block := re.fullmatch(r"blocks\.(\d+)\.(.+)", key):
        number, inner = int(block[1]), block[2]
        if number < depth:
            return f"blocks_{letter}.{number}.{inner}"
        return f"blocks_u.{number - depth}." + re.sub(r"^(norm[12])", rf"\1_{letter}", inner)
    first, dot, rest = key.partition(".")
    first = {"positions": "pos_embed"}.get(first, first)
    return f"{first}_{letter}{'.proj' if first == 'patch_embed' else ''}{dot}{rest}"


def infer_shape(state: Mapping[str, Tensor]) -> Shape:
    """Reads the sizes off the public weights.

    Raises:
        WeightsError: an entry that tells a size is missing or does not make sense.
    """
    try:
        width, channels, patch, _ = state["patch_embed_a.proj.weight"].shape
        audio, video = (state[f"pos_embed_{letter}"].shape[1] for letter in "av")
    except (KeyError, ValueError, IndexError):
        raise WeightsError(
            "these are no weights of CAV-MAE: 'patch_embed_a.proj.weight', 'pos_embed_a' or "
            "'pos_embed_v' is missing or of another kind"
        ) from None
    depth, shared = _blocks(state, "a"), _blocks(state, "u")
    if channels == 1 and 1 <= patch <= MEL_BINS and depth and shared and not width % HEAD_WIDTH:
        windows = audio // (MEL_BINS // patch) * patch
        shape = Shape(width, depth, shared, patch, windows, round(video**0.5) * patch)
        if (shape.tokens("audio"), shape.tokens("video")) == (audio, video):
            return shape
    raise WeightsError(
        f"these are no weights of CAV-MAE: width {width} (a multiple of {HEAD_WIDTH} is expected), "
        f"{channels} audio channels, {depth} audio blocks and {shared} shared ones, or {audio} "
        f"audio and {video} video patches of side {patch}, which do not tile {MEL_BINS} mel bands "
        "and a square frame"
    )


def _blocks(state: Mapping[str, Tensor], letter: str) -> int:
    """Counted, not read off the highest number: a gap then shows as a missing entry."""
    pattern = re.compile(rf"blocks_{letter}\.(\d+)\.")
    return len({m[1] for key in state if (m := pattern.match(key))})
