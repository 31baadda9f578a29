"""PE-AV (Perception Encoder, audio-visual) as a dual encoder of video and audio.

Vyas et al., "Pushing the Frontier of Audiovisual Perception with Large-Scale Multimodal
Correspondence Learning", 2025. Only the audio and the video encoder with their contrastive heads
are built, of transformers' classes; the text encoder and the fusion of both modalities are not.

The towers are filled from the safetensors files here, not by ``from_pretrained``: that takes random
values where weights are missing and only warns, and in transformers 5.23 with timm 1.0.31 it fails
on this model, because it takes a buffer of timm's rotary embedding for a shared parameter.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.backbones import checkpoint
from benchmark.backbones.audio import at_rate, checked_audio, checked_video
from benchmark.backbones.base import TwoTowers, image_transform
from benchmark.backbones.places import model_folder, refuse_pointers, stable
from benchmark.backbones.weight_file import read_folder
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, WeightsError, import_extra, reason_of
from methods.base import QueryEncoder

logger = logging.getLogger(__name__)

SAMPLE_RATE = 48_000
"""Of the audio input, Hz."""

SECONDS = 10.0
"""Length of an audio input: AudioSet's and VGGSound's clips. Longer recordings are cut."""

FRAMES = 16
"""Frames of a video input, spread evenly: what the "-16-frame" models were trained with."""

RELEASED = tuple(
    f"facebook/pe-av-{size}{kind}"
    for size in ("small", "base", "large")
    for kind in ("", "-16-frame")
)

PREPROCESS: Mapping[str, Any] = {
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "interpolation": "bilinear",
    "resize_mode": "squash",
}
"""Frames where a folder does not say: the video processor's resampling, PE's mean and deviation."""

_RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers

_OUTSIDE_CODE = ("cache_dir", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay")

WEIGHTS_FILE = "model.safetensors"

_PLACES = (
    # The audio-video encoder shares both encoders; a file holds them under either name.
    (r"(?:audio_model|audio_video_encoder\.embedder)\.audio_encoder\.(.+)", r"audio.encoder.\1"),
    (r"(?:video_model|audio_video_encoder\.embedder)\.video_encoder\.(.+)", r"video.encoder.\1"),
    (r"audio_model\.audio_head\.(.+)", r"audio.head.\1"),
    (r"video_model\.video_head\.(.+)", r"video.head.\1"),
    (r"(audio_video_logit_scale)", r"\1"),
)
_BUFFERS = re.compile(r"\.(rotary_emb|rope)\.[^.]+$")


def load(spec: BackboneSpec, *, seconds: float = SECONDS, frames: int = FRAMES) -> TwoTowers:
    """Loads what a specification names.

    ``model`` is a model of the Hugging Face hub or a local folder with the same files;
    ``pretrained`` may give the folder instead. Recordings are cut or padded to so many ``seconds``;
    so many ``frames`` of a video are encoded.

    Raises:
        WeightsError: transformers or the files are missing, unreadable, or of another model.
        ConfigError: nothing named, or an unknown transform.
    """
    source = spec.pretrained or spec.model
    if not source:
        raise ConfigError(
            f"pe_av needs a model: a local folder (MODEL=/path/to/pe-av-small) or one of "
            f"{', '.join(RELEASED)}"
        )
    expected = (
        f"there is no model folder {source!r}; expected a folder with config.json and "
        f"{WEIGHTS_FILE}, or one of {', '.join(RELEASED)}"
    )
    folder = model_folder(source, expected, ["*.json"], ["*.safetensors"])
    refuse_pointers(folder)
    config = read_config(folder)
    try:
        towers = build_towers(config)
    except Exception as error:  # transformers' and timm's own, for sizes that do not go together
        raise WeightsError(
            f"no PE-AV model can be built from {folder / 'config.json'} ({reason_of(error)})"
        ) from None
    scale = _fill(towers, folder)
    hop = config.audio_video_config.audio_config.dac_config.hop_length
    length = max(1, int(seconds * SAMPLE_RATE) // hop) * hop
    patches: Any = towers["video"].get_submodule(
        "encoder.embedder.vision_model.timm_model.patch_embed"
    )
    preprocess = {**PREPROCESS, **_own_preprocess(folder), "size": tuple(patches.img_size)}
    image = image_transform(spec.transform, preprocess)
    facts = {
        "config": stable(config.audio_video_config.to_dict()),
        "preprocess": preprocess,
        "transform": spec.transform,
        "audio": (SAMPLE_RATE, length),
        "frames": frames,
        "logit_scale": f"{scale:.6g}",  # in neither tower, and methods compute with it
    }
    return TwoTowers(
        towers,
        {
            "video": replace(image, compact=lambda item: video_input(item, frames, image.compact)),
            "audio": lambda item: audio_input(item, length, hop),
        },
        name=Path(spec.model or source).name,
        fingerprint=checkpoint.fingerprint(facts, nn.ModuleDict(towers)),
        logit_scale=scale,
        device=spec.device,
    )


def read_config(folder: Path) -> Any:
    """The configuration of a model folder.

    Raises:
        WeightsError: transformers is missing; no configuration, or of another model.
    """
    what = "pe_av needs the package transformers, version 5 or newer"
    package = import_extra("transformers", "pe-av", what, WeightsError)
    kind, path = package.PeAudioVideoConfig, folder / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["model_type"] != kind.model_type:
            raise ValueError(f"it is of a {values['model_type']!r} model")
        config: Any = kind.from_dict(values)
        vision = config.audio_video_config.video_config.vision_config
        place = "audio_video_config.video_config.vision_config"
        if not re.fullmatch(r"[\w.]+", vision.architecture):
            raise ValueError(
                f"its vision tower would load files from elsewhere: {place}.architecture is "
                f"{vision.architecture!r}, where timm's plain name must stand"
            )
        if elsewhere := sorted(set(vision.model_args or {}) & set(_OUTSIDE_CODE)):
            raise ValueError(
                f"its vision tower would load files from elsewhere: take {elsewhere} out of "
                f"{place}.model_args"
            )
    except Exception as error:  # files, JSON, and transformers' own checks of every field
        raise WeightsError(
            f"{path} is no configuration of a PE-AV model ({reason_of(error)}); expected the "
            f"folder of one of {', '.join(RELEASED)}"
        ) from None
    return config


def _fill(towers: Mapping[str, nn.Module], folder: Path) -> float:
    """Loads a folder's weights into the towers, strictly, and gives the logit scale."""
    found = read_weights(folder)
    stored = found.pop("audio_video_logit_scale", torch.empty(0))
    scale = float(stored) if stored.numel() == 1 else math.nan
    model = nn.ModuleDict(towers)
    problem = checkpoint.difference(model.state_dict(), found)
    if not problem and not 0 < scale < float("inf"):
        problem = f"'audio_video_logit_scale' is {scale}, so it is missing or was not trained"
    if problem:
        raise WeightsError(
            f"the weights in {folder} do not fit its config.json: {problem}; download the folder "
            "again, or save it with a newer transformers"
        )
    model.load_state_dict(found)
    return scale


def _own_preprocess(folder: Path) -> dict[str, Any]:
    """What a folder's processor files say about frames, in open_clip's terms."""
    from transformers import PeVideoVideoProcessor

    try:
        own: Any = PeVideoVideoProcessor.from_pretrained(str(folder), local_files_only=True)
        facts: dict[str, Any] = {"mean": tuple(own.image_mean), "std": tuple(own.image_std)}
    except (OSError, TypeError):  # none, or those of the audio side or the tokenizer alone
        return {}
    if own.resample in _RESAMPLING:
        facts["interpolation"] = _RESAMPLING[own.resample]
    return facts | ({"resize_mode": "shortest"} if own.do_center_crop else {})


def audio_input(item: object, length: int, hop: int) -> Tensor:
    """A recording as the audio tower's input, (1 + length,) float32.

    Resampled to 48 kHz and cut at the end; filled up to a whole token by reflection, as the model's
    feature extractor does, and to ``length`` by zeros, which the tower masks. The first entry is
    the number of samples that count.

    Args:
        length: samples at 48 kHz, a multiple of ``hop``.
        hop: samples per token.

    Raises:
        DataError: not an ``Audio``, or without samples.
    """
    from transformers import PeAudioFeatureExtractor

    samples = at_rate(checked_audio(item), SAMPLE_RATE)[:length]
    extract = PeAudioFeatureExtractor(sampling_rate=SAMPLE_RATE, hop_length=hop)
    values = extract(samples.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
    valid: Tensor = values["input_values"].flatten()
    count = torch.tensor([float(len(valid))])
    return torch.cat([count, F.pad(valid, (0, length - len(valid)))])


def video_input(item: object, count: int, image: Callable[[Any], Tensor]) -> Tensor:
    """``count`` frames from the first to the last, (count, 3, S, S) float32.

    A short video's frames repeat.

    Raises:
        DataError: not a (T, H, W, 3) uint8 array with a frame.
    """
    video = checked_video(item)
    last = len(video) - 1
    chosen = [i * last // max(1, count - 1) for i in range(count)]
    return torch.stack([image(video[i]) for i in chosen])


class RMSNorm(nn.RMSNorm):
    """Root-mean-square norm in float32, also under autocast; equal to transformers' own class.

    It replaces that class, so that normalisation layers are found by torch's types.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., W) -> (..., W) of the same type."""
        return super().forward(x.float()).to(x.dtype)


class CodecEmbedder(nn.Module):
    """The codec in front of the audio encoder, in float32 on a CPU also under autocast.

    It takes the place of transformers' own class, with the same parts under the same names. On CPUs
    with AMX the bfloat16 kernels of torch 2.15 compute strided convolutions of few channels wrong:
    what comes out has nothing to do with what went in. On a GPU autocast decides.
    """

    def __init__(self, own: Any) -> None:
        super().__init__()
        self.dac_encoder: nn.Module = own.dac_encoder
        self.bottleneck: nn.Module = own.bottleneck
        self.data_proj: nn.Module = own.data_proj
        self.hop: int = own.config.dac_config.hop_length

    def forward(
        self, input_values: Tensor, padding_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, 1, L) samples -> (B, L / hop, W) tokens and (B, L / hop) their mask."""
        float32 = torch.autocast("cpu", enabled=False)
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=False), float32:
            states = self.bottleneck(self.dac_encoder(input_values))
        if padding_mask is not None:
            padding_mask = padding_mask[:, :: self.hop]
        return self.data_proj(states.transpose(1, 2)), padding_mask


class VideoTower(QueryEncoder):
    """``forward`` takes (B, T, 3, S, S) float32 frames. All of it is adaptable."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, inputs: Tensor) -> Tensor:
        return F.normalize(self.head(self.encode(inputs).pooler_output).float(), dim=-1)

    def encode(self, inputs: Tensor) -> Any:
        """What transformers' encoder gives."""
        return self.encoder(inputs)


class AudioTower(VideoTower):
    """``forward`` takes (B, 1 + L) float32: the number of valid samples, then the samples.

    All of it is adaptable; the codec in front has no normalisation layers and takes no gradients.
    """

    def encode(self, inputs: Tensor) -> Any:
        """See ``VideoTower``; what follows the valid samples is masked."""
        samples = inputs[:, 1:]
        valid = torch.arange(samples.shape[1], device=inputs.device) < inputs[:, :1]
        return self.encoder(samples.unsqueeze(1), padding_mask=valid.long())

    def map_parts(self, inputs: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Changes the samples; their number stays."""
        return torch.cat([inputs[:, :1], change(inputs[:, 1:])], dim=1)


def build_towers(config: Any) -> dict[str, VideoTower]:
    """Both towers in the architecture of a configuration, with random weights.

    The global random state is left as it was.
    """
    from transformers.models.pe_audio import modeling_pe_audio as ears
    from transformers.models.pe_video import modeling_pe_video as eyes

    audio, video = config.audio_video_config.audio_config, config.audio_video_config.video_config
    width = config.text_config.hidden_size  # the shared space is as wide as the text encoder
    with torch.random.fork_rng(devices=[]):
        hears, sees = ears.PeAudioEncoder(audio), eyes.PeVideoEncoder(video)
        heads = (
            ears.PeAudioContrastiveHead(audio.hidden_size, width),
            eyes.PeVideoContrastiveHead(video.hidden_size, width),
        )
    codec: Any = CodecEmbedder(hears.embedder)
    hears.embedder = codec
    towers = {"audio": AudioTower(hears, heads[0]), "video": VideoTower(sees, heads[1])}
    for tower in towers.values():
        for module in list(tower.modules()):
            for name, child in module.named_children():
                if isinstance(child, ears.PeAudioEncoderRMSNorm | eyes.PeVideoEncoderRMSNorm):
                    norm = RMSNorm(len(child.weight), eps=child.variance_epsilon)
                    norm.weight = child.weight
                    setattr(module, name, norm)
    return towers


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The entries of the two towers by their names here, and the logit scale.

    Raises:
        WeightsError: there are none, or they cannot be read.
    """
    whole = read_folder(folder, [WEIGHTS_FILE])
    found = {place: value for key, value in whole.items() if (place := _place(key))}
    logger.info("left out %d entries of the text and fusion encoders", len(whole) - len(found))
    return found


def _place(key: str) -> str:
    """Where an entry of a weight file goes, or "" where it is not needed."""
    if _BUFFERS.search(key):
        return ""  # computed, not learnt
    for pattern, place in _PLACES:
        match = re.fullmatch(pattern, key)
        if match:
            # Files may name the frame encoder's entries as timm does, without the wrapper's prefix.
            return re.sub(
                r"\.vision_model\.(?!timm_model\.)",
                ".vision_model.timm_model.",
                match.expand(place),
            )
    return ""
