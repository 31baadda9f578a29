"""Common ground of the harness's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.registry import REGISTRIES

TOY = Path(__file__).resolve().parents[1] / "data" / "toy"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The outsider's package is installed, and results go to a folder of the test."""
    monkeypatch.syspath_prepend(TOY)
    monkeypatch.chdir(tmp_path)
    for registry in REGISTRIES.values():
        registry.refresh()
    yield
    monkeypatch.undo()
    for registry in REGISTRIES.values():
        registry.refresh()
