"""Chapter 6: MQTT over WebSocket, through the HTTP server's own framer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from lyredb.protocols.http import Authentication, HttpServer
from lyredb.protocols.mqtt.upgrade import Upgrades
from tests.protocols.http.harness import running
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.conformance.packets import PINGRESP, PUBACK, both_versions
from tests.protocols.mqtt.harness import Harness, run

DEADLINE_S = 10


async def serve(harness: Harness) -> None:
    """Have the harness's directory of claims answer."""
    while True:
        await harness.tick()


@asynccontextmanager
async def socket_to_mqtt() -> AsyncIterator[ClientConnection]:
    """A WebSocket to a server whose MQTT is that of a harness."""
    harness = Harness()
    upgrades = Upgrades(harness.service, authorize_local=True)

    def prepare(server: HttpServer, users: Authentication) -> None:
        server.upgrade("mqtt", upgrades)

    async with asyncio.timeout(DEADLINE_S), running(prepare=prepare) as port:
        url = f"ws://127.0.0.1:{port.server.address.port}/mqtt"
        async with connect(url, subprotocols=[Subprotocol("mqtt")], compression=None) as socket:
            assert socket.subprotocol == "mqtt"
            serving = asyncio.create_task(serve(harness))
            yield socket
            serving.cancel()


async def packets(socket: ClientConnection, version: int, count: int) -> list[client.Received]:
    """So many packets; every frame that comes is a binary one."""
    data = b""
    while len(found := client.split_whole(data, version)[0]) < count:
        frame = await socket.recv()
        assert isinstance(frame, bytes), "a text frame"
        data += frame
    return found


def stream(version: int) -> bytes:
    """CONNECT, a message, a ping."""
    message = client.publish("open/a", b"x" * 300, version=version, qos=1)
    return client.connect(version) + message + client.PINGREQ


@both_versions
def test_packets_go_in_binary_frames(version: int) -> None:
    """[MQTT-6.0.0-1]: and after a text frame the connection is closed."""

    async def body() -> None:
        async with socket_to_mqtt() as socket:
            await socket.send(stream(version))
            found = await packets(socket, version, 3)
            assert [one.kind for one in found] == [2, PUBACK, PINGRESP]
            await socket.send("text")
            with pytest.raises(ConnectionClosed):
                await socket.recv()

    run(body)


@both_versions
@pytest.mark.parametrize("size", [1, 2, 7, 100, 1_000])
def test_packets_and_frames_have_no_common_borders(version: int, size: int) -> None:
    """[MQTT-6.0.0-2]: pieces of packets, and several packets, in one frame."""

    async def body() -> None:
        async with socket_to_mqtt() as socket:
            data = stream(version)
            for start in range(0, len(data), size):
                await socket.send(data[start : start + size])
            found = await packets(socket, version, 3)
            assert [one.kind for one in found] == [2, PUBACK, PINGRESP]

    run(body)
