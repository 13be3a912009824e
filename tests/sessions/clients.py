"""A client with a session, and the connection that serves it: MQTT without its bytes.

What the server's side of a connection does is here in few lines, over the real sessions,
engine, writer and hub. Packets wait in two lists until a test lets them arrive or be lost.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from lyredb.delivery.filters import matches, parse_filter
from lyredb.delivery.message import Message as DeliveredMessage
from lyredb.errors import LyreError
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Batch, Message
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.subscription import Subscription
from lyredb.security.principals import SUPER_USER
from lyredb.server.node import Node
from lyredb.sessions.claims import Refusal
from lyredb.sessions.store import Sessions
from lyredb.sessions.stored import StoredSession
from lyredb.sessions.terms import StoredSubscription
from tests.resources.node_under_test import ENCODING

DEADLINE_S = 20.0

WINDOW = 3
FULL = 6
"""Messages that may wait before the connection falls behind."""


def sessions_of(node: Node) -> Sessions:
    """Sessions as a worker that has just begun has them."""
    loop = asyncio.get_running_loop()
    return Sessions(
        node.database.session_store, call_later=loop.call_later, call_soon=loop.call_soon
    )


def context_of(client_id: str, user: str = "anna") -> Context:
    return Context(SUPER_USER, "mqtt", user, client_id=client_id)


async def opened(
    sessions: Sessions,
    client_id: str,
    epoch: int,
    *,
    clean_start: bool = False,
    expiry_s: int = 1_000,
    user: str = "anna",
) -> StoredSession | Refusal | LyreError | None:
    """Open a session and wait for it."""
    results: list[StoredSession | Refusal | LyreError | None] = []
    sessions.open(
        context_of(client_id, user),
        epoch,
        clean_start=clean_start,
        expiry_s=expiry_s,
        on_open=results.append,
    )
    await until(lambda: bool(results))
    return results[0]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something holds; not by ticks: a busy machine does less in each."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        await asyncio.sleep(0)


async def closed(session: StoredSession, expiry_s: int = 1_000) -> LyreError | None:
    """Close a session and wait until it is on disk."""
    results: list[LyreError | None] = []
    session.close(expiry_s, results.append)
    await until(lambda: bool(results))
    return results[0]


@dataclass
class Packet:
    """One packet between the two."""

    kind: str
    packet_id: int = 0
    qos: int = 0
    message: Message | None = None


@dataclass
class Client:
    """The client's side, which remembers what MQTT wants it to remember.

    Attributes:
        got: Every message that it took, with its quality of service.
        known: Identifiers of QoS 2 that it has not been released from.
    """

    got: list[tuple[Message, int]] = field(default_factory=list)
    known: set[int] = field(default_factory=set)

    def take(self, packet: Packet) -> Packet | None:
        """Take a packet; return the answer."""
        if packet.kind == "pubrel":
            self.known.discard(packet.packet_id)
            return Packet("pubcomp", packet.packet_id)
        assert packet.message is not None
        if packet.qos < 2:
            self.got.append((packet.message, packet.qos))
            return Packet("puback", packet.packet_id) if packet.qos else None
        if packet.packet_id not in self.known:
            self.known.add(packet.packet_id)
            self.got.append((packet.message, 2))
        return Packet("pubrec", packet.packet_id)

    def counts(self) -> Counter[bytes]:
        """How often each payload of QoS 2 came, current state apart."""
        return Counter(payload(one) for one, qos in self.got if qos == 2 and not one.current)


def payload(message: Message) -> bytes:
    return cast(DeliveredMessage, message).data


class Connection:
    """The server's side of one connection (a `Subscriber`)."""

    def __init__(self, node: Node, session: StoredSession, client: Client) -> None:
        self.session = session
        self.client = client
        self.down: list[Packet] = []
        self.up: list[Packet] = []
        self.is_over = False
        self.subscriptions: dict[str, Subscription] = {}
        self._node = node
        self._next_id = 1
        self._is_committing = False
        session.on_lost = lambda _: self.drop()

    # subscriptions

    def wake(self) -> None:
        """Send again what is in flight, and go on with each filter."""
        for one, message in self.session.outbound.resend():
            kind = "pubrel" if message is None else "publish"
            self.down.append(Packet(kind, one.packet_id, one.qos, message))
        for stored in self.session.subscriptions.values():
            after, omits = self.session.start_of(stored.filter)
            made = self._made(stored, after, omit_current=omits)
            self.session.go_on(stored.filter, made)
        for made in list(self.subscriptions.values()):
            made.start()

    def _made(
        self, stored: StoredSubscription, after: str = "", *, omit_current: bool = False
    ) -> Subscription:
        options = self._options(stored, omit_current=omit_current)
        made = self._node.database.subscribe(
            stored.filter, self, self.session.context, options, after
        )
        self.subscriptions[stored.filter] = made
        return made

    def _options(self, stored: StoredSubscription, *, omit_current: bool) -> SubscribeOptions:
        return SubscribeOptions(
            ENCODING,
            qos=stored.qos,
            no_local=stored.no_local,
            omit_current=omit_current,
            on_messages=partial(self._take, stored.filter),
            on_reset=lambda _: self.session.restart(stored.filter),
        )

    async def subscribe(
        self, filter: str, qos: int, *, omit_current: bool = False, no_local: bool = False
    ) -> None:
        """Subscribe anew and wait for the SUBACK."""
        stored = StoredSubscription(filter, qos, no_local=no_local)
        before = self.subscriptions.get(filter)
        if before is not None:
            # In place: nothing between the old and the new may be lost [MQTT-3.8.4-4].
            if await self._changed({filter: stored}) is None:
                before.update(self._options(stored, omit_current=True))
            return
        made = self._made(stored, omit_current=omit_current)
        self.session.begin(filter, made, is_current=not omit_current)
        if await self._changed({filter: stored}) is None:
            made.start()

    async def unsubscribe(self, filter: str) -> None:
        """Unsubscribe and wait for the UNSUBACK."""
        if await self._changed({filter: None}) is None:
            self.subscriptions.pop(filter).close()

    async def _changed(self, changes: dict[str, StoredSubscription | None]) -> LyreError | None:
        results: list[LyreError | None] = []
        self.session.set_subscriptions(changes, results.append)
        await until(lambda: bool(results))
        return results[0]

    # a subscriber

    def write(self, batch: Batch) -> None:
        raise AssertionError("this subscriber takes messages")

    def write_messages(self, messages: Sequence[Message]) -> None:
        self._take("", messages)

    def _take(self, filter: str, messages: Sequence[Message]) -> None:
        if self.is_over:
            return
        self.session.outbound.take(messages, filter)
        self.pump()
        if len(self.session.outbound) > FULL:
            for one in list(self.subscriptions.values()):
                one.fall_behind()

    @property
    def is_congested(self) -> bool:
        return len(self.session.outbound) > FULL // 2

    def close(self, reason: Exception) -> None:
        self.drop()

    # what goes out

    def _qos(self, message: Message) -> int:
        granted = [
            one.qos
            for one in self.session.subscriptions.values()
            if matches(parse_filter(one.filter), message.topic)
        ]
        return min(message.qos, max(granted, default=0))

    def pump(self) -> None:
        """Send what the window has room for; what is of QoS 2 after a commit."""
        outbound = self.session.outbound
        while not self._is_committing and (message := outbound.head) is not None:
            qos = self._qos(message)
            if qos and len(outbound.in_flight) >= WINDOW:
                break
            if not qos:
                outbound.skip()
                self.down.append(Packet("publish", 0, 0, message))
                continue
            while self._next_id in outbound.in_flight:
                self._next_id = self._next_id % 7 + 1
            packet = Packet("publish", self._next_id, qos, message)
            outbound.send(self._next_id, qos)
            self._next_id = self._next_id % 7 + 1
            if qos == 1:
                self.down.append(packet)
            else:
                self._is_committing = True
                outbound.commit(partial(self._committed, packet))
        if not self.is_congested:
            for one in list(self.subscriptions.values()):
                one.resume()

    def _committed(self, packet: Packet, error: LyreError | None) -> None:
        self._is_committing = False
        if error is None and not self.is_over:
            self.down.append(packet)
            self.pump()

    # packets

    def deliver(self, count: int = 1) -> None:
        """Let packets to the client arrive."""
        for _ in range(min(count, len(self.down))):
            answer = self.client.take(self.down.pop(0))
            if answer is not None:
                self.up.append(answer)

    def answer(self, at: int = 0) -> None:
        """Let one packet of the client arrive."""
        if self.is_over or not self.up:
            return
        packet = self.up.pop(at % len(self.up))
        outbound, packet_id = self.session.outbound, packet.packet_id
        match packet.kind:
            case "puback":
                outbound.acknowledge(packet_id)
            case "pubrec":
                if outbound.received(packet_id):
                    outbound.commit(partial(self._release, packet_id))
            case "pubcomp":
                outbound.completed(packet_id)
        self.pump()

    def _release(self, packet_id: int, error: LyreError | None) -> None:
        if error is None and not self.is_over:
            self.down.append(Packet("pubrel", packet_id))

    def drop(self) -> None:
        """The network is gone with what was under way; the session is not told."""
        self.is_over = True
        self.down.clear()
        self.up.clear()

    def die(self) -> None:
        """The process is gone: nothing of it is heard any more, and nothing was closed."""
        self.drop()
        for one in list(self.subscriptions.values()):
            one.close()
        self.subscriptions.clear()

    async def end(self, expiry_s: int = 1_000) -> None:
        """Disconnect as the protocol does: the session first, then its subscriptions."""
        await closed(self.session, expiry_s)
        self.die()

    async def settle(self) -> None:
        """Let everything arrive until nothing is under way."""
        deadline = time.monotonic() + DEADLINE_S
        while not self._is_quiet() or await self._stirs():
            assert time.monotonic() < deadline, "it never came to rest"
            self.deliver(10)
            self.answer()
            await asyncio.sleep(0)

    async def _stirs(self) -> bool:
        for _ in range(20):
            await asyncio.sleep(0)
            if not self._is_quiet():
                return True
        return False

    def _is_quiet(self) -> bool:
        outbound = self.session.outbound
        is_reading = any(one.state.value != "live" for one in self.subscriptions.values())
        busy = self.down or self.up or outbound.in_flight or len(outbound) or is_reading
        return not busy and not self._is_committing
