"""Members of shared groups whose sessions outlive their connections (MQTT 5 §4.8.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from lyredb.protocols.mqtt.shared import SHARE, shared_opener
from lyredb.security.principals import SUPER_USER
from lyredb.sessions import rows
from lyredb.sessions.group_session import GroupSessions
from lyredb.sessions.groups import Groups
from lyredb.sessions.groups_service import GroupsService
from lyredb.sessions.store import Sessions
from lyredb.sessions.terms import group_client_id
from lyredb.storage.session_row import fence_name
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.durable_world import (
    PUBLISH,
    PUBREL,
    SOMEBODY,
    World,
    on_world,
)
from tests.protocols.mqtt.harness import Peer

DUP = 8
GROUP = "$share/g/open/#"
IDENTIFIER = b"\x0b\x07"


def share(world: World) -> None:
    """Have the server that runs now serve groups, too."""
    harness, database = world.harness, world.node.database
    GroupsService(harness.streams, call_later=harness.timers.call_later)
    sessions = harness.service.sessions
    assert isinstance(sessions, Sessions)
    groups = Groups(
        2,
        database,
        world.node.hub.peers,
        harness.streams.ends[2],
        harness.service.call_soon,
        GroupSessions(sessions, 3600),
    )
    harness.service.openers[SHARE] = shared_opener(groups, database)


def on_shared_world(body: Callable[[World], Awaitable[None]]) -> None:
    async def shared(world: World) -> None:
        share(world)
        await body(world)

    on_world(shared)


async def member(world: World, client_id: str) -> Peer:
    peer, _ = await world.connect(client_id)
    await world.subscribe(peer, (GROUP, 2), props=IDENTIFIER)
    return peer


async def two_members(world: World) -> tuple[Peer, Peer]:
    return await member(world, "a"), await member(world, "b")


def test_a_message_of_qos_2_is_completed_with_its_member_when_that_is_back() -> None:
    """[MQTT-4.8.2-4]; nobody else gets it."""

    async def body(world: World) -> None:
        one, two = await two_members(world)
        await world.publish("open/a", b"1", qos=2)
        (message,) = await world.packets(one, 1)
        await world.sleep(one)
        await world.nothing_more(two)
        one, _ = await world.connect("a")
        (again,) = await world.packets(one, 1)
        assert (again.packet_id, again.payload) == (message.packet_id, b"1")
        assert (again.qos, again.flags & DUP) == (2, DUP)
        assert again.properties == message.properties == IDENTIFIER
        one.send(client.pubrec(again.packet_id))
        (release,) = await world.packets(one, 1)
        assert (release.kind, release.packet_id) == (PUBREL, message.packet_id)
        one.send(client.pubcomp(again.packet_id))
        await world.sleep(one)
        one, _ = await world.connect("a")
        await world.nothing_more(one)
        await world.nothing_more(two)

    on_shared_world(body)


def test_after_its_pubrec_it_is_released_when_the_member_is_back() -> None:
    async def body(world: World) -> None:
        one, two = await two_members(world)
        await world.publish("open/a", b"1", qos=2)
        (message,) = await world.packets(one, 1)
        one.send(client.pubrec(message.packet_id))
        await world.packets(one, 1)
        await world.sleep(one)
        one, _ = await world.connect("a")
        (release,) = await world.packets(one, 1)
        assert (release.kind, release.packet_id) == (PUBREL, message.packet_id)
        await world.nothing_more(two)

    on_shared_world(body)


def test_it_is_completed_after_a_crash_of_the_server_too() -> None:
    async def body(world: World) -> None:
        one, _ = await two_members(world)
        await world.publish("open/a", b"1", qos=2)
        (message,) = await world.packets(one, 1)
        world.crash()
        share(world)
        one, _ = await world.connect("a")
        packets = await world.packets(one, 1)
        assert (packets[0].packet_id, packets[0].payload) == (message.packet_id, b"1")
        assert packets[0].flags & DUP

    on_shared_world(body)


@pytest.mark.parametrize("point", ["PUBLISH", "PUBREC", "PUBCOMP"])
def test_after_a_crash_nobody_else_gets_what_a_member_was_sent(point: str) -> None:
    """Whatever the group's session had on disk: it is written once a second only.

    The member is sent PUBLISH or PUBREL again by its own session, and nothing at the end.
    """

    async def body(world: World) -> None:
        one, _ = await two_members(world)
        await world.publish("open/a", b"1", qos=2)
        (message,) = await world.packets(one, 1)
        if point != "PUBLISH":
            one.send(client.pubrec(message.packet_id))
            await world.packets(one, 1)
        if point == "PUBCOMP":
            one.send(client.pubcomp(message.packet_id))
        world.crash()
        share(world)
        two, _ = await world.connect("b")
        await world.nothing_more(two)
        one, _ = await world.connect("a")
        await world.settle()
        again = [packet.kind for packet in one.take()]
        assert again == ([PUBLISH] if point == "PUBLISH" else [PUBREL])
        await world.publish("open/a", b"2", qos=2)
        assert [packet.payload for packet in await world.packets(two, 1)] == [b"2"]

    on_shared_world(body)


def test_a_member_without_a_session_takes_a_message_on_disk_too() -> None:
    """[MQTT-4.8.2-5]: it was sent, so no crash gives it to somebody else."""

    async def body(world: World) -> None:
        sleeper = await member(world, "a")
        await world.sleep(sleeper)
        one, _ = await world.connect("b", props=b"", clean=True)
        await world.subscribe(one, (GROUP, 2))
        await world.publish("open/a", b"1", qos=2)
        assert [packet.payload for packet in await world.packets(one, 1)] == [b"1"]
        world.crash()
        share(world)
        sleeper, _ = await world.connect("a")
        await world.nothing_more(sleeper)
        await world.publish("open/a", b"2", qos=2)
        assert [packet.payload for packet in await world.packets(sleeper, 1)] == [b"2"]

    on_shared_world(body)


def test_what_a_former_owner_gave_is_not_sent_when_another_one_gives_it() -> None:
    """The receipt is refused with the owner's epoch, and the member goes on otherwise."""

    async def body(world: World) -> None:
        one = await member(world, "a")
        session = one.connection.session
        assert session is not None
        row = group_fence(world)
        world.node.database.publish("open/a", b"1", SOMEBODY, qos=2)
        for _ in range(20):
            if not session.outbox.in_flight:
                await asyncio.sleep(0)
        assert session.outbox.in_flight
        world.node.database.session_store.submit((), ((row, b"\0" * 8),), lambda _: None)
        await world.nothing_more(one)
        assert not session.outbox.in_flight
        assert one.connection.session is session
        await world.publish("open/a", b"2", qos=1)
        assert [packet.payload for packet in await world.packets(one, 1)] == [b"2"]

    on_shared_world(body)


def group_fence(world: World) -> bytes:
    """The name of the row that says who owns the group."""
    name = group_client_id("g\0open/#\0" + SUPER_USER.key)
    with world.node.database.session_store.snapshot() as snapshot:
        found = rows.find(snapshot, name)
    assert found is not None
    return fence_name(found.description.number)


def test_it_goes_to_nobody_else_when_the_session_of_its_member_ends() -> None:
    """[MQTT-4.8.2-5]."""

    async def body(world: World) -> None:
        one, two = await two_members(world)
        await world.publish("open/a", b"1", qos=2)
        await world.packets(one, 1)
        await world.sleep(one)
        one, connack = await world.connect("a", clean=True)
        assert connack.body[0] == 0
        await world.nothing_more(one)
        await world.nothing_more(two)

    on_shared_world(body)


def test_what_was_not_sent_yet_when_its_member_went_goes_to_another_one() -> None:
    """It waited for its commit: nobody can have it."""

    async def body(world: World) -> None:
        one, two = await two_members(world)
        session = one.connection.session
        assert session is not None
        world.node.database.publish("open/a", b"1", SOMEBODY, qos=2)
        for _ in range(20):
            if not session.outbox.in_flight:
                await asyncio.sleep(0)
        assert session.outbox.in_flight
        assert one.take() == []
        one.lose()
        (message,) = await world.packets(two, 1)
        assert message.payload == b"1"
        one, _ = await world.connect("a")
        await world.nothing_more(one)

    on_shared_world(body)


def test_an_own_subscription_brings_the_same_message_besides() -> None:
    """§4.8.2: a shared subscription and one of the same client are served each."""

    async def body(world: World) -> None:
        one = await member(world, "a")
        await world.subscribe(one, ("open/a", 2))
        await world.publish("open/a", b"1", qos=2)
        packets = await world.packets(one, 2)
        assert [packet.payload for packet in packets] == [b"1", b"1"]
        await world.sleep(one)
        one, _ = await world.connect("a")
        again = await world.packets(one, 2)
        assert [(p.kind, p.packet_id) for p in again] == [(PUBLISH, p.packet_id) for p in packets]
        await world.nothing_more(one)

    on_shared_world(body)
