"""The short way to decode a PUBLISH says what the long one says, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.protocols.mqtt.decode import _decode_any, _decode_plain, decode_publish
from lyredb.protocols.mqtt.packets import V5, V311
from lyredb.protocols.mqtt.reasons import Violation

_topics = st.sampled_from(
    [b"", b"a", b"Hall/7", b"a/+", b"#", b"a\0b", "Küche".encode(), b"\xff", b"x" * 300]
)
_names = st.builds(lambda topic: len(topic).to_bytes(2, "big") + topic, _topics)
_ids = st.sampled_from([b"\0\1", b"\0\0", b"\xff\xff"])
_properties = st.sampled_from([b"", b"\0", b"\2\1\1", b"\2\1\0", b"\x80\0"])
_bodies = st.one_of(
    st.builds(lambda *parts: b"".join(parts), _names, _ids, _properties, st.binary(max_size=9)),
    st.builds(lambda *parts: b"".join(parts), _names, _properties, st.binary(max_size=9)),
    st.binary(max_size=12),
)
_firsts = st.sampled_from([0x30, 0x31, 0x32, 0x33, 0x3A, 0x3B, 0x34, 0x35])


@settings(max_examples=500)
@given(_firsts, _bodies, st.sampled_from([V311, V5]), st.booleans())
def test_both_ways_to_decode_a_publish_agree(
    first: int, body: bytes, version: int, cut: bool
) -> None:
    """Also for packets that are cut off, and for all that has to be refused."""
    if cut:
        body = body[: len(body) // 2]
    plain = _decode_plain(first, body, version)
    if plain is not None:
        assert plain == _decode_any(first, body, version)


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("topic", [b"", b"a/#", b"+", b"a\0", b"\xff"])
def test_the_short_way_takes_no_topic_that_has_to_be_refused(version: int, topic: bytes) -> None:
    """What is not UTF-8, empty, or has a wildcard or NUL ends the connection [MQTT-3.3.2-2]."""
    body = len(topic).to_bytes(2, "big") + topic + b"\0" * (version == V5) + b"payload"
    assert _decode_plain(0x31, body, version) is None
    with pytest.raises(Violation):
        decode_publish(0x31, body, version)


@pytest.mark.parametrize("version", [V311, V5])
def test_most_publishes_go_the_short_way(version: int) -> None:
    """Else the short way would only cost time."""
    body = b"\0\1a\0\7" + b"\0" * (version == V5) + b"payload"
    plain = _decode_plain(0x33, body, version)
    assert plain is not None
    assert (plain.topic, plain.payload, plain.packet_id) == (b"a", b"payload", 7)
    assert (plain.id_offset, plain.retain, plain.duplicate, plain.qos) == (3, True, False, 1)
