"""The tensors of a TorchScript archive, as OpenAI published its models; none of its code is run.

An archive holds its parameters as a pickle of nested modules beside raw storages. The reader knows
tensors, plain containers and modules as bags of attributes, and refuses whatever else is named.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_LARGEST = 64 << 30  # bytes of all storages
_TYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
}


class _Module:
    """Stands for a module of the archive: its attributes and nothing else."""

    def __setstate__(self, state: Any) -> None:
        self.values = state if isinstance(state, dict) else {}


def is_archive(path: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/")[-1] == "constants.pkl" for name in archive.namelist())


def read_archive(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers by name; OpenAI's marks of its own models as tensors of one number.

    Raises:
        ValueError: not such an archive, or its pickle names something that is no tensor or module.
    """
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _LARGEST:
            raise ValueError("its content is larger than 64 GB")
        data = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        reader = _Reader(archive, data.removesuffix(".pkl"))
        try:
            top = reader.load()
        except pickle.UnpicklingError as error:
            raise ValueError(str(error)) from None
    if not isinstance(top, _Module):
        raise ValueError("it holds no module")
    found: dict[str, Tensor] = {}
    _collect(top, "", found)
    for name in ("input_resolution", "context_length", "vocab_size"):
        if isinstance(top.values.get(name), int):
            found[name] = torch.tensor(top.values[name])
    return found


def _collect(module: _Module, prefix: str, found: dict[str, Tensor]) -> None:
    for name, value in module.values.items():
        if isinstance(value, _Module):
            _collect(value, f"{prefix}{name}.", found)
        elif isinstance(value, Tensor) and name != "attn_mask":  # which every tower makes itself
            found[f"{prefix}{name}"] = value


class _Reader(pickle.Unpickler):
    """Knows tensors, containers and bags of attributes; anything else is refused."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}.pkl")))
        self._archive, self._folder = archive, folder
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, requires_grad, hooks: data
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        if module == "torch.jit._pickle":
            return lambda *arguments: arguments[0]  # typed lists
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is refused")

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key, _, _ = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"it names a {kind!r}, which is refused")
        if key not in self._storages:
            raw = bytearray(self._archive.read(f"{self._folder}/{key}"))
            self._storages[key] = torch.frombuffer(raw, dtype=dtype)
        return self._storages[key]


def _tensor(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    return torch.as_strided(storage, tuple(size), tuple(stride), offset)
