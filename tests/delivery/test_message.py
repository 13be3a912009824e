"""Messages: bytes stay bytes, values are decoded once, envelopes say what is known."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.delivery.admission import Destination
from lyredb.delivery.envelope import encode_envelope, envelope
from lyredb.delivery.message import Message
from lyredb.formats import CBOR, FORMATS, JSON, MSGPACK
from lyredb.storage.entry import RETAIN
from lyredb.storage.keys import encode_full_key, encode_key
from lyredb.storage.layout import TOPIC_SLOT
from lyredb.storage.metadata import encode_metadata
from lyredb.storage.mutation import Kind
from lyredb.storage.record import OPAQUE, encode_record
from tests.delivery.world import LOG_ID, SensorTable, entry, put

TO = Destination(16, encode_key("1"), "1", "data.Sensor")
TOPIC = b"Sensor/1"


class OpenTable(SensorTable):
    name = "data.Topic"
    slot = TOPIC_SLOT


def direct(payload: bytes, content_type: str = "") -> Message:
    return Message.direct(TOPIC, payload, TO, content_type=content_type, local_ms=5)


@given(st.binary(max_size=40), st.sampled_from(["", "text/plain", "application/json", "image/png"]))
def test_a_reader_of_the_same_format_gets_the_bytes_that_came(
    payload: bytes, content_type: str
) -> None:
    """Whatever they are: valid or not, no pass-through parses."""
    assert direct(payload, content_type).payload(JSON) == payload


def test_a_structured_payload_is_made_anew_for_other_formats() -> None:
    """One client publishes JSON, another receives CBOR or MessagePack."""
    message = direct(b'{"a": [1, 2.5]}')
    assert CBOR.decode(message.payload(CBOR)) == {"a": [1, 2.5]}
    assert MSGPACK.decode(message.payload(MSGPACK)) == {"a": [1, 2.5]}
    assert direct(CBOR.encode([1]), "application/cbor").payload(JSON) == b"[1]"


@pytest.mark.parametrize("wanted", FORMATS, ids=lambda one: one.name)
def test_a_payload_that_is_not_what_it_says_passes_unchanged(wanted: object) -> None:
    assert direct(b"{not json").payload(wanted) == b"{not json"  # type: ignore[arg-type]  # a Format
    assert direct(b"[", "application/json").payload(CBOR) == b"["


def test_payloads_and_values_are_made_once() -> None:
    message = direct(b'{"a": 1}')
    assert message.payload(CBOR) is message.payload(CBOR)
    assert message.value() is message.value()
    assert encode_envelope(message, JSON) is encode_envelope(message, JSON)


@pytest.mark.parametrize(
    ("payload", "content_type", "value"),
    [
        (b'{"a": 1}', "", {"a": 1}),
        (b"[1]", "", "[1]"),
        (b"[1]", "application/json; charset=utf-8", [1]),
        (b"21.5", "", "21.5"),
        ("grün".encode(), "text/plain", "grün"),
        (b"{oops", "", "{oops"),
        (b"\xff\x00", "", {"contentType": "application/octet-stream", "data": b"\xff\x00"}),
        (b"\xff\x00", "image/x", {"contentType": "image/x", "data": b"\xff\x00"}),
        (b"", "", ""),
    ],
)
def test_values_of_payloads(payload: bytes, content_type: str, value: object) -> None:
    """Structured values as they are, UTF-8 as text, the rest with its content type."""
    assert direct(payload, content_type).value() == value


def test_a_put_is_the_whole_record_with_its_key() -> None:
    message = Message.of_entry(put(7, "1", {"value": 2}), SensorTable(), TOPIC, LOG_ID)
    assert message.kind == "put"
    assert message.value() == {"id": "1", "value": 2}
    assert json.loads(message.payload(JSON)) == {"id": "1", "value": 2}
    assert (message.seq, message.version, message.position) == (7, 7.0, "0badcafe.7")
    assert not message.is_opaque
    assert not message.current


def test_a_patch_is_told_as_a_put() -> None:
    image = put(1, "1", {"value": 2}).image
    patched = entry(1, Kind.PATCH, "1", image=image, flags=RETAIN)
    message = Message.of_entry(patched, SensorTable(), TOPIC, LOG_ID)
    assert message.kind == "put"
    assert message.retain


@pytest.mark.parametrize(("table", "is_opaque"), [(SensorTable(), False), (OpenTable(), True)])
def test_a_delete_has_no_value_and_says_what_kind_of_table_it_was(
    table: SensorTable, is_opaque: bool
) -> None:
    """So that an encoding can send `null` for records and nothing for open topics."""
    message = Message.of_entry(entry(3, Kind.DELETE, "1"), table, TOPIC, LOG_ID)
    assert message.payload(JSON) == b""
    assert message.value() is None
    assert message.is_opaque == is_opaque
    assert "value" not in envelope(message)


def test_an_opaque_record_is_its_bytes_with_type_and_properties() -> None:
    metadata = encode_metadata(content_type="image/x", properties=b"\x26prop")
    image = encode_record(b"\xffimg", version=4096, last_seq=1, flags=OPAQUE, metadata=metadata)
    for message in (
        Message.of_entry(entry(1, Kind.PUT, "1", image=image), OpenTable(), TOPIC, LOG_ID),
        Message.of_record(OpenTable(), encode_key("1"), image, TOPIC, "p"),
    ):
        assert message.is_opaque
        assert message.payload(MSGPACK) == b"\xffimg"
        assert message.value() == {"contentType": "image/x", "data": b"\xffimg"}
        assert (message.content_type, message.properties) == ("image/x", b"\x26prop")


def test_a_logged_message_is_its_payload() -> None:
    metadata = encode_metadata(content_type="text/plain")
    logged = entry(2, Kind.MESSAGE, "1", payload=b"hi", metadata=metadata, session=9)
    message = Message.of_entry(logged, SensorTable(), TOPIC, LOG_ID)
    assert (message.kind, message.payload(CBOR), message.session) == ("message", b"hi", 9)
    assert message.content_type == "text/plain"


def test_current_state_is_marked_and_retained() -> None:
    stored = put(7, "1", {"value": 2}).image
    message = Message.of_record(SensorTable(), encode_key("1"), stored, TOPIC, "0badcafe.9~16.AA")
    assert message.current
    assert message.retain
    assert envelope(message) == {
        "id": "1",
        "table": "data.Sensor",
        "type": "put",
        "value": {"id": "1", "value": 2},
        "version": 7.0,
        "localTime": 7,
        "position": "0badcafe.9~16.AA",
        "current": True,
    }


def test_a_long_id_is_found_in_the_record_behind_its_short_key() -> None:
    long_id = "x" * 600
    stored = encode_record(b"\x80", version=1, last_seq=1, full_id=encode_full_key(long_id))
    message = Message.of_record(SensorTable(), encode_key(long_id), stored, TOPIC, "p")
    assert message.id == long_id


def test_a_direct_message_has_no_position_in_its_envelope() -> None:
    """Nobody can resume after it."""
    assert envelope(direct(b"21.5")) == {
        "id": "1",
        "table": "data.Sensor",
        "type": "message",
        "value": "21.5",
        "version": 0.0,
        "localTime": 5,
    }


def test_bytes_in_a_json_envelope_are_base64() -> None:
    found = json.loads(encode_envelope(direct(b"\xff\x00"), JSON))
    assert found["value"] == {"contentType": "application/octet-stream", "data": "/wA="}
    binary = CBOR.decode(encode_envelope(direct(b"\xff\x00"), CBOR))
    assert isinstance(binary, dict)
    assert binary["value"]["data"] == b"\xff\x00"


def test_a_message_without_a_time_was_sent_now() -> None:
    assert Message.direct(TOPIC, b"", TO).local_ms > 1_700_000_000_000
