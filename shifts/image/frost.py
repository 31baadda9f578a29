"""Frost on the pane: from the user's photographs, or from procedural ice of our own."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shifts.base import ShiftError, user_folder
from shifts.digests import digest_of, digests_of, joined
from shifts.image.base import (
    IMAGENET_C,
    Bytes,
    Floats,
    ImageOptions,
    ImageShift,
    image_card,
    to_bytes,
    to_unit,
)
from shifts.image.filters import gaussian
from shifts.image.weather import plasma

_SUFFIXES = (".jpeg", ".jpg", ".png")
TEXTURES = 5
"""Number of procedural textures, as many as ImageNet-C draws photographs from."""
SIDE = 512
"""Side of a procedural texture in pixels; it tiles without a seam."""


@dataclass(frozen=True)
class FrostOptions(ImageOptions):
    """Options of ``frost``."""

    photos: str = field(
        default="", metadata={"help": "folder with your frost photographs (png, jpg, jpeg)"}
    )


class _Frosted(ImageShift):
    def distort(
        self, image: Bytes, constants: tuple[float, float], rng: np.random.Generator
    ) -> Bytes:
        height, width = image.shape[:2]
        return _blend(image, self.crop(height, width, rng), constants)

    @abstractmethod
    def crop(self, height: int, width: int, rng: np.random.Generator) -> Bytes:
        """A random crop of random ice, (height, width, 3) uint8."""


class Frost(_Frosted):
    """clip(a x + b photo), a random crop of a random photograph; constants: (a, b).

    ImageNet-C's photographs are not shipped (their licence is unclear); the folder is the user's.
    A photograph smaller than the image is enlarged until it covers it.

    Raises:
        ShiftError: no folder was named, it does not exist or it holds no photograph.
    """

    Options = FrostOptions
    card = image_card("frost", "frost photographs blended in")

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._photos = find_photos(self.options.photos)

    @property
    def fingerprint(self) -> str:
        """Hash of the photographs' bytes, for a result's identity; 16 hex digits."""
        return joined(digests_of(self._photos))

    def crop(self, height: int, width: int, rng: np.random.Generator) -> Bytes:
        """A random crop of a random photograph, (height, width, 3) uint8."""
        path = self._photos[rng.integers(len(self._photos))]
        photo = _load_photo(path, digest_of(path))
        photo = _cover(photo, height, width)
        top = rng.integers(photo.shape[0] - height + 1)
        left = rng.integers(photo.shape[1] - width + 1)
        return photo[top : top + height, left : left + width]


class FrostProcedural(_Frosted):
    """``frost`` with procedural ice in place of photographs; constants: (a, b).

    Approximates frost in look only: same blending, other texture.
    """

    card = image_card(
        "frost_procedural",
        "procedural frost blended in (no photographs needed)",
        f"blending of {IMAGENET_C}; texture of this project",
        exact=False,
    )

    def crop(self, height: int, width: int, rng: np.random.Generator) -> Bytes:
        """A random crop of a random texture, (height, width, 3) uint8."""
        # A 64 px crop of crystals made for 224 px would show a single arm: shrink them there.
        shrink = 2 if self.options.constants == "mini64" else 1
        texture = ice_texture(int(rng.integers(TEXTURES)), shrink)
        side = SIDE // shrink
        top, left = rng.integers(side, size=2)
        rows = np.arange(top, top + height) % side
        columns = np.arange(left, left + width) % side
        return texture[rows[:, None], columns[None, :]]


def find_photos(folder: str) -> tuple[Path, ...]:
    """The photographs in a folder, by name.

    Raises:
        ShiftError: the folder is not given, not there or has no photograph.
    """
    advice = (
        "give a folder with png or jpg photographs of frost as option 'photos', "
        "or use the shift 'frost_procedural', which needs none"
    )
    if not folder:
        raise ShiftError(f"shift 'frost' needs photographs and was given no folder; {advice}")
    path = user_folder(folder)
    if not path.is_dir():
        raise ShiftError(f"shift 'frost' found no folder {folder!r}; {advice}")
    photos = tuple(sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES))
    if not photos:
        raise ShiftError(f"shift 'frost' found no photograph in {folder!r}; {advice}")
    return photos


@lru_cache(maxsize=8)
def _load_photo(path: Path, digest: str) -> Bytes:
    """Decodes a photograph once per process and content."""
    try:
        with Image.open(path) as photo:
            pixels = np.array(photo.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise ShiftError(f"shift 'frost' cannot read the photograph {str(path)!r}") from error
    pixels.setflags(write=False)
    return pixels


def _cover(photo: Bytes, height: int, width: int) -> Bytes:
    scale = max(height / photo.shape[0], width / photo.shape[1])
    if scale <= 1:
        return photo
    size = (
        max(width, round(photo.shape[1] * scale)),
        max(height, round(photo.shape[0] * scale)),
    )
    return np.array(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR))


def _blend(image: Bytes, frost: Bytes, constants: tuple[float, float]) -> Bytes:
    keep, add = constants
    result, ice = to_unit(image), to_unit(frost)
    result *= keep
    ice *= add
    result += ice
    return to_bytes(result)


@lru_cache(maxsize=2 * TEXTURES)
def ice_texture(number: int, shrink: int = 1) -> Bytes:
    """One procedural frost texture, seamless; built once per process.

    Feathered crystals (six arms with side branches at 60 degrees) over a plasma haze.

    Args:
        number: 0 to TEXTURES - 1.
        shrink: the texture is averaged down by this whole factor.

    Returns:
        (SIDE / shrink, SIDE / shrink, 3) uint8, not writable.
    """
    rng = np.random.default_rng((0x1CE, number))
    needles = _crystals(rng)
    fine = gaussian(needles, 0.7, border="wrap")
    glow = gaussian(needles, 5.0, border="wrap")
    haze = plasma(SIDE, 1.7, rng)
    ice = np.clip(0.1 + 0.2 * haze + 0.5 * np.tanh(fine) + 0.35 * np.tanh(glow), 0.0, 1.0)
    # Thin ice is bluish, thick ice white.
    tint = np.array((0.72, 0.86, 1.0))
    colour = ice[..., None] * (tint + (1.0 - tint) * ice[..., None])
    small = colour.reshape(SIDE // shrink, shrink, SIDE // shrink, shrink, 3).mean(axis=(1, 3))
    texture = to_bytes(small)
    texture.setflags(write=False)
    return texture


def _crystals(rng: np.random.Generator, count: int = 36) -> Floats:
    """(SIDE, SIDE) density of needles: points along every arm and branch, dropped on the grid."""
    points: list[Floats] = []
    for _ in range(count):
        centre = rng.uniform(0, SIDE, 2)
        turn = rng.uniform(0, np.pi / 3)
        for arm in range(6):
            angle = turn + arm * np.pi / 3 + rng.normal(0, 0.08)
            length = rng.uniform(25, 130)
            points.append(_segment(centre, angle, length))
            for along in np.arange(6.0, length, rng.uniform(5.0, 8.0)):
                root = centre + along * _direction(angle)
                reach = 0.4 * (length - along) * rng.uniform(0.6, 1.0)
                for side in (-np.pi / 3, np.pi / 3):
                    points.append(_segment(root, angle + side, reach))
    cells = np.floor(np.concatenate(points)).astype(np.int64) % SIDE
    counts = np.bincount(cells[:, 0] * SIDE + cells[:, 1], minlength=SIDE * SIDE)
    return np.minimum(counts.reshape(SIDE, SIDE), 4).astype(np.float64)


def _segment(start: Floats, angle: float, length: float) -> Floats:
    """Points every half pixel from ``start`` on, (n, 2)."""
    return np.asarray(start + np.arange(0.0, length, 0.5)[:, None] * _direction(angle))


def _direction(angle: float) -> Floats:
    return np.array((np.sin(angle), np.cos(angle)))
