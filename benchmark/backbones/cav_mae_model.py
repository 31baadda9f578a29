"""The two encoders of CAV-MAE, written from the paper, with a map from the public weights' names.

Gong et al., "Contrastive Audio-Visual Masked Autoencoder", ICLR 2023: eleven transformer blocks per
modality, then one block that both share but for its normalisation layers, of which each modality
has its own. For retrieval every modality passes alone: the mean of its patch tokens is its
embedding. The decoder and the joint pass are not needed for that and not built.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import WeightsError
from methods.base import QueryEncoder

HEAD_WIDTH = 64
"""Width of one attention head (768 / 12), from which the number of heads follows."""

MEL_BINS = 128
"""Mel bands of the audio input; the paper knows no other."""

LETTERS = {"audio": "a", "video": "v"}
"""How the public weights mark what belongs to a modality."""

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


class Attention(nn.Module):
    """Multi-head self-attention of a ViT."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD_WIDTH)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, length, width))


class Mlp(nn.Module):
    """Two layers with GELU between, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Tower(QueryEncoder):
    """One modality's encoder. All of it is adaptable; every LayerNorm in it is used.

    The shared block is held by both towers, so that adapting one leaves the other alone.
    """

    def __init__(self, modality: str, shape: Shape) -> None:
        super().__init__()
        width, tokens = shape.width, shape.tokens(modality)
        channels = 1 if modality == "audio" else 3
        self.patch_embed = nn.Conv2d(channels, width, shape.patch, stride=shape.patch)
        self.positions = nn.Parameter(torch.zeros(1, tokens, width))
        self.modality = nn.Parameter(torch.zeros(1, 1, width))
        # One list, so that "the last block" is the one that the modalities share.
        self.blocks = nn.ModuleList(Block(width) for _ in range(shape.depth + shape.shared))
        self.norm = nn.LayerNorm(width)

    def pooled(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D) mean of the patch tokens, float32, not normalised."""
        x = self.patch_embed(images).flatten(2).transpose(1, 2)
        x = x + self.positions + self.modality
        for block in self.blocks:
            x = block(x)
        return self.norm(x).float().mean(dim=1)


class AudioTower(Tower):
    """``forward`` takes (B, windows, 128) normalised log-mel energies."""

    def __init__(self, shape: Shape) -> None:
        super().__init__("audio", shape)

    def forward(self, spectrograms: Tensor) -> Tensor:
        # Patches are numbered along time first: mel bands are the rows of the image.
        return F.normalize(self.pooled(spectrograms.transpose(1, 2).unsqueeze(1)), dim=-1)


class VideoTower(Tower):
    """``forward`` takes (B, F, 3, S, S) frames; embeddings are averaged over the F frames."""

    def __init__(self, shape: Shape) -> None:
        super().__init__("video", shape)

    def forward(self, frames: Tensor) -> Tensor:
        batch, count = frames.shape[:2]
        rows = self.pooled(frames.flatten(0, 1)).view(batch, count, -1)
        return F.normalize(rows.mean(dim=1), dim=-1)


def public_name(key: str, modality: str, depth: int) -> str:
    """The name in the public weights of a tower's parameter.

    Args:
        key: name in the tower.
        modality: "audio" or "video".
        depth: blocks of the modality alone, after which the shared ones come.
    """
    letter = LETTERS[modality]
    first, _, rest = key.partition(".")
    if first == "patch_embed":
        return f"patch_embed_{letter}.proj.{rest}"
    if first == "positions":
        return f"pos_embed_{letter}"
    number, _, inner = rest.partition(".")
    if first == "blocks" and int(number) >= depth:
        inner = re.sub(r"^(norm[12])", rf"\1_{letter}", inner)
        return f"blocks_u.{int(number) - depth}.{inner}"
    return f"{first}_{letter}" + (f".{rest}" if rest else "")  # modality, blocks, norm


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
    sensible = channels == 1 and 1 <= patch <= MEL_BINS and depth and shared
    if not sensible or width % HEAD_WIDTH:
        raise WeightsError(
            f"these are no weights of CAV-MAE: width {width} (a multiple of {HEAD_WIDTH} is "
            f"expected), patches of side {patch}, {channels} audio channels, {depth} audio blocks "
            f"and {shared} shared ones"
        )
    shape = Shape(
        width=width,
        depth=depth,
        shared=shared,
        patch=patch,
        windows=audio // (MEL_BINS // patch) * patch,
        image_size=round(video**0.5) * patch,
    )
    if (shape.tokens("audio"), shape.tokens("video")) != (audio, video):
        raise WeightsError(
            f"these are no weights of CAV-MAE: {audio} audio and {video} video patches of side "
            f"{patch} do not tile {MEL_BINS} mel bands and a square frame"
        )
    return shape


def _blocks(state: Mapping[str, Tensor], letter: str) -> int:
    """Counted, not read off the highest number: a gap then shows as a missing entry."""
    pattern = re.compile(rf"blocks_{letter}\.(\d+)\.")
    return len({m[1] for key in state if (m := pattern.match(key))})
