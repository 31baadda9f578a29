"""Weight files: state dicts alone or within a checkpoint, and TorchScript archives, as tensors.

Nothing in a file is ever run: state dicts go through torch's ``weights_only``, and of a TorchScript
archive the data are read and its code is not.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # the error class only: weights are never unpickled
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from benchmark.backbones.torchscript import is_archive, read_archive
from benchmark.errors import WeightsError, did_you_mean

PARTS = ("state_dict", "state_dict_ema", "model", "model_state_dict", "model_ema", "CLIP")
"""Entries of a checkpoint that may hold the weights."""

PART = "#"
"""Between a file and the entry that the user wants of it."""

_PREFIXES = ("module.", "_orig_mod.")
"""What parallel wrappers and torch.compile put before each name."""

_UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError),
    *(StopIteration, SafetensorError, UnpicklingError),
)
"""What reading a damaged file, or one of another kind, is known to raise."""

_FOREIGN = re.compile(r"(?:GLOBAL |class )'?([\w.]+)")


def parted(place: str) -> tuple[str, str]:
    """A place as a file and the entry of it that the user names, "" where none.

    >>> parted("/a/b.pt#state_dict_ema")
    ('/a/b.pt', 'state_dict_ema')
    """
    file, mark, part = place.rpartition(PART)
    return (file, part) if mark and not Path(place).exists() else (place, "")


def read_weights(path: Path, part: str = "") -> tuple[dict[str, Tensor], str]:
    """The tensors of a weight file by name, and which entry of the file they were ("" for all).

    Args:
        path: safetensors, a file of ``torch.save``, or a TorchScript archive.
        part: the entry wanted, one below the other with dots ("model.state_dict").

    Raises:
        WeightsError: unreadable, of another kind, without weights, or with several sets of which
            none was chosen; says which.
    """
    if path.suffix in (".npz", ".npy"):
        raise WeightsError(f"{path}: big_vision weights are not supported; give a converted file")
    content = _content(path)
    state, taken = _chosen(content, part, path)
    found = {_plain(name): value for name, value in state.items()}
    if len(found) < len(state):
        raise WeightsError(f"{path}: two of its entries have one name without their prefixes")
    return found, taken


def _content(path: Path) -> Any:
    try:
        if is_archive(path):
            return read_archive(path)
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of old formats that it reads all right
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        foreign = _FOREIGN.search(str(error))
        what = f", such as a {foreign[1]}" if foreign else ""
        raise WeightsError(
            f"{path} cannot be read as weights: it holds more than tensors{what}, and is refused; "
            'save its weights alone, where you trust it: python -c "import torch; c = torch.load('
            f"'{path.name}', weights_only=False); torch.save(c['state_dict'], 'weights.pt')\""
        ) from None
    except (*_UNREADABLE, zipfile.BadZipFile) as error:
        lines = str(error).splitlines() or [""]
        raise WeightsError(
            f"{path} cannot be read as weights ({type(error).__name__}: {lines[0]}); expected a "
            "state dict saved as safetensors or by torch.save"
        ) from None


def _chosen(content: Any, part: str, path: Path) -> tuple[dict[str, Tensor], str]:
    taken: list[str] = []
    wanted = [step for step in part.split(".") if step]
    while not _is_state(content):
        if not isinstance(content, Mapping):
            raise WeightsError(_no_weights(path, taken, type(content).__name__))
        there = [str(name) for name in content if isinstance(content[name], Mapping)]
        if wanted:
            step = wanted.pop(0)
            if step not in there:
                near = did_you_mean(step, there)
                raise WeightsError(f"{path} has no entry {step!r}{near}; it has {', '.join(there)}")
        else:
            known = [name for name in PARTS if name in there]
            if len(known) > 1:
                raise WeightsError(
                    f"{path} holds {len(known)} sets of weights, {' and '.join(known)}; say which: "
                    f"PRETRAINED={path}{PART}{known[0]}"
                )
            if not known:
                raise WeightsError(_no_weights(path, taken, ", ".join(map(str, content))[:200]))
            step = known[0]
        taken.append(step)
        content = content[step]
    if wanted:
        raise WeightsError(f"{path}: there is nothing called {wanted[0]!r} below {'.'.join(taken)}")
    return dict(content), ".".join(taken)


def _no_weights(path: Path, taken: list[str], found: str) -> str:
    place = f" below {'.'.join(taken)}" if taken else ""
    return (
        f"{path} cannot be read as weights (it holds more than tensors{place}: "
        f"{found or 'nothing'}); expected a state dict, or one within {', '.join(PARTS)}: name "
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
