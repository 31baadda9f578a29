"""Torch modules as a dual encoder: two towers, each with the function that prepares its items."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from benchmark.backbones.base import LARGEST_SCALE, DualEncoder, TwoTowers, fingerprint
from benchmark.errors import ConfigError, DataError, QueryShiftError, WeightsError, reason_of, shown
from methods.base import QueryEncoder
from shifts.base import Audio

Tower = tuple[nn.Module, Callable[[Any], Tensor]]
"""A module that gives (B, D) rows for a batch, and what makes an input tensor of one item."""

_PROBES: dict[str, Any] = {
    "image": np.full((64, 64, 3), 127, np.uint8),
    "text": "a plain grey wall",
    "audio": Audio(np.zeros(16_000, np.float32), 16_000),
    "video": np.full((4, 64, 64, 3), 127, np.uint8),
}
"""Modality -> an item on which a tower is tried."""

_DRAWN = np.random.default_rng(0)
_DETAILED: dict[str, Any] = {
    "image": np.linspace(0, 200, 96, dtype=np.uint8)[:, None, None]
    + _DRAWN.integers(0, 55, (96, 64, 3), np.uint8),
    "text": "A Café, 2 dogs & " + "a long row of words " * 30,
    "audio": Audio(_DRAWN.normal(0, 0.1, 40_000).astype(np.float32), 16_000),
    "video": _DRAWN.integers(0, 255, (4, 96, 64, 3), np.uint8),
}
"""Modality -> an item that tells functions and modules of equal weights apart."""


def dual_encoder(
    *, name: str = "own-model", logit_scale: float = 100.0, device: str = "auto", **towers: Tower
) -> DualEncoder:
    """A dual encoder of two torch modules.

    Args:
        name: as tables call it.
        logit_scale: learnt scale of the cosine similarities (1 / temperature); CLIP's is 100.
        device: torch device string, or "auto".
        towers: ``image=(module, preprocess), text=(module, tokenise)``, two of image, text, audio
            and video. A module takes a batch (B, ...) and gives (B, D) rows, which are normalised;
            it is copied. Its function takes one item (a ``PIL.Image``, a str, an ``Audio``, a
            (T, H, W, 3) uint8 array) and gives one tensor, without a batch dimension (one of
            length 1 is dropped), of the same shape for all items.

    Raises:
        ConfigError: other towers than two, or something that is no module with a function.
        WeightsError: a tower that cannot encode a plain item, or embeddings of different widths.
    """
    from benchmark.planning.specs import device_name

    if len(towers) != 2 or not set(towers) <= set(_PROBES):
        raise ConfigError(
            f"a dual encoder needs two towers of {', '.join(_PROBES)}, not "
            f"{', '.join(towers) or 'none'}: image=(module, preprocess), text=(module, tokenise)"
        )
    try:
        logit_scale = float(logit_scale)
        if not 0 < logit_scale <= LARGEST_SCALE:
            raise ValueError
    except (TypeError, ValueError):
        raise ConfigError(
            f"logit_scale={shown(logit_scale)} cannot be used; expected a number above 0, at most "
            f"{LARGEST_SCALE:g} (CLIP's is 100; its weights hold the logarithm)"
        ) from None
    made = {modality: _checked(modality, tower) for modality, tower in towers.items()}
    prepare = {modality: _prepared(modality, found[1]) for modality, found in made.items()}
    nets, inputs, widths = {}, {}, {}
    for modality, (module, _) in made.items():
        net = nets[modality] = _Encoder.of(module, modality)
        try:
            inputs[modality] = prepare[modality](_PROBES[modality])
            _check_repeats(modality, prepare[modality])
            with torch.no_grad():
                rows = net(inputs[modality][None])
        except QueryShiftError as error:
            raise WeightsError(str(error)) from None
        except Exception as error:  # the user's code may raise anything
            raise WeightsError(
                f"the {modality} tower cannot encode a plain {modality}: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not bool((rows.norm(dim=1) > 0).all()):
            raise WeightsError(
                f"the {modality} tower gives only zeros, NaN or infinity for a plain {modality}: "
                "its weights are damaged, or its function makes another input than it expects"
            )
        widths[modality] = rows.shape[1]
    if len(set(widths.values())) > 1:
        said = " and ".join(f"{width} for {modality}" for modality, width in widths.items())
        raise WeightsError(f"the two towers give rows of different lengths: {said}")
    facts = {"towers": {side: repr(net) for side, net in nets.items()}, "scale": f"{logit_scale:g}"}
    return TwoTowers(
        nets,
        prepare,
        name=name,
        fingerprint=fingerprint(
            facts,
            nn.ModuleDict(nets),
            [
                *(inputs[side].numpy().tobytes() for side in sorted(inputs)),
                *(_traits(side, nets[side], prepare[side]) for side in sorted(inputs)),
            ],
        ),
        logit_scale=logit_scale,
        device=device_name(device),
    )


@torch.no_grad()
def _traits(modality: str, net: QueryEncoder, prepare: Callable[[Any], Tensor]) -> bytes:
    """What a tower makes of a detailed item, so coarse that other processors make the same."""
    try:
        made = prepare(_DETAILED[modality])
        found = [made, net(made[None])]
    except Exception as error:  # one that takes plain items only
        return type(error).__name__.encode()
    told = b"" if made.is_floating_point() else made.numpy().tobytes()
    for values in (value.double().flatten() for value in found):
        parts = (values / values.square().mean().sqrt().clamp_min(1e-12)).chunk(64)
        means = torch.stack([each for part in parts for each in (part.mean(), part.abs().mean())])
        told += (means.nan_to_num() * 10 + 0.317).floor().to(torch.int64).numpy().tobytes()
    return told


class _Encoder(QueryEncoder):
    """A module whose rows are made float32 unit rows."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    @classmethod
    def of(cls, net: nn.Module, modality: str) -> QueryEncoder:
        try:
            fresh = copy.deepcopy(net).float().cpu().eval().requires_grad_(False)
        except Exception as error:  # torch's own, and those of the user's class
            raise WeightsError(
                f"the {modality} tower cannot be copied as float32 ({reason_of(error)}); expected "
                "a plain module with its weights as parameters: no TorchScript, none on the device "
                "'meta'"
            ) from None
        return fresh if isinstance(fresh, QueryEncoder) else cls(fresh)

    def forward(self, inputs: Tensor) -> Tensor:
        rows = self.net(inputs)
        if not isinstance(rows, Tensor) or rows.ndim != 2 or len(rows) != len(inputs):
            found = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            raise WeightsError(f"a tower gave {found} for {len(inputs)} items; expected (B, D)")
        return functional.normalize(rows.float(), dim=-1)


def one_line(value: Any) -> str:
    """A value for a message, on one line: torch modules write themselves on many."""
    return " ".join(shown(value).split())


def _checked(modality: str, tower: Any) -> Tower:
    if not (
        isinstance(tower, tuple | list)
        and len(tower) == 2
        and isinstance(tower[0], nn.Module)
        and callable(tower[1])
    ):
        raise ConfigError(
            f"{modality}={one_line(tower)} is no tower; expected (torch module, function that "
            "makes a tensor of one item)"
        )
    return tower[0], tower[1]


def _check_repeats(modality: str, prepare: Callable[[Any], Tensor]) -> None:
    """Raises WeightsError for a function that crops or turns at random, as in training."""
    item, drawn = _PROBES[modality], np.random.default_rng(0)
    if isinstance(item, np.ndarray):  # crops of a plain one are all the same
        item = drawn.integers(0, 256, item.shape, dtype=np.uint8)
    elif isinstance(item, Audio):
        item = Audio(drawn.normal(0, 0.1, len(item.samples)).astype(np.float32), item.rate)
    # Some turn every second item only; rounding, such as a GPU's, may differ.
    first, *others = (prepare(item).double().nan_to_num() for _ in range(8))
    if any(one.shape != first.shape or ((one - first).abs() > 1e-4).any() for one in others):
        raise WeightsError(
            f"the function of the {modality} tower makes something else of one item the second "
            "time; expected that for validation, not that for training"
        )


def _prepared(modality: str, function: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    def prepare(item: Any) -> Tensor:
        found = function(Image.fromarray(item) if modality == "image" else item)
        if isinstance(found, Mapping):
            raise DataError(
                f"the function of the {modality} tower gave {', '.join(map(str, found))}; expected "
                "one tensor, such as its input_ids"
            )
        if not isinstance(found, Tensor):
            raise DataError(
                f"the function of the {modality} tower gave a {type(found).__name__}; expected a "
                "torch tensor"
            )
        # Tokenisers and processors give a batch of one.
        lone = found.ndim == {"text": 2, "image": 4}.get(modality) and len(found) == 1
        return (found[0] if lone else found).detach().cpu()

    return prepare
