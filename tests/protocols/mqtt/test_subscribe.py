"""SUBSCRIBE and UNSUBSCRIBE: answers first, then current state, then changes."""

from __future__ import annotations

import pytest

from lyredb.errors import NotAuthorised
from lyredb.resources.subscription import State
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.client_frames import Received
from tests.protocols.mqtt.harness import Harness, Peer, run

NO_LOCAL, ONLY_NEW, NEVER = 0x04, 0x10, 0x20


def payloads(peer: Peer) -> list[bytes]:
    return [packet.payload for packet in peer.take() if packet.kind == 3]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_suback_comes_before_the_current_state_which_is_retained(
    version: int, qos: int
) -> None:
    """[MQTT-3.8.4-2]; every QoS is granted as asked; RETAIN is set [MQTT-3.3.1-8]."""

    async def body() -> None:
        harness = Harness()
        harness.database.records = {"open/a": b"1", "open/b": b"2"}
        peer = harness.connected(version)
        peer.send(client.subscribe(("open/+", qos), version=version))
        await harness.tick()
        suback, first, second = peer.take()
        assert (suback.kind, suback.codes) == (9, [qos])
        assert [(p.payload, p.retain, p.qos) for p in (first, second)] == [
            (b"1", True, min(qos, 1)),
            (b"2", True, min(qos, 1)),
        ]

    run(body)


@pytest.mark.parametrize(
    ("topic_filter", "reason"),
    [
        ("nowhere/a", 0x8F),
        ("open/#/a", 0x8F),
        ("open/a#", 0x8F),
        ("open/+a", 0x8F),
        ("", 0x8F),
        ("a/" * 100 + "b", 0x8F),
        ("$share/group/open/a", 0x9E),
        ("$share", 0x9E),
        ("$SYS/#", 0x8F),
    ],
)
def test_each_refused_filter_has_its_code_and_the_others_stand(
    topic_filter: str, reason: int
) -> None:
    """[MQTT-3.8.4-5], [MQTT-3.9.3-1]; 3.1.1 knows 0x80 only."""

    async def body() -> None:
        harness = Harness()
        new, old = harness.connected(5, "new"), harness.connected(4, "old")
        new.send(client.subscribe("open/a", topic_filter, "open/b", version=5))
        old.send(client.subscribe("open/a", topic_filter, "open/b"))
        (answer,) = new.take()
        assert answer.codes == [0, reason, 0]
        assert answer.properties[:1] == b"\x1f"
        (answer,) = old.take()
        assert answer.codes == [0, 0x80, 0]

    run(body)


def test_messages_have_the_identifier_of_each_subscription_that_they_match() -> None:
    """[MQTT-3.3.4-3] [MQTT-3.3.4-4]: one copy, with all of them; none where none was given."""

    async def body() -> None:
        harness = Harness()
        peer = harness.connected(5)
        peer.send(client.subscribe("open/a", version=5, props=b"\x0b\x07"))
        peer.send(client.subscribe("open/+", version=5, packet_id=2, props=b"\x0b\x81\x01"))
        peer.send(client.subscribe("open/c", version=5, packet_id=3))
        peer.take()
        publisher = harness.connected(5, "p")
        publisher.send(*[client.publish(f"open/{name}", b"x", version=5) for name in "ab"])
        publisher.send(client.publish("open/c", b"x", version=5))
        await harness.tick()
        both, one, other = peer.take()
        assert both.properties == b"\x0b\x07\x0b\x81\x01"
        assert one.properties == other.properties == b"\x0b\x81\x01"

    run(body)


def test_subscribing_again_without_an_identifier_takes_it_away() -> None:
    """[MQTT-3.8.4-3]: the new subscription replaces the old one, its identifier too."""

    async def body() -> None:
        harness = Harness()
        peer = harness.connected(5)
        peer.send(client.subscribe("open/a", version=5, props=b"\x0b\x07"))
        # Retain Handling 2: changed in place.
        peer.send(client.subscribe(("open/a", 0x20), version=5, packet_id=2))
        peer.take()
        harness.connected(5, "p").send(client.publish("open/a", b"x", version=5))
        await harness.tick()
        (message,) = peer.take()
        assert message.properties == b""

    run(body)


def test_subscribing_again_replaces_and_sends_the_current_state_again() -> None:
    """[MQTT-3.8.4-3]."""

    async def body() -> None:
        harness = Harness()
        harness.database.records = {"open/a": b"now"}
        peer = harness.connected(4)
        peer.send(client.subscribe(("open/a", 1)))
        assert payloads(peer) == [b"now"]
        peer.send(client.subscribe(("open/a", 0)))
        assert payloads(peer) == [b"now"]
        peer.send(client.publish("open/a", b"once", qos=1))
        await harness.tick()
        assert [(p.payload, p.qos) for p in peer.take() if p.kind == 3] == [(b"once", 0)]
        assert [one.state for one in harness.database.subscriptions] == [State.CLOSED, State.LIVE]

    run(body)


@pytest.mark.parametrize(
    ("handling", "first", "again"),
    [(0, [b"now"], [b"now"]), (ONLY_NEW, [b"now"], []), (NEVER, [], [])],
)
def test_retain_handling_decides_about_current_state(
    handling: int, first: list[bytes], again: list[bytes]
) -> None:
    """[MQTT-3.3.1-9] to -11."""

    async def body() -> None:
        harness = Harness()
        harness.database.records = {"open/a": b"now"}
        peer = harness.connected(5)
        peer.send(client.subscribe(("open/a", handling), version=5))
        assert payloads(peer) == first
        peer.send(client.subscribe(("open/a", handling | 1), version=5))
        assert payloads(peer) == again
        kept_in_place = len(harness.database.subscriptions) == 1
        assert kept_in_place is (again == []), "nothing may be lost [MQTT-3.8.4-3]"
        peer.send(client.publish("open/a", b"next", version=5, qos=1))
        await harness.tick()
        assert [(p.payload, p.qos) for p in peer.take() if p.kind == 3] == [(b"next", 1)]

    run(body)


def test_no_local_leaves_out_the_own_messages() -> None:
    """[MQTT-3.8.3-3]."""

    async def body() -> None:
        harness = Harness()
        peer, other = harness.connected(5, "one"), harness.connected(5, "other")
        peer.send(client.subscribe(("open/a", NO_LOCAL), version=5))
        peer.send(client.publish("open/a", b"mine", version=5))
        other.send(client.publish("open/a", b"theirs", version=5))
        await harness.tick()
        assert payloads(peer) == [b"theirs"]

    run(body)


def test_one_filter_twice_in_a_packet_is_one_subscription() -> None:
    async def body() -> None:
        harness = Harness()
        harness.database.records = {"open/a": b"now"}
        peer = harness.connected(4)
        peer.send(client.subscribe(("open/a", 0), ("open/a", 1)))
        suback, *current = peer.take()
        assert suback.codes == [0, 1]
        assert [packet.qos for packet in current] == [1]
        assert [one.state for one in harness.database.subscriptions] == [State.CLOSED, State.LIVE]

    run(body)


def test_subscriptions_are_bounded() -> None:
    async def body() -> None:
        peer = Harness(max_subscriptions=2).connected(5)
        peer.send(client.subscribe("open/a", "open/b", "open/c", "open/a", version=5))
        (answer,) = peer.take()
        assert answer.codes == [0, 0, 0x97, 0]

    run(body)


def test_unsubscribe_says_what_there_was_and_ends_it() -> None:
    """[MQTT-3.10.4-1] and -4, [MQTT-3.11.3-2]: 0x11 where there was none."""

    async def body() -> None:
        harness = Harness()
        peer = harness.connected(5)
        peer.send(client.subscribe("open/a", version=5))
        peer.take()
        peer.send(client.publish("open/a", b"before", version=5))
        peer.send(client.unsubscribe("open/a", "open/b", "open/a", version=5))
        peer.send(client.publish("open/a", b"after", version=5))
        await harness.tick()
        message, answer = peer.take()
        assert (message.kind, message.payload) == (3, b"before")
        assert answer.codes == [0, 0x11, 0x11]

    run(body)


def test_the_end_of_a_connection_ends_its_subscriptions() -> None:
    async def body() -> None:
        harness = Harness()
        peer = harness.connected(4)
        peer.send(client.subscribe("open/a", "open/b"))
        peer.lose()
        assert [one.state for one in harness.database.subscriptions] == [State.CLOSED, State.CLOSED]
        assert harness.database.hub.statistics().subscribers == 0

    run(body)


def test_a_subscription_that_may_not_go_on_ends_the_connection() -> None:
    async def body() -> None:
        harness = Harness()
        peer = harness.connected(5)
        peer.send(client.subscribe("open/a", version=5))
        peer.take()
        on_error = harness.database.subscriptions[0].options.on_error
        assert on_error is not None
        on_error(PermissionError("secret"))
        await harness.tick()
        (ended,) = peer.take()
        assert (ended.kind, ended.reason) == (14, 0x80)
        assert b"secret" not in ended.body

    run(body)


def _reason(packet: Received) -> str:
    """The reason string of a SUBACK, its only property."""
    assert packet.properties[:1] == b"\x1f"
    return packet.properties[3:].decode()


def test_the_suback_says_of_each_refused_filter_why() -> None:
    """§3.9.2.1.2: one string for all filters, so it says which it is about."""

    async def body() -> None:
        peer = Harness().connected(5)
        peer.send(client.subscribe("nope/a", "open/a", "$share/g/open/a", version=5))
        (suback,) = peer.take()
        assert _reason(suback) == (
            "'nope/a': no table is exported as 'nope/a'; "
            "'$share/g/open/a': Shared subscriptions are not available"
        )

    run(body)


def test_the_suback_says_no_more_than_fits() -> None:
    async def body() -> None:
        peer = Harness().connected(5)
        peer.send(client.subscribe(*[f"nope/{number}" for number in range(50)], version=5))
        (suback,) = peer.take()
        said = _reason(suback)
        assert said.startswith("'nope/0': no table")
        told = said.count("no table")
        assert said.endswith(f"; and {50 - told} more")
        assert 300 < len(said) < 500, "the codec's limit cuts nothing off"

    run(body)


def prepare_slowly(harness: Harness) -> None:
    """Further subscriptions have to be told to other workers, which takes until `know`."""
    harness.database.knowing = []


def test_the_suback_waits_until_every_worker_knows_of_the_subscription() -> None:
    """After it the client relies on getting what anybody publishes anywhere."""

    async def body() -> None:
        harness = Harness()
        harness.database.records = {"open/a": b"now"}
        prepare_slowly(harness)
        peer = harness.connected(5)
        peer.send(client.subscribe("open/a", version=5))
        await harness.tick()
        assert not peer.take()
        harness.database.know()
        assert [packet.kind for packet in peer.take()] == [9, 3]

    run(body)


def test_what_follows_a_subscribe_that_waits_is_done_afterwards_in_order() -> None:
    async def body() -> None:
        harness = Harness()
        prepare_slowly(harness)
        peer = harness.connected(5)
        later = client.publish("open/a", b"x", version=5, qos=1, packet_id=3) + client.PINGREQ
        peer.send(client.subscribe("open/a", version=5), later[:5])
        assert not peer.transport.is_reading
        peer.send(later[5:])
        await harness.tick()
        assert not peer.take()
        harness.database.know()
        await harness.tick()
        assert [packet.kind for packet in peer.take()] == [9, 4, 13, 3]
        assert peer.transport.is_reading

    run(body)


def test_a_subscription_that_is_replaced_goes_on_until_the_new_one_starts() -> None:
    """[MQTT-3.8.4-3]: nothing in between is lost."""

    async def body() -> None:
        harness = Harness()
        peer, writer = harness.connected(5, "reader"), harness.connected(5, "writer")
        peer.send(client.subscribe("open/a", version=5))
        peer.take()
        prepare_slowly(harness)
        peer.send(client.subscribe(("open/a", 1), version=5))
        writer.send(client.publish("open/a", b"between", version=5))
        await harness.tick()
        assert payloads(peer) == [b"between"]
        harness.database.know()
        writer.send(client.publish("open/a", b"after", version=5))
        await harness.tick()
        assert payloads(peer) == [b"after"]
        states = [one.state for one in harness.database.subscriptions]
        assert states == [State.CLOSED, State.LIVE]

    run(body)


def test_a_client_that_leaves_while_a_subscribe_waits_leaves_nothing() -> None:
    async def body() -> None:
        harness = Harness()
        peer = harness.connected(5)
        peer.send(client.subscribe("open/a", version=5))
        prepare_slowly(harness)
        peer.send(client.subscribe("open/a", "open/b", version=5))
        peer.lose()
        harness.database.know()
        assert {one.state for one in harness.database.subscriptions} == {State.CLOSED}
        assert harness.database.hub.statistics().subscribers == 0

    run(body)


def test_a_subscription_that_may_not_be_read_any_more_ends_alone() -> None:
    """No packet could tell the client; the other subscription goes on, the place is free."""

    async def body() -> None:
        harness = Harness(max_subscriptions=2)
        peer = harness.connected(5)
        peer.send(client.subscribe("open/a", "open/b", version=5))
        peer.take()
        lost, _ = harness.database.subscriptions
        lost.close()
        assert lost.options.on_error is not None
        lost.options.on_error(NotAuthorised("reader may not subscribe here"))
        peer.send(client.publish("open/a", b"no", version=5))
        peer.send(client.publish("open/b", b"yes", version=5))
        await harness.tick()
        assert payloads(peer) == [b"yes"]
        peer.send(client.subscribe("open/c", version=5))
        assert [packet.codes for packet in peer.take()] == [[0]]

    run(body)


def test_a_topic_filter_has_a_length() -> None:
    async def body() -> None:
        harness = Harness(max_topic_bytes=100)
        peer = harness.connected(5)
        peer.send(client.subscribe("open/" + "x" * 95, "open/" + "x" * 96, version=5))
        assert [packet.codes for packet in peer.take()] == [[0, 0x8F]]

    run(body)
