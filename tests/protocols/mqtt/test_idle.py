"""What a client that does nothing keeps in memory."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

from tests.protocols.mqtt.harness import Harness, Peer

CLIENTS = 200
MOST_BYTES = 3_100
"""2,900 in CPython 3.11 and 3,020 compiled: without a real transport, but with the directory's
part and the harness's own 500. An empty set or deque made in advance has 216 or 620 more."""


def test_an_idle_client_keeps_nothing_that_it_does_not_need() -> None:
    """Most of 10,000 connections are silent: what each has counts 10,000 times."""

    async def body() -> float:
        harness = Harness()
        kept: list[Peer] = [harness.connected(4, "first")]
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            kept += [harness.connected(4, f"idle-{number}") for number in range(CLIENTS)]
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        return (after - before) / CLIENTS

    assert asyncio.run(body()) < MOST_BYTES
