"""QueryShift: a benchmark harness for test-time adaptation in cross-modal retrieval."""

from __future__ import annotations

__version__ = "0.1.0"
