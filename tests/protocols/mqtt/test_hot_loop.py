"""The loop over plain frames changes nothing but the cost: the same effects as decoding."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, run

USER = b"\x26" + client.text("k") + client.text("v")
LONG = USER * 40
"""Longer than one byte can say."""
EXPIRY = b"\x02\x00\x00\x00\x3c"


@dataclass(frozen=True)
class Sent:
    topic: str
    size: int
    qos: int
    dup: bool
    props: bytes

    def frame(self, version: int, packet_id: int) -> bytes:
        return client.publish(
            self.topic,
            b"%d:" % packet_id + b"x" * self.size,
            version=version,
            qos=self.qos,
            packet_id=packet_id,
            dup=self.dup and self.qos > 0,
            props=self.props if version == 5 else b"",
        )


SENT = st.builds(
    Sent,
    topic=st.sampled_from(("open/a", "open/b", "open/long" + "g" * 130, "Sensor/unheard")),
    size=st.sampled_from((0, 1, 100, 128, 17_000)),
    qos=st.integers(0, 2),
    dup=st.sampled_from((False, False, False, True)),
    props=st.sampled_from((b"", b"", b"", USER, USER, LONG, EXPIRY)),
)


@settings(max_examples=120)
@given(
    st.lists(SENT, min_size=1, max_size=25),
    st.sampled_from((4, 5)),
    st.integers(0, 2),
    st.booleans(),
)
def test_one_reader_of_the_same_version_gets_each_frame_as_it_was_meant(
    sent: list[Sent], version: int, granted: int, alone: bool
) -> None:
    """One group of the writer's own kind, which is where frames pass unparsed.

    Runs over topics, of every QoS, with properties and without, around frames that are
    decoded and topics that nobody hears, together in one read or each in its own: all arrive
    once, in order, with the reader's identifiers.
    """

    async def body() -> None:
        harness = Harness(max_inflight=1_000)
        reader, writer = harness.connected(version, "r"), harness.connected(version, "w")
        reader.send(client.subscribe(("open/#", granted), version=version))
        reader.take()
        frames = [one.frame(version, number) for number, one in enumerate(sent, start=1)]
        next_id = 1
        for _ in range(2):  # the second time every topic is known
            for read in [[frame] for frame in frames] if alone else [frames]:
                writer.send(*read)
            await harness.tick()
            got = reader.take()
            heard = [(n, one) for n, one in enumerate(sent, 1) if one.topic != "Sensor/unheard"]
            assert len(got) == len(heard)
            for packet, (number, one) in zip(got, heard, strict=True):
                assert packet.topic == one.topic
                assert packet.payload == b"%d:" % number + b"x" * one.size
                assert packet.flags == min(one.qos, granted) << 1, "neither DUP nor RETAIN"
                if version == 5:
                    left = packet.properties[:1] if one.props == EXPIRY else packet.properties
                    assert left == (EXPIRY[:1] if one.props == EXPIRY else one.props)
                if packet.qos:
                    assert packet.packet_id == next_id
                    next_id += 1
            acknowledged = [(packet.kind - 3, packet.packet_id) for packet in writer.take()]
            assert acknowledged == [(one.qos, n) for n, one in enumerate(sent, 1) if one.qos]
            writer.send(*[client.pubrel(n) for n, one in enumerate(sent, 1) if one.qos == 2])
            writer.take()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (client.publish("open/a", b"x", version=5, qos=1, packet_id=0), 0x82),
        (client.publish("open/a", b"", version=5, props=b"\x7e"), 0x81),
        (client.publish("open/a", b"", version=5, qos=1, props=b"\x7e"), 0x81),
        (client.packet(0x30, client.text("open/a")), 0x81),
        (client.packet(0x32, client.text("open/a") + b"\x00\x01"), 0x81),
        (client.packet(0x32, client.text("open/a") + b"\x00"), 0x81),
        (client.packet(0x30, client.text("open/a") + b"\x05"), 0x81),
        (client.publish("open/a", version=5, props=b"\x26\x00\x01a\x00\x01"), 0x81),
        (client.publish("open/a", version=5, props=b"\x26\x00\x01a\x00\x01\x00"), 0x81),
        (client.publish("open/a", version=5, props=b"\x26\x00\x01\xff\x00\x01b"), 0x81),
        (client.publish("open/a", version=5, props=b"\x26\x00\x01a\x00\x01b\x0b\x01"), 0x82),
        (client.publish("open/a", version=5, qos=2, props=b"\x08\x00\x01+"), 0x82),
        (client.publish("open/a", b"\xff", version=5, props=b"\x01\x01"), 0x99),
        (client.publish("open/a", b"1", version=5, qos=2, packet_id=0), 0x82),
        (client.packet(0x30, client.text("open/a") + b"\x80\x00"), 0x81),
        (client.packet(0x30, b"\x00"), 0x81),
        (b"\x30\x89\x00" + client.text("open/a") + b"\x00", 0x81),
        (b"\x30\x89\x80\x00" + client.text("open/a") + b"\x00", 0x81),
        (client.publish("open/a", b"x" * 30_000, version=5), 0x95),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_a_wrong_frame_on_a_known_topic_is_still_found(
    frame: bytes, reason: int, alone: bool
) -> None:
    """Knowing the topic must not skip a check; what came before it arrives."""

    async def body() -> None:
        harness = Harness(max_packet_bytes=20_000)
        reader, writer = harness.connected(5, "r"), harness.connected(5, "w")
        reader.send(client.subscribe(("open/#", 1), version=5))
        reader.take()
        good = client.publish("open/a", b"good", version=5)
        writer.send(good)
        for read in [[good], [frame], [good]] if alone else [[good, frame, good]]:
            writer.send(*read)
        await harness.tick()
        assert [packet.payload for packet in reader.take()] == [b"good", b"good"]
        (ended,) = writer.take()
        assert (ended.kind, ended.reason) == (14, reason)

    run(body)


def test_a_payload_in_another_format_never_passes_unparsed() -> None:
    """A v5 writer over TCP may say that its payload is CBOR; JSON readers get JSON."""

    async def body() -> None:
        harness = Harness()
        reader, writer = harness.connected(5, "r"), harness.connected(5, "w")
        reader.send(client.subscribe("open/#", version=5))
        reader.take()
        props = b"\x03" + client.text("application/cbor")
        writer.send(client.publish("open/a", b"\xa1\x61v\x01", version=5, props=props))
        await harness.tick()
        (message,) = reader.take()
        assert message.payload == b'{"v":1}'
        assert message.properties == b"\x03" + client.text("application/json")

    run(body)
