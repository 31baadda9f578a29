"""Dual encoders: what the harness needs of one; two towers as one; transforms of images."""

from __future__ import annotations

import copy
import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial, reduce
from itertools import takewhile
from numbers import Real
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.Image import Resampling
from torch import Tensor, nn

from benchmark.errors import ConfigError, DataError, WeightsError, did_you_mean
from methods.base import QueryEncoder


@dataclass(frozen=True)
class Staged:
    """Preprocessing in two stages, with a small form of the input between them.

    The caches keep that small form: an image before normalisation is a quarter of its size after.
    ``DualEncoder.preprocess`` may return one; a plain function serves as well.

    Attributes:
        compact: raw item -> small tensor (uint8 pixels, say).
        expand: small tensor -> input tensor.
        anywhere: whether ``expand`` takes more leading dimensions (frames, a batch) and tensors on
            any device; a GPU then expands a batch itself.
    """

    compact: Callable[[Any], Tensor]
    expand: Callable[[Tensor], Tensor]
    anywhere: bool = False

    def __call__(self, item: Any) -> Tensor:
        return self.expand(self.compact(item))


def on_device(batch: Tensor, device: str) -> Tensor:
    """A batch on the device that is to encode it.

    To a GPU it goes through pinned memory and without waiting, so that the copy of one batch runs
    beside the work on another; what is asked of the GPU afterwards finds it there.
    """
    if device.startswith("cuda") and not batch.is_cuda:
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)


@runtime_checkable
class DualEncoder(Protocol):
    """A pair of towers that embed two modalities into one space.

    Attributes:
        name: as shown in tables, for example "ViT-B-16-quickgelu".
        fingerprint: hash of architecture, weights and preprocessing; part of a result's identity.
        logit_scale: learnt scale of the cosine similarities (1 / temperature).
        device: torch device string.
    """

    name: str
    fingerprint: str
    logit_scale: float
    device: str

    def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
        """One raw item ((H, W, 3) uint8 array or str) -> one input tensor, on the CPU.

        What it returns may be ``Staged``, which makes caches of images four times smaller.
        """

    def collate(self, modality: str, inputs: Sequence[Tensor]) -> Tensor:
        """Stacks inputs to a batch on the device (texts trimmed to the longest of the batch)."""

    def query_encoder(self, modality: str) -> QueryEncoder:
        """A fresh copy of one tower in eval mode, so that adapting it leaves the backbone alone."""

    def encode(self, modality: str, inputs: Tensor) -> Tensor:
        """(B, D) float32 unit rows of a collated batch, without gradient."""


class TwoTowers:
    """A ``DualEncoder`` with one tower for each of its modalities, in float32 and eval mode.

    Args:
        towers: modality -> tower, weights loaded; frozen and owned from now on. One with a method
            ``trimmed`` is given batches cut by it: texts without the padding that all share.
        prepare: modality -> one raw item to one input tensor on the CPU, all of one shape; raises
            DataError for an item of another kind, or an empty one.
        name: as shown in tables.
        fingerprint: see ``DualEncoder``.
        logit_scale: see ``DualEncoder``.
        taken: which entry of a checkpoint the weights were; "" for a plain one.

    Raises:
        WeightsError: a weight is NaN or infinite.
    """

    def __init__(
        self,
        towers: Mapping[str, QueryEncoder],
        prepare: Mapping[str, Callable[[Any], Tensor]],
        *,
        name: str,
        fingerprint: str,
        logit_scale: float,
        device: str = "cpu",
        taken: str = "",
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.logit_scale = logit_scale
        self.taken = taken
        self.device = device
        for modality, tower in towers.items():
            for place, value in tower.float().named_parameters():
                # Rows may be finite: masked attention hides NaN. isfinite takes ten times as long.
                if not value.detach().mul(0).sum().isfinite():
                    raise WeightsError(
                        f"the weights for {modality} hold NaN or infinity (in {place!r}): they are "
                        "damaged"
                    )
        self._prepare = dict(prepare)
        self._towers = {
            name: tower.eval().requires_grad_(False).to(device) for name, tower in towers.items()
        }

    def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
        """One raw item -> one input tensor on the CPU."""
        self.tower(modality)
        return self._prepare[modality]

    def collate(self, modality: str, inputs: Sequence[Tensor]) -> Tensor:
        """Stacks inputs on the device; texts are cut after the longest of the batch."""
        trimmed = getattr(self.tower(modality), "trimmed", None)
        if len(shapes := {tuple(one.shape) for one in inputs}) > 1:
            raise DataError(
                f"prepared {modality} queries have the shapes {sorted(shapes)[:3]}; expected one "
                "for all: pad what is shorter"
            )
        batch = torch.stack(list(inputs))
        return on_device(trimmed(batch) if trimmed else batch, self.device)

    def query_encoder(self, modality: str) -> QueryEncoder:
        """A fresh copy of one tower, with that tower's parameters only, all taking gradients."""
        fresh = copy.deepcopy(self.tower(modality)).eval()
        for parameter in fresh.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        return fresh

    @torch.no_grad()
    def encode(self, modality: str, inputs: Tensor) -> Tensor:
        """(B, D) float32 unit rows of a collated batch, without gradient."""
        rows: Tensor = self.tower(modality)(inputs)
        return rows

    def tower(self, modality: str) -> QueryEncoder:
        """The tower itself, frozen.

        Raises:
            ConfigError: there is none for that modality.
        """
        if modality not in self._towers:
            known = " and ".join(map(repr, self._prepare))
            raise ConfigError(f"this backbone encodes {known}, not {modality!r}")
        return self._towers[modality]


@cache
def cpu_model() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def check_device(device: str) -> None:
    """Raises ConfigError unless it is a CPU, or a CUDA device where there is one."""
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise ConfigError(f"unknown device {device!r}; expected 'cpu' or 'cuda'")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {device!r}: no CUDA device is available; use 'cpu'")


LARGEST_SCALE = 1e4
"""Of cosine similarities; CLIP's is 100. A larger one was stored as itself, not as a logarithm."""


def check_encoder(encoder: object, name: str) -> None:
    """Refuses what a loader must not give.

    Raises:
        WeightsError: no ``DualEncoder``, or one without a name, a fingerprint or a usable scale.
    """
    if not isinstance(encoder, DualEncoder):
        raise WeightsError(f"backbone {name!r} gave no DualEncoder, but a {type(encoder).__name__}")
    for fact in ("name", "fingerprint"):
        if not isinstance(value := getattr(encoder, fact), str) or not value:
            raise WeightsError(f"backbone {name!r}: its {fact} is {value!r}; expected a text")
    scale = encoder.logit_scale
    if not isinstance(scale, Real) or not 0 < scale <= LARGEST_SCALE:
        raise WeightsError(
            f"backbone {name!r}: its logit_scale is {scale!r}; expected a number above 0, at most "
            f"{LARGEST_SCALE:g} (CLIP's is 100; its weights hold the logarithm)"
        )


def checked_rows(rows: object, inputs: Tensor, what: str, width: int = 0) -> Tensor:
    """The rows, if they are what a ``DualEncoder`` gives for a batch: (B, D) float32 of length 1.

    Where only some have no direction, whoever knows the items names them (see ``check_items``).

    Args:
        inputs: (B, ...) the batch.
        what: the rows are, for the message.
        width: of the gallery's rows, where it is known.

    Raises:
        WeightsError: says what they are instead.
    """
    if not isinstance(rows, Tensor):
        problem = f"a {type(rows).__name__}"
    elif (
        rows.shape[:1] != inputs.shape[:1]
        or rows.shape[1:] != (width or rows.shape[-1],)
        or rows.dtype != torch.float32
    ):
        problem = f"{str(rows.dtype).removeprefix('torch.')} of shape {tuple(rows.shape)}"
    elif not len(
        lengths := (norms := rows.detach().norm(dim=1))[(norms > 0) & (norms < torch.inf)]
    ):
        problem = "NaN, infinity or only zeros: the weights are damaged, or so are the inputs"
    elif (lengths - 1).abs().max() > 0.01:
        problem = f"rows of lengths {lengths.min():.3g} to {lengths.max():.3g}"
    # Two composed queries may share the part that a weight of 0 or 1 leaves.
    elif len(rows) > 2 and (rows == rows[0]).all() and not (inputs == inputs[0]).all():
        problem = "the same row for different items"
    else:
        return rows
    shape = f"({len(inputs)}, {width or 'D'})"
    raise WeightsError(f"{what} are {problem}; expected float32 of shape {shape}, rows of length 1")


@torch.no_grad()
def check_alone(encode: Callable[[Tensor], Tensor], batch: Tensor, rows: Tensor) -> None:
    """Refuses rows that depend on more than their items, such as on neighbours or on chance.

    Args:
        batch: as ``encode`` has left it, which may have written into it.

    Raises:
        WeightsError: the first item has another row alone.
    """
    if (encode(batch[:1]) - rows[:1]).norm() > 0.05:  # far beyond 16-bit rounding
        raise WeightsError(
            "an item that was embedded in a batch and then alone has two embeddings; expected one "
            "that depends on the item only: is BatchNorm in training, is dropout left on by "
            "eval(), or does the encoder write into its inputs?"
        )


def fingerprint(facts: Mapping[str, Any], model: nn.Module, extra: Iterable[bytes] = ()) -> str:
    """16 hex digits over facts, every weight of a model, and extra content (a vocabulary)."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for key, value in sorted(model.state_dict().items()):
        array = value.detach().to("cpu", torch.float32).contiguous().numpy()
        digest.update(f"{key}{array.shape}".encode())
        digest.update(array.reshape(-1).data)
    for content in extra:
        digest.update(content)
    return digest.hexdigest()[:16]


TRANSFORMS = {
    "resize": "bicubic resize to the model's size, aspect ratio not kept (TCR's protocol)",
    "clip": "the model's own preprocessing: usually shorter side, then centre crop",
    "pad": "black bars up to an aspect ratio of 1.25, then shorter side, bicubic, and centre crop "
    "(usual for composed queries)",
}
"""Names of the transforms; CLIP models gain about two points of clean recall from "clip"."""

Step = Callable[[Image.Image], Image.Image]

PAD_RATIO = 1.25
"""Longer by shorter side from which on "pad" adds bars (the public code for CIRR and FashionIQ)."""


def image_transform(name: str, preprocess: Mapping[str, Any]) -> Staged:
    """Builds one transform: (H, W, 3) uint8 array -> (3, S, S) float32 tensor.

    It comes in two stages, with (3, S, S) uint8 pixels between them.

    Args:
        name: one of ``TRANSFORMS``.
        preprocess: open_clip's preprocessing facts of the model: ``size``, ``mean``, ``std`` and,
            for "clip", ``interpolation``, ``resize_mode`` and ``fill_color``.

    Raises:
        ConfigError: unknown name.
    """
    if name not in TRANSFORMS:
        raise ConfigError(
            f"unknown image transform {name!r}{did_you_mean(name, TRANSFORMS)}; "
            f"known: {', '.join(TRANSFORMS)}"
        )
    given = preprocess["size"]
    size = (given, given) if isinstance(given, int) else tuple(given)
    mean, std = preprocess["mean"], preprocess["std"]
    if name == "resize":
        return staged([partial(resized, size=size)], mean, std)
    # The embedded default's own transform does without torchvision, which imports torch._dynamo.
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize, ToTensor

    if name == "pad":
        shorter = Resize(max(size), interpolation=InterpolationMode.BICUBIC)
        return staged([padded, shorter, CenterCrop(size)], mean, std)
    steps = image_transform_v2(PreprocessCfg(**preprocess), is_train=False).transforms
    own = list(takewhile(lambda step: not isinstance(step, ToTensor), steps))
    return staged(own, mean, std)


def resized(
    image: Image.Image, size: Sequence[int], filter: Resampling = Resampling.BICUBIC
) -> Image.Image:
    """An image of another size, (height, width), its aspect ratio not kept."""
    return image.resize((size[1], size[0]), filter)


def staged(steps: Sequence[Step], mean: Sequence[float], std: Sequence[float]) -> Staged:
    """A chain of transforms, parted where 8-bit pixels become numbers.

    Args:
        steps: of RGB images.
        mean: of each channel, from 0 to 1.
        std: as ``mean``.
    """
    centre, spread = (
        torch.tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (mean, std)
    )

    def compact(image: Any) -> Tensor:
        made = reduce(lambda before, step: step(before), steps, Image.fromarray(image))
        return torch.from_numpy(np.array(made)).permute(2, 0, 1)

    def expand(pixels: Tensor) -> Tensor:
        numbers = pixels.to(torch.float32, copy=True).div_(255)  # as torchvision's ToTensor does
        return numbers.sub_(centre.to(pixels.device)).div_(spread.to(pixels.device))

    return Staged(compact, expand, anywhere=True)


def padded(image: Image.Image) -> Image.Image:
    """Black bars beside the shorter side, so that the aspect ratio is at most ``PAD_RATIO``."""
    wanted = max(image.size) / PAD_RATIO
    across, down = (max(int((wanted - side) / 2), 0) for side in image.size)
    return ImageOps.expand(image, (across, down)) if across or down else image
