"""Loggers to TensorBoard and MLflow (extras)."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.cell import Cell, Record, Status
from benchmark.errors import ConfigError


class TensorBoard:
    """A TensorBoard run per cell: each batch's numbers by batch, then the cell's own.

    Args:
        folder: TensorBoard's log folder; a cell's run is a folder below it.

    Raises:
        ConfigError: the package is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._writer = _extra("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self._folder = folder
        self._runs: dict[str, tuple[Any, int]] = {}

    def cell_started(self, cell: Cell, batches: int) -> None:
        """Opens the cell's run."""
        name = run_name(cell.to_dict())
        self._runs[name] = self._writer(log_dir=str(self._folder / name)), 0

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        """Adds the batch's numbers."""
        name = run_name(cell.to_dict())
        writer, step = self._runs[name]
        for key, value in batch_log.items():
            writer.add_scalar(f"batch/{key}", value, step)
        self._runs[name] = writer, step + 1

    def cell_done(self, record: Record) -> None:
        """Adds the cell's numbers and closes its run."""
        writer, step = self._runs.pop(run_name(record.cell), (None, 0))
        if writer is None:  # skipped, or failed before its stream began
            return
        for group in ("metrics", "probes", "cost"):
            for key, value in getattr(record, group).items():
                writer.add_scalar(f"{group}/{key}", value, step)
        writer.add_text("status", record.status.value)
        writer.close()

    def close(self) -> None:
        """Closes the runs of cells that were stopped."""
        for writer, _ in self._runs.values():
            writer.close()
        self._runs.clear()


class MLflow:
    """An MLflow run per cell, by MLflow's client: cells of several workers may interleave.

    Args:
        address: tracking server or folder ("http://...", "file:..."); "" takes MLflow's own
            (MLFLOW_TRACKING_URI).

    Raises:
        ConfigError: the package is not installed.
    """

    EXPERIMENT = "queryshift"

    def __init__(self, address: str = "") -> None:
        client = _extra("mlflow.tracking", "mlflow").MlflowClient
        self._client = client(tracking_uri=address or None)
        found = self._client.get_experiment_by_name(self.EXPERIMENT)
        self._experiment = (
            found.experiment_id if found else self._client.create_experiment(self.EXPERIMENT)
        )
        self._runs: dict[str, tuple[str, int]] = {}

    def cell_started(self, cell: Cell, batches: int) -> None:
        """Opens the cell's run, with its settings as parameters."""
        name = run_name(cell.to_dict())
        run = self._client.create_run(self._experiment, run_name=name).info.run_id
        self._runs[name] = run, 0
        options = {f"option.{key}": value for key, value in cell.method.options.items()}
        for key, value in {**identity(cell.to_dict()), **options}.items():
            self._client.log_param(run, key, value)

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        """Adds the batch's numbers."""
        name = run_name(cell.to_dict())
        run, step = self._runs[name]
        self._numbers(run, {f"batch/{key}": value for key, value in batch_log.items()}, step)
        self._runs[name] = run, step + 1

    def cell_done(self, record: Record) -> None:
        """Adds the cell's numbers and ends its run."""
        run, step = self._runs.pop(run_name(record.cell), ("", 0))
        if not run:
            return
        self._numbers(run, {**record.metrics, **record.probes, **record.cost}, step)
        done = record.status is Status.DONE
        self._client.set_terminated(run, status="FINISHED" if done else "FAILED")

    def _numbers(self, run: str, numbers: Mapping[str, float], step: int) -> None:
        for key, value in numbers.items():  # MLflow takes no "@" in a name
            self._client.log_metric(run, key.replace("@", "_at_"), value, step=step)

    def close(self) -> None:
        """Ends the runs of cells that were stopped."""
        for run, _ in self._runs.values():
            self._client.set_terminated(run, status="KILLED")
        self._runs.clear()


def identity(cell: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a cell from the others of its run, from ``Cell.to_dict()``."""
    method, shift = cell["method"], cell["shift"]
    return {
        "suite": cell["suite"],
        "benchmark": cell["benchmark"],
        "method": method["name"],
        "preset": method["preset"],
        "stream": cell["stream"]["kind"],
        "shift": shift["name"],
        "severity": shift["severity"],
        "seed": cell["seed"],
    }


def run_name(cell: Mapping[str, Any]) -> str:
    """A cell's name, of characters that are safe in a folder's; no two cells share one."""
    digest = hashlib.sha256(json.dumps(cell, sort_keys=True, default=str).encode()).hexdigest()
    parts = [*(str(value) for value in identity(cell).values()), digest[:8]]
    return "_".join("".join(c if c.isalnum() or c in "-." else "-" for c in p) for p in parts)


def _extra(module: str, extra: str) -> Any:
    """An optional package, imported now.

    Raises:
        ConfigError: it is not installed; names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"logging to {extra} needs the extra: pip install 'queryshift[{extra}]' ({error})"
        ) from error
