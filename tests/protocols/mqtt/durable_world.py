"""MQTT clients whose sessions last, over a real node: the store, the writer, the log, the hub.

A *server* is a service with its directory of claims; a crash is a new one over the same node,
after the old one's connections were cut without a word to their sessions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

from lyredb.plugins.context import Context
from lyredb.protocols.mqtt.limits import Limits
from lyredb.protocols.mqtt.service import Service
from lyredb.resources.requests import Write
from lyredb.security.authenticator import Authenticator
from lyredb.security.principals import SUPER_USER
from lyredb.server.node import Node
from lyredb.sessions.claims_client import Claims
from lyredb.sessions.store import Sessions
from lyredb.tables.schema import Schema
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.client_frames import Received
from tests.protocols.mqtt.harness import Harness, Peer
from tests.resources.node_under_test import data_directory

DEADLINE_S = 20
SOMEBODY = Context(SUPER_USER, "mqtt", "somebody", 1)
PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK = 3, 4, 5, 6, 7, 9, 11
Later = Callable[[float, Callable[[], None]], object]
LASTS = b"\x11\x00\x00\x0e\x10"
"""Session Expiry Interval: an hour."""


class World:
    """One node, and the server that runs now."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.peers: list[Peer] = []
        self.begin()

    def begin(self, *, call_later: Later | None = None, **limits: object) -> None:
        """Have a new server over the node; its sessions are written when ``call_later`` says."""
        self.harness = harness = Harness()
        loop = harness.loop
        harness.service = Service(
            self.node.database,
            cast(Authenticator, harness.authenticator),
            replace(Limits(), **limits),  # type: ignore[arg-type]  # names are checked there
            Claims(harness.streams.worker(2)),
            Sessions(
                self.node.database.session_store,
                call_later=call_later or loop.call_later,
                call_soon=loop.call_soon,
            ),
            loop=loop,
        )

    def crash(self) -> None:
        """End the server without a word to anybody, no close, no progress; another begins."""
        self.cut()
        self.begin()

    def cut(self) -> None:
        """End the server without a word to anybody."""
        for peer in self.peers:
            session = peer.connection._session
            if session is not None:
                session.subscriptions.close()
                if session.stored is not None:
                    session.stored.lose()
            peer.connection.abort()
        self.peers = []

    async def connect(
        self, client_id: str = "c", version: int = 5, *, props: bytes = LASTS, clean: bool = False
    ) -> tuple[Peer, Received]:
        """A client that was let in, and its CONNACK."""
        peer = self.harness.peer(version)
        self.peers.append(peer)
        peer.send(client.connect(version, client_id, clean=clean, props=props))
        (connack, *rest) = await self.packets(peer, 1)
        assert (connack.kind, connack.reason) == (2, 0), connack
        peer.put_back(rest)
        return peer, connack

    async def packets(self, peer: Peer, count: int) -> list[Received]:
        """What comes, at least so many packets; fails when they do not."""
        found = peer.take()
        while len(found) < count:
            await asyncio.sleep(0)
            self.harness.streams.run()
            found += peer.take()
        return found

    async def nothing_more(self, peer: Peer) -> None:
        """All that is under way has come, and nothing of it is a packet."""
        await self.settle()
        assert peer.take() == []

    async def settle(self) -> None:
        """Have everything that was asked for happen."""
        for _ in range(3):
            await self._write_nothing()
            for _ in range(10):
                await asyncio.sleep(0)
                self.harness.streams.run()

    async def _write_nothing(self) -> None:
        """Wait for a transaction behind all that were asked for."""
        done = asyncio.Event()
        rows = ((b"\xffsettle", None),)
        self.node.database.session_store.submit((), rows, lambda _: done.set())
        await done.wait()

    async def subscribe(
        self, peer: Peer, *filters: tuple[str, int], version: int = 5, props: bytes = b""
    ) -> None:
        peer.send(client.subscribe(*filters, version=version, props=props))
        (suback, *rest) = await self.packets(peer, 1)
        assert (suback.kind, suback.codes) == (SUBACK, [qos & 3 for _, qos in filters])
        peer.put_back(rest)

    async def sleep(self, peer: Peer) -> None:
        """The network connection breaks, and the session is written."""
        peer.lose()
        await self.settle()

    async def publish(self, topic: str, *payloads: bytes, qos: int = 1) -> None:
        for payload in payloads:
            self.node.database.publish(topic, payload, SOMEBODY, qos=qos)
        await self.settle()

    async def write(self, topic: str, value: object) -> None:
        target = self.node.database.resolve(topic, SOMEBODY)
        await self.node.database.write(Write(target, "put", value), SOMEBODY)
        await self.settle()


def on_world(body: Callable[[World], Awaitable[None]]) -> None:
    """Run with a world on a new directory, whose topics are open."""

    async def run() -> None:
        with data_directory() as path:
            node = Node.open(path, Schema(), open_topics=True)
            async with asyncio.timeout(DEADLINE_S):
                world = World(node)
                await body(world)
                world.crash()
            await node.close()

    asyncio.run(run())
