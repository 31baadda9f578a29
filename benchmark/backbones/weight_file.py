"""Weight files: state dicts alone or within a checkpoint, and TorchScript archives, as tensors.

Nothing in a file is ever run: state dicts go through torch's ``weights_only``, and of a TorchScript
archive the data are read and its code is not. An archive holds its parameters as a pickle of nested
modules beside raw storages; its reader knows tensors, plain containers and modules as bags of
attributes, and refuses whatever else is named.
"""

from __future__ import annotations

import io
import logging
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from benchmark.backbones.places import PART, POINTED, POINTER, read_config
from benchmark.errors import WeightsError, did_you_mean

logger = logging.getLogger(__name__)

PARTS = ("state_dict", "state_dict_ema", "model", "model_state_dict", "model_ema", "CLIP")
"""Entries of a checkpoint that may hold the weights."""

_PREFIXES = ("module.", "_orig_mod.")
"""What parallel wrappers and torch.compile put before each name."""

_UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError),
    *(StopIteration, SafetensorError, pickle.UnpicklingError),
)
"""What reading a damaged file, or one of another kind, is known to raise."""

_SAVE = "torch.save({name: t for name, t in weights.items() if torch.is_tensor(t)}, 'weights.pt')"

_FOREIGN = re.compile(r"(?:GLOBAL |class )'?([\w.]+)")

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


def read_weights(path: Path, part: str = "") -> tuple[dict[str, Tensor], str]:
    """The tensors of a weight file by name, and which entry of the file they were ("" for all).

    Args:
        path: safetensors, a file of ``torch.save``, or a TorchScript archive.
        part: the entry wanted (see ``places.parted``), one below the other with dots
            ("model.state_dict").

    Raises:
        WeightsError: unreadable, of another kind, without weights, or with several sets of which
            none was chosen; says which.
    """
    if path.suffix in (".npz", ".npy"):
        raise WeightsError(f"{path}: big_vision weights are not supported; give a converted file")
    state, taken = _chosen(_content(path), part, path)
    if taken:
        logger.info("of %s the weights %r are taken", path, taken)
    return state, taken


def read_folder(folder: Path, names: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of a model folder: of the first of these files that it has, or of its shards.

    Raises:
        WeightsError: it has none, or one cannot be read.
    """
    for name in names:
        if (folder / name).is_file():
            return read_weights(folder / name)[0]
        if (index := folder / f"{name}.index.json").is_file():
            shards = read_config(index, "an index of shards", ("weight_map",))["weight_map"]
            files = sorted({Path(file).name for file in shards.values()})
            return {key: v for file in files for key, v in read_weights(folder / file)[0].items()}
    raise WeightsError(
        f"no weights in {folder}; expected {' or '.join(names)}, or its shards with their index"
    )


def _content(path: Path) -> Any:
    head = _head(path)
    try:
        if is_archive(path):
            return read_archive(path)
        if path.suffix == ".safetensors" or head[8:9] == b"{":  # behind the header's length
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of old formats that it reads all right
            return torch.load(path, map_location="cpu", weights_only=True)
    except (*_UNREADABLE, zipfile.BadZipFile) as error:
        if foreign := isinstance(error, pickle.UnpicklingError) and _FOREIGN.search(str(error)):
            raise WeightsError(
                f"{path} cannot be read as weights: it holds more than tensors, such as a "
                f"{foreign[1]}, and is refused; save its weights alone, where you trust it: python "
                f"-c \"import torch; c = torch.load('{path.name}', weights_only=False); "
                "torch.save(c['state_dict'], 'weights.pt')\" (of a whole model c.state_dict())"
            ) from None
        lines = str(error).splitlines() or [""]
        raise WeightsError(
            f"{path} cannot be read as weights ({type(error).__name__}: {lines[0]}); expected a "
            "state dict saved as safetensors or by torch.save"
        ) from None


def _head(path: Path) -> bytes:
    """How a file begins; what failed downloads leave is refused.

    That is nothing, Git LFS's pointer, or a page of a web server.
    """
    try:
        with path.open("rb") as file:
            head = file.read(200)
    except OSError:
        return b""  # reading it says why
    said = ""
    if not head:
        said = "is empty: fetch it again"
    elif head.startswith(POINTER):
        said = POINTED
    elif head.lstrip()[:1] in (b"<", b"{"):
        said = f"is a text and no weights (it begins {head[:20].decode(errors='replace')!r})"
    if said:
        raise WeightsError(f"{path} {said}")
    return head


def _chosen(content: Any, part: str, path: Path) -> tuple[dict[str, Tensor], str]:
    taken: list[str] = []
    wanted = [step for step in part.split(".") if step]
    while True:
        if _is_state(content):
            content = _grouped(content, path)
        if _is_state(content):
            break
        if not isinstance(content, Mapping):
            raise WeightsError(_no_weights(path, taken, content))
        there = [str(name) for name in content if isinstance(content[name], Mapping)]
        if wanted:
            step = wanted.pop(0)
            if step not in there:
                near = did_you_mean(step, there)
                raise WeightsError(f"{path} has no entry {step!r}{near}; it has {', '.join(there)}")
        else:
            # The weights are the entries of a known name, and any with the same tensors.
            known = [name for name in PARTS if name in there]
            names = content[known[0]].keys() if known else ()
            twins = (n for n in there if n not in PARTS and content[n].keys() == names)
            known += list(twins)
            if len(known) > 1:
                raise WeightsError(
                    f"{path} holds {len(known)} sets of weights, {' and '.join(known)}; say which "
                    f"after the file's or folder's name: "
                    f"PRETRAINED={path}{PART}{'.'.join([*taken, known[0]])}"
                )
            if not known:
                raise WeightsError(_no_weights(path, taken, content))
            step = known[0]
        taken.append(step)
        content = content[step]
    if wanted:
        place = f" below {'.'.join(taken)}" if taken else ""
        raise WeightsError(f"{path}: there is nothing called {wanted[0]!r}{place}")
    return dict(content), ".".join(taken)


def _grouped(state: Mapping[str, Tensor], path: Path) -> Mapping[str, Any]:
    """A state dict without the wrappers' prefixes; where every name begins with one of ``PARTS``,
    as in checkpoints of Lightning, the sets of weights by that word."""
    plain = {_plain(str(name)): value for name, value in state.items()}
    if len(plain) < len(state):
        raise WeightsError(f"{path}: two of its entries have one name without their prefixes")
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in plain.items():
        word, _, rest = name.partition(".")
        if word not in PARTS or not rest:
            return plain
        groups.setdefault(word, {})[rest] = value
    return groups


def _no_weights(path: Path, taken: list[str], content: Any) -> str:
    place = f" below {'.'.join(taken)}" if taken else ""
    if not isinstance(content, Mapping) or not content:
        found = "nothing" if isinstance(content, Mapping) else type(content).__name__
        return f"{path} holds no weights{place} ({found}); expected a state dict: {_SAVE}"
    if any(isinstance(value, Tensor) for value in content.values()):
        name, other = next((k, v) for k, v in content.items() if not isinstance(v, Tensor))
        return (
            f"{path} cannot be read as weights: its entry {name!r}{place} is no tensor but a "
            f"{type(other).__name__}; save it without: {_SAVE}"
        )
    return (
        f"{path} cannot be read as weights (it holds{place} {', '.join(map(str, content))[:200]}); "
        f"expected a state dict, or one within {', '.join(PARTS)}: name "
        f"another entry as PRETRAINED={path.name}{PART}ENTRY"
    )


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(value, Tensor) for value in content.values())
    )


def _plain(name: str) -> str:
    """A name without the wrappers' prefixes.

    >>> _plain("module._orig_mod.visual.proj")
    'visual.proj'
    """
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name.replace("._orig_mod.", ".")


class _Module:
    """Stands for a module of the archive: its attributes and nothing else."""

    def __setstate__(self, state: Any) -> None:
        self.values = state if isinstance(state, dict) else {}


def is_archive(path: Path) -> bool:
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
            return lambda storage, offset, size, stride, *_: torch.as_strided(
                storage, tuple(size), tuple(stride), offset
            )
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
