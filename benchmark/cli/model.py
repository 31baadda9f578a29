"""``queryshift show MODEL``: which normalisation layers of a model adapt, and which do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.cell import BackboneSpec
from benchmark.cli.command import table
from benchmark.config.run import BenchConfig
from benchmark.errors import ConfigError
from benchmark.registry import BACKBONES
from benchmark.report.display import FittedTable

if TYPE_CHECKING:
    from methods.base import QueryEncoder

_PLACES = ("local-dir", "hf-hub")


def is_model(text: str) -> bool:
    """Whether a text names a model (backbone:model, open_clip's name), and not a backbone alone."""
    from benchmark.planning.compatibility import open_clip_models

    loader, colon, _ = text.partition(":")
    return bool(colon and (loader in BACKBONES or loader in _PLACES)) or text in open_clip_models()


def layers_of(text: str, pretrained: str) -> FittedTable:
    """The normalisation layers of a model under ``adapt=norm``.

    Args:
        text: the model, as ``--model`` takes it.
        pretrained: its weights; of open_clip's own architectures the layers are known without.

    Raises:
        QueryShiftError: the loader's.
    """
    from benchmark.backbones.adapting import norm_layers
    from benchmark.planning.specs import backbone_spec

    config = BenchConfig(model=text, pretrained=pretrained, device="cpu")
    spec = backbone_spec(BackboneSpec(transform="clip"), config)
    rows = []
    for side, tower in _towers(spec).items():
        rows += [
            (side, kind, fate, f"{layers:,}", f"{scalars:,}")
            for kind, fate, layers, scalars in norm_layers(tower)
        ]
    columns = ("side", "layer", "under adapt=norm", "layers", "numbers")
    return table(columns, rows, title=f"model {text}", numbers=("layers", "numbers"))


def _towers(spec: BackboneSpec) -> Mapping[str, QueryEncoder]:
    if spec.loader == "open_clip" and not spec.pretrained and ":" not in spec.model:
        from benchmark.backbones.open_clip import bare_towers

        return bare_towers(spec.model)
    if spec.loader == "blip":
        spec = replace(spec, transform="resize")
    backbone = BACKBONES.get(spec.loader)(spec)
    found = {}
    for side in BACKBONES.info(spec.loader).facts.get("modalities", ("image", "text")):
        try:
            found[side] = backbone.query_encoder(side)
        except ConfigError:  # a model of another pair of modalities
            continue
    return found
