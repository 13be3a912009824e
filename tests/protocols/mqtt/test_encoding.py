"""PUBLISH frames for readers, and that plain frames are the same going in and out."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.formats import CBOR, JSON, MSGPACK
from lyredb.protocols.mqtt.encoding import MqttEncoding, raw_kind
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import message_of, now_ms

VERSIONS = st.sampled_from((4, 5))
TOPICS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=200
)


@given(VERSIONS, TOPICS, st.binary(max_size=300), st.integers(0, 1), st.booleans())
def test_a_frame_is_what_a_client_would_have_sent(
    version: int, topic: str, payload: bytes, qos: int, retain: bool
) -> None:
    """So a plain frame may pass unparsed; the identifier is left zero, and its place told."""
    frame, id_at = MqttEncoding(version).frame(
        message_of(topic, payload), qos=qos, retain=retain, ids=()
    )
    same = client.publish(topic, payload, version=version, qos=qos, packet_id=0, retain=retain)
    assert frame == same
    if qos:
        numbered = bytearray(frame)
        numbered[id_at : id_at + 2] = b"\x12\x34"
        (read,) = client.split(bytes(numbered), version)
        assert (read.packet_id, read.payload) == (0x1234, payload)
    else:
        assert id_at == 0


def test_only_equal_wires_share_frames() -> None:
    """Equal encodings are one group in delivery; a raw kind names version and format."""
    assert MqttEncoding(5) == MqttEncoding(5)
    assert len({MqttEncoding(4), MqttEncoding(5), MqttEncoding(5, CBOR)}) == 3
    kinds = {raw_kind(version, form) for version in (4, 5) for form in (JSON, CBOR, MSGPACK)}
    assert len(kinds) == 6
    assert {MqttEncoding(4).raw, MqttEncoding(5).raw} == {"mqtt4", "mqtt5"}


@pytest.mark.parametrize(
    ("encoding", "is_opaque", "payload"),
    [
        (MqttEncoding(4), False, b"null"),
        (MqttEncoding(5, CBOR), False, CBOR.encode(None)),
        (MqttEncoding(4, null_delete=False), False, b""),
        (MqttEncoding(4), True, b""),
    ],
)
def test_a_delete_is_null_for_tables_and_empty_for_open_topics(
    encoding: MqttEncoding, is_opaque: bool, payload: bytes
) -> None:
    """``mqtt.deletePayload``; [MQTT-3.3.1-6] for open topics."""
    message = message_of("t", b"", kind="delete", is_opaque=is_opaque)
    frame, _ = encoding.frame(message, qos=0, retain=False, ids=())
    (read,) = client.split(frame, encoding.version)
    assert read.payload == payload


FORWARDED = b"\x01\x01\x03" + client.text("application/json") + b"\x26" + client.text("k") * 2


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"properties": FORWARDED, "content_type": "application/json"}, FORWARDED),
        ({"content_type": "text/plain"}, b"\x03" + client.text("text/plain")),
        ({"content_type": "application/json", "is_opaque": False}, b""),
        ({}, b""),
    ],
)
def test_properties_go_on_and_a_known_content_type_is_said(
    message: dict[str, object], expected: bytes
) -> None:
    made = message_of("t", b"{}", **MappingProxyType(message))  # type: ignore[arg-type]  # a row
    frame, _ = MqttEncoding(5).frame(made, qos=0, retain=False, ids=())
    (read,) = client.split(frame, 5)
    assert read.properties == expected


def test_a_transcoded_payload_has_the_content_type_that_is_true() -> None:
    """The publisher's content type and payload format spoke of other bytes."""
    message = message_of("t", b'{"v": 1}', properties=FORWARDED, content_type="application/json")
    frame, _ = MqttEncoding(5, CBOR).frame(message, qos=0, retain=False, ids=())
    (read,) = client.split(frame, 5)
    assert CBOR.decode(read.payload) == {"v": 1}
    kept = b"\x26" + client.text("k") * 2
    assert read.properties == kept + b"\x03" + client.text("application/cbor")


def test_expiry_and_identifiers_are_added_for_v5_only() -> None:
    message = message_of("t", b"x", expires_ms=now_ms() + 9_500)
    frame, _ = MqttEncoding(5).frame(message, qos=0, retain=False, ids=(7, 300))
    (read,) = client.split(frame, 5)
    assert read.properties == b"\x02\x00\x00\x00\x0a\x0b\x07\x0b\xac\x02"
    plain, _ = MqttEncoding(4).frame(message, qos=0, retain=False, ids=(7,))
    assert plain == client.publish("t", b"x")
