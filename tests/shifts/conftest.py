"""Fixtures that several test files of the shifts share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.shifts.fake_transformers import World, made_up_transformers


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A made-up transformers package stands in for the real one."""
    with made_up_transformers(monkeypatch) as made:
        yield made
