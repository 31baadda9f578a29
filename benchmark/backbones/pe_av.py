"""PE-AV (Perception Encoder, audio-visual) as a dual encoder of video and audio."""

from __future__ import annotations

import json
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
from benchmark.backbones.base import TwoTowers, check_device
from benchmark.backbones.pe_av_model import WEIGHTS_FILE, build_towers, read_weights
from benchmark.backbones.places import HUB_ID, fetched, stable
from benchmark.backbones.transforms import image_transform
from benchmark.cell import BackboneSpec
from benchmark.config.files import user_path
from benchmark.errors import ConfigError, WeightsError

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

_PROCESSOR_FILES = (
    "processor_config.json",
    "video_preprocessor_config.json",
    "preprocessor_config.json",
)
_RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers

_OUTSIDE_CODE = ("cache_dir", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay")


def load(spec: BackboneSpec) -> TwoTowers:
    """Loads what a specification names.

    ``model`` is a model of the Hugging Face hub or a local folder with the same files;
    ``pretrained`` may give the folder instead.

    Raises:
        WeightsError: transformers or the files are missing, unreadable, or of another model.
        ConfigError: nothing named, unknown transform or device.
    """
    check_device(spec.device)
    source = spec.pretrained or spec.model
    if not source:
        raise ConfigError(
            f"pe_av needs a model: a local folder (MODEL=/path/to/pe-av-small) or one of "
            f"{', '.join(RELEASED)}"
        )
    folder = user_path(source)
    name = Path(spec.model or source).name
    if not folder.is_dir():
        folder = _downloaded(source)
    return load_folder(folder, spec.transform, spec.device, name=name)


def load_folder(
    folder: Path,
    transform: str = "clip",
    device: str = "cpu",
    *,
    name: str,
    seconds: float = SECONDS,
    frames: int = FRAMES,
) -> TwoTowers:
    """Loads a folder with ``config.json`` and safetensors files.

    Args:
        folder: as downloaded from the hub, or written by ``save_pretrained``.
        transform: "clip" (the model's own preprocessing) or "resize" (TCR's).
        device: torch device string.
        name: as shown in tables.
        seconds: length that recordings are cut or padded to.
        frames: how many frames of a video are encoded.

    Raises:
        WeightsError: see ``load``.
        ConfigError: unknown transform.
    """
    config = read_config(folder)
    try:
        towers = build_towers(config)
    except Exception as error:  # transformers' and timm's own, for sizes that do not go together
        raise WeightsError(
            f"no PE-AV model can be built from {folder / 'config.json'} "
            f"({type(error).__name__}: {str(error).partition(chr(10))[0]})"
        ) from None
    scale = _fill(towers, read_weights(folder), folder)
    hop = config.audio_video_config.audio_config.dac_config.hop_length
    length = max(1, int(seconds * SAMPLE_RATE) // hop) * hop
    patches: Any = towers["video"].get_submodule(
        "encoder.embedder.vision_model.timm_model.patch_embed"
    )
    preprocess = {**PREPROCESS, **_own_preprocess(folder), "size": tuple(patches.img_size)}
    image = image_transform(transform, preprocess)
    facts = {
        "config": stable(config.audio_video_config.to_dict()),
        "preprocess": preprocess,
        "transform": transform,
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
        name=name,
        fingerprint=checkpoint.fingerprint(facts, nn.ModuleDict(towers)),
        logit_scale=scale,
        device=device,
    )


def read_config(folder: Path) -> Any:
    """The configuration of a model folder.

    Raises:
        WeightsError: transformers is missing; no configuration, or of another model.
    """
    try:
        from transformers import PeAudioVideoConfig
    except ImportError as error:
        raise WeightsError(
            f"pe_av needs the package transformers, version 5 or newer ({error}); "
            "pip install 'queryshift[pe-av]'"
        ) from None
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        kind = values["model_type"]
        if kind != PeAudioVideoConfig.model_type:
            raise ValueError(f"it is of a {kind!r} model")
        config: Any = PeAudioVideoConfig.from_dict(values)
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
            f"{path} is no configuration of a PE-AV model ({type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}); expected the folder of one of "
            f"{', '.join(RELEASED)}"
        ) from None
    return config


def _fill(towers: Mapping[str, nn.Module], found: dict[str, Tensor], folder: Path) -> float:
    """Loads weights into the towers, strictly, and gives the logit scale."""
    scale = float(found.pop("audio_video_logit_scale", torch.tensor(float("nan"))))
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
    for name in _PROCESSOR_FILES:
        try:
            values = json.loads((folder / name).read_text(encoding="utf-8"))
            values = values.get("video_processor") or values
            facts: dict[str, Any] = {
                "mean": tuple(values["image_mean"]),
                "std": tuple(values["image_std"]),
            }
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            continue  # none, or one of the audio side or the tokenizer
        if values.get("resample") in _RESAMPLING:
            facts["interpolation"] = _RESAMPLING[values["resample"]]
        if values.get("do_center_crop"):
            facts["resize_mode"] = "shortest"
        return facts
    return {}


def _downloaded(source: str) -> Path:
    if not HUB_ID.fullmatch(source):
        raise WeightsError(
            f"there is no model folder {source!r}; expected a folder with config.json and "
            f"{WEIGHTS_FILE}, or one of {', '.join(RELEASED)}"
        )
    return fetched(source, ["*.json", "*.safetensors"])


def audio_input(item: object, length: int, hop: int) -> Tensor:
    """A recording as the audio tower's input, (1 + length,) float32.

    Resampled to 48 kHz and cut at the end; filled up to a whole token by reflection, as the model's
    feature extractor does, and to ``length`` by zeros, which the tower masks. The first entry is
    the number of samples that count.

    Args:
        item: an ``Audio``.
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
