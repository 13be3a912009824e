"""Every field of every packet that a client sends: read right, or refused with its code."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.protocols.mqtt import encode
from lyredb.protocols.mqtt.decode import decode, decode_connect
from lyredb.protocols.mqtt.packets import (
    Acknowledgement,
    Auth,
    Completion,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Publish,
    Receipt,
    Release,
    Request,
    Subscribe,
    Unsubscribe,
)
from lyredb.protocols.mqtt.properties import Property
from lyredb.protocols.mqtt.reasons import Reason, ReturnCode, Violation
from lyredb.protocols.mqtt.wire import read_header, varint
from tests.protocols.mqtt import client_frames as client

VERSIONS = st.sampled_from((4, 5))
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
TOPIC = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=40
)
PACKET_ID = st.integers(1, 65_535)


def decode_frame(frame: bytes, version: int) -> Packet:
    header = read_header(frame, 0, 10_000_000)
    assert header is not None
    body, end = header
    assert end == len(frame)
    return decode(frame[0], frame[body:end], version)


def refused(frame: bytes, version: int) -> Violation:
    with pytest.raises(Violation) as caught:
        decode_frame(frame, version)
    return caught.value


@given(st.integers(0, 268_435_455))
def test_a_variable_byte_integer_comes_back_as_it_was(number: int) -> None:
    """[MQTT-1.5.5-1]: and in as few bytes as possible, as the client's own encoder."""
    encoded = varint(number)
    assert encoded == client.remaining_length(number)
    assert read_header(b"\x30" + encoded, 0, 300_000_000) == (
        1 + len(encoded),
        1 + len(encoded) + number,
    )


@pytest.mark.parametrize("length", [b"\x80\x00", b"\xff\x80\x00", b"\xff\xff\xff\xff\x01"])
def test_a_length_of_too_many_bytes_is_malformed(length: bytes) -> None:
    with pytest.raises(Violation) as caught:
        read_header(b"\x30" + length, 0, 300_000_000)
    assert caught.value.reason == Reason.MALFORMED_PACKET


def test_a_packet_that_is_too_large_is_refused_from_its_header_alone() -> None:
    """Nothing of the body has to be there: MQTT 5 §3.1.2.11.4, 0x95."""
    with pytest.raises(Violation) as caught:
        read_header(b"\x30" + varint(1_000), 0, 1_000)
    assert caught.value.reason == Reason.PACKET_TOO_LARGE
    assert read_header(b"\x30" + varint(997), 0, 1_000) == (3, 1_000)


@given(
    version=VERSIONS,
    client_id=TEXT,
    keep_alive=st.integers(0, 65_535),
    clean=st.booleans(),
    username=TEXT,
    password=st.one_of(st.none(), st.binary(max_size=20)),
    will=st.one_of(st.none(), st.tuples(TOPIC, st.binary(max_size=20))),
    will_retain=st.booleans(),
    will_qos=st.integers(0, 2),
)
def test_connect_comes_back_as_it_was(
    version: int,
    client_id: str,
    keep_alive: int,
    clean: bool,
    username: str,
    password: bytes | None,
    will: tuple[str, bytes] | None,
    will_retain: bool,
    will_qos: int,
) -> None:
    frame = client.connect(
        version,
        client_id,
        clean=clean,
        keep_alive=keep_alive,
        will=will,
        will_retain=will_retain and will is not None,
        will_qos=will_qos if will is not None else 0,
        username=username,
        password=password,
    )
    connect = decode_connect(frame[len(frame) - _body_size(frame) :])
    assert (connect.version, connect.client_id, connect.clean_start) == (version, client_id, clean)
    assert (connect.keep_alive_s, connect.username, connect.password) == (
        keep_alive,
        username,
        password,
    )
    if will is None:
        assert connect.will is None
    else:
        assert connect.will is not None
        assert (connect.will.topic.decode(), connect.will.payload) == will
        assert (connect.will.retain, connect.will.qos) == (will_retain, will_qos)


def _body_size(frame: bytes) -> int:
    header = read_header(frame, 0, 10_000_000)
    assert header is not None
    return header[1] - header[0]


def test_a_password_does_not_print() -> None:
    frame = client.connect(4, username="u", password=b"secret")
    assert "secret" not in repr(decode_frame(frame, 4))


@pytest.mark.parametrize(
    ("frame", "reason", "version"),
    [
        (client.connect(4, name=b"MQXX"), Reason.UNSUPPORTED_PROTOCOL_VERSION, 0),
        (client.connect(4, name=b"MQIsdp"), Reason.UNSUPPORTED_PROTOCOL_VERSION, 4),
        (client.connect(4, level=3), Reason.UNSUPPORTED_PROTOCOL_VERSION, 4),
        (client.connect(4, level=0x84), Reason.UNSUPPORTED_PROTOCOL_VERSION, 4),
        (client.connect(5, level=6), Reason.UNSUPPORTED_PROTOCOL_VERSION, 5),
        (client.connect(5, flags=0x03), Reason.MALFORMED_PACKET, 5),
        (client.connect(5, flags=0x0A), Reason.MALFORMED_PACKET, 5),
        (client.connect(5, flags=0x22), Reason.MALFORMED_PACKET, 5),
        (client.connect(5, will=("t", b""), will_qos=3), Reason.MALFORMED_PACKET, 5),
        (client.connect(4, password=b"p"), Reason.MALFORMED_PACKET, 4),
        (client.connect(5, will=("a/#", b"")), Reason.TOPIC_NAME_INVALID, 5),
        (client.connect(5, will=("", b"")), Reason.TOPIC_NAME_INVALID, 5),
        (client.connect(5, "a\0b"), Reason.MALFORMED_PACKET, 5),
        (client.connect(5, props=b"\x21\x00\x00"), Reason.PROTOCOL_ERROR, 5),
        (client.connect(5, props=b"\x27\x00\x00\x00\x00"), Reason.PROTOCOL_ERROR, 5),
        (client.connect(5, props=b"\x17\x02"), Reason.PROTOCOL_ERROR, 5),
        (client.connect(5, props=b"\x19\x02"), Reason.PROTOCOL_ERROR, 5),
        (client.connect(5, props=b"\x16\x00\x00"), Reason.PROTOCOL_ERROR, 5),
        (client.connect(5, props=b"\x17\x01\x17\x01"), Reason.PROTOCOL_ERROR, 5),
        (client.connect(5, props=b"\x23\x00\x01"), Reason.MALFORMED_PACKET, 5),
        (client.connect(5, props=b"\x7e\x00"), Reason.MALFORMED_PACKET, 5),
        (client.connect(5, props=b"\x21\x00"), Reason.MALFORMED_PACKET, 5),
        (
            client.connect(5, will=("t", b"\xff"), will_properties=b"\x01\x01"),
            Reason.PAYLOAD_FORMAT_INVALID,
            5,
        ),
        (client.packet(0x10, b""), Reason.MALFORMED_PACKET, 0),
        (client.packet(0x10, client.text("MQTT")), Reason.MALFORMED_PACKET, 0),
        (client.packet(0x11, client.connect(4)[2:]), Reason.MALFORMED_PACKET, 0),
        (client.packet(0x10, client.connect(5)[2:] + b"x"), Reason.MALFORMED_PACKET, 5),
    ],
)
def test_each_wrong_field_of_connect_has_its_reason(
    frame: bytes, reason: Reason, version: int
) -> None:
    """And the version to answer in: [MQTT-3.1.2-1] to [MQTT-3.1.2-22], §3.1.2.11."""
    violation = refused(frame, 4)
    assert (violation.reason, violation.version) == (reason, version)
    assert violation.sentence


@given(
    version=VERSIONS,
    topic=TOPIC,
    payload=st.binary(max_size=60),
    qos=st.integers(0, 2),
    packet_id=PACKET_ID,
    retain=st.booleans(),
)
def test_publish_comes_back_as_it_was(
    version: int, topic: str, payload: bytes, qos: int, packet_id: int, retain: bool
) -> None:
    frame = client.publish(
        topic, payload, version=version, qos=qos, packet_id=packet_id, retain=retain
    )
    packet = decode_frame(frame, version)
    assert isinstance(packet, Publish)
    assert (packet.topic.decode(), packet.payload, packet.qos) == (topic, payload, qos)
    assert (packet.retain, packet.packet_id) == (retain, packet_id if qos else 0)


def test_publish_properties_are_decoded_and_forwarded_without_expiry() -> None:
    """§3.3.2.3: all of them, user properties in their order [MQTT-3.3.2-17]."""
    user = b"\x26" + client.text("k") + client.text("v1") + b"\x26" + client.text("k")
    user += client.text("v2")
    passed = b"\x01\x01" + b"\x03" + client.text("text/plain") + b"\x08" + client.text("re/ply")
    passed += b"\x09" + client.text(b"\x00\xff") + user
    frame = client.publish("t", b"hi", version=5, props=b"\x02\x00\x00\x00\x3c" + passed)
    packet = decode_frame(frame, 5)
    assert isinstance(packet, Publish)
    properties = packet.properties
    assert properties.number(Property.MESSAGE_EXPIRY) == 60
    assert properties.text(Property.CONTENT_TYPE) == "text/plain"
    assert properties.text(Property.RESPONSE_TOPIC) == "re/ply"
    assert properties.values[Property.CORRELATION_DATA] == b"\x00\xff"
    assert properties.user == (("k", "v1"), ("k", "v2"))
    assert properties.forward == passed


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (client.publish("t", version=5, qos=3), Reason.MALFORMED_PACKET),
        (client.publish("t", version=5, dup=True), Reason.MALFORMED_PACKET),
        (client.publish("t", version=5, qos=1, packet_id=0), Reason.PROTOCOL_ERROR),
        (client.publish("", version=5), Reason.PROTOCOL_ERROR),
        (client.publish("a/+", version=5), Reason.TOPIC_NAME_INVALID),
        (client.publish("#", version=5), Reason.TOPIC_NAME_INVALID),
        (client.publish("a\0", version=5), Reason.MALFORMED_PACKET),
        (client.publish(b"\xff", version=5), Reason.MALFORMED_PACKET),
        (client.publish(b"\xed\xa0\x80", version=5), Reason.MALFORMED_PACKET),
        (client.publish("t", version=5, props=b"\x23\x00\x00"), Reason.TOPIC_ALIAS_INVALID),
        (client.publish("t", version=5, props=b"\x23\x00\x01" * 2), Reason.PROTOCOL_ERROR),
        (client.publish("t", version=5, props=b"\x1f\x00\x01a"), Reason.MALFORMED_PACKET),
        (client.publish("", version=5, props=b"\x23\x00\x00"), Reason.TOPIC_ALIAS_INVALID),
        (client.publish("t", version=5, props=b"\x0b\x01"), Reason.PROTOCOL_ERROR),
        (client.publish("t", version=5, props=b"\x0b\x00"), Reason.PROTOCOL_ERROR),
        (client.publish("t", version=5, props=b"\x01\x02"), Reason.PROTOCOL_ERROR),
        (client.publish("t", b"\xff", version=5, props=b"\x01\x01"), Reason.PAYLOAD_FORMAT_INVALID),
        (client.publish("t", version=5, props=b"\x08\x00\x01#"), Reason.PROTOCOL_ERROR),
        (client.publish("t", version=5, props=b"\x02\x00\x00\x00"), Reason.MALFORMED_PACKET),
        (client.publish("t", version=5, props=b"\x03\x00\x01\xff"), Reason.MALFORMED_PACKET),
        (client.publish("t", version=5, props=b"\x26\x00\x01a"), Reason.MALFORMED_PACKET),
        (client.publish("t", version=5, props=b"\x11\x00\x00\x00\x01"), Reason.MALFORMED_PACKET),
        (client.packet(0x30, b"\x00"), Reason.MALFORMED_PACKET),
        (client.packet(0x30, b"\x00\x05ab"), Reason.MALFORMED_PACKET),
        (client.packet(0x32, b"\x00\x01a\x00"), Reason.MALFORMED_PACKET),
        (client.packet(0x30, b"\x00\x01a\x05"), Reason.MALFORMED_PACKET),
    ],
)
def test_each_wrong_field_of_publish_has_its_reason(frame: bytes, reason: Reason) -> None:
    """§3.3: flags, topic, packet identifier, properties, declared UTF-8."""
    assert refused(frame, 5).reason == reason


@given(
    version=VERSIONS,
    packet_id=PACKET_ID,
    filters=st.lists(st.tuples(TEXT, st.integers(0, 2)), min_size=1, max_size=5),
)
def test_subscribe_comes_back_as_it_was(
    version: int, packet_id: int, filters: list[tuple[str, int]]
) -> None:
    frame = client.subscribe(*filters, version=version, packet_id=packet_id)
    packet = decode_frame(frame, version)
    assert isinstance(packet, Subscribe)
    assert packet.packet_id == packet_id
    assert [(request.filter, request.qos) for request in packet.requests] == filters


def test_subscription_options_of_v5_are_read() -> None:
    packet = decode_frame(client.subscribe(("a", 0b0010_1101), version=5), 5)
    assert isinstance(packet, Subscribe)
    assert packet.requests == (
        Request("a", 1, no_local=True, retain_as_published=True, retain_handling=2),
    )


@pytest.mark.parametrize(
    ("frame", "version", "reason"),
    [
        (client.subscribe(version=5), 5, Reason.PROTOCOL_ERROR),
        (client.subscribe("a", packet_id=0, version=5), 5, Reason.PROTOCOL_ERROR),
        (client.subscribe(("a", 3), version=5), 5, Reason.PROTOCOL_ERROR),
        (client.subscribe(("a", 0x30), version=5), 5, Reason.PROTOCOL_ERROR),
        (client.subscribe(("a", 0x40), version=5), 5, Reason.MALFORMED_PACKET),
        (client.subscribe(("a", 0x04), version=4), 4, Reason.MALFORMED_PACKET),
        (client.subscribe(("$share/g/a", 0x04), version=5), 5, Reason.PROTOCOL_ERROR),
        (client.subscribe("a", version=5, props=b"\x0b\x00"), 5, Reason.PROTOCOL_ERROR),
        (client.subscribe("a\0", version=5), 5, Reason.MALFORMED_PACKET),
        (client.packet(0x82, b"\0\1\0\0\1a"), 5, Reason.MALFORMED_PACKET),
        (client.packet(0x80, b"\0\1\0\1a\0"), 4, Reason.MALFORMED_PACKET),
        (client.unsubscribe(version=5), 5, Reason.PROTOCOL_ERROR),
        (client.unsubscribe("a", packet_id=0), 4, Reason.PROTOCOL_ERROR),
        (client.packet(0xA0, b"\0\1\0\1a"), 4, Reason.MALFORMED_PACKET),
        (client.packet(0xC0, b"x"), 4, Reason.MALFORMED_PACKET),
        (client.packet(0xC1, b""), 4, Reason.MALFORMED_PACKET),
        (client.packet(0xE0, b"\0"), 4, Reason.MALFORMED_PACKET),
        (client.packet(0xE0, b"\x8b"), 5, Reason.PROTOCOL_ERROR),
        (client.packet(0xE0, b"\x00\x00x"), 5, Reason.MALFORMED_PACKET),
        (client.packet(0xE1, b""), 5, Reason.MALFORMED_PACKET),
        (client.packet(0x40, b"\0\0"), 4, Reason.PROTOCOL_ERROR),
        (client.packet(0x40, b"\0\1\0"), 4, Reason.MALFORMED_PACKET),
        (client.packet(0x40, b"\0\1\x55"), 5, Reason.PROTOCOL_ERROR),
        (client.packet(0x41, b"\0\1"), 4, Reason.MALFORMED_PACKET),
        (client.packet(0xF0, b""), 4, Reason.MALFORMED_PACKET),
        (client.packet(0xF0, b"\x33"), 5, Reason.PROTOCOL_ERROR),
        (client.packet(0x00, b""), 5, Reason.MALFORMED_PACKET),
        (client.packet(0x20, b"\0\0"), 5, Reason.PROTOCOL_ERROR),
        (client.packet(0x50, b"\0\0"), 5, Reason.PROTOCOL_ERROR),
        (client.packet(0x52, b"\0\1"), 5, Reason.MALFORMED_PACKET),
        (client.packet(0x50, b"\0\1\x92"), 5, Reason.PROTOCOL_ERROR),
        (client.packet(0x60, b"\0\1"), 4, Reason.MALFORMED_PACKET),
        (client.packet(0x62, b"\0\0"), 4, Reason.PROTOCOL_ERROR),
        (client.packet(0x62, b"\0\1\x80"), 5, Reason.PROTOCOL_ERROR),
        (client.packet(0x62, b"\0\1\x92\x03\x23\x00\x01"), 5, Reason.MALFORMED_PACKET),
        (client.packet(0x62, b"\0\1\0"), 4, Reason.MALFORMED_PACKET),
        (client.packet(0x72, b"\0\1"), 4, Reason.MALFORMED_PACKET),
        (client.packet(0x70, b"\0\1\x97"), 5, Reason.PROTOCOL_ERROR),
        (client.packet(0xD0, b""), 5, Reason.PROTOCOL_ERROR),
    ],
)
def test_each_wrong_field_of_the_other_packets_has_its_reason(
    frame: bytes, version: int, reason: Reason
) -> None:
    """[MQTT-2.1.3-1] flags, [MQTT-2.2.1-3] identifiers, [MQTT-3.8.3-2], [MQTT-3.10.3-2]."""
    assert refused(frame, version).reason == reason


MANY = b"\x26\x00\x01a\x00\x01b"
"""One user property."""


@pytest.mark.parametrize(
    ("make", "version"),
    [
        (lambda count: client.subscribe(*["a"] * count), 4),
        (lambda count: client.subscribe(*["a"] * count, version=5), 5),
        (lambda count: client.unsubscribe(*["a"] * count), 4),
        (lambda count: client.unsubscribe(*["a"] * count, version=5), 5),
        (lambda count: client.publish("a", version=5, props=MANY * count), 5),
        (lambda count: client.subscribe("a", version=5, props=MANY * count), 5),
    ],
    ids=["subscribe 4", "subscribe 5", "unsubscribe 4", "unsubscribe 5", "publish", "properties"],
)
def test_a_packet_has_at_most_a_thousand_of_what_costs_by_number(
    make: Callable[[int], bytes], version: int
) -> None:
    """Its size bounds them to hundreds of thousands, which takes seconds without a pause."""
    decode_frame(make(1_000), version)
    violation = refused(make(1_001), version)
    assert violation.reason is Reason.QUOTA_EXCEEDED
    assert "at most 1,000" in str(violation)


def test_user_properties_of_connect_are_counted_too() -> None:
    frame = client.connect(5, props=MANY * 1_001)
    violation = refused(frame, 5)
    assert (violation.reason, violation.version) == (Reason.QUOTA_EXCEEDED, 5)


def test_the_short_packets_are_read() -> None:
    assert decode_frame(client.unsubscribe("a", "b", packet_id=7), 4) == Unsubscribe(7, ("a", "b"))
    assert decode_frame(client.PINGREQ, 4) == Ping()
    assert decode_frame(client.DISCONNECT, 5) == Disconnect(0)
    assert decode_frame(client.disconnect(4), 5) == Disconnect(4)
    assert decode_frame(client.puback(9), 5) == Acknowledgement(9)
    assert decode_frame(client.packet(0x40, b"\0\x09\x80"), 5) == Acknowledgement(9, 0x80)
    assert decode_frame(client.packet(0x50, b"\0\x09\x97"), 5) == Receipt(9, 0x97)
    assert decode_frame(client.packet(0x62, b"\0\x09"), 4) == Release(9)
    assert decode_frame(client.packet(0x70, b"\0\x09\x92\0"), 5) == Completion(9, 0x92)
    assert decode_frame(client.packet(0xF0, b""), 5) == Auth()


def test_a_topic_alias_stands_for_a_topic_that_is_left_out() -> None:
    """§3.3.2.3.4; what it stands for is for the connection to know."""
    packet = decode_frame(client.publish("", b"x", version=5, props=b"\x23\x00\x07"), 5)
    assert isinstance(packet, Publish)
    assert (packet.topic, packet.properties.number(Property.TOPIC_ALIAS)) == (b"", 7)
    assert packet.properties.forward == b"", "it is between this client and the server"
    named = decode_frame(client.publish("t", b"x", version=5, props=b"\x23\x00\x07"), 5)
    assert isinstance(named, Publish)
    assert named.topic == b"t"


def test_clients_of_3_1_are_read_with_the_flags_that_were_free_then() -> None:
    """MQTT 3.1 §2.1, §3.8: DUP of a SUBSCRIBE that is sent again, bits that are not used."""
    frame = client.connect(3, name=b"MQIsdp", flags=0x03)
    connect = decode_frame(frame, 0)
    assert isinstance(connect, Connect)
    assert (connect.version, connect.clean_start) == (3, True)
    again = bytes((client.subscribe("a")[0] | 8,)) + client.subscribe(("a", 0x41))[1:]
    assert decode_frame(again, 3) == Subscribe(1, (Request("a", 1),))
    assert decode_frame(client.packet(0x6A, b"\0\x09"), 3) == Release(9)
    assert refused(again, 4).reason == Reason.MALFORMED_PACKET


@given(PACKET_ID, st.sampled_from((0, 0x87, 0x97)), TEXT)
def test_answers_are_what_a_client_reads(packet_id: int, reason: int, sentence: str) -> None:
    """PUBACK, SUBACK and DISCONNECT through an independent reader."""
    (acknowledged,) = client.split(encode.puback(packet_id, reason, sentence), 5)
    assert (acknowledged.packet_id, acknowledged.reason) == (packet_id, reason)
    codes = [0, 1, 0x87]
    (answered,) = client.split(encode.suback(packet_id, codes, 5, sentence), 5)
    assert (answered.packet_id, answered.codes) == (packet_id, codes)
    (ended,) = client.split(encode.disconnect(Reason.SERVER_BUSY, sentence), 5)
    assert ended.reason == 0x89
    if sentence:
        assert ended.properties == b"\x1f" + client.text(sentence)


def test_a_reason_string_is_cut_at_a_character() -> None:
    (ended,) = client.split(encode.disconnect(Reason.SERVER_BUSY, "é" * 1_000), 5)
    assert ended.properties[3:].decode() == "é" * 250


def test_answers_of_3_1_1_have_no_codes_beyond_the_standard() -> None:
    assert encode.connack(ReturnCode.NOT_AUTHORIZED) == b"\x20\x02\x00\x05"
    assert encode.suback(1, [0, 0x80], 4) == b"\x90\x04\x00\x01\x00\x80"
    assert encode.unsuback(1, [0, 0x11], 4) == b"\xb0\x02\x00\x01"
    assert encode.unsuback(1, [0, 0x11], 5) == b"\xb0\x05\x00\x01\x00\x00\x11"
