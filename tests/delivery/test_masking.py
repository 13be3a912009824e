"""Masked messages: what is left out is in no bytes, in no format, on no path."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.delivery.admission import Destination
from lyredb.delivery.envelope import encode_envelope
from lyredb.delivery.masking import Mask
from lyredb.delivery.message import Message
from lyredb.formats import CBOR, FORMATS, JSON, MSGPACK
from lyredb.plugins.delivery import Encoding
from lyredb.protocols.mqtt.encoding import MqttEncoding
from lyredb.protocols.sse.encoding import SseEncoding
from lyredb.protocols.websocket.encoding import WebSocketEncoding
from lyredb.storage.keys import encode_key
from lyredb.storage.metadata import encode_metadata
from lyredb.storage.mutation import Kind
from lyredb.storage.record import OPAQUE, encode_record
from tests.delivery.world import (
    LOG_ID,
    LineEncoding,
    Reader,
    SensorTable,
    Someone,
    World,
    entry,
    put,
)

TOPIC = b"Sensor/1"
TO = Destination(16, encode_key("1"), "1", "data.Sensor")
MASK = Mask(frozenset(("id", "value")))
SECRET = "Xq7-nobody-may-see-this"
ENCODINGS: list[Encoding] = [
    *(MqttEncoding(version, one) for version in (4, 5) for one in FORMATS),
    *(WebSocketEncoding(one) for one in FORMATS),
    SseEncoding(chunked=True),
]


def direct(payload: bytes, content_type: str = "") -> Message:
    return Message.direct(
        TOPIC, payload, TO, content_type=content_type, properties=b"\x26\0\x01a\0\x01b", local_ms=5
    )


def frames_of(message: Message) -> bytes:
    """All bytes that any encoder makes of a message."""
    made = b"".join(
        one.frame(message, qos=qos, retain=False, ids=())[0] for one in ENCODINGS for qos in (0, 1)
    )
    return made + b"".join(message.payload(one) + encode_envelope(message, one) for one in FORMATS)


def test_a_record_is_told_without_the_others() -> None:
    message = Message.of_entry(
        put(7, "1", {"value": 2, "secret": SECRET}), SensorTable(), TOPIC, LOG_ID
    )
    seen = MASK.apply(message)
    assert seen is not None
    assert seen.value() == {"id": "1", "value": 2}
    assert (seen.seq, seen.position, seen.version) == (7, message.position, message.version)
    assert SECRET.encode() in frames_of(message)
    assert SECRET.encode() not in frames_of(seen)


def test_current_state_is_told_without_the_others() -> None:
    stored = encode_record(b"\x81\xa6secret\xa1s", version=9, last_seq=1)
    seen = MASK.apply(Message.of_record(SensorTable(), encode_key("1"), stored, TOPIC, "p"))
    assert seen is not None
    assert (seen.value(), seen.current) == ({"id": "1"}, True)


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [
        (b'{"value": 1, "secret": "s"}', ""),
        (b'{"value": 1, "secret": "s"}', "application/json"),
        (CBOR.encode({"value": 1, "secret": "s"}), "application/cbor"),
        (MSGPACK.encode({"value": 1, "secret": "s"}), "application/msgpack"),
        (b'{"secret": "s", "secret": "t", "value": 1}', ""),
    ],
)
def test_a_message_that_is_an_object_is_told_without_the_others(
    payload: bytes, content_type: str
) -> None:
    """And without what its publisher said beside it: properties could hold anything."""
    seen = MASK.apply(direct(payload, content_type))
    assert seen is not None
    assert seen.value() == {"value": 1}
    assert (seen.properties, seen.content_type, seen.data) == (b"", "", b"")


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [
        (b"21.5", ""),
        (b"21.5", "application/json"),
        (b'[{"value": 1}]', "application/json"),
        (b"{no json", ""),
        (b'{"value": 1}', "text/plain"),
        (b"\xff\xfe", ""),
        (b"\xff\xfe", "application/json"),
        (b"", ""),
    ],
)
def test_a_message_without_attributes_is_withheld(payload: bytes, content_type: str) -> None:
    """Also from who may read ``data``, which is how bytes are told to others."""
    assert MASK.apply(direct(payload, content_type)) is None
    assert (
        Mask(frozenset(("id", "data", "contentType"))).apply(direct(payload, content_type)) is None
    )


def test_an_opaque_record_is_withheld() -> None:
    stored = encode_record(
        b'{"value": 1}',
        version=9,
        last_seq=1,
        flags=OPAQUE,
        metadata=encode_metadata(content_type="application/json", properties=b""),
    )
    message = Message.of_record(SensorTable(), encode_key("1"), stored, TOPIC, "p")
    assert message.is_opaque
    assert MASK.apply(message) is None


def test_a_delete_is_told() -> None:
    message = Message.of_entry(entry(8, Kind.DELETE, "1"), SensorTable(), TOPIC, LOG_ID)
    assert MASK.apply(message) is message


def test_a_mask_on_a_mask_leaves_what_both_leave() -> None:
    """What was held under other rights is masked again when it is sent."""
    message = direct(b'{"value": 1, "secret": 2, "other": 3}')
    once = Mask(frozenset(("value", "other"))).apply(message)
    assert once is not None
    twice = Mask(frozenset(("value", "secret"))).apply(once)
    assert twice is not None
    assert twice.value() == {"value": 1}


names = st.sampled_from(["id", "value", "secret", "a", "b"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
Make = Callable[[dict[str, object]], Message]
MAKERS: list[Make] = [
    lambda record: Message.of_entry(put(7, "1", record), SensorTable(), TOPIC, LOG_ID),
    lambda record: direct(JSON.encode(record)),
    lambda record: direct(CBOR.encode(record), "application/cbor"),
    lambda record: direct(MSGPACK.encode(record), "application/msgpack"),
]


@given(st.sampled_from(MAKERS), st.dictionaries(names, values), st.frozensets(names))
def test_no_byte_of_what_may_not_be_seen_is_in_any_frame(
    make: Make, record: dict[str, object], may_see: frozenset[str]
) -> None:
    """Of records and messages alike: a mark stands where it may be seen, and only there."""
    marks = {name: f"mark-of-{name}-{SECRET}" for name in record if name != "id"}
    marked: dict[str, object] = {name: [record[name], marks[name]] for name in marks}
    whole = make(marked)
    seen = Mask(may_see).apply(whole)
    assert seen is not None
    sent = frames_of(seen)
    for name, mark in marks.items():
        assert mark.encode() in frames_of(whole)
        assert (mark.encode() in sent) is (name in may_see)


def test_equal_views_share_one_frame_and_others_none() -> None:
    """Made once per view and format, however many roles see the same."""
    made: list[object] = []

    class Counting(LineEncoding):
        def frame(self, message, *, qos, retain, ids):  # type: ignore[no-untyped-def]
            made.append(message.value())
            return super().frame(message, qos=qos, retain=retain, ids=ids)

    world, readers = World(), [Reader() for _ in range(6)]
    whole = Counting()
    for number, reader in enumerate(readers):
        who = Someone(f"r{number}")
        if number:
            shown = ("id", "value") if number % 2 else ("id",)
            world.views[(who.name, TOPIC)] = Mask(frozenset(shown))
        world.join("Sensor/1", reader, principal=who, encoding=whole)
    world.send("Sensor/1", '{"value": 1, "secret": 2}')
    world.tick()
    assert made == [{"value": 1, "secret": 2}, {"value": 1}, {}]
    assert [len(reader.lines) for reader in readers] == [1] * 6
    assert [b"secret" in reader.lines[0] for reader in readers] == [True] + [False] * 5


def test_frames_that_came_pass_unparsed_to_those_who_see_all() -> None:
    """A masked reader beside them costs them nothing but the way of a single group."""
    world, whole, masked = World(), Reader(), Reader()
    encoding = LineEncoding(wire="raw", raw="m4")
    world.views[("eve", TOPIC)] = MASK
    world.join("Sensor/1", whole, encoding=encoding)
    world.join("Sensor/1", masked, encoding=encoding, principal=Someone("eve"))
    world.send("Sensor/1", '{"secret": 2}', raw_kind="m4", raw=b"as it came\n")
    world.tick()
    assert whole.lines == [b"as it came"]
    assert [b"secret" in line for line in masked.lines] == [False]
