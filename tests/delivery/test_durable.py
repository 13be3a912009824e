"""Filters of sessions that outlive their connections: which topics are logged for them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.delivery.filters import matches, parse_filter
from lyredb.delivery.message import Message
from lyredb.delivery.routes import Path
from tests.delivery.workers import Node
from tests.delivery.world import ROOT, LineEncoding, Publisher, Reader, World

RAW = LineEncoding(raw="line")


def path(world: World, topic: str) -> Path:
    return world.hub.ingress(ROOT, "mqtt", "line").path(topic.encode())


def test_a_topic_is_logged_while_a_session_wants_it() -> None:
    """The path that a publisher has is closed by the edit, and the next one says so."""
    world = World()
    world.join("Sensor/a", Reader(), encoding=RAW, qos=1)
    before = path(world, "Sensor/a")
    assert (before.is_logged, before.solo1 is None) == (False, False)
    world.hub.durable.replace(b"anna", ["Sensor/+"])
    assert before.is_slow
    during = path(world, "Sensor/a")
    assert (during.is_logged, during.solo1, during.solo0 is None) == (True, None, False)
    world.hub.durable.remove(b"anna")
    assert not path(world, "Sensor/a").is_logged


def test_an_edit_leaves_the_routes_that_it_does_not_concern() -> None:
    """A hundred thousand sessions come and go; each drop costs a publisher a look-up."""
    world = World()
    world.hub.durable.replace(b"bea", ["Sensor/b"])
    a, b = path(world, "Sensor/a"), path(world, "Sensor/b")
    world.hub.durable.replace(b"anna", ["Sensor/b", "Sensor/c"])
    world.hub.durable.remove(b"bea")
    assert (path(world, "Sensor/a"), path(world, "Sensor/b")) == (a, b)
    assert b.is_logged


def test_a_logged_path_is_not_idle_without_listeners() -> None:
    """A publisher drops what reaches nobody; somebody who sleeps is not nobody."""
    world = World()
    assert path(world, "Sensor/a").idle
    world.hub.durable.replace(b"anna", ["#"])
    assert not path(world, "Sensor/a").idle


@pytest.mark.parametrize(
    ("filter", "is_logged"),
    [
        ("$share/crew/Sensor/+", True),
        ("$share/crew/Sensor", False),
        ("$share/crew", False),
        ("Sensor/#/a", False),
        ("", False),
    ],
)
def test_shared_filters_count_without_their_group(filter: str, *, is_logged: bool) -> None:
    """What is no filter matches nothing, and keeps the others of the session from nothing."""
    world = World()
    world.hub.durable.replace(b"anna", [filter, "Sensor/other"])
    assert path(world, "Sensor/a").is_logged is is_logged
    assert path(world, "Sensor/other").is_logged
    world.hub.durable.remove(b"anna")
    assert len(world.hub.durable) == world.hub.durable.sessions == 0


FILTERS = ["Sensor/a", "Sensor/b", "Sensor/+", "#", "Sensor/#", "$share/g/Sensor/a", "+"]
edits = st.lists(
    st.tuples(st.sampled_from([b"1", b"2", b"3"]), st.lists(st.sampled_from(FILTERS), max_size=4)),
    max_size=12,
)


@settings(max_examples=100)
@given(edits)
def test_filters_are_those_of_all_sessions(changes: list[tuple[bytes, list[str]]]) -> None:
    """After each edit a topic is logged if and only if a filter of a session matches it."""
    world = World()
    sessions: dict[bytes, list[str]] = {}
    for session, filters in changes:
        world.hub.durable.replace(session, filters)
        sessions[session] = filters
        wanted = {one.removeprefix("$share/g/") for some in sessions.values() for one in some}
        assert len(world.hub.durable) == len(wanted)
        assert world.hub.durable.sessions == sum(map(bool, sessions.values()))
        for topic in (b"Sensor/a", b"Sensor/b", b"Sensor"):
            expected = any(matches(parse_filter(one), topic) for one in wanted)
            assert path(world, topic.decode()).is_logged == expected
    for session in sessions:
        world.hub.durable.remove(session)
    assert not path(world, "Sensor/a").is_logged


def test_what_waits_is_written_before_a_filter_appears() -> None:
    """What was published directly before an edit keeps its place before what is logged."""
    world, reader = World(), Reader()
    world.join("Sensor/a", reader, qos=1)
    world.send("Sensor/a", "1", qos=1)
    assert reader.lines == []
    world.hub.durable.replace(b"anna", ["Sensor/a"])
    assert len(reader.lines) == 1


def test_messages_of_another_worker_are_told_where_their_topic_is_logged() -> None:
    """They were published before their worker knew of the filter: they are for who listens."""
    node = Node(2).attach_all()
    reader = Reader()
    node.workers[1].join("Sensor/a", reader, encoding=RAW, qos=1)
    node.settle()
    node.workers[1].hub.durable.replace(b"anna", ["Sensor/a"])
    node.workers[0].send_raw("Sensor/a", "x", qos=1)
    node.workers[0].send_raw("Sensor/a", "y", qos=0)
    node.settle()
    assert [line.split()[2] for line in reader.lines] == [b"x", b"y"]


def held_world(*, tail_may_lead: bool) -> tuple[World, Reader]:
    """A write is under way, and a message waits behind it."""
    world, reader = World(), Reader()
    world.hub.tail_may_lead = tail_may_lead
    world.join("Sensor/a", reader)
    found = path(world, "Sensor/a")
    world.hub.hold(*found.route.address)
    message = Message.direct(b"Sensor/a", b"m", found.destination, local_ms=1)
    found.ingress.push(found, message, Publisher())
    return world, reader


def test_a_message_between_two_writes_is_logged_where_the_tail_may_lead() -> None:
    """Else both writes could be told before it: their replies may come after their entries."""
    world, _ = held_world(tail_may_lead=True)
    taken = world.hub.take_held(*path(world, "Sensor/a").route.address)
    assert [held.message.data for held in taken] == [b"m"]


def test_a_message_between_two_writes_stays_direct_where_replies_come_first() -> None:
    """It costs the log nothing there: the mark of the first write is resolved in time."""
    world, _ = held_world(tail_may_lead=False)
    assert world.hub.take_held(*path(world, "Sensor/a").route.address) == []


def test_a_message_that_reaches_nobody_is_never_logged_for_its_place() -> None:
    """Nobody could see where it stood."""
    world, reader = held_world(tail_may_lead=True)
    world.hub.leave("Sensor/a", reader)
    assert world.hub.take_held(*path(world, "Sensor/a").route.address) == []
