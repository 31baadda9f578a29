"""Settings that have no effect where they are given."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from benchmark.config.run import BenchConfig
from benchmark.errors import ConfigError
from benchmark.executors.choose import check_settings
from benchmark.planning.plan import plan


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": "pairs.csv"}, "--data has no effect here: the embedded"),
        ({"allow_missing": True}, "--allow-missing has no effect"),
        ({"shift": ("none",), "severity": (3,)}, "--severity has no effect here: shift none"),
        (
            {"shift": ("none",), "benchmark": ("mini-coco-c-image",), "ready_made": "x"},
            "--ready-made has no effect",
        ),
        ({"method": ("source",), "preset": "mini"}, "--preset has no effect here: the source"),
    ],
)
def test_a_setting_without_effect_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(dataclasses.replace(BenchConfig(), **given))


def test_the_same_settings_with_an_effect_pass() -> None:
    assert plan(dataclasses.replace(BenchConfig(), severity=(3,), preset="mini"))


def test_a_serial_run_has_no_time_limit() -> None:
    with pytest.raises(ConfigError, match="serial cannot stop a cell"):
        check_settings(dataclasses.replace(BenchConfig(), executor="serial", time_limit=5.0))
