"""Whatever a connection became, its place among all of them is free when it is gone."""

from __future__ import annotations

import asyncio

import pytest

from lyredb.plugins.settings import OFF
from lyredb.protocols.mqtt.plugin import MqttPlugin
from lyredb.protocols.rest.plugin import RestPlugin
from lyredb.protocols.sse.plugin import SsePlugin
from lyredb.protocols.websocket.plugin import WebSocketPlugin
from tests.protocols.node import LOGIN, serving, until

HEAD = b"GET /Sensor/a HTTP/1.1\r\nhost: localhost\r\n" + LOGIN
UPGRADE = (
    HEAD + b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
BEGINNINGS = {
    "nothing": b"",
    "half a request": HEAD,
    "a request": HEAD + b"\r\n",
    "nonsense": b"\x00\x01\x02\r\n\r\n",
    "events": HEAD + b"accept: text/event-stream\r\n\r\n",
    "a WebSocket": UPGRADE + b"\r\n",
    "MQTT": UPGRADE + b"sec-websocket-protocol: mqtt\r\n\r\n",
    "an upgrade of nobody": UPGRADE.replace(LOGIN, b"") + b"\r\n",
}


@pytest.mark.parametrize("name", BEGINNINGS)
@pytest.mark.parametrize("is_abrupt", [False, True])
def test_a_place_is_free_again(name: str, is_abrupt: bool) -> None:
    async def body() -> None:
        plugins = (RestPlugin(), SsePlugin(), WebSocketPlugin(), MqttPlugin())
        async with serving(*plugins, settings={"mqtt.network.port": OFF}) as node:
            admission = node.server.network.admission  # type: ignore[attr-defined]  # ours
            client = await node.connect()
            client.send(BEGINNINGS[name])
            await until(lambda: admission.statistics().open == 1)
            if b"\r\n\r\n" in BEGINNINGS[name]:
                await client.head()
            if is_abrupt:
                client.writer.transport.abort()
            else:
                client.writer.close()
            await until(lambda: admission.statistics().open == 0)
            assert admission.statistics().admitted == 1

    asyncio.run(body())
