"""Subscribing is getting the current state and then each change: no gap, no double."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lyredb.errors import NotAuthorised, UnknownTopic
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Batch, Message
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.subscription import State, Subscription
from lyredb.security.principals import ANONYMOUS
from lyredb.server.node import Node
from lyredb.storage.settings import StorageSettings
from tests.resources.node_under_test import (
    CONTEXT,
    Collector,
    InProcess,
    data_directory,
    open_node,
    write_of,
)

RECORDS = 40
"""More than one step of a scan at the step size that the tests set."""

actions = st.lists(
    st.one_of(
        st.tuples(
            st.just("write"), st.integers(0, RECORDS - 1), st.one_of(st.none(), st.integers(0, 99))
        ),
        st.tuples(st.just("publish"), st.integers(0, RECORDS - 1), st.integers(100, 199)),
        st.tuples(st.just("tick"), st.just(0), st.just(0)),
        st.tuples(st.just("resume"), st.just(0), st.just(0)),
        st.tuples(st.just("stall"), st.just(0), st.just(0)),
    ),
    min_size=1,
    max_size=60,
)


@dataclass
class Replica:
    """What a reader knows: the records as it was told of them, checked at each step."""

    records: dict[object, object] = field(default_factory=dict)
    position: str = ""
    seen: dict[object, int] = field(default_factory=dict)
    direct: dict[object, list[object]] = field(default_factory=dict)
    states: list[tuple[int, dict[object, object]]] = field(default_factory=list)

    def take(self, messages: list[Message]) -> None:
        for message in messages:
            if message.kind == "message":
                value = message.value()
                assert isinstance(value, dict)
                self.direct.setdefault(message.id, []).append(value["value"])
                continue
            assert message.seq > self.seen.get(message.id, 0), "told twice or backwards"
            self.seen[message.id] = message.seq
            self.position = message.position
            if message.kind == "delete":
                self.records.pop(message.id, None)
            else:
                self.records[message.id] = message.value()
            if "~" not in message.position:  # behind its scan: a state of the whole table
                self.states.append((message.seq, dict(self.records)))


class Reading:
    """A subscriber that leaves at any time and comes back with its last position."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.replica = Replica()
        self.collector = Collector()
        self.left_with_held_messages = False
        self.subscription = self._subscribe("")

    def _subscribe(self, after: str) -> Subscription:
        self.collector = Collector()
        subscription = self.node.database.subscribe(
            "Sensor/#", self.collector, CONTEXT, self.collector.options(), after
        )
        subscription.start()
        return subscription

    def take(self) -> None:
        self.replica.take(self.collector.messages)
        self.collector.messages.clear()

    def resume(self) -> None:
        self.node.hub.flush()
        # A direct message that waits behind a write goes to those who listen when it is
        # let go; who has left by then does not get it, and a resume does not repeat it.
        self.left_with_held_messages |= self.node.hub.statistics().holds > 0
        self.take()
        position = self.collector.ready[-1] if self.is_unchanged_since_ready else ""
        self.subscription.close()
        self.take()  # what was held for it is handed over when it leaves
        self.subscription = self._subscribe(self.replica.position or position)

    @property
    def is_unchanged_since_ready(self) -> bool:
        return bool(self.collector.ready) and not self.replica.position

    def stall(self) -> None:
        self.collector.is_congested = not self.collector.is_congested
        if not self.collector.is_congested:
            self.subscription.resume()
            self.node.database.drained(self.collector)


async def _act(
    node: Node, reading: Reading, steps: list[tuple[str, int, int | None]]
) -> dict[object, list[object]]:
    """Run the steps; return what was published to each topic, in order."""
    published: dict[object, list[object]] = {}
    for action, number, value in steps:
        match action:
            case "write":
                write = write_of(node, f"r{number:02}", value)
                node.database.submit(write, CONTEXT, lambda result: None)
            case "publish":
                assert value is not None
                payload = f'{{"value": {value}}}'.encode()
                node.database.publish(f"Sensor/r{number:02}", payload, CONTEXT)
                published.setdefault(f"r{number:02}", []).append(value)
            case "resume":
                reading.resume()
            case "stall":
                reading.stall()
            case _:
                await asyncio.sleep(0)
    return published


async def _finish(node: Node, reading: Reading) -> None:
    if reading.collector.is_congested:
        reading.stall()
    async with asyncio.timeout(10):
        while (  # noqa: ASYNC110  # ticks are what is tested here
            reading.subscription.state is not State.LIVE or node.writer.statistics().waiting
        ):
            await asyncio.sleep(0)  # ticks are what is tested here
    node.tail.advance_to(node.engine.position)
    node.hub.flush()
    reading.take()


def states_by_position(node: Node) -> dict[int, dict[object, object]]:
    """The records after each entry of the log, from the log's own images."""
    table = node.database.resolve("Sensor/", CONTEXT).table
    records: dict[object, object] = {}
    states: dict[int, dict[object, object]] = {}
    with node.engine.snapshot() as snapshot:
        entries = snapshot.entries(0)
    for entry in entries:
        if entry.slot == table.slot and entry.image:
            records[_id(entry.key)] = table.decode(_id(entry.key), entry.image)
        elif entry.slot == table.slot:
            records.pop(_id(entry.key), None)
        states[entry.seq] = dict(records)
    return states


def stored_records(node: Node) -> dict[object, object]:
    table = node.database.resolve("Sensor/", CONTEXT).table
    with node.engine.snapshot() as snapshot:
        rows = list(snapshot.scan(table.slot))
    records = [table.decode(node.catalogue.by_slot[table.slot].check_key(_id(key)), row)
               for key, row in rows]  # fmt: skip
    return {record["id"]: record for record in records}


def _id(key: bytes) -> str:
    return key[1:].decode()


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.integers(0, RECORDS), actions)
def test_state_and_events_add_up_to_the_records_with_resumes_at_random(
    present: int,
    steps: list[tuple[str, int, int | None]],
) -> None:
    """With writers in between, and a reader that leaves in the middle of its scan.

    After each event behind the scan the reader's records are those of its position.
    Fails on a gap (a record differs), a double or a step back (``seen``), and on direct
    messages that were lost or told twice while the reader did not leave.
    """

    async def body() -> None:
        with data_directory() as path:
            node = open_node(path)
            for number in range(present):
                await node.database.write(write_of(node, f"r{number:02}", number), CONTEXT)
            reading = Reading(node)
            published = await _act(node, reading, steps)
            await _finish(node, reading)
            assert reading.replica.records == stored_records(node)
            states = states_by_position(node)
            for seq, records in reading.replica.states:
                assert records == states[seq], f"not the records as of position {seq}"
            if not reading.left_with_held_messages:
                assert reading.replica.direct == published
            await node.close()

    asyncio.run(body())


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one step of a scan read a few records only, so that scans meet changes."""
    monkeypatch.setattr("lyredb.resources.subscription.STEP_BYTES", 120)


async def _filled_node(path: Path) -> Node:
    """A node with so many records that reading them takes several steps."""
    node = open_node(path)
    for number in range(RECORDS):
        await node.database.write(write_of(node, f"r{number:02}", 0), CONTEXT)
    return node


async def _until_live(node: Node, subscription: Subscription) -> None:
    async with asyncio.timeout(10):
        while subscription.state is not State.LIVE:  # noqa: ASYNC110  # ticks
            await asyncio.sleep(0)
    node.tail.advance_to(node.engine.position)
    node.hub.flush()


def test_message_behind_a_write_comes_after_it_also_while_state_is_read() -> None:
    """The write lies behind the place that the reading has come to; so must the message."""

    async def body() -> None:
        with data_directory() as path:
            node = await _filled_node(path)
            collector = Collector()
            subscription = node.database.subscribe("#", collector, CONTEXT, collector.options())
            subscription.start()
            states = [subscription.state]
            for number in range(1, 6):
                await node.database.write(write_of(node, "r39", number), CONTEXT)
                payload = b'{"message": %d}' % number
                node.database.publish("Sensor/r39", payload, CONTEXT)
            await _until_live(node, subscription)
            assert [*states, subscription.state] == [State.READING, State.LIVE]
            seen = [one for one in collector.messages if one.id == "r39"]
            told, last_write = [], 0
            for one in seen:
                value = one.value()
                assert isinstance(value, dict)
                last_write = value.get("value", last_write)
                if "message" in value:
                    told.append(value["message"])
                    assert value["message"] <= last_write, "came before the write"
            assert told == [1, 2, 3, 4, 5]
            await node.close()

    asyncio.run(body())


def test_overlapping_filters_bring_a_change_once_while_one_of_them_reads() -> None:
    async def body() -> None:
        with data_directory() as path:
            node = await _filled_node(path)
            collector = Collector()
            subscriptions = [
                node.database.subscribe(each, collector, CONTEXT, collector.options())
                for each in ("Sensor/r00", "Sensor/r39", "#")
            ]
            for subscription in subscriptions:
                subscription.start()
            assert [one.state for one in subscriptions] == [State.LIVE, State.LIVE, State.READING]
            for number in range(1, 4):
                for key in ("r00", "r39"):
                    await node.database.write(write_of(node, key, number), CONTEXT)
                    payload = b'{"message": %d}' % number
                    node.database.publish(f"Sensor/{key}", payload, CONTEXT)
            await _until_live(node, subscriptions[2])
            changes = [(one.id, one.value()) for one in collector.messages if not one.current]
            assert len(changes) == 12
            assert len({str(change) for change in changes}) == 12
            await node.close()

    asyncio.run(body())


async def _busy(node: Node, rounds: int, *, first: int = 1) -> None:
    """Write some records and publish to their topics, again and again."""
    for number in range(first, first + rounds):
        for key in ("r00", "r20", "r39"):
            await node.database.write(write_of(node, key, number), CONTEXT)
            payload = b'{"message": %d}' % number
            node.database.publish(f"Sensor/{key}", payload, CONTEXT)


def assert_told_once_and_in_order(messages: list[Message]) -> None:
    """No change or message twice, none behind a later one, no message before its write."""
    written: dict[object, int] = {}
    told: dict[object, int] = {}
    changes = [str((one.id, one.value())) for one in messages if not one.current]
    assert len(changes) == len(set(changes)), "told twice"
    for one in messages:
        value = one.value()
        assert isinstance(value, dict)
        if "message" in value:
            assert value["message"] <= written.get(one.id, 0), "came before its write"
            assert value["message"] > told.get(one.id, 0), "messages out of order"
            told[one.id] = value["message"]
        else:
            assert value["value"] >= written.get(one.id, 0), "went back to an older state"
            written[one.id] = value["value"]


@pytest.mark.parametrize("qualities", [(1, 1, 1), (0, 1, 0), (1, 0, 0)])
def test_filters_that_read_at_the_same_time_bring_a_change_once(
    qualities: tuple[int, ...],
) -> None:
    async def body() -> None:
        with data_directory() as path:
            node = await _filled_node(path)
            collector = Collector()
            subscriptions = [
                node.database.subscribe(
                    each,
                    collector,
                    CONTEXT,
                    dataclasses.replace(collector.options(), qos=qos),
                )
                for each, qos in zip(("Sensor/+", "#", "Sensor/#"), qualities, strict=True)
            ]
            for subscription in subscriptions:
                subscription.start()
            assert {one.state for one in subscriptions} == {State.READING}
            await _busy(node, 5)
            for subscription in subscriptions:
                await _until_live(node, subscription)
            assert_told_once_and_in_order(collector.messages)
            assert sum("message" in str(one.value()) for one in collector.messages) == 15
            await node.close()

    asyncio.run(body())


def test_order_holds_when_a_subscription_is_replaced_while_it_reads() -> None:
    """What the old one held is held by the new one, which has yet to read the write."""

    async def body() -> None:
        with data_directory() as path:
            node = await _filled_node(path)
            collector = Collector()

            def subscribe() -> Subscription:
                return node.database.subscribe("#", collector, CONTEXT, collector.options())

            first = subscribe()
            first.start()
            collector.is_congested = True  # so that nothing is read for now
            await _busy(node, 1)
            second = subscribe()
            first.close()
            second.start()
            await _busy(node, 1, first=2)
            assert [first.state, second.state] == [State.CLOSED, State.READING]
            collector.is_congested = False
            second.resume()
            await _until_live(node, second)
            assert_told_once_and_in_order(collector.messages)
            assert sum("message" in str(one.value()) for one in collector.messages) == 6
            await node.close()

    asyncio.run(body())


def test_missed_changes_honour_no_local_and_retain_as_published() -> None:
    """What a resumed subscription reads from the log is served like what the tail brings."""

    class Frames(InProcess):
        takes_messages = False

        def frame(
            self, message: Message, *, qos: int, retain: bool, ids: tuple[int, ...]
        ) -> tuple[bytes, int]:
            return f"{message.id}:{retain} ".encode(), 0

    class Wire(Collector):
        data = b""

        def write(self, batch: Batch) -> None:
            self.data += batch.data

    async def body() -> None:
        with data_directory() as path:
            node = open_node(path)
            wire = Wire()
            position = f"{node.hub.log_id}.{node.engine.position}"
            other = msgspec.structs.replace(CONTEXT, session=2)
            await node.database.write(write_of(node, "own", 1), CONTEXT)
            published = msgspec.structs.replace(write_of(node, "other", 1), retain=True)
            await node.database.write(published, other)
            options = SubscribeOptions(Frames(), no_local=True, retain_as_published=True)
            node.database.subscribe("#", wire, CONTEXT, options, position).start()
            assert wire.data == b"other:True "
            options = SubscribeOptions(Frames())
            plain = Wire()
            node.database.subscribe("#", plain, CONTEXT, options, position).start()
            assert plain.data == b"own:False other:False "
            await node.close()

    asyncio.run(body())


def test_trimmed_position_gets_current_state_and_a_mark() -> None:
    """Below the floor of the log nobody can tell what was missed."""

    async def body() -> None:
        with data_directory() as path:
            node = open_node(path, StorageSettings(segment_bytes=1 << 16, retention_bytes=1 << 17))
            collector = Collector()
            await node.database.write(write_of(node, "a", 0), CONTEXT)
            subscription = node.database.subscribe(
                "Sensor/a", collector, CONTEXT, collector.options()
            )
            subscription.start()
            old = collector.ready[0]
            subscription.close()
            async with asyncio.timeout(20):
                while node.engine.floor <= 10:
                    writes = [write_of(node, f"x{n}", n) for n in range(200)]
                    await asyncio.gather(*(node.database.write(one, CONTEXT) for one in writes))
            collector = Collector()
            node.database.subscribe(
                "Sensor/a", collector, CONTEXT, collector.options(), old
            ).start()
            assert len(collector.resets) == 1
            assert [(one.id, one.current) for one in collector.messages] == [("a", True)]
            await node.close()

    asyncio.run(body())


def test_nobody_without_rights_can_subscribe() -> None:
    async def body() -> None:
        with data_directory() as path:
            node = open_node(path)
            nobody = Context(ANONYMOUS, "mqtt")
            collector = Collector()
            with pytest.raises(NotAuthorised):
                node.database.subscribe("#", collector, nobody, collector.options())
            with pytest.raises(UnknownTopic):
                node.database.subscribe("No/1", collector, nobody, collector.options())
            await node.close()

    asyncio.run(body())


def test_shutdown_ends_subscriptions_after_the_last_change() -> None:
    """A write that was acknowledged reaches those who listen before they are ended."""

    async def body() -> None:
        with data_directory() as path:
            node = open_node(path)
            collector = Collector()
            node.database.subscribe("#", collector, CONTEXT, collector.options()).start()
            node.database.submit(write_of(node, "last", 1), CONTEXT, lambda result: None)
            await node.close()
            assert [one.id for one in collector.messages] == ["last"]
            assert collector.closed is not None

    asyncio.run(body())
