"""The worst days: what is thrown is what the server's limits let through, and is measured."""

from __future__ import annotations

import os

import pytest

from bench.worst import bombs
from bench.worst.cost import Watch
from bench.worst.filling import key
from lyredb.protocols.http import HttpLimits
from lyredb.protocols.mqtt.limits import Limits
from tests.server.process_tree import eventually


@pytest.mark.parametrize("size", [bombs.BODY_BYTES, bombs.PACKET_BYTES])
def test_bombs_are_as_large_as_is_allowed_and_no_larger(size: int) -> None:
    """One that is refused for its length is none."""
    assert Limits().max_packet_bytes > bombs.PACKET_BYTES + 100
    assert HttpLimits().max_body_bytes > bombs.BODY_BYTES
    sizes = {name: len(body) for name, (_, body) in bombs.bodies(size).items()}
    assert all(one <= size for name, one in sizes.items() if "allowed" not in name), sizes
    assert sum(one > size * 0.9 for one in sizes.values()) >= 8


def test_memory_that_came_and_went_is_seen() -> None:
    block = 40_000_000
    with Watch(os.getpid()) as watch:
        held = bytearray(os.urandom(1) * block)
        eventually(lambda: watch.growth_bytes > block * 0.9, "a look")
        del held
    assert watch.growth_bytes > block * 0.9


def test_keys_are_in_the_order_of_their_numbers() -> None:
    """The last one read is the one of the highest number."""
    assert sorted(map(key, (999_999, 10, 9))) == [key(9), key(10), key(999_999)]


def test_cpu_is_counted_finer_than_in_ticks() -> None:
    before = bombs.cpu_ns(os.getpid())
    sum(range(200_000))
    assert 0 < bombs.cpu_ns(os.getpid()) - before < 10**10
