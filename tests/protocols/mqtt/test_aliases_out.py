"""Topic aliases that the server uses towards a client (MQTT 5 §3.3.2.3.4)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.protocols.mqtt.aliases_out import AliasingWire
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, Peer, run

MAXIMUM_2 = b"\x22\x00\x02"
"""Topic Alias Maximum 2."""


class Wire:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0


def reader(harness: Harness, props: bytes = MAXIMUM_2) -> Peer:
    peer = harness.connected(5, "reader", props=props)
    peer.send(client.subscribe("open/#", version=5))
    peer.take()
    return peer


async def publish(harness: Harness, *topics: str) -> None:
    publisher = harness.connected(5, "publisher")
    publisher.send(*[client.publish(topic, b"x", version=5) for topic in topics])
    await harness.tick()


def topics_of(packets: list[client.Received]) -> list[tuple[str, bytes]]:
    return [(one.topic, one.properties) for one in packets]


def test_a_topic_comes_once_and_then_by_its_number() -> None:
    async def body() -> None:
        harness = Harness(max_aliases_out=10)
        peer = reader(harness)
        await publish(harness, "open/a", "open/b", "open/a", "open/c", "open/b")
        assert topics_of(peer.take()) == [
            ("open/a", b"\x23\x00\x01"),
            ("open/b", b"\x23\x00\x02"),
            ("", b"\x23\x00\x01"),
            ("open/c", b""),  # [MQTT-3.1.2-26]: the client takes two numbers
            ("", b"\x23\x00\x02"),
        ]

    run(body)


def test_no_number_is_used_where_the_client_or_the_setting_has_none() -> None:
    """[MQTT-3.1.2-27]."""

    async def body() -> None:
        harness = Harness(max_aliases_out=10)
        peer = reader(harness, b"")
        await publish(harness, "open/a", "open/a")
        assert topics_of(peer.take()) == [("open/a", b"")] * 2
        without = Harness()
        peer = reader(without)
        await publish(without, "open/a", "open/a")
        assert topics_of(peer.take()) == [("open/a", b"")] * 2

    run(body)


def test_a_number_that_would_make_a_packet_too_large_is_not_given() -> None:
    """[MQTT-3.1.2-24]: the first packet has topic and number."""
    wire = Wire()
    frame = client.publish("open/a", b"x" * 10, version=5)
    aliasing = AliasingWire(wire, 5, len(frame))
    aliasing.write(frame * 2)
    assert wire.data == frame * 2


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b/c", "ü", "a" * 130]),
            st.integers(0, 2),
            st.binary(max_size=140),
            st.sampled_from([b"", b"\x03\x00\x01x", b"\x26\x00\x01k" + client.text(b"v" * 130)]),
        ),
        max_size=12,
    ),
    st.integers(0, 3),
)
def test_a_client_that_resolves_numbers_gets_what_was_sent(
    messages: list[tuple[str, int, bytes, bytes]], most: int
) -> None:
    """Whatever lengths the packets have; other packets between them are not touched."""
    wire = Wire()
    aliasing = AliasingWire(wire, most, 0)
    for number, (topic, qos, payload, props) in enumerate(messages):
        frame = client.publish(
            topic, payload, version=5, qos=qos, packet_id=number + 1, props=props
        )
        aliasing.write(frame + b"\xd0\x00")
    known: dict[bytes, str] = {}
    packets = client.split(wire.data, 5)
    assert [one.kind for one in packets] == [3, 13] * len(messages)
    for one, (topic, qos, payload, props) in zip(packets[::2], messages, strict=True):
        found = one.topic
        alias = one.properties[:3] if one.properties[:1] == b"\x23" else b""
        if alias:
            assert int.from_bytes(alias[1:], "big") <= most
            found = known.setdefault(alias, found) if found else known[alias]
        assert (found, one.qos, one.payload) == (topic, qos, payload)
        assert one.properties[len(alias) :] == props
