"""Readers of each protocol, as actions of the matrix see them: what arrives, as values."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from lyredb.errors import NotAuthorised
from lyredb.formats import JSON
from tests.access.world import DEADLINE_S, PASSWORD, World, until
from tests.protocols.mqtt import client_frames as frames
from tests.protocols.mqtt.client_frames import Received
from tests.resources.node_under_test import Collector

Event = object
"""A value, or ``"deleted"``."""
Next = Callable[[], Awaitable[Event]]
Open = Callable[[World, str, str, AsyncExitStack, str], Awaitable[Next | None]]
"""Subscribe to a record, or to everything after a position; ``None``: it was refused."""

SUBACK: Final = 9
PUBLISH: Final = 3


def headers(role: str) -> dict[str, str]:
    """Log in, and have nothing compressed: it shall be seen what is sent."""
    login = "Basic " + b64encode(f"{role}:{PASSWORD}".encode()).decode()
    return {"authorization": login, "accept-encoding": "identity"}


def of_envelope(event: dict[str, object]) -> Event | None:
    """What an envelope tells; ``None`` for the marks in between."""
    if event["type"] == "delete":
        return "deleted"
    value = event.get("value")
    return value["value"] if isinstance(value, dict) else None


async def open_sse(
    world: World, role: str, record_id: str, stack: AsyncExitStack, after: str
) -> Next | None:
    client = await stack.enter_async_context(httpx.AsyncClient(timeout=DEADLINE_S))
    more = {"accept": "text/event-stream"} | ({"last-event-id": after} if after else {})
    answer = await stack.enter_async_context(
        client.stream("GET", f"{world.http}/Sensor/{record_id}", headers=headers(role) | more)
    )
    if answer.status_code != 200:
        assert answer.status_code == 403
        return None
    lines = answer.aiter_lines()

    async def following() -> Event:
        async for line in lines:
            if line.startswith("data:"):
                data = json.loads(line[5:])
                found = of_envelope(data) if "type" in data else None
                if found is not None:
                    return found
        raise EOFError

    return following


async def open_websocket(
    world: World, role: str, record_id: str, stack: AsyncExitStack, after: str
) -> Next | None:
    address = world.http.replace("http://", "ws://")
    query = f"?position={after}" if after else ""
    try:
        socket: ClientConnection = await stack.enter_async_context(
            connect(
                f"{address}/Sensor/{record_id}{query}",
                additional_headers=headers(role),
                compression=None,
            )
        )
    except InvalidStatus as error:
        if error.response.status_code != 403:
            raise
        return None

    async def following() -> Event:
        while True:
            found = of_envelope(json.loads(await socket.recv()))
            if found is not None:
                return found

    return following


async def open_python(
    world: World, role: str, record_id: str, stack: AsyncExitStack, after: str
) -> Next | None:
    collector = Collector()
    try:
        subscription = world.node.database.subscribe(
            f"Sensor/{record_id}", collector, world.context(role), collector.options(), after
        )
    except NotAuthorised:
        return None
    stack.callback(subscription.close)
    subscription.start()

    async def following() -> Event:
        await until(lambda: bool(collector.messages))
        message = collector.messages.pop(0)
        value = message.value()
        world.tap.told += repr(value).encode() + message.payload(JSON)
        return value["value"] if isinstance(value, dict) else "deleted"

    return following


class Mqtt:
    """One MQTT connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int
    ) -> None:
        self._reader = reader
        self.writer = writer
        self.version = version
        self._rest = b""
        self._waiting: list[Received] = []

    async def until(self, kind: int) -> Received:
        """The next packet of a kind."""
        while True:
            while self._waiting:
                packet = self._waiting.pop(0)
                if packet.kind == kind:
                    return packet
            async with asyncio.timeout(DEADLINE_S):
                data = await self._reader.read(65_536)
            if not data:
                raise EOFError
            self._waiting, self._rest = frames.split_whole(self._rest + data, self.version)


@asynccontextmanager
async def mqtt(
    world: World,
    role: str,
    version: int,
    will: tuple[str, bytes] | None = None,
    *,
    will_retain: bool = False,
    client_id: str = "",
    clean: bool = True,
) -> AsyncIterator[tuple[Mqtt, int]]:
    """A connection that has sent its CONNECT, and the reason that came back."""
    reader, writer = await asyncio.open_connection(world.mqtt_host, world.mqtt_port)
    client = Mqtt(reader, writer, version)
    try:
        writer.write(
            frames.connect(
                version,
                client_id,
                username=role,
                password=PASSWORD.encode(),
                will=will,
                will_retain=will_retain,
                clean=clean,
            )
        )
        yield client, (await client.until(2)).reason
    finally:
        writer.transport.abort()


def open_mqtt(version: int) -> Open:
    async def opened(
        world: World, role: str, record_id: str, stack: AsyncExitStack, after: str
    ) -> Next | None:
        client, reason = await stack.enter_async_context(mqtt(world, role, version))
        assert reason == 0
        client.writer.write(frames.subscribe(f"Sensor/{record_id}", version=version))
        suback = await client.until(SUBACK)
        if suback.codes[0] >= 0x80:
            assert suback.codes[0] == (0x87 if version == 5 else 0x80)
            return None

        async def following() -> Event:
            payload = (await client.until(PUBLISH)).payload
            value = json.loads(payload)
            return "deleted" if value is None else value["value"]

        return following

    return opened
