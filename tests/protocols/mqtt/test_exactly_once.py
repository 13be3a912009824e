"""QoS 2 from a client: told once, whatever is sent again; remembered where it has to last."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.errors import DiskFull, LyreError
from lyredb.protocols.mqtt.publishing import Publishing
from lyredb.storage.apply import Rows
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, Peer, run


class KeptInbound:
    """A session on a disk that commits when it is told to."""

    def __init__(self, rows: dict[bytes, bytes | None]) -> None:
        self.ids = {int.from_bytes(key, "big") for key, row in rows.items() if row is not None}
        self.waiting: list[tuple[Rows, Callable[[LyreError | None], None]]] = []
        self._rows = rows

    @property
    def is_durable(self) -> bool:
        return True

    def rows(self, received: Iterable[int] = (), released: Iterable[int] = ()) -> Rows:
        return [
            *((number.to_bytes(2, "big"), b"") for number in received),
            *((number.to_bytes(2, "big"), None) for number in released),
        ]

    def commit(self, rows: Rows, done: Callable[[LyreError | None], None]) -> None:
        self.waiting.append((rows, done))

    def commit_all(self, error: LyreError | None = None) -> None:
        now, self.waiting = self.waiting, []
        for rows, done in now:
            if error is None:
                self._rows.update(rows)
            done(error)


def durable(harness: Harness, peer: Peer, rows: dict[bytes, bytes | None]) -> KeptInbound:
    """Let a connected peer's session be one that lasts."""
    inbound = KeptInbound(rows)
    session = peer.connection._session
    assert session is not None
    session.publishing = Publishing(
        peer.connection,
        harness.service,
        session.context,
        session.terms.version,
        content_type="",
        inbound=inbound,
    )
    return inbound


def reader(harness: Harness, qos: int = 1) -> Peer:
    peer = harness.connected(5, "reader")
    peer.send(client.subscribe(("open/#", qos), version=5))
    peer.take()
    return peer


def payloads(peer: Peer) -> list[bytes]:
    return [packet.payload for packet in peer.take() if packet.kind == 3]


def answers(peer: Peer) -> list[tuple[int, int, int]]:
    return [(packet.kind, packet.packet_id, packet.reason) for packet in peer.take()]


def publish(
    number: int,
    payload: bytes = b"x",
    *,
    version: int = 4,
    dup: bool = False,
    retain: bool = False,
) -> bytes:
    return client.publish(
        "open/a", payload, version=version, qos=2, packet_id=number, dup=dup, retain=retain
    )


@pytest.mark.parametrize("version", [4, 5])
def test_a_message_that_comes_again_is_acknowledged_and_not_told_again(version: int) -> None:
    """[MQTT-4.3.3-10]; with DUP or without, until its PUBREL, after which the id is free."""

    async def body() -> None:
        harness = Harness()
        hears, writer = reader(harness), harness.connected(version)
        for dup in (False, True):
            for _ in range(2):  # the second time the topic is known
                writer.send(publish(7, b"1", version=version, dup=dup))
        await harness.tick()
        assert payloads(hears) == [b"1"]
        assert answers(writer) == [(5, 7, 0)] * 4
        writer.send(client.pubrel(7), publish(7, b"2", version=version))
        await harness.tick()
        assert answers(writer) == [(7, 7, 0), (5, 7, 0)]
        assert payloads(hears) == [b"2"]

    run(body)


def test_a_pubrel_of_nothing_is_answered() -> None:
    """[MQTT-4.3.3-11]; v5 says 0x92, 3.1.1 has no word for it."""

    async def body() -> None:
        harness = Harness()
        new, old = harness.connected(5, "new"), harness.connected(4, "old")
        for peer in (new, old):
            peer.send(client.pubrel(9))
        new.send(client.pubrel(9, 0x92))
        assert answers(new) == [(7, 9, 0x92)] * 2
        assert answers(old) == [(7, 9, 0)]
        assert not new.is_closed

    run(body)


def test_a_refused_message_of_qos_2_is_over_with_its_pubrec() -> None:
    """§4.3.3: a reason of 0x80 and more frees the identifier; 3.1.1 goes on as if taken."""

    async def body() -> None:
        harness = Harness()
        new, old = harness.connected(5, "new"), harness.connected(4, "old")
        for _ in range(2):
            new.send(client.publish("nowhere", b"1", version=5, qos=2, packet_id=3))
            old.send(client.publish("nowhere", b"1", qos=2, packet_id=3))
        assert answers(new) == [(5, 3, 0x90)] * 2
        assert answers(old) == [(5, 3, 0)] * 2
        new.send(client.pubrel(3))
        old.send(client.pubrel(3))
        assert answers(new) == [(7, 3, 0x92)]
        assert answers(old) == [(7, 3, 0)]

    run(body)


def test_a_message_and_its_identifier_commit_together_before_the_pubrec() -> None:
    """And its end commits before the PUBCOMP: either side may die in between."""

    async def body() -> None:
        rows: dict[bytes, bytes | None] = {}
        harness = Harness()
        hears, writer = reader(harness), harness.connected(5)
        inbound = durable(harness, writer, rows)
        for _ in range(2):  # the second time the topic is known
            writer.send(publish(1, version=5), publish(2, version=5))
            await harness.tick()
            assert answers(writer) == []
            harness.database.commit_log()
            assert harness.database.rows[-2:] == [(b"\0\1", b""), (b"\0\2", b"")]
            await harness.tick()
            assert payloads(hears) == [b"x", b"x"]
            assert answers(writer) == [(5, 1, 0), (5, 2, 0)]
            writer.send(client.pubrel(1), client.pubrel(2))
            assert answers(writer) == []
            (committing,) = inbound.waiting
            assert committing[0] == [(b"\0\1", None), (b"\0\2", None)]
            inbound.commit_all()
            await harness.tick()
            assert answers(writer) == [(7, 1, 0), (7, 2, 0)]

    run(body)


def test_frames_of_one_read_commit_in_one_transaction() -> None:
    """One commit is what costs; plain ones of a known topic go together."""

    async def body() -> None:
        harness = Harness()
        writer = harness.connected(4)
        durable(harness, writer, {})
        reader(harness)
        writer.send(publish(1))
        harness.database.commit_log()
        writer.send(*[publish(number) for number in range(2, 12)])
        (call,) = harness.database.logging
        assert len(call.messages) == 10
        assert len(call.rows) == 10

    run(body)


def test_after_a_reconnect_the_identifiers_are_those_of_the_session() -> None:
    """Sent again on another connection: no second message [MQTT-4.4.0-1]."""

    async def body() -> None:
        rows: dict[bytes, bytes | None] = {b"\0\5": b""}
        harness = Harness()
        hears, writer = reader(harness), harness.connected(5)
        inbound = durable(harness, writer, rows)
        writer.send(publish(5, version=5, dup=True))
        assert answers(writer) == [(5, 5, 0)]
        writer.send(client.pubrel(5))
        inbound.commit_all()
        await harness.tick()
        assert answers(writer) == [(7, 5, 0)]
        assert rows == {b"\0\5": None}
        assert payloads(hears) == []

    run(body)


def test_what_comes_again_while_it_commits_waits_for_the_same_answer() -> None:
    async def body() -> None:
        harness = Harness()
        writer = harness.connected(5)
        durable(harness, writer, {})
        writer.send(publish(1, version=5), publish(1, version=5, dup=True))
        assert len(harness.database.logging) == 1
        harness.database.commit_log()
        await harness.tick()
        assert answers(writer) == [(5, 1, 0)] * 2
        writer.send(publish(2, version=5), publish(2, version=5, dup=True))
        harness.database.commit_log(error=DiskFull("full"))
        await harness.tick()
        assert answers(writer) == [(5, 2, 0x97)] * 2
        writer.send(publish(2, version=5))
        assert len(harness.database.logging) == 1, "it was not taken, so it is new"

    run(body)


def test_a_pubrel_before_the_pubrec_ends_the_connection() -> None:
    """[MQTT-4.3.3-4]: a sender releases what it got a PUBREC for."""

    async def body() -> None:
        harness = Harness()
        writer = harness.connected(5)
        durable(harness, writer, {})
        writer.send(publish(1, version=5), client.pubrel(1))
        (ended,) = writer.take()
        assert (ended.kind, ended.reason) == (14, 0x82)

    run(body)


def test_a_pubrel_that_could_not_commit_is_not_answered() -> None:
    async def body() -> None:
        harness = Harness()
        writer = harness.connected(5)
        inbound = durable(harness, writer, {b"\0\1": b""})
        writer.send(client.pubrel(1))
        inbound.commit_all(DiskFull("full"))
        assert [packet.kind for packet in writer.take()] == [14]

    run(body)


def test_a_retained_message_of_qos_2_is_a_write_with_its_identifier() -> None:
    async def body() -> None:
        harness = Harness()
        writer = harness.connected(5)
        durable(harness, writer, {})
        writer.send(publish(4, b"{}", version=5, retain=True))
        (submitted,) = harness.database.waiting
        assert (submitted.write.qos, submitted.rows) == (2, [(b"\0\4", b"")])
        harness.database.commit()
        await harness.tick()
        assert answers(writer) == [(5, 4, 0)]

    run(body)


def test_messages_that_are_not_released_count_against_the_receive_maximum() -> None:
    """§4.9: a PUBCOMP gives the quota back, or a PUBREC that refuses."""

    async def body() -> None:
        harness = Harness(receive_maximum=3)
        writer = harness.connected(5)
        writer.send(*[publish(number, version=5) for number in (1, 2, 3)])
        writer.send(client.pubrel(2), publish(4, version=5))
        assert not writer.is_closed
        writer.take()
        writer.send(publish(5, version=5))
        (ended,) = writer.take()
        assert (ended.kind, ended.reason) == (14, 0x93)
        old = harness.connected(4, "old")
        old.send(*[publish(number) for number in range(1, 9)])
        assert len(answers(old)) == 8, "3.1.1 has no Receive Maximum"
        assert old.transport.is_reading

    run(body)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["publish", "again", "release"]), st.integers(1, 4)),
        st.tuples(st.sampled_from(["commit", "fail", "reconnect", "qos1"]), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(ACTIONS, st.sampled_from((4, 5)))
def test_each_message_is_told_once_through_commits_failures_and_reconnects(
    actions: list[tuple[str, int]], version: int
) -> None:
    """A correct client against a model: it sends again what has no answer, in order.

    At the end all that it ever sent and that was not refused was told exactly once.
    """

    async def body() -> None:
        rows: dict[bytes, bytes | None] = {}
        harness = Harness()
        told = harness.database.logged
        first = harness.connected(version, "w0")
        state = Sender(harness, first, rows, version)
        for action, number in actions:
            await state.act(action, number)
        await state.act("reconnect", 0)
        for _ in range(4):
            await state.act("commit", 0)
        assert not state.unanswered
        assert not state.unreleased
        heard = [message.payload for message in told if message.qos == 2]
        assert sorted(heard) == sorted(state.sent)
        assert len(set(heard)) == len(heard)
        assert not [key for key, row in rows.items() if row is not None]

    asyncio.run(body())


class Sender:
    """A client that keeps to the protocol; its session lasts."""

    def __init__(
        self, harness: Harness, peer: Peer, rows: dict[bytes, bytes | None], version: int
    ) -> None:
        self.harness, self.rows, self.version = harness, rows, version
        self.peer = peer
        self.inbound = durable(harness, peer, rows)
        self.sent: list[bytes] = []
        self.numbers = itertools.count()
        self.unanswered: dict[int, bytes] = {}
        self.unreleased: dict[int, None] = {}
        self.connections = 0

    async def act(self, action: str, number: int) -> None:
        if action == "publish" and number not in self.unanswered | self.unreleased:
            payload = b"%d" % next(self.numbers)
            self.sent.append(payload)
            self.unanswered[number] = payload
            self.peer.send(publish(number, payload, version=self.version))
        elif action == "qos1":
            self.peer.send(client.publish("open/a", b"-", version=self.version, qos=1))
        elif action == "again":
            await self.act("reconnect", 0)
        elif action == "commit":
            self.commit(None)
        elif action == "fail" and self.version == 5:
            self.commit(DiskFull("full"))
        elif action == "reconnect":
            # The old owner has stopped and all that it sent is on disk.
            self.commit(None)
            self.peer.lose()
            self.connect()
        await self.harness.tick()
        self.hear()

    def commit(self, error: LyreError | None) -> None:
        database = self.harness.database
        before = len(database.rows)
        database.commit_log(error=error)
        self.rows.update(database.rows[before:])
        if error is None:
            self.inbound.commit_all()

    def connect(self) -> None:
        self.hear()
        self.connections += 1
        self.peer = self.harness.connected(self.version, f"w{self.connections}")
        self.inbound = durable(self.harness, self.peer, self.rows)
        for number, payload in self.unanswered.items():
            self.peer.send(publish(number, payload, version=self.version, dup=True))
        for number in self.unreleased:
            self.peer.send(client.pubrel(number))

    def hear(self) -> None:
        for packet in self.peer.take():
            if packet.kind == 5 and packet.packet_id in self.unanswered:
                payload = self.unanswered.pop(packet.packet_id)
                if packet.reason >= 0x80:
                    self.sent.remove(payload)
                    continue
                self.unreleased[packet.packet_id] = None
                self.peer.send(client.pubrel(packet.packet_id))
            elif packet.kind == 7:
                self.unreleased.pop(packet.packet_id, None)
