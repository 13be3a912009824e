"""Sessions that outlive their connections, in packets (MQTT 5 §4.1, §4.4)."""

from __future__ import annotations

import asyncio

import pytest

from lyredb.resources.requests import Write
from lyredb.security.authenticator import Account
from lyredb.security.principals import SUPER_USER
from lyredb.sessions.store import Sessions
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.client_frames import Received
from tests.protocols.mqtt.durable_world import (
    LASTS,
    PUBLISH,
    PUBREL,
    SOMEBODY,
    UNSUBACK,
    World,
    on_world,
)
from tests.protocols.mqtt.harness import Peer
from tests.sessions.test_expiry import expiry_of, looked

DUP = 8
ONE_AT_A_TIME = b"\x21\x00\x01"
"""Receive Maximum."""


def told(packets: list[Received]) -> list[tuple[bytes, int]]:
    return [(one.payload, one.qos) for one in packets if one.kind == PUBLISH]


async def acknowledge(world: World, peer: Peer, packets: list[Received]) -> None:
    """Take every step of each message to its end."""
    for one in packets:
        if one.kind == PUBLISH and one.qos == 1:
            peer.send(client.puback(one.packet_id))
        elif one.kind == PUBLISH and one.qos == 2:
            peer.send(client.pubrec(one.packet_id))
            (release,) = await world.packets(peer, 1)
            assert (release.kind, release.packet_id) == (PUBREL, one.packet_id)
            peer.send(client.pubcomp(one.packet_id))


def test_what_came_while_it_slept_comes_once_and_in_order() -> None:
    async def body(world: World) -> None:
        peer, connack = await world.connect()
        assert connack.body[0] == 0, "no session was present"
        await world.subscribe(peer, ("open/#", 2))
        await world.publish("open/a", b"live")
        await acknowledge(world, peer, await world.packets(peer, 1))
        await world.sleep(peer)
        await world.publish("open/a", b"1", b"2")
        await world.publish("open/b", b"3", qos=2)
        await world.publish("open/a", b"lost", qos=0)
        await world.write("open/c", {"value": 4})
        peer, connack = await world.connect()
        assert connack.body[0] == 1, "the session was present"
        packets = await world.packets(peer, 4)
        assert told(packets)[:3] == [(b"1", 1), (b"2", 1), (b"3", 2)]
        assert packets[3].topic == "open/c"
        await acknowledge(world, peer, packets)
        await world.sleep(peer)
        peer, _ = await world.connect()
        await world.nothing_more(peer)

    on_world(body)


@pytest.mark.parametrize("version", [4, 5])
def test_what_was_not_acknowledged_comes_again_as_a_duplicate(version: int) -> None:
    """[MQTT-4.4.0-1] [MQTT-3.3.1-1]: with the same identifier, DUP set, before anything else."""

    async def body(world: World) -> None:
        props = LASTS if version == 5 else b""
        peer, _ = await world.connect(version=version, props=props)
        await world.subscribe(peer, ("open/#", 2), version=version)
        await world.publish("open/a", b"1")
        await world.publish("open/a", b"2", qos=2)
        before = await world.packets(peer, 2)
        await world.sleep(peer)
        await world.publish("open/a", b"3")
        peer, _ = await world.connect(version=version, props=props)
        again = await world.packets(peer, 3)
        assert told(again) == [(b"1", 1), (b"2", 2), (b"3", 1)]
        assert [one.packet_id for one in again[:2]] == [one.packet_id for one in before]
        assert [one.flags & DUP for one in again] == [DUP, DUP, 0]
        assert again[2].packet_id not in [one.packet_id for one in before]
        await acknowledge(world, peer, again)
        await world.nothing_more(peer)

    on_world(body)


def test_a_received_message_is_released_again_and_not_sent_again() -> None:
    """[MQTT-4.3.3-7]: after PUBREC the PUBREL is what is repeated."""

    async def body(world: World) -> None:
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 2))
        await world.publish("open/a", b"1", qos=2)
        (message,) = await world.packets(peer, 1)
        peer.send(client.pubrec(message.packet_id))
        await world.packets(peer, 1)
        await world.sleep(peer)
        peer, _ = await world.connect()
        (release,) = await world.packets(peer, 1)
        assert (release.kind, release.packet_id) == (PUBREL, message.packet_id)
        peer.send(client.pubcomp(message.packet_id))
        await world.sleep(peer)
        peer, _ = await world.connect()
        await world.nothing_more(peer)

    on_world(body)


def test_a_pubrel_leaves_after_a_commit_and_so_does_a_message_of_qos_2() -> None:
    """After a crash at any point the identifier stands for the same message, or for none."""

    async def body(world: World) -> None:
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 2))
        await world.publish("open/a", b"1", qos=2)
        (message,) = await world.packets(peer, 1)
        world.crash()
        peer, _ = await world.connect()
        (again,) = await world.packets(peer, 1)
        assert (again.packet_id, again.payload, again.flags & DUP) == (
            message.packet_id,
            b"1",
            DUP,
        )
        peer.send(client.pubrec(again.packet_id))
        (release,) = await world.packets(peer, 1)
        assert release.kind == PUBREL
        world.crash()
        peer, _ = await world.connect()
        (release,) = await world.packets(peer, 1)
        assert (release.kind, release.packet_id) == (PUBREL, message.packet_id)

    on_world(body)


@pytest.mark.parametrize("version", [4, 5])
def test_what_may_have_been_sent_before_a_crash_comes_as_a_duplicate(version: int) -> None:
    """[MQTT-3.3.1-1]: with QoS 1 nobody knows; what was published later is new for sure.

    A commit before each message, as QoS 2 has it, is what knowing would cost.
    """

    async def body(world: World) -> None:
        world.begin(call_later=lambda delay_s, look: None)  # progress is not written in time
        props = LASTS if version == 5 else b""
        peer, _ = await world.connect(version=version, props=props)
        await world.subscribe(peer, ("open/#", 1), version=version)
        await world.publish("open/a", b"1", b"2")
        first = await world.packets(peer, 2)
        assert [one.flags & DUP for one in first] == [0, 0]
        world.crash()
        peer, _ = await world.connect(version=version, props=props)
        await world.publish("open/a", b"3")
        again = await world.packets(peer, 3)
        assert told(again) == [(b"1", 1), (b"2", 1), (b"3", 1)]
        assert [one.flags & DUP for one in again] == [DUP, DUP, 0]
        await acknowledge(world, peer, again)
        await world.sleep(peer)
        await world.publish("open/a", b"4")
        peer, _ = await world.connect(version=version, props=props)
        (last,) = await world.packets(peer, 1)
        assert (last.payload, last.flags & DUP) == (b"4", 0), "it ended in order"

    on_world(body)


def test_how_far_a_lost_owner_may_have_sent_is_kept_while_the_client_is_away() -> None:
    """[MQTT-3.3.1-1]: up to where the log was when its owner was found to be gone, and not
    in what came after; a connection that ends in order before it has had all of that, too."""

    async def body(world: World) -> None:
        world.begin(call_later=lambda delay_s, look: None)  # progress is not written in time
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 1))
        await world.publish("open/a", b"1", b"2")
        await world.packets(peer, 2)
        world.crash()
        await looked(expiry_of(world.node, set(), []))
        await world.publish("open/a", b"3")
        peer, _ = await world.connect(props=LASTS + ONE_AT_A_TIME)
        (first,) = await world.packets(peer, 1)
        assert (first.payload, first.flags & DUP) == (b"1", DUP)
        await acknowledge(world, peer, [first])
        (second,) = await world.packets(peer, 1)
        assert (second.payload, second.flags & DUP) == (b"2", DUP)
        await world.sleep(peer)
        peer, _ = await world.connect()
        again = await world.packets(peer, 2)
        assert told(again) == [(b"2", 1), (b"3", 1)]
        assert [one.flags & DUP for one in again] == [DUP, 0]

    on_world(body)


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("qos", [1, 2])
def test_a_replay_goes_on_where_it_was_when_the_client_is_back(qos: int, is_killed: bool) -> None:
    """What it had not come to comes before what was published meanwhile, each once."""

    async def body(world: World) -> None:
        other, _ = await world.connect("other")
        await world.subscribe(other, ("open/#", 2))
        await world.publish("open/a", b"1", b"2", b"3", b"4", qos=2)
        peer, _ = await world.connect(props=LASTS + ONE_AT_A_TIME)
        asked = b"\x26" + client.text("previousCount") + client.text("4")
        await world.subscribe(peer, ("open/#", qos), props=asked)
        (first,) = await world.packets(peer, 1)
        assert first.payload == b"1"
        await world.settle()  # where the replay begins is on disk
        if is_killed:
            world.crash()
        else:
            await world.sleep(peer)
        await world.publish("open/a", b"5", qos=2)
        peer, _ = await world.connect()
        again = await world.packets(peer, 5)
        assert told(again) == [(b"%d" % number, qos) for number in range(1, 6)]
        if qos == 1:
            await acknowledge(world, peer, again)
            await world.sleep(peer)
            await world.publish("open/a", b"6", qos=2)
            peer, _ = await world.connect()
            assert told(await world.packets(peer, 1)) == [(b"6", 1)]

    on_world(body)


def test_what_a_connection_did_not_come_to_stays_doubtful_for_the_next() -> None:
    async def body(world: World) -> None:
        world.begin(call_later=lambda delay_s, look: None)
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 1))
        await world.publish("open/a", b"1", b"2")
        await world.packets(peer, 2)
        world.crash()
        peer, _ = await world.connect(props=LASTS + ONE_AT_A_TIME)
        assert told(await world.packets(peer, 1)) == [(b"1", 1)]
        await world.sleep(peer)
        await world.publish("open/a", b"3")
        peer, _ = await world.connect()
        again = await world.packets(peer, 3)
        assert told(again) == [(b"1", 1), (b"2", 1), (b"3", 1)]
        assert [one.flags & DUP for one in again] == [DUP, DUP, 0]

    on_world(body)


@pytest.mark.parametrize("is_written", [False, True])
def test_who_goes_while_it_is_committed_for_holds_up_nobody(is_written: bool) -> None:
    """Its answer has nowhere to go; others of the same transaction have theirs, and so has it."""

    async def body(world: World) -> None:
        first, _ = await world.connect(client_id="a")
        second, _ = await world.connect(client_id="b")
        for peer in (first, second):
            await world.subscribe(peer, ("open/#", 2))
        await world.publish("open/a", b"1", b"2", qos=2)
        for peer in (first, second):
            messages = await world.packets(peer, 2)
            peer.send(client.pubrec(messages[0].packet_id))
        if is_written:
            await asyncio.sleep(0)
            world.harness.streams.run()
        first.lose()
        (release,) = await world.packets(second, 1)
        assert (release.kind, release.packet_id) == (PUBREL, messages[0].packet_id)
        again, _ = await world.connect(client_id="a")
        packets = await world.packets(again, 2)
        assert [one.kind for one in packets] == [PUBREL, PUBLISH]
        assert told(packets) == [(b"2", 2)]

    on_world(body)


@pytest.mark.parametrize("ticks", range(4))
def test_what_is_on_its_way_when_the_client_goes_comes_when_it_is_back(ticks: int) -> None:
    """What delivery hands out as the connection ends waits in the session."""

    async def body(world: World) -> None:
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 2))
        target = world.node.database.resolve("open/a", SOMEBODY)
        await world.node.database.write(Write(target, "put", {"value": 1}), SOMEBODY)
        for _ in range(ticks):
            await asyncio.sleep(0)
        peer.lose()
        await world.settle()
        peer, _ = await world.connect()
        (message,) = await world.packets(peer, 1)
        assert message.topic == "open/a"
        await acknowledge(world, peer, [message])
        await world.nothing_more(peer)

    on_world(body)


def test_a_session_that_was_to_end_with_its_connection_has_ended_with_the_server() -> None:
    """MQTT 5 §3.1.2.11.2; its client has forgotten it, and must leave a server that has not."""

    async def body(world: World) -> None:
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 1))
        await world.sleep(peer)
        _, connack = await world.connect(props=b"")
        assert connack.body[0] == 1, "the session was present"
        world.crash()
        peer, connack = await world.connect()
        assert connack.body[0] == 0, "no session was present"
        await world.publish("open/a", b"1")
        await world.nothing_more(peer)

    on_world(body)


def test_a_window_smaller_than_before_holds_for_what_is_sent_again() -> None:
    """[MQTT-3.1.2-25] §4.9: Receive Maximum is of each connection."""

    async def body(world: World) -> None:
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 1))
        await world.publish("open/a", b"1", b"2", b"3")
        await world.packets(peer, 3)
        await world.sleep(peer)
        peer, _ = await world.connect(props=LASTS + b"\x21\x00\x01")
        for payload in (b"1", b"2", b"3"):
            await world.settle()
            (one,) = await world.packets(peer, 1)
            assert one.payload == payload
            peer.send(client.puback(one.packet_id))
        await world.nothing_more(peer)

    on_world(body)


def test_clean_start_forgets_the_session() -> None:
    """[MQTT-3.1.2-4]."""

    async def body(world: World) -> None:
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 1))
        await world.sleep(peer)
        await world.publish("open/a", b"1")
        peer, connack = await world.connect(clean=True)
        assert connack.body[0] == 0
        await world.nothing_more(peer)
        await world.publish("open/a", b"2")
        await world.nothing_more(peer)

    on_world(body)


def test_a_disconnect_may_end_or_keep_the_session() -> None:
    """§3.14.2.2.2: a Session Expiry Interval of 0 ends it with the connection."""

    async def body(world: World) -> None:
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 1))
        peer.send(client.disconnect(0))
        await world.settle()
        peer, connack = await world.connect()
        assert connack.body[0] == 1
        peer.send(client.disconnect(0, b"\x11\x00\x00\x00\x00"))
        await world.settle()
        _, connack = await world.connect()
        assert connack.body[0] == 0

    on_world(body)


def test_an_unsubscribed_filter_stays_gone() -> None:
    async def body(world: World) -> None:
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/a", 1), ("open/b", 1))
        peer.send(client.unsubscribe("open/a", "open/c", version=5))
        (unsuback,) = await world.packets(peer, 1)
        assert (unsuback.kind, unsuback.codes) == (UNSUBACK, [0, 0x11])
        await world.sleep(peer)
        await world.publish("open/a", b"no")
        await world.publish("open/b", b"yes")
        peer, _ = await world.connect()
        assert told(await world.packets(peer, 1)) == [(b"yes", 1)]
        await world.nothing_more(peer)

    on_world(body)


def test_what_waits_for_a_filter_that_is_gone_is_not_sent() -> None:
    """Nor with a quality of service that nobody asked for: of what began to be sent, all comes."""

    async def body(world: World) -> None:
        peer, _ = await world.connect(props=LASTS + ONE_AT_A_TIME)
        await world.subscribe(peer, ("open/a", 2), ("open/b", 1))
        await world.publish("open/a", b"1", b"2", qos=2)
        await world.publish("open/b", b"3")
        (first,) = await world.packets(peer, 1)
        peer.send(client.unsubscribe("open/a", version=5))
        (unsuback,) = await world.packets(peer, 1)
        assert (unsuback.kind, unsuback.codes) == (UNSUBACK, [0])
        await acknowledge(world, peer, [first])
        assert told(await world.packets(peer, 1)) == [(b"3", 1)]
        await world.sleep(peer)
        peer, _ = await world.connect()
        assert told(await world.packets(peer, 1)) == [(b"3", 1)]
        await world.nothing_more(peer)

    on_world(body)


def test_the_options_of_a_subscription_are_kept_with_it() -> None:
    """Identifier, QoS, No Local and Retain As Published hold after the session slept."""

    async def body(world: World) -> None:
        peer, _ = await world.connect()
        no_local, as_published = 4, 8
        await world.subscribe(peer, ("open/a", 1 | no_local | as_published), props=b"\x0b\x05")
        await world.sleep(peer)
        peer, _ = await world.connect()
        await world.settle()
        peer.send(client.publish("open/a", b"own", version=5, qos=1))
        (puback,) = await world.packets(peer, 1)
        assert puback.kind == 4
        other, _ = await world.connect("other")
        other.send(client.publish("open/a", b"theirs", version=5, qos=1, retain=True))
        (message,) = await world.packets(peer, 1)
        assert (message.payload, message.qos, message.retain) == (b"theirs", 1, True)
        assert message.properties == b"\x0b\x05"

    on_world(body)


def test_current_state_comes_once_with_retain_and_not_again_after_sleep() -> None:
    async def body(world: World) -> None:
        await world.write("open/a", {"value": 1})
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 1))
        (state,) = await world.packets(peer, 1)
        assert (state.qos, state.retain) == (1, True)
        peer.send(client.puback(state.packet_id))
        await world.sleep(peer)
        peer, _ = await world.connect()
        await world.nothing_more(peer)

    on_world(body)


def test_current_state_has_the_options_of_the_filter_that_asked_for_it() -> None:
    """Not of others that reach the topic too: their handlers would hear of it once more."""

    async def body(world: World) -> None:
        await world.write("open/a", {"value": 1})
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 1), props=b"\x0b\x07")
        (first,) = await world.packets(peer, 1)
        await world.subscribe(peer, ("open/+", 0), props=b"\x0b\x09")
        (second,) = await world.packets(peer, 1)
        assert (first.qos, first.retain, first.properties) == (1, True, b"\x0b\x07")
        assert (second.qos, second.retain, second.properties) == (0, True, b"\x0b\x09")
        await world.write("open/a", {"value": 2})
        (both,) = await world.packets(peer, 1)
        assert (both.qos, both.properties) == (1, b"\x0b\x07\x0b\x09")

    on_world(body)


def test_more_than_may_wait_is_read_from_the_log_later() -> None:
    """Nothing above QoS 0 is dropped, however slow the client, and memory stays bounded."""

    async def body(world: World) -> None:
        world.begin(max_queued=10)
        peer, _ = await world.connect(props=LASTS + b"\x21\x00\x01")
        await world.subscribe(peer, ("open/#", 1))
        for number in range(10):
            await world.publish("open/a", *(b"%d" % (10 * number + one) for one in range(10)))
            session = peer.connection._session
            assert session is not None
            assert session.outbox.queued <= 30
        got: list[int] = []
        while len(got) < 100:
            (one,) = await world.packets(peer, 1)
            got.append(int(one.payload))
            peer.send(client.puback(one.packet_id))
        assert got == list(range(100))
        await world.nothing_more(peer)

    on_world(body)


def test_another_user_does_not_get_the_session() -> None:
    """0x85: the identifier is not theirs while the session sleeps."""

    async def body(world: World) -> None:
        peer, _ = await world.connect()
        await world.sleep(peer)
        other = world.harness.peer(5, account=Account("bob", SUPER_USER))
        other.send(client.connect(5, "c", clean=False, props=LASTS))
        (connack,) = await world.packets(other, 1)
        assert connack.reason == 0x85
        assert other.is_closed

    on_world(body)


def test_a_session_without_an_end_is_cut_to_the_longest_allowed() -> None:
    """[MQTT-3.2.2-18] §3.2.2.3.2: the CONNACK says what the server uses instead."""

    async def body(world: World) -> None:
        world.begin(max_session_expiry_s=60)
        _, connack = await world.connect(props=b"\x11\xff\xff\xff\xff")
        assert b"\x11\x00\x00\x00\x3c" in connack.properties

    on_world(body)


def test_to_subscribe_again_after_sleep_brings_current_state_beside_what_was_missed() -> None:
    """[MQTT-3.8.4-3]; as most clients do on every connect, without looking at Session Present."""

    async def body(world: World) -> None:
        world.begin(max_queued=10)
        await world.write("open/r", {"value": 1})
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 1 | 0x20))
        await world.sleep(peer)
        missed = [b"%d" % number for number in range(2_000)]
        await world.publish("open/a", *missed)
        peer, _ = await world.connect(props=LASTS + b"\x21\x00\x01")  # it reads slowly
        peer.send(client.subscribe(("open/#", 1), version=5))
        got: list[Received] = []
        while len(got) < len(missed) + 1:
            for one in await world.packets(peer, 1):
                if one.kind == PUBLISH:
                    got.append(one)
                    peer.send(client.puback(one.packet_id))
        assert [one.payload for one in got if not one.retain] == missed
        assert [one.topic for one in got if one.retain] == ["open/r"]
        await world.publish("open/r", b"live")
        assert told(await world.packets(peer, 1)) == [(b"live", 1)]
        await world.nothing_more(peer)

    on_world(body)


def test_a_take_over_hands_over_what_is_in_flight() -> None:
    """[MQTT-3.1.4-3]: the old connection has written how far it is before the new one begins."""

    async def body(world: World) -> None:
        old, _ = await world.connect()
        await world.subscribe(old, ("open/#", 1))
        await world.publish("open/a", b"1", b"2")
        first, second = await world.packets(old, 2)
        old.send(client.puback(first.packet_id))
        new, connack = await world.connect()
        assert connack.body[0] == 1
        (ended,) = await world.packets(old, 1)
        assert (ended.kind, ended.reason) == (14, 0x8E)
        (again,) = await world.packets(new, 1)
        assert (again.payload, again.packet_id, again.flags & DUP) == (
            b"2",
            second.packet_id,
            DUP,
        )
        new.send(client.puback(again.packet_id))
        await world.publish("open/a", b"3")
        assert told(await world.packets(new, 1)) == [(b"3", 1)]

    on_world(body)


def test_a_stop_of_the_server_writes_how_far_each_session_is() -> None:
    """What was acknowledged does not come again, though no second has passed since."""

    async def body(world: World) -> None:
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 1))
        await world.publish("open/a", b"1")
        (message,) = await world.packets(peer, 1)
        peer.send(client.puback(message.packet_id))
        stopping = asyncio.ensure_future(world.harness.service.stop(5.0))
        (ended,) = await world.packets(peer, 1)
        assert (ended.kind, ended.reason) == (14, 0x8B)
        peer.lose()
        await stopping
        world.begin()
        peer, connack = await world.connect()
        assert connack.body[0] == 1
        await world.nothing_more(peer)

    on_world(body)


def test_a_session_that_somebody_removes_ends_its_connection() -> None:
    """Whoever has lost the session acknowledges nothing more."""

    async def body(world: World) -> None:
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 2))
        sessions = world.harness.service.sessions
        assert isinstance(sessions, Sessions)
        sessions.delete("c", lambda _: None)
        await world.publish("open/a", b"1", qos=2)
        (ended,) = await world.packets(peer, 1)
        assert (ended.kind, ended.reason) == (14, 0x8E)
        _, connack = await world.connect()
        assert connack.body[0] == 0

    on_world(body)


def test_expired_messages_are_not_sent_to_whoever_wakes() -> None:
    """[MQTT-3.3.2-5]; what is left of the interval is told of others [MQTT-3.3.2-6]."""

    async def body(world: World) -> None:
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 1))
        await world.sleep(peer)
        now_ms = world.node.engine.now_ms()
        database = world.node.database
        database.publish("open/a", b"void", SOMEBODY, qos=1, expires_ms=now_ms + 1)
        database.publish("open/a", b"good", SOMEBODY, qos=1, expires_ms=now_ms + 100_000)
        await world.settle()
        while world.node.engine.now_ms() <= now_ms + 1:
            await world.settle()
        peer, _ = await world.connect()
        (message,) = await world.packets(peer, 1)
        assert message.payload == b"good"
        assert message.properties[:1] == b"\x02"
        assert 90 <= int.from_bytes(message.properties[1:5], "big") <= 100
        await world.nothing_more(peer)

    on_world(body)
