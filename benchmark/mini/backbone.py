"""The shipped mini encoder, read by the same code as a user's own local checkpoint."""

from __future__ import annotations

from benchmark.backbones.open_clip import OpenClipBackbone, load_local_dir
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError
from benchmark.mini.tokens import WEIGHTS

NAME = "mini-clip"


def load(spec: BackboneSpec) -> OpenClipBackbone:
    """Loads the shipped weights.

    Raises:
        ConfigError: the specification names a model or weights of its own.
        WeightsError: the shipped files are missing or damaged.
    """
    if spec.model or spec.pretrained:
        raise ConfigError(
            "the mini backbone has one set of weights, its own; for MODEL or PRETRAINED use the "
            "open_clip backbone (SUITE=paper)"
        )
    return load_local_dir(WEIGHTS, spec.transform, spec.device, name=NAME)
