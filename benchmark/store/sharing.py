"""Equal parts of many records, kept once: cells of a run share most of what they say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from benchmark.cell import Record


class Shared:
    """Makes records and arrays share what is equal among them; nobody may write into it."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._parts: dict[str, Any] = {}
        self._arrays: dict[tuple[str, bytes], np.ndarray] = {}

    def record(self, record: Record) -> Record:
        """The record, equal to the given one, in less memory."""
        return replace(
            record,
            cell=self._each(record.cell),
            info=self._part(record.info),
            environment=self._each(record.environment),
            metrics=self._named(record.metrics),
            probes=self._named(record.probes),
            cost=self._named(record.cost),
            batches=tuple(map(self._named, record.batches)),
        )

    def array(self, array: np.ndarray) -> np.ndarray:
        """An array with the same content, the first one that had it."""
        content = hashlib.sha256(array.tobytes()).digest()
        return self._arrays.setdefault((array.dtype.str, content), array)

    def _text(self, text: str) -> str:
        return self._texts.setdefault(text, text)

    def _named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {self._text(name): value for name, value in values.items()}

    def _each(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {self._text(name): self._part(value) for name, value in values.items()}

    def _part(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if not isinstance(value, Mapping):
            return value
        # In the order in which it is stored, which the page shows.
        return self._parts.setdefault(json.dumps(value, default=str), value)
