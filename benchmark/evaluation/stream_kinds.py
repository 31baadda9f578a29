"""The kinds of streams that exist, and which settings make sense with each."""

from __future__ import annotations

import math

from benchmark.cell import DOMAIN, StreamSpec
from benchmark.errors import ConfigError, did_you_mean

KINDS: dict[str, str] = {
    "single": "one shift, queries shuffled",
    "continual": "one domain after the other, no reset and no sign of the change",
    "gradual": "one shift, its severities up and down again",
    "mixed": "each query draws its domain, all equally likely",
    "diverse": "each batch holds a few of the domains, and other ones at every step",
    "correlated": "one shift, queries of a group close together",
    "interleaved": "several data sets with their own galleries, batch by batch",
}
"""The stream kinds that exist, with a line on each."""

MIXING = ("continual", "mixed", "diverse")
"""Kinds that bring several shifts into one stream (gradual brings one shift's severities)."""

DELTA_RANGE = (1e-4, 1e4)
"""Concentrations that the Dirichlet draw of a correlated stream takes; beyond, nothing changes."""


def check_kind(kind: str) -> None:
    """Raises ConfigError, with the nearest names, for a kind that does not exist."""
    if kind not in KINDS:
        raise ConfigError(
            f"stream kind {kind!r} does not exist{did_you_mean(str(kind), KINDS)}; "
            f"known: {', '.join(KINDS)}"
        )


def check_stream(spec: StreamSpec) -> None:
    """Raises ConfigError for a stream that makes no sense; needs no data."""
    check_kind(spec.kind)
    if spec.batch_size < 1:
        raise ConfigError(f"batch_size is {spec.batch_size}; it must be at least 1")
    if spec.kind == "gradual":
        _check_gradual(spec)
    elif spec.kind in MIXING and spec.group_key:
        if spec.group_key != DOMAIN or spec.domains:
            raise ConfigError(
                f"a {spec.kind} stream is over shifts, or with group_key={DOMAIN} over the domains "
                f"of the data; group_key is {spec.group_key!r}"
            )
    elif spec.kind in MIXING:
        _check_mixing(spec)
    elif spec.domains:
        raise ConfigError(f"a stream of kind {spec.kind!r} has one shift, the cell's; no domains")
    elif spec.kind == "correlated":
        _check_correlated(spec)


def _check_mixing(spec: StreamSpec) -> None:
    labels = [domain.label for domain in spec.domains]
    twice = {label for label in labels if labels.count(label) > 1}
    if twice:
        raise ConfigError(
            f"domain {min(twice)!r} is named twice; domains must differ in name or severity"
        )
    needed, why = 2, ""
    if spec.kind == "diverse":
        if spec.domains_per_batch < 1:
            raise ConfigError(
                f"domains_per_batch is {spec.domains_per_batch}; it must be at least 1"
            )
        needed = spec.domains_per_batch + 1
        why = f" with {needed - 1} domains per batch (they change at every step)"
    if len(labels) < needed:
        raise ConfigError(
            f"a {spec.kind} stream{why} needs at least {needed} domains, not {len(labels)} "
            f"({', '.join(labels) or 'none'}); name more shifts (--shift a,b,c) or severities"
        )


def _check_gradual(spec: StreamSpec) -> None:
    severities = [domain.severity for domain in spec.domains]
    if len({domain.name for domain in spec.domains}) > 1:
        raise ConfigError("a gradual stream has one shift; its domains are severities of it")
    if len(severities) < 2 or severities != sorted(set(severities)):
        raise ConfigError(
            "a gradual stream needs at least 2 severities of one shift, ascending, not "
            f"{', '.join(map(str, severities)) or 'none'}"
        )


def _check_correlated(spec: StreamSpec) -> None:
    low, high = DELTA_RANGE
    if not spec.group_key:
        raise ConfigError(
            "a correlated stream needs the name of what its queries are grouped by: "
            "--stream-option group_key=NAME (retrieval has no class labels)"
        )
    if not (math.isfinite(spec.delta) and low <= spec.delta <= high):
        raise ConfigError(f"delta is {spec.delta}; it must be between {low:g} and {high:g}")
