"""A stand-in for a video codec that needs nothing but Pillow: predicted frames, coded as JPEG."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shifts.base import Frames, Shift, ShiftCard
from shifts.image.base import IMAGENET_C

SEVERITIES = (1, 2, 3, 4, 5)
QUALITY = (25, 18, 15, 10, 7)
"""JPEG quality: ImageNet-C's ladder for jpeg_compression."""
KEY_EVERY = 12
"""Every so many frames one is coded on its own, about twice a second of film."""


class VideoCompressionJpeg(Shift):
    """Key frames as JPEG; the frames between as JPEG of their difference to the frame before.

    A codec such as H.264 also searches for motion and shares out bits over time; this does neither.
    What it has in common with one: blocks, lost chroma, errors that are carried on from frame to
    frame until the next key frame, and still parts that stay as they were first coded. A difference
    (-255..255) is halved to fit 8 bits, so it is quantised twice as coarsely as a key frame.
    """

    card = ShiftCard(
        "video_compression_jpeg",
        "video",
        SEVERITIES,
        "predicted frames coded as JPEG, in place of a video codec",
        f"quality of {IMAGENET_C}; prediction of this project",
        randomised=False,
        exact=False,
    )

    def corrupt(self, item: Frames, severity: int, rng: np.random.Generator) -> Frames:
        """Codes the frames in order; the decoder's last frame predicts the next one."""
        quality = QUALITY[severity - 1]
        decoded = np.empty_like(item)
        for t, frame in enumerate(item):
            if t % KEY_EVERY == 0:
                decoded[t] = _through_jpeg(frame, quality)
                continue
            before = decoded[t - 1].astype(np.int16)
            # Towards zero: rounding down would darken the picture a little with every frame.
            halved = np.fix((frame - before) / 2) + 128
            change = _through_jpeg(halved.astype(np.uint8), quality).astype(np.int16) - 128
            decoded[t] = np.clip(before + 2 * change, 0, 255)
        return decoded


def _through_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as decoded:
        return np.array(decoded.convert("RGB"))
