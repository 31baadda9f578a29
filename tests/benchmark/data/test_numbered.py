"""Distinct contents by number."""

from __future__ import annotations

import tracemalloc

from benchmark.data.datasets.base import Numbered


def test_contents_are_numbered_in_their_order() -> None:
    known, expected = Numbered(), dict[bytes, int]()
    contents = [b"%d" % (i * i % 7001) for i in range(10_000)] + [b"", b"\x00", b"\x00\x00"]
    for content in contents:
        assert known.find(content) == expected.get(content, -1)
        assert known.add(content) == expected.setdefault(content, len(expected))
    assert len(known) == len(expected) > 2048  # the table has grown
    assert [known.content(number) for number in range(len(known))] == list(expected)


def test_it_takes_less_than_a_dict() -> None:
    count = 50_000
    tracemalloc.start()
    try:
        known = Numbered()
        for i in range(count):
            known.add(b"%09d" % i)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 50 * count
    assert peak < 100 * count
