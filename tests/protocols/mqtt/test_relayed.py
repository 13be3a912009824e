"""Frames that another worker forwards: told as if the client were connected here."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.formats import JSON
from lyredb.protocols.mqtt.decode import decode_publish
from lyredb.protocols.mqtt.encoding import MqttEncoding, raw_kind
from lyredb.protocols.mqtt.packets import Publish
from lyredb.protocols.mqtt.properties import Property, encode_property, with_length
from lyredb.protocols.mqtt.relayed import feed
from lyredb.protocols.mqtt.wire import read_header, varint
from tests.delivery.workers import Node
from tests.delivery.world import ROOT, LineEncoding, Reader

TOPICS = ["a", "a/b", "b", "Sensor/1"]
FRAMES = st.lists(
    st.tuples(
        st.sampled_from(TOPICS),
        st.sampled_from([0, 1, 125, 130, 20_000]),
        st.integers(0, 2),
        st.booleans(),
    ),
    min_size=1,
    max_size=20,
)


def publish(topic: str, payload: bytes, qos: int, version: int, properties: bytes = b"") -> bytes:
    head = len(topic).to_bytes(2, "big") + topic.encode()
    body = head + (b"\x12\x34" if qos else b"")
    if version == 5:
        body += with_length(properties)
    body += payload
    return bytes((0x30 | qos << 1,)) + varint(len(body)) + body


def packets(data: bytes, version: int) -> list[Publish]:
    found = []
    position = 0
    while position < len(data):
        header = read_header(data, position, 1 << 28)
        assert header is not None
        body, end = header
        found.append(decode_publish(data[position], _with_id(data, position, body, end), version))
        position = end
    return found


def _with_id(data: bytes, position: int, body: int, end: int) -> bytes:
    """The body with some packet identifier, which is zero until a subscriber fills it in."""
    if data[position] < 0x32:
        return data[body:end]
    after = body + 2 + int.from_bytes(data[body : body + 2], "big")
    return data[body:after] + b"\0\1" + data[after + 2 : end]


def told(reader: Reader, version: int) -> list[tuple[bytes, bytes, int]]:
    data = b"".join(batch.data for batch in reader.batches)
    return [(one.topic, one.payload, one.qos) for one in packets(data, version)]


@pytest.mark.parametrize("version", [4, 5])
@settings(max_examples=40)
@given(FRAMES, st.booleans())
def test_frames_reach_readers_of_each_version_in_order(
    version: int, sent: list[tuple[str, int, int, bool]], others: bool
) -> None:
    """Any length of the length, any QoS, with and without properties, in runs and alone."""
    node = Node(2).attach_all()
    here, there = node.workers
    there.peers.read_raw(raw_kind(version, JSON), partial(feed, version))
    readers = {4: Reader(), 5: Reader()}
    for number, reader in readers.items():
        if others or number == version:
            there.join("#", reader, encoding=MqttEncoding(number), qos=2)
    there.join("a", Reader(), encoding=LineEncoding("line"), qos=1)
    node.settle()
    ingress = here.hub.ingress(ROOT, "mqtt", raw_kind(version, JSON))
    property_ = encode_property(Property.CONTENT_TYPE, "text/plain")
    frames = [
        publish(topic, b"%05d" % n + b"x" * size, qos, version, property_ if typed else b"")
        for n, (topic, size, qos, typed) in enumerate(sent)
    ]
    assert feed(version, ingress, b"".join(frames)) == 0
    node.settle()
    wanted = [
        (topic.encode(), b"%05d" % n + b"x" * size, qos)
        for n, (topic, size, qos, _) in enumerate(sent)
    ]
    for number, reader in readers.items():
        if others or number == version:
            assert told(reader, number) == wanted
    assert b"".join(batch.data for batch in readers[version].batches) == b"".join(frames)


def test_frames_to_topics_that_are_gone_are_counted_and_the_others_told() -> None:
    """A table can go away between the two workers."""
    node = Node(2).attach_all()
    here, there = node.workers
    there.peers.read_raw("mqtt4", partial(feed, 4))
    reader = Reader()
    there.join("#", reader, encoding=MqttEncoding(4))
    node.settle()
    there.denied = {("peers", b"gone")}
    frames = [publish(topic, b"1", 0, 4) for topic in ("a", "gone", "a")]
    feed(4, here.hub.ingress(ROOT, "mqtt", "mqtt4"), b"".join(frames))
    node.settle()
    assert [topic for topic, _, _ in told(reader, 4)] == [b"a", b"a"]
    assert there.peers.statistics().refused == 1
