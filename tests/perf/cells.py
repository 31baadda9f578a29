"""Cells of the embedded default that the speed tests run; importable by their child processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import benchmark as package
from benchmark.cell import BackboneSpec, Cell, MethodSpec, Record, ShiftSpec, StreamSpec
from benchmark.config.run import BenchConfig
from benchmark.errors import QueryShiftError
