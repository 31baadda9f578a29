"""open_clip without timm and transformers until a model needs them; each in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

from benchmark.backbones.deferred import Name

EMBEDDED = """
import sys
from benchmark.backbones.open_clip import bare_towers
from benchmark.cell import BackboneSpec
from benchmark.mini.pictures.backbone import load

load(BackboneSpec("mini"))
print(sorted({"timm", "transformers"} & set(sys.modules)))
trunk = bare_towers("ViT-B-16-SigLIP")["image"].visual.trunk
print(type(trunk).__module__)
"""


def test_the_embedded_encoder_needs_neither_and_a_tower_of_timm_is_built_all_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EMBEDDED], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["[]", "timm.models.vision_transformer"], done.stderr


def test_a_name_stands_for_what_it_names() -> None:
    name = Name("fractions", "Fraction")
    assert name(1, 2) == Fraction(1, 2)
    assert name.from_float(0.25) == Fraction(1, 4)
    assert isinstance(Fraction(3), name)  # type: ignore[arg-type]
    assert not isinstance(3, (name, str))  # type: ignore[arg-type]
