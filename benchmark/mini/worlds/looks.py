"""What a camera makes of a picture: blur, contrast, light, tint and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from benchmark.mini.pictures.scenes import SIDE


@dataclass(frozen=True, slots=True)
class Look:
    """The look of one camera.

    Attributes:
        gain: brightness factors, darkest and lightest.
        tint: factor of each channel.
        contrast: factor around the picture's mean; 1 = unchanged.
        noise: standard deviation, 0..255.
        blur: width in pixels over which a pixel is spread; 1 = sharp.
        grey: share of the colour that is lost.
    """

    gain: tuple[float, float] = (0.9, 1.1)
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    noise: float = 4.5
    blur: float = 1.0
    grey: float = 0.0


def filmed(picture: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """The picture, (64, 64, 3), 0..255, as the camera sees it; uint8."""
    picture = picture.astype(np.float32)
    if look.blur > 1:
        small = max(1, round(SIDE / look.blur))
        image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
        image = image.resize((small, small), Image.Resampling.BOX)
        picture = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
    if look.grey:
        picture = picture * (1 - look.grey) + look.grey * picture.mean(2, keepdims=True)
    mean = picture.mean()
    picture = (picture - mean) * look.contrast + mean
    picture = picture * rng.uniform(*look.gain) * np.asarray(look.tint, np.float32)
    picture = picture + rng.normal(0, look.noise, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)
