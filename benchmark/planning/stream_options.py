"""From settings to streams: which kinds, with which of their options."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.cell import STREAM_OPTIONS, StreamSpec
from benchmark.config.options import convert
from benchmark.errors import ConfigError, UnknownNameError, did_you_mean
from benchmark.evaluation.stream import check_kind


def stream_specs(
    kinds: Sequence[str], given: Mapping[str, Any], batch_size: int
) -> tuple[StreamSpec, ...]:
    """The streams asked for, without their domains; options go to the kinds that have them.

    Args:
        kinds: names in ``stream.KINDS``.
        given: option name -> text or typed value.
        batch_size: queries per batch, for all.

    Raises:
        ConfigError: an unknown kind, or a value of the wrong type.
        UnknownNameError: an option that none of the kinds has.
    """
    for kind in kinds:
        check_kind(kind)
    own = {kind: STREAM_OPTIONS.get(kind, ()) for kind in kinds}
    known = [name for names in own.values() for name in names]
    hints = typing.get_type_hints(StreamSpec)
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise UnknownNameError(
                f"--stream {','.join(kinds)} has no option {name!r}{did_you_mean(name, known)}; "
                f"it has {', '.join(known) or 'none'}"
            )
        try:
            values[name] = convert(value, hints[name])
        except ValueError as error:
            raise ConfigError(f"stream option {name!r}: {error}") from None
    return tuple(
        StreamSpec(kind, batch_size, **{name: values[name] for name in names if name in values})
        for kind, names in own.items()
    )
