"""Unpickling runs what the file says: which files may use pickle, and why each of them may."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmark", "methods", "shifts", "queryshift", "training")

ALLOWED = {
    "benchmark/backbones/weight_file.py": "a closed reader: tensors and modules alone",
    "benchmark/data/datasets/convert_fashion_gen.py": "a closed reader: plain containers alone",
    "benchmark/evaluation/workers.py": "its own error, as multiprocessing pickles it anyway",
    "benchmark/executors/slurm.py": "messages in a folder of this user alone, as submitit",
}

PICKLING = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def unpickles(source: str) -> bool:
    """Whether a module imports a pickling library, or calls a loader that would unpickle."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            if PICKLING & {name.name.partition(".")[0] for name in node.names}:
                return True
        elif isinstance(node, ast.ImportFrom):
            # The class of the errors alone reads nothing.
            taken = {name.name for name in node.names} - {"UnpicklingError", "PicklingError"}
            if taken and (node.module or "").partition(".")[0] in PICKLING:
                return True
        elif isinstance(node, ast.Call):
            said = {word.arg: ast.unparse(word.value) for word in node.keywords}
            called = ast.unparse(node.func)
            if called in ("torch.load", "torch.jit.load") and said.get("weights_only") != "True":
                return True
            if said.get("allow_pickle", "False") != "False":
                return True
            if called.endswith(("read_pickle", "import_module")) and "pickle" in ast.unparse(node):
                return True
    return False


def test_only_the_listed_files_unpickle() -> None:
    found = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if unpickles(file.read_text(encoding="utf-8"))
    }
    assert found == set(ALLOWED)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, dill as d",
        "from pickle import loads as read",
        "def f():\n    from joblib import load",
        "import torch\ntorch.load('weights.pt')",
        "import torch\ntorch.load('weights.pt', weights_only=False)",
        "import numpy as np\nnp.load('a.npy', allow_pickle=True)",
        "import pandas as pd\npd.read_pickle('a')",
        "import importlib\nimportlib.import_module('pickle')",
    ],
)
def test_each_way_to_unpickle_is_seen(source: str) -> None:
    assert unpickles(source)


@pytest.mark.parametrize(
    "source",
    [
        "from pickle import UnpicklingError",
        "import torch\ntorch.load('weights.pt', weights_only=True)",
        "import numpy as np\nnp.load('a.npz', allow_pickle=False)",
        "import json\njson.load(open('a.json'))",
    ],
)
def test_what_cannot_run_code_is_let_through(source: str) -> None:
    assert not unpickles(source)
