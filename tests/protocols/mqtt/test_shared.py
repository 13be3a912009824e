"""Shared subscriptions as a client sees them: what is refused, what comes, what does not."""

from __future__ import annotations

from typing import cast

import pytest

from lyredb.protocols.mqtt.shared import SHARE, shared_opener
from lyredb.resources.database import Database
from lyredb.security.authenticator import Account
from lyredb.security.principals import Role
from lyredb.sessions.group_parts import Feed
from lyredb.sessions.groups import Groups
from lyredb.sessions.groups_service import GroupsService
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, Peer, run
from tests.sessions.test_groups import NO_SESSIONS

NO_LOCAL = 0x04


class Shared(Harness):
    """A harness with an opener for shared subscriptions."""

    def __init__(self) -> None:
        super().__init__()
        GroupsService(self.streams, call_later=self.timers.call_later)
        database = cast(Database, self.database)
        groups = Groups(
            1,
            cast(Feed, database),
            self.database.hub.peers,
            self.streams.ends[1],
            self.service.call_soon,
            NO_SESSIONS,
        )
        self.service.openers[SHARE] = shared_opener(groups, database)

    async def member(self, client_id: str, topic_filter: str, qos: int = 0) -> Peer:
        peer = self.connected(5, client_id)
        peer.send(client.subscribe((topic_filter, qos), version=5))
        await self.tick()
        (answer,) = peer.take()
        assert answer.codes == [qos]
        return peer


@pytest.mark.parametrize("topic_filter", ["$share", "$share/g", "$share//open/a", "$share/g/"])
def test_a_filter_that_names_no_group_is_refused(topic_filter: str) -> None:
    """[MQTT-4.8.2-1]."""

    async def body() -> None:
        harness = Shared()
        peer = harness.connected(5)
        peer.send(client.subscribe(topic_filter, version=5))
        await harness.tick()
        assert [packet.codes for packet in peer.take()] == [[0x8F]]

    run(body)


@pytest.mark.parametrize("first", ["$SYS", "$query", "$share"])
def test_what_is_made_for_each_subscriber_cannot_be_shared(first: str) -> None:
    """And the sentence says so, rather than that there is no such table."""

    async def body() -> None:
        harness = Shared()
        peer = harness.connected(5)
        peer.send(client.subscribe(f"$share/g/{first}/a/#", version=5))
        await harness.tick()
        (answer,) = peer.take()
        assert answer.codes == [0x8F]
        assert f"{first} cannot be shared".encode() in answer.properties

    run(body)


@pytest.mark.parametrize("share", ["a+", "#b"])
def test_a_share_name_has_no_wildcards(share: str) -> None:
    """[MQTT-4.8.2-2]."""

    async def body() -> None:
        harness = Shared()
        peer = harness.connected(5)
        peer.send(client.subscribe(f"$share/{share}/open/a", version=5))
        await harness.tick()
        assert [packet.codes for packet in peer.take()] == [[0x8F]]

    run(body)


def test_no_local_ends_the_connection() -> None:
    """[MQTT-3.8.3-4]."""

    async def body() -> None:
        harness = Shared()
        peer = harness.connected(5)
        peer.send(client.subscribe(("$share/g/open/a", NO_LOCAL), version=5))
        await harness.tick()
        assert [(packet.kind, packet.reason) for packet in peer.take()] == [(14, 0x82)]

    run(body)


def test_whoever_may_not_read_may_not_join() -> None:
    async def body() -> None:
        harness = Shared()
        reader = Role("reader")
        harness.database.access.denied.add(reader)
        peer = harness.connected(5, account=Account("", reader))
        peer.send(client.subscribe("$share/g/open/a", version=5))
        await harness.tick()
        assert [packet.codes for packet in peer.take()] == [[0x87]]

    run(body)


def test_a_message_goes_to_one_member_and_to_each_ordinary_subscriber() -> None:
    async def body() -> None:
        harness = Shared()
        members = [await harness.member(name, "$share/g/open/+") for name in ("a", "b")]
        other = await harness.member("c", "open/a")
        publisher = harness.connected(5, "p")
        for number in range(4):
            publisher.send(client.publish("open/a", b"%d" % number, version=5))
            await harness.tick()
        told = [[packet.payload for packet in member.take()] for member in members]
        assert told == [[b"0", b"2"], [b"1", b"3"]]
        assert [packet.payload for packet in other.take()] == [b"0", b"1", b"2", b"3"]

    run(body)


def test_two_groups_get_a_message_each() -> None:
    async def body() -> None:
        harness = Shared()
        members = [await harness.member(name, f"$share/{name}/open/a") for name in ("g", "h")]
        harness.connected(5, "p").send(client.publish("open/a", b"x", version=5))
        await harness.tick()
        assert [len(member.take()) for member in members] == [1, 1]

    run(body)


def test_what_a_member_did_not_acknowledge_goes_to_another_one_when_it_is_lost() -> None:
    async def body() -> None:
        harness = Shared()
        one, two = [await harness.member(name, "$share/g/open/a", 1) for name in ("a", "b")]
        publisher = harness.connected(5, "p")
        publisher.send(client.publish("open/a", b"x", version=5, qos=1, packet_id=1))
        await harness.tick()
        assert [packet.payload for packet in one.take()] == [b"x"]
        one.lose()
        await harness.tick()
        assert [packet.payload for packet in two.take()] == [b"x"]

    run(body)


def test_a_message_of_qos_2_that_was_sent_goes_to_nobody_else() -> None:
    """[MQTT-4.8.2-5]."""

    async def body() -> None:
        harness = Shared()
        one, two = [await harness.member(name, "$share/g/open/a", 2) for name in ("a", "b")]
        publisher = harness.connected(5, "p")
        publisher.send(client.publish("open/a", b"x", version=5, qos=2, packet_id=1))
        await harness.tick()
        assert [packet.qos for packet in one.take()] == [2]
        one.lose()
        await harness.tick()
        assert not two.take()

    run(body)


def test_a_member_that_unsubscribes_gets_no_more() -> None:
    async def body() -> None:
        harness = Shared()
        one, two = [await harness.member(name, "$share/g/open/a") for name in ("a", "b")]
        one.send(client.unsubscribe("$share/g/open/a", version=5))
        one.take()
        for _ in range(2):
            harness.connected(5, "p").send(client.publish("open/a", b"x", version=5))
            await harness.tick()
        assert not one.take()
        assert len(two.take()) == 2

    run(body)


def test_a_retained_message_is_not_sent_to_a_new_member() -> None:
    """§4.8.2."""

    async def body() -> None:
        harness = Shared()
        harness.database.records["open/a"] = b"kept"
        peer = await harness.member("a", "$share/g/open/a")
        await harness.tick()
        assert not peer.take()

    run(body)
