"""MQTT 3.1: where it differs from 3.1.1 (its specification of 2010, §3)."""

from __future__ import annotations

from lyredb.plugins.context import Context
from lyredb.security.principals import SUPER_USER
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.durable_world import World, on_world
from tests.protocols.mqtt.harness import Harness, Peer, run


def connect(client_id: str = "c", *, clean: bool = True) -> bytes:
    return client.connect(4, client_id, clean=clean, name=b"MQIsdp", level=3)


def connected(harness: Harness) -> Peer:
    peer = harness.peer(3)
    peer.send(connect())
    assert bytes(peer.transport.data) == b"\x20\x02\x00\x00"
    peer.take()
    return peer


def test_a_client_of_3_1_subscribes_and_is_told() -> None:
    async def body() -> None:
        harness = Harness()
        peer = connected(harness)
        peer.send(client.subscribe(("open/a", 2)))
        (suback,) = peer.take()
        assert suback.codes == [2]
        harness.database.publish("open/a", b"x", Context(SUPER_USER, "mqtt"), qos=2)
        await harness.tick()
        (message,) = peer.take()
        assert (message.topic, message.payload, message.qos) == ("open/a", b"x", 2)

    run(body)


def test_a_client_of_3_1_needs_an_identifier() -> None:
    """3.1 §3.1: 1 to 23 characters; longer ones are taken, as other brokers do."""

    async def body() -> None:
        harness = Harness()
        peer = harness.peer(3)
        peer.send(connect(""))
        assert bytes(peer.transport.data) == b"\x20\x02\x00\x02"
        assert peer.is_closed
        longer = harness.peer(3)
        longer.send(connect("x" * 40))
        assert bytes(longer.transport.data) == b"\x20\x02\x00\x00"

    run(body)


def test_a_suback_of_3_1_has_no_failure() -> None:
    """3.1 §3.9: there is no code for one, so it says what was asked and brings nothing."""

    async def body() -> None:
        peer = connected(Harness())
        peer.send(client.subscribe(("nope/a", 1), ("open/a", 0)))
        (suback,) = peer.take()
        assert suback.codes == [1, 0]

    run(body)


def test_a_connack_of_3_1_does_not_tell_of_the_session_that_it_has() -> None:
    """3.1 §3.2: the byte is not used; the session is there all the same."""

    async def body(world: World) -> None:
        peer = world.harness.peer(3)
        peer.send(connect(clean=False))
        await world.packets(peer, 1)
        peer.send(client.subscribe(("open/a", 1)))
        await world.packets(peer, 1)
        await world.sleep(peer)
        await world.publish("open/a", b"x")
        peer = world.harness.peer(3)
        peer.send(connect(clean=False))
        connack, message = await world.packets(peer, 2)
        assert connack.body == b"\x00\x00"
        assert (message.payload, message.qos) == (b"x", 1)

    on_world(body)
