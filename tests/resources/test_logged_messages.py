"""Messages that durable sessions want: logged, and told to everybody once and in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lyredb.delivery.message import Message
from lyredb.errors import LyreError, Overloaded
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Message as AnyMessage
from lyredb.resources.embedded import EmbeddedDatabase
from lyredb.resources.logged import LoggedMessage, mutations_of
from lyredb.resources.requests import SubscribeOptions, Write
from lyredb.security.principals import SUPER_USER
from lyredb.server.node import Node
from lyredb.sessions.terms import Description, StoredSubscription
from lyredb.storage.check import check
from lyredb.storage.entry import Entry
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import SESSION_SLOT
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.sequencer import settling
from lyredb.tables.sdl import parse_sdl
from tests.resources.node_under_test import ENCODING, SDL, Collector, data_directory
from tests.resources.two_workers import two_workers, until

CONTEXT = Context(SUPER_USER, "mqtt", user="anna", session=7)
READER = Context(SUPER_USER, "mqtt", session=9)


def described(name: str, *filters: str, qos: int = 1) -> Mutation:
    """The record of a session with these filters."""
    body = Description(
        name, "", 1, 1, 60, True, 0, tuple(StoredSubscription(one, qos) for one in filters)
    )
    key = encode_key(f"client/{name}")
    return Mutation(SESSION_SLOT, key, Kind.PUT, msgspec.msgpack.encode(body))


def ended(name: str) -> Mutation:
    return Mutation(SESSION_SLOT, encode_key(f"client/{name}"), Kind.DELETE)


async def know(node: Node, change: Mutation) -> int:
    """Write a session's record and wait until every worker knows; return the position."""
    position = (await node.writer.commit([change])).position
    known = asyncio.Event()
    node.database.when_told(position, known.set)
    await asyncio.wait_for(known.wait(), 10)
    return position


def listen(node: Node, topic_filter: str, *, qos: int = 2) -> Collector:
    """A reader that is live already, and no session."""
    reader = Collector()
    options = SubscribeOptions(ENCODING, qos=qos, omit_current=True, retain_as_published=True)
    node.database.subscribe(topic_filter, reader, READER, options).start()
    return reader


def message_to(node: Node, topic: str, payload: bytes, *, qos: int = 1) -> LoggedMessage:
    path = node.database.ingress(CONTEXT).path(topic.encode())
    return LoggedMessage(path.destination, payload, qos)


def send(node: Node, topic: str, payload: bytes, qos: int, context: Context = CONTEXT) -> None:
    """Publish as a protocol does: to the log where the path says so, else directly."""
    ingress = node.database.ingress(context)
    path = ingress.path(topic.encode())
    if qos and path.is_logged:
        logged = LoggedMessage(path.destination, payload, qos)
        node.database.log([logged], context, raise_error)
    elif not path.idle:
        message = Message.direct(
            topic.encode(), payload, path.destination, qos=qos, session=context.session
        )
        ingress.push(path, message, None)


def raise_error(result: object) -> None:
    if isinstance(result, LyreError):
        raise result


def entries(node: Node) -> list[Entry]:
    with node.engine.snapshot() as snapshot:
        return [one for one in snapshot.entries(0) if one.kind is Kind.MESSAGE]


async def log_all(node: Node, messages: Sequence[LoggedMessage]) -> int:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    node.database.log(messages, CONTEXT, settling(future))
    return await asyncio.wait_for(future, 10)


def open_node(path: Path) -> Node:
    return Node.open(path, parse_sdl(SDL), open_topics=True)


def test_a_batch_is_one_transaction_and_reaches_listeners_from_the_log() -> None:
    """With its quality, sender and positions, although nobody who listens is durable."""

    async def body() -> None:
        with data_directory() as path:
            node = open_node(path)
            await know(node, described("bea", "t/#"))
            reader = listen(node, "t/+")
            batch = [message_to(node, f"t/{n % 2}", b"%d" % n, qos=n % 2 + 1) for n in range(5)]
            position = await log_all(node, batch)
            await until(lambda: len(reader.messages) == 5)
            assert [one.payload(NOTHING) for one in reader.messages] == [
                b"0",
                b"1",
                b"2",
                b"3",
                b"4",
            ]
            assert [one.qos for one in reader.messages] == [1, 2, 1, 2, 1]
            assert [one.seq for one in reader.messages] == list(range(position - 4, position + 1))
            assert {one.session for one in reader.messages} == {7}
            assert [one.index for one in entries(node)] == [0, 1, 2, 3, 4]
            assert {one.user for one in entries(node)} == {"anna"}
            assert check(node.engine) == []
            await node.close()

    asyncio.run(body())


class Nothing:
    """Takes payloads as they are."""

    name = "nothing"
    media_type = "application/octet-stream"

    def encode(self, value: object) -> bytes:
        return repr(value).encode()

    def decode(self, data: bytes) -> object:
        return data


NOTHING = Nothing()


def test_filters_of_sessions_are_known_after_a_restart() -> None:
    """They are read from the records; those of QoS 0 alone keep nothing."""

    async def body() -> None:
        with data_directory() as path:
            node = open_node(path)
            await know(node, described("bea", "t/#", "$share/crew/u"))
            await know(node, described("cid", "v", qos=0))
            await know(node, described("dan", "w"))
            await know(node, ended("dan"))
            await node.close()
            node = open_node(path)
            ingress = node.database.ingress(CONTEXT)
            logged = {topic: ingress.path(topic).is_logged for topic in (b"t", b"u", b"v", b"w")}
            assert logged == {b"t": True, b"u": True, b"v": False, b"w": False}
            await node.close()

    asyncio.run(body())


def test_rows_of_sessions_commit_with_messages_and_alone() -> None:
    """The identifier of a QoS 2 message is on disk exactly when the message is."""

    async def body() -> None:
        with data_directory() as path:
            node = open_node(path)
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            one = message_to(node, "t", b"x", qos=2)
            node.database.log([one], CONTEXT, settling(future), [(b"row", b"1")])
            await future
            with node.engine.snapshot() as snapshot:
                assert (snapshot.session_row(b"row"), snapshot.position) == (b"1", future.result())
            future = asyncio.get_running_loop().create_future()
            node.database.log([], CONTEXT, settling(future), [(b"row", None)])
            await future
            with node.engine.snapshot() as snapshot:
                assert snapshot.session_row(b"row") is None
            write = Write(node.database.resolve("Sensor/a", CONTEXT), "put", {"value": 1})
            written: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            node.database.submit(write, CONTEXT, written.set_result, [(b"row", b"2")])
            await written
            with node.engine.snapshot() as snapshot:
                assert snapshot.session_row(b"row") == b"2"
            await node.close()

    asyncio.run(body())


def test_what_cannot_be_taken_is_told_at_once_and_holds_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`done` gets the error, and a message behind it goes."""

    async def body() -> None:
        with data_directory() as path:
            node = open_node(path)
            reader = listen(node, "t")
            told: list[object] = []

            def refuse(*_: object, **__: object) -> None:
                raise Overloaded("too much")

            monkeypatch.setattr(node.writer, "submit", refuse)
            node.database.log([message_to(node, "t", b"x")], CONTEXT, told.append)
            assert [type(one) for one in told] == [Overloaded]
            send(node, "t", b"y", 0)
            await until(lambda: len(reader.messages) == 1)
            monkeypatch.undo()
            await node.close()

    asyncio.run(body())


def test_code_that_publishes_is_logged_too_and_learns_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`done` comes when it is on disk; QoS 0 and what nobody durable wants is not logged."""

    async def body() -> None:
        with data_directory() as path:
            node = open_node(path)
            await know(node, described("bea", "t/#"))
            told: list[object] = []
            publish = node.database.publish
            publish("t/a", b"1", CONTEXT, qos=1, content_type="text/plain", done=told.append)
            assert told == []
            await until(lambda: told == [None])
            publish("t/a", b"2", CONTEXT, qos=0, done=told.append)
            publish("u/a", b"3", CONTEXT, qos=2, done=told.append)
            assert told == [None, None, None]
            assert [one.payload for one in entries(node)] == [b"1"]
            await node.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(body())
    assert caplog.records == []


def test_what_code_publishes_is_on_disk_when_its_call_returns() -> None:
    """As an acknowledgement is for a client; in a transaction it comes behind the commit."""

    async def body() -> None:
        with data_directory() as path:
            node = open_node(path)
            await know(node, described("bea", "Sensor/#"))
            database = EmbeddedDatabase(node.database)
            await database.publish_message("data.Sensor", "a", {"value": 1})
            assert [one.payload for one in entries(node)] == [b'{"value":1}']
            async with database.transaction():
                await database.write_record("data.Sensor", "put", "a", {"value": 2})
                await database.publish_message("data.Sensor", "a", b"2")
                assert len(entries(node)) == 1
            await until(lambda: len(entries(node)) == 2)
            await node.close()

    asyncio.run(body())


def test_the_root_topic_of_a_table_is_logged_like_any_other() -> None:
    """It names no record, but what is sent there is kept for those who sleep."""

    async def body() -> None:
        with data_directory() as path:
            node = open_node(path)
            await know(node, described("bea", "Sensor"))
            before = node.database.position_token(node.engine.position)
            reader = listen(node, "Sensor/#")
            await log_all(
                node, [message_to(node, "Sensor", b"1"), message_to(node, "Sensor", b"2")]
            )
            await until(lambda: len(reader.messages) == 2)
            for topic_filter in ("Sensor", "+", "Sensor/#"):
                late = Collector()
                options = late.options()
                node.database.subscribe(topic_filter, late, READER, options, before).start()
                await until(lambda late=late: len(late.messages) == 2)  # type: ignore[misc]
            assert check(node.engine) == []
            await node.close()

    asyncio.run(body())


def test_everything_after_when_told_is_in_the_log_whichever_worker_takes_it() -> None:
    """Filters appear and go all the time while both workers are published to."""

    async def body() -> None:
        with data_directory() as path:
            async with two_workers(path, SDL) as nodes:
                wanted: list[bytes] = []
                for node in nodes:  # so that both have decided about the topics before
                    send(node, "t/0", b"between", 1)
                    send(node, "t/1", b"between", 1)
                for number in range(30):
                    await know(nodes[number % 2], described("bea", "t/#"))
                    for at, node in enumerate(nodes):
                        payload = b"%d.%d" % (number, at)
                        send(node, f"t/{at}", payload, 1 + number % 2)
                        wanted.append(payload)
                    # Not waited for: what was published before is under way meanwhile.
                    nodes[0].writer.submit([ended("bea")], lambda _: None)
                    send(nodes[1], "t/x", b"between", 1)
                await until(lambda: {one.payload for one in entries(nodes[0])} >= set(wanted))
                found = [one.payload for one in entries(nodes[0]) if one.payload != b"between"]
                assert sorted(found) == sorted(wanted)

    asyncio.run(body())


def test_a_message_keeps_its_place_where_the_tail_is_ahead_of_the_replies() -> None:
    """Both logged messages are told at once, before this worker has heard of either."""

    async def body() -> None:
        with data_directory() as path:
            async with two_workers(path, SDL) as nodes:
                await know(nodes[0], described("bea", "t"))
                reader = listen(nodes[0], "t")
                await _known(nodes)
                before = nodes[0].engine.position
                for payload, qos in ((b"1", 1), (b"2", 0), (b"3", 2)):
                    send(nodes[0], "t", payload, qos)
                await until(lambda: nodes[0].engine.position > before + 1)
                nodes[0].tail.advance_to(nodes[0].engine.position)
                await until(lambda: len(reader.messages) == 3)
                assert [one.payload(NOTHING) for one in reader.messages] == [b"1", b"2", b"3"]

    asyncio.run(body())


actions = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["publish"]),
            st.integers(0, 1),  # the worker
            st.integers(0, 1),  # the topic
            st.sampled_from([0, 0, 1, 1, 2, 3]),  # the quality; 3 for a retained message
        ),
        st.tuples(st.sampled_from(["durable", "gone"]), st.integers(0, 1), st.just(0), st.just(0)),
        st.tuples(st.just("turn"), st.integers(0, 3), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(actions)
@example([("publish", 1, 1, 0), ("publish", 1, 1, 3), ("publish", 0, 1, 3)])
def test_one_publishers_messages_of_a_topic_arrive_once_and_in_order(
    steps: list[tuple[str, int, int, int]],
) -> None:
    """Over every quality and RETAIN, at both workers, while filters of sessions come and go."""
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, int, int, int]]) -> None:
    with data_directory() as path:
        async with two_workers(path, SDL) as nodes:
            readers = [listen(node, "t/#") for node in nodes]
            await _known(nodes)
            sent: dict[tuple[int, int], list[bytes]] = {}
            for number, (what, worker, topic, qos) in enumerate(steps):
                node = nodes[worker % 2]
                if what == "publish":
                    sent.setdefault((worker, topic), []).append(b"%d.%d" % (worker, number))
                    _publish(node, f"t/{topic}", b"%d.%d" % (worker, number), qos)
                elif what == "turn":
                    for _ in range(worker + 1):
                        await asyncio.sleep(0)
                else:
                    change = described("bea", "t/#") if what == "durable" else ended("bea")
                    node.writer.submit([change], lambda _: None)
            total = sum(map(len, sent.values()))
            await until(lambda: all(len(one.messages) >= total for one in readers))
            for reader in readers:
                assert _told(reader.messages) == sent


async def _known(nodes: tuple[Node, Node]) -> None:
    for node in nodes:
        known = asyncio.Event()
        node.database.when_known(known.set)
        await asyncio.wait_for(known.wait(), 10)


def _publish(node: Node, topic: str, payload: bytes, qos: int) -> None:
    if qos < 3:
        send(node, topic, payload, qos)
        return
    target = node.database.registry.topic(topic, "mqtt")
    write = Write(target, "put", payload=payload, retain=True, qos=1)
    node.database.submit(write, CONTEXT, raise_error)


def _told(messages: Sequence[AnyMessage]) -> dict[tuple[int, int], list[bytes]]:
    """By worker and topic, in the order in which they came."""
    told: dict[tuple[int, int], list[bytes]] = {}
    for message in messages:
        payload = message.payload(NOTHING)
        place = int(payload.split(b".")[0]), int(message.topic.split(b"/")[1])
        told.setdefault(place, []).append(payload)
    return told


def test_messages_that_are_alike_go_to_the_writer_as_one() -> None:
    """Each of them has its entry; what differs in anything but payload is a mutation of its own."""

    async def body() -> None:
        with data_directory() as path:
            node = open_node(path)
            await know(node, described("bea", "t/#"))
            reader = listen(node, "t/+")
            first, other = message_to(node, "t/a", b"1"), message_to(node, "t/b", b"4")
            alike = [msgspec.structs.replace(first, payload=payload) for payload in (b"2", b"")]
            batch = [first, *alike, other, first]
            assert [(one.body, one.more) for one in mutations_of(batch, CONTEXT)] == [
                (b"1", (b"2", b"")),
                (b"4", ()),
                (b"1", ()),
            ]
            for change in (
                {"qos": 2},
                {"retain": True},
                {"expires_ms": 7},
                {"content_type": "text/plain"},
                {"properties": b"x"},
            ):
                changed = msgspec.structs.replace(first, **change)
                assert len(mutations_of([first, changed], CONTEXT)) == 2, change
            position = await log_all(node, batch)
            await until(lambda: len(reader.messages) == 5)
            assert [(one.topic, one.payload(NOTHING)) for one in reader.messages] == [
                (b"t/a", b"1"),
                (b"t/a", b"2"),
                (b"t/a", b""),
                (b"t/b", b"4"),
                (b"t/a", b"1"),
            ]
            assert [one.seq for one in reader.messages] == list(range(position - 4, position + 1))
            assert check(node.engine) == []
            await node.close()

    asyncio.run(body())
