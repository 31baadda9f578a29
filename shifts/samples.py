"""Items of every modality for the contract, and how two of them compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shifts.base import Audio, Composed

MODALITIES = ("image", "text", "audio", "video", "composed")

_IMAGE_SIZES = ((48, 56), (32, 32), (40, 33), (1, 40), (37, 1))
_CLIP_SIZES = ((9, 24, 28), (1, 20, 16), (3, 1, 12))
_TEXTS = (
    "a man riding a wave on top of a surfboard",
    "Two dogs, one black-and-white, run after a red ball.",
    "",
    "word",
    "\U0001f600 un gar\u00e7on souriant \u05e9\u05dc\u05d5\u05dd",
    "a plate with " + "very " * 60 + "fresh fruit",
)


def sample_items(modality: str) -> list[Any]:
    """Items that a shift of this modality must work on: odd sizes, one pixel, silence, empty text.

    Args:
        modality: one of ``MODALITIES``, or "any" for items of all of them.
    """
    if modality == "any":
        return [item for each in MODALITIES for item in sample_items(each)]
    makers: dict[str, Callable[[], list[Any]]] = {
        "image": _images,
        "text": lambda: list(_TEXTS),
        "audio": _recordings,
        "video": _clips,
        "composed": lambda: [Composed(i, t) for i, t in zip(_images(), _TEXTS, strict=False)],
    }
    return makers[modality]()


def wrong_items(modality: str) -> list[Any]:
    """Items that a shift of this modality has to refuse; none for "any"."""
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    clip = np.zeros((2, 16, 16, 3), dtype=np.uint8)
    sound = Audio(np.zeros(9, dtype=np.float32), 8000)
    foreign = [None, 7, b"bytes", ["a", "list"]]
    flat: Any = image[..., 0]
    floating: Any = image.astype(np.float32)
    two = image[..., :2]
    return {
        "any": [],
        "image": [*foreign, "text", flat, floating, two, image[:0], clip, sound],
        "text": [*foreign, image, sound],
        "audio": [*foreign, "text", sound.samples, replace(sound, samples=sound.samples[:0])],
        "video": [*foreign, "text", image, clip[:0], clip[:, :0], clip / 2, clip[..., :1], [clip]],
        "composed": [
            *foreign,
            "text",
            image,
            (image, "text"),
            *(Composed(picture, "text") for picture in (flat, floating, image[:0])),
            Composed(image, b"bytes"),  # type: ignore[arg-type]  # the fault under test
        ],
    }[modality]


def arrays(item: Any) -> list[NDArray[Any]]:
    """The arrays that an item consists of; none for text."""
    if isinstance(item, Audio):
        return [item.samples]
    if isinstance(item, Composed):
        return [item.image]
    return [item] if isinstance(item, np.ndarray) else []


def read_only(item: Any) -> Any:
    """An equal item whose arrays are copies that cannot be written to."""
    if isinstance(item, Audio):
        return replace(item, samples=read_only(item.samples))
    if isinstance(item, Composed):
        return replace(item, image=read_only(item.image))
    if isinstance(item, np.ndarray):
        item = item.copy()
        item.setflags(write=False)
    return item


def equal(one: Any, other: Any) -> bool:
    """Whether two items are of one kind and hold the same."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(one, other)
    return bool(one == other)


def change(item: Any, result: Any) -> float:
    """Mean absolute difference of two items' arrays: in 8-bit levels, or of full scale in audio."""
    pairs = zip(arrays(item), arrays(result), strict=True)
    return float(np.mean([np.abs(a.astype(float) - b).mean() for a, b in pairs]))


def describe(item: Any) -> str:
    """A few words on an item, for messages."""
    if isinstance(item, str):
        return f"text {item[:20]!r}"
    if isinstance(item, Audio):
        return f"audio of {len(item.samples)} samples at {item.rate} Hz"
    if isinstance(item, Composed):
        return f"{describe(item.image)} with {describe(item.text)}"
    kind = {3: "image", 4: "video"}.get(np.ndim(item), "array")
    size = "x".join(map(str, np.shape(item)[:-1]))
    return f"{size} {kind}"


def _images() -> list[Any]:
    rng = np.random.default_rng(20)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in _IMAGE_SIZES]
    images[0] = _scene(*_IMAGE_SIZES[0])
    images.append(np.zeros((32, 32, 3), dtype=np.uint8))
    images.append(np.full((32, 32, 3), 255, dtype=np.uint8))
    return images


def _recordings() -> list[Audio]:
    time = np.arange(1600) / 16_000
    tone = 0.3 * np.sin(2 * np.pi * 440 * time) * np.hanning(len(time))
    loud = np.sign(np.sin(2 * np.pi * 100 * np.arange(441) / 44_100))
    return [
        Audio(tone.astype(np.float32), 16_000),
        Audio(np.zeros(200, dtype=np.float32), 8_000),
        Audio(loud.astype(np.float32), 44_100),
        Audio(np.full(1, 0.25, dtype=np.float32), 16_000),
    ]


def _clips() -> list[Any]:
    """A scene that moves by, a single frame, and frames of one row."""
    frames, height, width = _CLIP_SIZES[0]
    wide = _scene(height, width + 2 * frames)
    moving = np.stack([wide[:, 2 * t : 2 * t + width] for t in range(frames)])
    rng = np.random.default_rng(21)
    return [
        moving,
        *(rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in _CLIP_SIZES[1:]),
    ]


def _scene(height: int, width: int) -> NDArray[np.uint8]:
    """A picture with smooth areas, edges and colour; noise alone would hide what blurs do."""
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack((60 + 2 * rows, 40 + 3 * columns, 200 - rows - columns), axis=-1)
    image[(rows - height // 2) ** 2 + (columns - width // 3) ** 2 < (height // 5) ** 2] = (
        220,
        40,
        30,
    )
    image[(rows // 7 + columns // 7) % 2 == 0] //= 2
    return np.clip(image, 0, 255).astype(np.uint8)
