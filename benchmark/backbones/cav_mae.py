"""CAV-MAE as a dual encoder of video and audio, from the weights that its authors publish."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.backbones import checkpoint
from benchmark.backbones.audio import at_rate, checked_audio, checked_video, kaldi_fbank
from benchmark.backbones.base import TwoTowers, check_device
from benchmark.backbones.cav_mae_model import (
    MEL_BINS,
    UNUSED,
    AudioTower,
    Shape,
    Tower,
    VideoTower,
    infer_shape,
    public_name,
)
from benchmark.backbones.places import parted
from benchmark.backbones.transforms import image_transform
from benchmark.backbones.weight_file import read_weights
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, WeightsError

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


def load(spec: BackboneSpec) -> TwoTowers:
    """Loads what a specification names.

    ``pretrained`` is a file of public weights; the sizes are read off it. ``model`` is "". Of a
    clip the middle frame is encoded (index 5 of 10), as in CAV-MAE's retrieval evaluation.

    Raises:
        WeightsError: no such file, unreadable, or weights of another model.
        ConfigError: unknown model, transform or device.
    """
    check_device(spec.device)
    if spec.model:
        raise ConfigError(f"unknown CAV-MAE model {spec.model!r}; leave it out (MODEL=cav_mae)")
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
        towers: dict[str, Tower] = {"audio": AudioTower(shape), "video": VideoTower(shape)}
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
