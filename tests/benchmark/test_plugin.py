"""The example plugin: installed as an outsider's package, found, checked and run."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import methods
from benchmark.registry import Registry
from methods.testing import MethodContract, World

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder that the example is installed into by pip, without a network."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(EXAMPLE, folder / "source")  # the build writes beside its source
    flags = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--no-compile")
    command = (sys.executable, "-m", "pip", "install", *flags)
    subprocess.run([*command, "--target", folder / "site", source], check=True, timeout=120)
    return folder / "site"


@pytest.fixture
def registry(site, monkeypatch) -> Registry:
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    return Registry("method", methods.BUILTINS, base="methods.base:Method")


@pytest.fixture
def infomax(registry, monkeypatch):
    monkeypatch.delitem(sys.modules, "queryshift_infomax", raising=False)
    yield registry.get("infomax")
    sys.modules.pop("queryshift_infomax", None)


def test_it_is_listed_with_its_distribution_and_not_imported(registry, caplog):
    sys.modules.pop("queryshift_infomax", None)
    assert "infomax" in registry.names()
    assert registry.origin("infomax") == "queryshift-infomax"
    assert "queryshift_infomax" not in sys.modules
    assert not [line for line in caplog.messages if "infomax" in line]


def test_it_is_short():
    lines = (EXAMPLE / "queryshift_infomax.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 40


class TestContract(MethodContract):
    """Everything that the built-in methods keep."""

    @pytest.fixture(autouse=True)
    def _installed(self, infomax, monkeypatch):
        monkeypatch.setattr(type(self), "method_class", infomax, raising=False)


def test_its_loss_is_low_where_queries_are_sure_and_spread_out(infomax):
    """Two queries, two items, temperature 1: H = 0 and ln 2 of diversity when sure and apart."""
    method = infomax(World().setup(), infomax.Options(temperature=1.0, spread=1.0))

    class Given:
        def __init__(self, rows):
            self.similarities = torch.tensor(rows)

    apart = method.objective(Given([[50.0, 0.0], [0.0, 50.0]]))
    together = method.objective(Given([[50.0, 0.0], [50.0, 0.0]]))
    unsure = method.objective(Given([[0.0, 0.0], [0.0, 0.0]]))
    assert float(apart) == pytest.approx(-0.693147, abs=1e-5)
    assert float(together) == pytest.approx(0.0, abs=1e-5)
    assert float(unsure) == pytest.approx(0.0, abs=1e-5)
