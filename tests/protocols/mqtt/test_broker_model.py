"""Two clients at once, through all that can happen to them, against a model of the broker.

Connections, drops, take-overs, crashes, subscriptions, messages and acknowledgements in any
order, over the real broker in process. In the end nothing above QoS 0 is lost, nothing of QoS 2
has come twice, the order of each publisher, topic and QoS is kept, and what is retained is what
was published last. ``MODEL_EXAMPLES`` asks for more than the few of an ordinary run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lyredb.errors import LyreError
from lyredb.server.node import Node
from lyredb.tables.schema import Schema
from tests.protocols.mqtt import client_frames as frames
from tests.protocols.mqtt.broker_model import NOBODY, Filter, Model
from tests.protocols.mqtt.client_frames import Received
from tests.protocols.mqtt.durable_world import LASTS, SOMEBODY, World
from tests.protocols.mqtt.model_client import SUBACK, UNSUBACK, ModelClient

T = TypeVar("T")
NAMES = ["a", "b"]
TOPICS = ["open/a", "open/b", "open/b/c"]
FILTERS = ["open/#", "open/a", "open/+", "open/b/#", "+/b"]
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "30"))
STEPS = 40
WINDOW_311 = 3
QUEUED = 20
FULL = 3_000_000
"""Bytes that wait in the transport of a client which does not read."""

FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""In memory, as thousands of commits that wait for a disk add nothing here."""

names = st.sampled_from(NAMES)
topics = st.sampled_from(TOPICS)
filters = st.sampled_from(FILTERS)
qualities = st.sampled_from([0, 1, 1, 2, 2, 2])
few = st.integers(1, 4)
seldom = st.sampled_from([False, False, True])
often = st.sampled_from([True, True, False])
kinds = st.sampled_from(["plain", "plain", "retained", "retained", "removal"])


class Timers:
    """What is to happen within a second, until a test says that it has passed."""

    def __init__(self) -> None:
        self._due: list[object] = []

    def __call__(self, delay_s: float, callback: object) -> None:
        self._due.append(callback)

    def turn(self) -> None:
        due, self._due = self._due, []
        for callback in due:
            callback()  # type: ignore[operator]  # callables are all that comes


with_a_client = precondition(lambda self: self.connected())


class BrokerMachine(RuleBasedStateMachine):
    """Clients ``a`` and ``b``, and a publisher in process."""

    @initialize(
        versions=st.tuples(*[st.sampled_from([4, 5])] * 2),
        lasting=st.tuples(*[often] * 2),
        firsts=st.tuples(*[st.tuples(filters, qualities)] * 2),
    )
    def begin(
        self,
        versions: tuple[int, int],
        lasting: tuple[bool, bool],
        firsts: tuple[tuple[str, int], tuple[str, int]],
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory(dir=FOLDER)
        self.opened = 0
        self.model = Model(NAMES)
        self.clients = {
            name: ModelClient(name, version, self.model)
            for name, version in zip(NAMES, versions, strict=True)
        }
        self.run(self._open())
        for name, lasts, (filter, qos) in zip(NAMES, lasting, firsts, strict=True):
            self.connect(name, clean=False, lasts=lasts, window=2)
            self.subscribe(name, filter, qos, flags=0, handling=0, identifier=1)

    def connected(self) -> list[str]:
        """Who is."""
        return [name for name, client in self.clients.items() if client.peer is not None]

    def one_of(self, name: str) -> tuple[str, ModelClient]:
        """The client with a name where it is connected, else the other."""
        there = self.connected()
        chosen = name if name in there else there[0]
        return chosen, self.clients[chosen]

    def run(self, work: Coroutine[object, object, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(20):
                return await work

        return self.loop.run_until_complete(bounded())

    @property
    def path(self) -> Path:
        return Path(self.folder.name) / str(self.opened)

    async def _open(self) -> None:
        node = Node.open(self.path, Schema(), open_topics=True)
        self.world = World(node)
        self._begin()

    def _begin(self) -> None:
        self.timers = Timers()
        self.world.begin(call_later=self.timers, max_inflight=WINDOW_311, max_queued=QUEUED)

    async def _close(self) -> None:
        self.world.cut()
        await self.world.node.close()

    # --- connections

    @precondition(lambda self: len(self.connected()) < len(NAMES))
    @rule(name=names, clean=seldom, lasts=often, window=st.integers(1, 5))
    def connect_again(self, name: str, clean: bool, lasts: bool, window: int) -> None:
        there = self.connected()
        away = name if name not in there else next(one for one in NAMES if one not in there)
        self.connect(away, clean, lasts, window)

    @with_a_client
    @rule(name=names, clean=seldom, lasts=often, window=st.integers(1, 5))
    def take_over(self, name: str, clean: bool, lasts: bool, window: int) -> None:
        """Whoever has the connection loses it to the new one [MQTT-3.1.4-3]."""
        name, client = self.one_of(name)
        client.listen()
        client.lost()
        self.model.disconnected(name)
        self.connect(name, clean, lasts, window)

    def connect(self, name: str, clean: bool, lasts: bool, window: int) -> None:
        client = self.clients[name]
        if client.version == 4:
            clean = not lasts  # one flag says both

        async def body() -> None:
            props = (LASTS if lasts else b"") + b"\x21" + window.to_bytes(2, "big")
            peer, connack = await self.world.connect(name, client.version, props=props, clean=clean)
            is_present = self.model.connected(name, clean=clean, lasts=lasts)
            assert bool(connack.body[0]) == is_present, f"session present: {connack}"
            allowed = window if client.version == 5 else WINDOW_311
            client.connected(peer, is_present=is_present, window=allowed)
            await self._resend(client)

        self.run(body())

    async def _resend(self, client: ModelClient) -> None:
        again = client.resend()
        if any(one.message.retain for one in again):
            await self.world.settle()
        for one in again:
            if one.message.retain and not (one.message.qos == 2 and one.is_applied):
                is_certain = one.message.qos == 1 and not client.is_unheard
                self.model.retained(one.message.topic, one.payload, is_certain=is_certain)
                one.is_applied = True

    @with_a_client
    @rule(name=names, how=st.sampled_from(["break", "break", "word", "end"]), is_settled=often)
    def leave(self, name: str, how: str, is_settled: bool) -> None:
        """The network breaks, or the client says goodbye; or that its session ends, too.

        What was under way to it is lost. See MQTT 5 §3.14.2.2.2 for the last.
        """
        name, client = self.one_of(name)
        client.listen()
        assert client.peer is not None
        if how == "end" and client.version == 5:
            client.peer.send(frames.disconnect(0, b"\x11\x00\x00\x00\x00"))
            self.model.session_of(name).lasts = False
        elif how != "break":
            client.peer.send(frames.DISCONNECT)
        client.peer.lose()
        client.lost()
        self.model.disconnected(name)
        if is_settled:
            self.run(self.world.settle())

    @with_a_client
    @rule(is_power_lost=st.booleans())
    def crash(self, is_power_lost: bool) -> None:
        """The worker is gone, but not what waits for its commit; or all that is not on disk."""

        async def body() -> None:
            if is_power_lost:
                await self._lose_power()
            else:
                self.world.cut()
                self._begin()

        self.run(body())
        self._all_lost()

    async def _lose_power(self) -> None:
        before = self.path
        self.opened += 1
        shutil.copytree(before, self.path)
        await self._close()
        await self._open()

    def _all_lost(self) -> None:
        for name, client in self.clients.items():
            if client.peer is not None:
                client.lost(is_crash=True)
                self.model.disconnected(name)

    # --- subscriptions

    @with_a_client
    @rule(
        name=names,
        filter=filters,
        qos=qualities,
        flags=st.integers(0, 3),
        handling=st.integers(0, 2),
        identifier=st.integers(0, 3),
    )
    def subscribe(
        self, name: str, filter: str, qos: int, flags: int, handling: int, identifier: int
    ) -> None:
        name, client = self.one_of(name)
        wanted, props = Filter(filter, qos), b""
        if client.version == 5:
            wanted = Filter(filter, qos, identifier, bool(flags & 1), bool(flags & 2))
            props = bytes([0x0B, identifier]) if identifier else b""
        else:
            handling = 0
        options = wanted.options | handling << 4
        frame = frames.subscribe(
            (filter, options), version=client.version, packet_id=9, props=props
        )
        answer = self.run(self._ask(client, frame, SUBACK))
        assert answer.codes == [qos], answer
        self.model.subscribed(name, wanted, handling=handling)

    @with_a_client
    @rule(name=names, filter=filters)
    def unsubscribe(self, name: str, filter: str) -> None:
        name, client = self.one_of(name)
        frame = frames.unsubscribe(filter, version=client.version, packet_id=9)
        self.run(self._ask(client, frame, UNSUBACK))
        self.model.unsubscribed(name, filter)

    async def _ask(self, client: ModelClient, frame: bytes, kind: int) -> Received:
        assert client.peer is not None
        client.peer.send(frame)
        while (answer := client.take(kind)) is None:
            await asyncio.sleep(0)
            self.world.harness.streams.run()
        return answer

    # --- messages

    @with_a_client
    @rule(
        name=names,
        messages=st.lists(st.tuples(topics, qualities, kinds), min_size=1, max_size=3),
        is_settled=often,
    )
    def publish(self, name: str, messages: list[tuple[str, int, str]], is_settled: bool) -> None:
        """Messages of one client, in one read or several."""
        name, client = self.one_of(name)
        for topic, qos, kind in messages:
            if not qos or client.free_id():
                self._publish_one(client, topic, qos, kind, is_settled)

    def _publish_one(
        self, client: ModelClient, topic: str, qos: int, kind: str, is_settled: bool
    ) -> None:
        message = self.model.publish(client.name, topic, qos, retain=kind != "plain")
        payload = message.payload
        if kind == "removal":
            message.owed.clear()  # it has no payload to be known by
            payload = NOBODY
        sent = client.publish(message, payload)
        if is_settled:
            self.run(self.world.settle())
        is_applied = is_settled and not client.is_unheard
        if message.retain:
            self.model.retained(topic, payload, is_certain=is_applied)
        if sent is not None:
            sent.is_applied = is_applied

    @rule(topic=topics, qos=qualities, count=st.sampled_from([1, 2, QUEUED + 5]))
    def publish_in_process(self, topic: str, qos: int, count: int) -> None:
        """By somebody else; many at once are more than may wait for a client."""

        async def body() -> None:
            results: list[LyreError | None] = []
            is_done = asyncio.Event()

            def done(error: LyreError | None) -> None:
                results.append(error)
                if len(results) == count:
                    is_done.set()

            for _ in range(count):
                message = self.model.publish("x", topic, qos, retain=False)
                message.is_taken = True
                self.world.node.database.publish(
                    topic, message.payload, SOMEBODY, qos=qos, done=done
                )
            if qos:
                await is_done.wait()
            assert not any(results)

        self.run(body())

    @with_a_client
    @rule(name=names, count=few)
    def packets_arrive(self, name: str, count: int) -> None:
        self.one_of(name)[1].read(count)

    @with_a_client
    @rule(name=names, count=few)
    def answers_leave(self, name: str, count: int) -> None:
        self.one_of(name)[1].answer(count)

    @with_a_client
    @rule(name=names, rounds=few)
    def a_client_answers_all(self, name: str, rounds: int) -> None:
        """Four rounds are both ends of what it sends with QoS 2, and of what it gets."""
        _, client = self.one_of(name)
        for _ in range(rounds):
            client.listen()
            client.read(len(client.wire))
            client.answer(len(client.held))
            self.run(self.world.settle())

    # --- time

    @rule(ticks=st.integers(1, 6))
    def time_passes(self, ticks: int) -> None:
        async def body() -> None:
            for _ in range(ticks):
                await asyncio.sleep(0)
                self.world.harness.streams.run()

        self.run(body())

    @rule()
    def a_second_passes(self) -> None:
        self.timers.turn()

    @with_a_client
    @rule(name=names, is_slow=st.booleans())
    def a_client_stops_or_goes_on_reading(self, name: str, is_slow: bool) -> None:
        self._slow(self.one_of(name)[0], is_slow)

    def _slow(self, name: str, is_slow: bool) -> None:
        peer = self.clients[name].peer
        if peer is None:
            return
        was_slow = bool(peer.transport.waiting)
        peer.transport.waiting = FULL if is_slow else 0
        if is_slow and not was_slow:
            peer.connection.pause_writing()
        elif was_slow and not is_slow:
            peer.connection.resume_writing()

    @rule()
    def all_is_quiet(self) -> None:
        """Everybody who is connected reads and answers all."""
        self.run(self._quiet())

    async def _quiet(self) -> None:
        idle = 0
        for _ in range(1_000):
            await self.world.settle()
            if any(client.is_unheard for client in self.clients.values()):
                # It has published to who could not keep up: the server's own timer ends that.
                await asyncio.sleep(0.01)
                continue
            idle = 0 if self._work() else idle + 1
            if idle > 2:
                break
        else:
            raise AssertionError("it never becomes quiet")
        for name, client in self.clients.items():
            if client.peer is not None:
                assert not client.publications, f"{name} waits for an answer"
                self._forgive(client)
                self.model.check(name)

    def _work(self) -> bool:
        """Read and answer; returns whether there was anything."""
        has_worked = False
        for name, client in self.clients.items():
            self._slow(name, False)
            client.listen()
            has_worked = has_worked or bool(client.wire or client.held)
            client.read(len(client.wire))
            client.answer(len(client.held))
        return has_worked

    def _forgive(self, client: ModelClient) -> None:
        """A session that ends with its connection has a queue, and no log behind it."""
        assert client.peer is not None
        session = client.peer.connection.session
        assert session is not None
        if session.stored is None and session.outbox.dropped:
            self.model.forget_owed(client.name)

    # --- the end

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self._return()
            self.run(self._quiet())
            self.run(self._check_retained())
        finally:
            self.run(self._close())
            self.loop.close()
            self.folder.cleanup()

    def _return(self) -> None:
        """Whoever has a session comes back to it."""
        for name, client in self.clients.items():
            if client.peer is None and self.model.sessions[name] is not None:
                self.connect(name, clean=False, lasts=True, window=5)

    async def _check_retained(self) -> None:
        peer, _ = await self.world.connect("reader", 5, clean=True, props=b"")
        await self.world.subscribe(peer, ("open/#", 0))
        await self.world.settle()
        found = {one.topic: one.payload for one in peer.take()}
        for topic in TOPICS:
            allowed = self.model.records.get(topic, {NOBODY})
            assert found.get(topic, NOBODY) in allowed, f"{topic} has {found.get(topic)!r}"


def test_two_clients_get_all_once_in_order_whatever_happens_to_them() -> None:
    """See the module."""
    run_state_machine_as_test(
        BrokerMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
        ),
    )


def scene() -> BrokerMachine:
    """Both have sessions that last; ``a`` wants all with QoS 2."""
    machine = BrokerMachine()
    machine.begin(versions=(5, 4), lasting=(True, True), firsts=(("open/#", 2), ("open/b/c", 1)))
    return machine


def test_the_model_sees_what_waits_when_a_client_goes() -> None:
    """One of a few lines of the machine that are too seldom drawn; see there for what is held."""
    machine = scene()
    machine.publish_in_process("open/a", 1, QUEUED - 5)
    machine.leave("a", "break", is_settled=True)
    machine.teardown()


def test_the_model_sees_a_message_of_qos_2_that_was_received_and_not_answered() -> None:
    machine = scene()
    machine.publish_in_process("open/a", 2, 2)
    machine.run(machine.world.settle())
    machine.packets_arrive("a", 4)
    assert machine.clients["a"].held, "received, and no PUBREC was sent"
    machine.leave("a", "break", is_settled=True)
    machine.teardown()


def test_the_model_sees_a_message_of_qos_2_whose_pubrec_was_lost_in_a_crash() -> None:
    machine = scene()
    machine.publish("b", [("open/a", 2, "plain")], is_settled=True)
    machine.crash(is_power_lost=True)
    machine.teardown()


def test_the_model_sees_an_identifier_that_is_free_and_used_again_after_a_crash() -> None:
    machine = scene()
    machine.publish("b", [("open/a", 2, "plain")], is_settled=True)
    machine.crash(is_power_lost=True)
    machine.connect("b", clean=False, lasts=True, window=5)
    machine.a_client_answers_all("b", rounds=4)
    assert not machine.clients["b"].publications
    machine.crash(is_power_lost=True)
    machine.connect("b", clean=False, lasts=True, window=5)
    machine.publish("b", [("open/a", 2, "plain")], is_settled=True)
    machine.teardown()
