"""What one request costs after it has been answered."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from lyredb.protocols.http.exchange import Exchange
from lyredb.protocols.rest.plugin import RestPlugin
from tests.protocols.http.harness import LOGIN
from tests.protocols.node import serving


def test_a_request_answered_at_once_leaves_nothing_to_the_garbage_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cycle per request would make the collector walk the heap again and again."""
    made: weakref.WeakSet[Exchange] = weakref.WeakSet()
    begin = Exchange.__init__

    def noted(self: Exchange, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        made.add(self)

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1})
            client = await node.connect()
            await client.ask("GET", "/Sensor/a", LOGIN)  # its password is checked in a task
            made.clear()
            gc.disable()
            try:
                for _ in range(5):
                    assert (await client.ask("GET", "/Sensor/a", LOGIN)).status == 200
                assert len(made) == 1, "the connection's last one"
            finally:
                gc.enable()

    monkeypatch.setattr(Exchange, "__init__", noted)
    asyncio.run(body())
