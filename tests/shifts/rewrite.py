"""The packaged rewrite of the image set, imagecorruptions 1.1.2, made to run on today's libraries.

It is a yardstick for tests only (extra ``agreement``). It uses NumPy's global generator, which is
put back as it was, and prints deprecation warnings, which are muted.
"""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REASON = "needs imagecorruptions and scikit-image: pip install -e '.[agreement]'"

BROKEN = ("glass_blur", "gaussian_blur", "fog")
"""Types that call what NumPy 2 and scikit-image 0.19 have removed; ``mended`` lets them run."""


class Rewrite:
    """The package behind one function.

    Attributes:
        names: its types, named as ours are.
        photographs: folder with the frost photographs that it ships.
    """

    def __init__(self, package: Any) -> None:
        self._package = package
        self.names: tuple[str, ...] = tuple(package.corruption_dict)
        self.photographs = Path(package.__file__).parent / "frost"

    def corrupt(self, image: np.ndarray, name: str, severity: int) -> np.ndarray:
        """Corrupts an image with whatever NumPy's global generator gives."""
        result: np.ndarray = self._package.corrupt(image, severity=severity, corruption_name=name)
        return result

    @contextmanager
    def running(self, seed: int = 0, *, mended: bool = False) -> Iterator[None]:
        """Muted, on one core, with the global generator seeded; all is put back afterwards."""
        cv2 = importlib.import_module("cv2")
        threads, state = cv2.getNumThreads(), np.random.get_state()  # noqa: NPY002 - put back below
        with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
            warnings.simplefilter("ignore")
            cv2.setNumThreads(1)
            np.random.seed(seed)  # noqa: NPY002 - the package knows no other generator
            if mended:
                self._mend(patch)
            try:
                yield
            finally:
                np.random.set_state(state)  # noqa: NPY002
                cv2.setNumThreads(threads)

    def _mend(self, patch: pytest.MonkeyPatch) -> None:
        """Gives back two names that newer libraries spell otherwise; no operator changes."""
        filters = importlib.import_module("skimage.filters")

        def gaussian(image: np.ndarray, *args: Any, multichannel: bool = False, **rest: Any) -> Any:
            axis = {"channel_axis": -1} if multichannel else {}
            return filters.gaussian(image, *args, **axis, **rest)

        patch.setattr(self._package.corruptions, "gaussian", gaussian)
        patch.setattr(np, "float_", np.float64, raising=False)


def load_rewrite() -> Rewrite:
    """The rewrite; skips the test where it is not installed."""
    for name in ("cv2", "skimage"):
        pytest.importorskip(name, reason=REASON)
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        if "pkg_resources" not in sys.modules:
            # Newer setuptools no longer bring it; the package only asks it for paths of its own.
            patch.setitem(sys.modules, "pkg_resources", _resources())
        return Rewrite(pytest.importorskip("imagecorruptions", reason=REASON))


def photograph() -> np.ndarray:
    """(300, 451, 3) uint8: scikit-image's photograph of a cat (CC0)."""
    data = pytest.importorskip("skimage.data", reason=REASON)
    picture: np.ndarray = data.chelsea()
    return picture


def _resources() -> types.ModuleType:
    module = types.ModuleType("pkg_resources")

    def resource_filename(package: str, name: str) -> str:
        return str(Path(sys.modules[package].__file__ or "").parent / name)

    module.__dict__["resource_filename"] = resource_filename
    return module
