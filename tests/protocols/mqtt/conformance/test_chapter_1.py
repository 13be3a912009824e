"""Chapter 1: how text and lengths are encoded."""

from __future__ import annotations

import pytest

from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.conformance.packets import (
    CONNACK,
    MALFORMED,
    assert_ended,
    both_versions,
    messages,
    reader,
)
from tests.protocols.mqtt.harness import Harness, run

NOT_TEXT = {
    "cut off": b"a\xc3",
    "overlong": b"a\xc0\xaf",
    "surrogate": b"a\xed\xa0\x80",
    "beyond Unicode": b"a\xf4\x90\x80\x80",
    "NUL": b"a\0b",
}
"""Bytes that no UTF-8 string of MQTT may have."""

not_text = pytest.mark.parametrize("wrong", NOT_TEXT.values(), ids=NOT_TEXT.keys())


def frames_of(wrong: bytes, version: int) -> dict[str, bytes]:
    """A packet for each place of text, with the wrong bytes there."""
    empty = client.properties(b"", version)
    one = b"\x00\x01" + empty
    frames = {
        "topic": client.publish(wrong, b"x", version=version),
        "topic of QoS 1": client.publish(wrong, b"x", version=version, qos=1),
        "filter": client.packet(0x82, one + client.text(wrong) + b"\x00"),
        "filter of UNSUBSCRIBE": client.packet(0xA2, one + client.text(wrong)),
    }
    if version == 5:
        name = {"content type": 0x03, "response topic": 0x08}
        for what, identifier in name.items():
            props = bytes([identifier]) + client.text(wrong)
            frames[what] = client.publish("open/a", b"x", version=5, props=props)
        for what, pair in {"name": (wrong, b"v"), "value": (b"k", wrong)}.items():
            props = b"\x26" + client.text(pair[0]) + client.text(pair[1])
            frames[f"{what} of a user property"] = client.publish(
                "open/a", b"x", version=5, props=props
            )
    return frames


def connects_of(wrong: bytes, version: int) -> dict[str, bytes]:
    """A CONNECT for each place of text, with the wrong bytes there."""
    empty = client.properties(b"", version)
    will = empty + client.text(wrong) + client.text(b"x")
    head = client.text("MQTT") + bytes([version])
    return {
        "client identifier": client.packet(
            0x10, head + b"\x02\x00\x00" + empty + client.text(wrong)
        ),
        "will topic": client.packet(0x10, head + b"\x06\x00\x00" + empty + client.text("c") + will),
        "user name": client.packet(
            0x10, head + b"\x82\x00\x00" + empty + client.text("c") + client.text(wrong)
        ),
    }


@both_versions
@not_text
def test_text_that_is_no_utf_8_ends_the_connection(version: int, wrong: bytes) -> None:
    """[MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-1.5.7-1]; 3.1.1 [MQTT-1.5.3-1] [MQTT-1.5.3-2]."""

    async def body() -> None:
        harness = Harness()
        for frame in frames_of(wrong, version).values():
            peer = harness.connected(version)
            peer.send(frame)
            await harness.tick()
            assert_ended(peer, MALFORMED)
        for frame in connects_of(wrong, version).values():
            peer = harness.peer(version)
            peer.send(frame)
            answers = [(one.kind, one.reason) for one in peer.take()]
            assert answers == ([(CONNACK, MALFORMED)] if version == 5 else [])
            assert peer.is_closed

    run(body)


@both_versions
def test_a_byte_order_mark_is_a_character_like_others(version: int) -> None:
    """[MQTT-1.5.4-3]; 3.1.1 [MQTT-1.5.3-3]: in topics and in filters, in front and within."""

    async def body() -> None:
        harness = Harness()
        marked, plain = "open/\ufeffa", "open/a"
        with_mark, without = reader(harness, version, marked), reader(harness, version, plain)
        writer = harness.connected(version, "writer")
        writer.send(client.publish(marked, b"x", version=version))
        await harness.tick()
        assert [one.topic for one in messages(with_mark)] == [marked]
        assert messages(without) == []

    run(body)


@both_versions
@pytest.mark.parametrize(
    ("remaining", "length_bytes"),
    [(20, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3)],
)
def test_lengths_have_as_few_bytes_as_possible(
    version: int, remaining: int, length_bytes: int
) -> None:
    """[MQTT-1.5.5-1]: of what the server sends, at every border."""

    async def body() -> None:
        harness = Harness()
        peer = reader(harness, version)
        before = len(peer.transport.data)
        rest = 2 + len("open/a") + len(client.properties(b"", version))
        writer = harness.connected(version, "writer")
        writer.send(client.publish("open/a", bytes(remaining - rest), version=version))
        await harness.tick()
        sent = bytes(peer.transport.data[before:])
        assert len(sent) == 1 + length_bytes + remaining
        assert sent[1 : 1 + length_bytes] == client.remaining_length(remaining)

    run(body)
