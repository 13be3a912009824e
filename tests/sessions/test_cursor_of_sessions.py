"""Where a session goes on: single cases that a random walk seldom meets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lyredb.resources.requests import Write
from lyredb.server.node import Node
from lyredb.sessions.store import Sessions
from lyredb.sessions.stored import StoredSession
from lyredb.storage import retention
from lyredb.storage.session_row import progress_name
from tests.sessions.clients import Client, Connection, opened, payload, sessions_of, until
from tests.sessions.test_store import CONTEXT, connected, publish, run


async def put(node: Node, record_id: str, value: int) -> None:
    target = node.database.resolve(f"Sensor/{record_id}", CONTEXT)
    await node.database.write(Write(target, "put", {"value": value}), CONTEXT)


def told(client: Client) -> list[str]:
    """Topics of what the client has, current state marked."""
    return [("=" if one.current else "") + one.topic.decode() for one, _ in client.got]


def payloads(client: Client) -> list[bytes]:
    return [payload(one) for one, _ in client.got]


def trim(node: Node) -> None:
    """Begin another segment of the log, and drop all before it."""
    now_ms = node.engine.now_ms()
    retention.rotate(node.engine, 0, now_ms)
    in_a_year_ms = now_ms + 365 * 86_400_000
    while retention.drop_oldest(node.engine, 0, in_a_year_ms):
        pass


def test_record_writes_of_the_night_are_told_as_changes() -> None:
    """A record is a retained message; what it was in between is told too."""

    async def body(node: Node) -> None:
        client = Client()
        await put(node, "a", 1)
        connection = await connected(node, client, 1)
        await connection.subscribe("Sensor/#", 1)
        await connection.settle()
        await connection.end()
        for value in range(3):
            await put(node, "a", value)
        connection = await connected(node, client, 2)
        await connection.settle()
        assert told(client) == ["=Sensor/a", "Sensor/a", "Sensor/a", "Sensor/a"]

    run(body)


def test_current_state_in_flight_is_sent_again_as_it_is_now() -> None:
    """With its identifier; the record may be far back in the log, or changed since."""

    async def body(node: Node) -> None:
        client = Client()
        await put(node, "a", 1)
        connection = await connected(node, client, 1)
        await connection.subscribe("Sensor/#", 1)
        (packet,) = connection.down
        assert packet.message is not None
        assert packet.message.current
        await connection.end()
        again = await connected(node, client, 2)
        (second,) = again.down
        assert (second.packet_id, second.kind) == (packet.packet_id, "publish")
        assert second.message is not None
        assert second.message.current
        await again.settle()
        assert told(client) == ["=Sensor/a"]

    run(body)


def test_current_state_goes_on_where_it_was_broken_off() -> None:
    """Records that were sent are not sent again, and a message of the night is not lost."""

    async def body(node: Node) -> None:
        client = Client()
        for number in range(30):
            await put(node, f"{number:02}", number)
        connection = await connected(node, client, 1)
        await connection.subscribe("Sensor/#", 1)
        for _ in range(6):
            connection.deliver()
            connection.answer()
        await connection.end()
        before = len(client.got)
        assert 0 < before < 30
        await publish(node, "Sensor/message", b"night")
        connection = await connected(node, client, 2)
        await connection.settle()
        records = [topic for topic in told(client) if topic.startswith("=")]
        assert sorted(set(records)) == [f"=Sensor/{number:02}" for number in range(30)]
        assert len(records) <= 30 + 3  # what was in flight
        assert told(client).count("Sensor/message") == 1

    run(body)


def test_a_position_that_the_log_has_lost_is_told_and_gets_current_state() -> None:
    """Never silence: the session says so, and each filter begins anew."""

    async def body(node: Node) -> None:
        client = Client()
        connection = await connected(node, client, 1)
        await connection.subscribe("Sensor/#", 1)
        await connection.end()
        await put(node, "a", 1)
        trim(node)
        connection = await connected(node, client, 2)
        assert connection.session.is_present
        assert "no longer reaches back" in connection.session.lost
        await connection.settle()
        assert told(client) == ["=Sensor/a"]
        await connection.end()
        connection = await connected(node, client, 3)
        assert connection.session.lost == ""

    run(body)


def test_qos_2_in_flight_whose_message_is_gone_is_released() -> None:
    """The client forgets the identifier, so that it can stand for another message."""

    async def body(node: Node) -> None:
        client = Client()
        connection = await connected(node, client, 1)
        await connection.subscribe("t/#", 2)
        await publish(node, "t/0", b"1", 2)
        await publish(node, "t/0", b"2", 1)
        await until(lambda: len(connection.down) == 2)
        await connection.end()
        trim(node)
        connection = await connected(node, client, 2)
        assert [packet.kind for packet in connection.down] == ["pubrel"]
        await connection.settle()
        assert connection.session.outbound.in_flight == {}

    run(body)


def test_what_another_filter_has_told_is_kept_when_that_filter_goes() -> None:
    """It waits to be sent; unsubscribing one of two filters loses nothing of the other."""

    async def body(node: Node) -> None:
        client = Client()
        connection = await connected(node, client, 1)
        await connection.subscribe("+/0", 1)
        await connection.subscribe("u/#", 1)
        connection.die()
        for number in range(5):
            await publish(node, "u/0", str(number).encode())
        connection = await connected(node, client, 2)
        await connection.unsubscribe("+/0")
        await connection.end()
        connection = await connected(node, client, 3)
        await connection.settle()
        assert sorted(set(payloads(client))) == [b"0", b"1", b"2", b"3", b"4"]

    run(body)


def test_a_new_filter_waits_for_those_that_are_behind() -> None:
    """What both match comes in the order of publication."""

    async def body(node: Node) -> None:
        client = Client()
        connection = await connected(node, client, 1)
        await connection.subscribe("t/#", 1)
        for number in range(20):
            await publish(node, "t/0", str(number).encode())
        assert connection.is_congested
        await connection.subscribe("t/0", 1, omit_current=True)
        for number in range(20, 23):
            await publish(node, "t/0", str(number).encode())
        await connection.settle()
        assert [int(one) for one in payloads(client)] == list(range(23))

    run(body)


@pytest.mark.parametrize("waiting", [8, 20])
def test_messages_after_a_suback_come_though_the_client_is_slow(waiting: int) -> None:
    """Its current state is read later, but from the time of the SUBACK on nothing is missed."""

    async def body(node: Node) -> None:
        client = Client()
        connection = await connected(node, client, 1)
        await connection.subscribe("t/#", 1)
        for number in range(waiting):
            await publish(node, "t/0", str(number).encode())
        await until(lambda: connection.is_congested)
        await connection.subscribe("u/#", 1)
        await publish(node, "u/0", b"after")
        await connection.settle()
        assert payloads(client).count(b"after") == 1

    run(body)


def test_what_delivery_still_holds_back_is_not_counted_as_told() -> None:
    """A commit between a log entry and the flush of its tick must not pass it."""

    async def body(node: Node) -> None:
        client = Client()
        connection = await connected(node, client, 1)
        await connection.subscribe("t/#", 1)
        node.database.publish("t/0", b"1", CONTEXT, qos=1)
        assert node.store is not None
        node.store.writer.commit_now()
        node.tail.advance_to(node.engine.position)
        session = connection.session
        check, rows, _ = session.take_commit()
        node.store.writer.submit((check,), lambda _: None, session_rows=rows)
        connection.die()
        connection = await connected(node, client, 2)
        await connection.settle()
        assert payloads(client) == [b"1"]

    run(body)


def test_progress_follows_the_log_before_the_log_is_trimmed() -> None:
    """A session that is there and gets nothing must not be lost by a crash."""

    async def body(node: Node) -> None:
        timers: list[Callable[[], None]] = []
        sessions = Sessions(
            node.database.session_store,
            call_later=lambda _, callback: timers.append(callback),
            call_soon=lambda callback: callback(),
        )
        session = await opened(sessions, "c", 1)
        assert isinstance(session, StoredSession)
        connection = Connection(node, session, Client())
        await connection.subscribe("t/#", 1)
        before = session.stored_position
        await put(node, "a", 1)
        timers.pop()()
        assert session.stored_position == before
        for _ in range(2):
            retention.rotate(node.engine, 0, node.engine.now_ms())
            await put(node, "a", 1)
        timers.pop()()
        assert session.stored_position > before

    run(body)


def test_a_sleeping_session_takes_less_than_a_kilobyte() -> None:
    """100,000 of them are 100 MB, messages that wait included."""

    async def body(node: Node) -> None:
        connection = await connected(node, Client(), 1)
        await connection.subscribe("site/4711/device/0815/commands/#", 1)
        number = connection.session.number
        await connection.end()
        for _ in range(50):
            await publish(node, "site/4711/device/0815/commands/go", bytes(100))
        with node.engine.snapshot() as snapshot:
            row = snapshot.session_row(progress_name(number))
            (record,) = [stored for _, stored in snapshot.scan_stored(2)]
        assert row is not None
        assert len(row) + len(record) < 400

    run(body)


def test_no_local_holds_over_connections() -> None:
    """The number of a session, which entries of the log carry, outlives its connection."""

    async def body(node: Node) -> None:
        client = Client()
        session = await opened(sessions_of(node), "c", 1)
        assert isinstance(session, StoredSession)
        connection = Connection(node, session, client)
        await connection.subscribe("t/#", 1, no_local=True)
        await connection.end()
        node.database.publish("t/0", b"own", session.context, qos=1)
        await publish(node, "t/0", b"other")
        connection = await connected(node, client, 2)
        await connection.settle()
        assert payloads(client) == [b"other"]

    run(body)
