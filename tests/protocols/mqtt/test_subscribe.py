"""SUBSCRIBE and UNSUBSCRIBE: answers first, then current state, then changes."""

from __future__ import annotations

import pytest

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
    """[MQTT-3.8.4-2]; QoS 2 is granted as 1 (§3.8.4); RETAIN is set [MQTT-3.3.1-8]."""

    async def body() -> None:
        harness = Harness()
        harness.database.records = {"open/a": b"1", "open/b": b"2"}
        peer = harness.connected(version)
        peer.send(client.subscribe(("open/+", qos), version=version))
        await harness.tick()
        suback, first, second = peer.take()
        assert (suback.kind, suback.codes) == (9, [min(qos, 1)])
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


def test_a_subscription_identifier_ends_the_connection() -> None:
    """The CONNACK said that there are none: 0xA1 (§3.2.2.3.12)."""

    async def body() -> None:
        peer = Harness().connected(5)
        peer.send(client.subscribe("open/a", version=5, props=b"\x0b\x01"))
        (ended,) = peer.take()
        assert (ended.kind, ended.reason) == (14, 0xA1)

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
        assert [one.state for one in harness.database.subscriptions] == ["closed", "live"]

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
        assert [one.state for one in harness.database.subscriptions] == ["closed", "live"]

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
        assert [one.state for one in harness.database.subscriptions] == ["closed", "closed"]
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
            "'$share/g/open/a': Shared subscriptions are not available yet"
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
