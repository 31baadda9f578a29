"""The shipped encoders of composed queries: the base encoder and one combiner for each set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmark.backbones.base import TwoTowers, fingerprint, on_device, owned
from benchmark.backbones.packing import pack_staged
from benchmark.backbones.towers import ImageTower, TextTower
from benchmark.cell import BackboneSpec
from benchmark.data.tasks import clean
from benchmark.errors import ConfigError, WeightsError, did_you_mean
from benchmark.mini.composed.combiner import Combiner, ComposedTower
from benchmark.mini.pictures.backbone import WEIGHTS
from benchmark.mini.pictures.backbone import load as load_base
from methods.base import QueryEncoder

IMAGE_SHAPE = (3, 64, 64)
_PIXELS = 3 * 64 * 64
WEIGHTS_FILE = "combiner.safetensors"

COMBINER = {
    **{"image_width": 128, "text_width": 96, "embed_dim": 128},
    **{"width": 96, "layers": 2, "heads": 4},
}
"""Arguments of ``Combiner``; the first three are the base encoder's widths."""

COMBINERS = ("cirr", "fiq")
"""Sets that a combiner ships for."""


class ComposedBackbone:
    """A ``DualEncoder`` of modalities "composed" and "image".

    Args:
        base: the base encoder; its image tower embeds the gallery.
        combiner: trained for that base.
        name: as shown in tables.
        logit_scale: learnt with the combiner.
    """

    def __init__(
        self, base: TwoTowers, combiner: Combiner, *, name: str, logit_scale: float
    ) -> None:
        self.name = name
        self.device = base.device
        self.logit_scale = logit_scale
        self._base = base
        combiner = combiner.float().eval().requires_grad_(False).to(base.device)
        image, text = towers(base)
        self._tower = ComposedTower(image, text, combiner, IMAGE_SHAPE).eval()
        facts = {"base": base.fingerprint, "combiner": COMBINER, "scale": logit_scale}
        self.fingerprint = fingerprint({**facts, "text": "cleaned"}, combiner)

    def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
        """One raw item -> one input tensor on the CPU; composed ones as ``packing`` says."""
        image = self._base.preprocess("image")
        if _side(modality) == "image":
            return image
        words = self._base.preprocess("text")
        return pack_staged(image, lambda text: words(clean(text)), IMAGE_SHAPE)

    def collate(self, modality: str, inputs: Sequence[Tensor]) -> Tensor:
        """Stacks inputs on the device; texts are cut after the last end token of the batch."""
        if _side(modality) == "image":
            return self._base.collate("image", inputs)
        batch = torch.stack(list(inputs))
        if len(batch):
            last = int(batch[:, _PIXELS:].argmax(dim=1).max())
            batch = batch[:, : _PIXELS + last + 1]
        return on_device(batch, self.device)

    def query_encoder(self, modality: str) -> QueryEncoder:
        """A fresh copy in eval mode whose parameters all take gradients."""
        if _side(modality) == "image":
            return self._base.query_encoder("image")
        return owned(self._tower)

    @torch.no_grad()
    def encode(self, modality: str, inputs: Tensor) -> Tensor:
        if _side(modality) == "image":
            return self._base.encode("image", inputs)
        rows: Tensor = self._tower(inputs)
        return rows


def towers(base: TwoTowers) -> tuple[ImageTower, TextTower]:
    """Frozen copies of the base's two towers."""
    image, text = (owned(base.query_encoder(m)).requires_grad_(False) for m in ("image", "text"))
    return cast(ImageTower, image), cast(TextTower, text)


def base_towers() -> tuple[TwoTowers, ImageTower, TextTower]:
    """The shipped base encoder and copies of its towers."""
    base = load_base(BackboneSpec("mini"))
    return base, *towers(base)


def base_fingerprint(image: ImageTower, text: TextTower) -> str:
    """16 hex digits over the base's weights: a combiner fits the base that it was trained on."""
    return fingerprint({"text": fingerprint({}, text)}, image)


def read(file: Path) -> tuple[Combiner, dict[str, str]]:
    """The combiner in a file and the facts stored with it; raises what its readers raise."""
    with safetensors.safe_open(file, framework="pt") as stored:
        facts = dict(stored.metadata() or {})
    with torch.random.fork_rng(devices=[]):  # initialisers use the global generator
        combiner = Combiner(**COMBINER)
    combiner.load_state_dict({key: value.float() for key, value in load_file(file).items()})
    return combiner, facts


def load(spec: BackboneSpec, folder: Path = WEIGHTS) -> ComposedBackbone:
    """Loads the base encoder and the combiner that ``spec.model`` names.

    Args:
        spec: model "fiq" or "cirr"; transform and device are the base's.
        folder: where ``composed-<model>/`` lies.

    Raises:
        ConfigError: another model, or weights of the user's own.
        WeightsError: the shipped files are missing, damaged, or made for another base encoder.
    """
    if spec.model not in COMBINERS or spec.pretrained:
        raise ConfigError(
            f"the mini-composed backbone has the models {' and '.join(COMBINERS)} with their own "
            f"weights (MODEL=mini-composed:cirr), not {spec.model or spec.pretrained!r}"
            f"{did_you_mean(spec.model, COMBINERS)}"
        )
    base = load_base(BackboneSpec("mini", transform=spec.transform, device=spec.device))
    file = folder / f"composed-{spec.model}" / WEIGHTS_FILE
    retrain = f"make it anew: python -m training composed-{spec.model}"
    try:
        combiner, facts = read(file)
        scale = float(facts["logit_scale"])
    except (OSError, safetensors.SafetensorError, RuntimeError, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{file} cannot be read ({reason}); {retrain}") from None
    if facts.get("base") != base_fingerprint(*towers(base)):
        raise WeightsError(f"{file} was trained for another base encoder than ships; {retrain}")
    return ComposedBackbone(base, combiner, name=f"mini-composed-{spec.model}", logit_scale=scale)


def _side(modality: str) -> str:
    if modality not in ("composed", "image"):
        raise ConfigError(f"this backbone encodes 'composed' and 'image', not {modality!r}")
    return modality
