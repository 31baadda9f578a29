"""The shipped mini encoders, read by the same code as a user's own local checkpoint."""

from __future__ import annotations

from benchmark.backbones.open_clip import OpenClipBackbone, load_local_dir
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, UnknownNameError, did_you_mean
from benchmark.mini.pictures.recipe import RECIPES
from benchmark.mini.pictures.tokens import weights_folder

NAME = "mini-clip"


def load(spec: BackboneSpec) -> OpenClipBackbone:
    """Loads one of the shipped encoders; the specification's model "" is the base encoder.

    Raises:
        ConfigError: the specification names weights of its own.
        UnknownNameError: there is no such encoder.
        WeightsError: the shipped files are missing or damaged.
    """
    if spec.pretrained:
        raise ConfigError(
            "the mini backbone has weights of its own; for PRETRAINED use the open_clip backbone "
            "(SUITE=paper)"
        )
    if spec.model and spec.model not in RECIPES:
        raise UnknownNameError(
            f"unknown mini encoder {spec.model!r}{did_you_mean(spec.model, RECIPES)}; there are "
            f"{', '.join(RECIPES)}; for other models use the open_clip backbone (SUITE=paper)"
        )
    name = NAME if spec.model in ("", "base") else f"{NAME}-{spec.model}"
    return load_local_dir(weights_folder(spec.model), spec.transform, spec.device, name=name)
