"""Blocks of properties that pass unseen: exactly those that the decoder would pass unchanged."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.formats import CBOR, JSON
from lyredb.protocols.mqtt.decode import check_message
from lyredb.protocols.mqtt.passing import MAX_KEPT, PassingBlocks, is_user_properties
from lyredb.protocols.mqtt.properties import Properties, Property, decode_properties
from lyredb.protocols.mqtt.reasons import Violation
from lyredb.protocols.mqtt.wire import Reader
from tests.protocols.mqtt import client_frames as client

TEXTS = st.sampled_from([b"", b"k", b"value", b"a\0b", "é".encode(), b"\xff", b"x" * 130])
PIECES = st.one_of(
    st.builds(lambda a, b: b"\x26" + client.text(a) + client.text(b), TEXTS, TEXTS),
    st.sampled_from(
        [
            b"\x01\x00",
            b"\x01\x01",
            b"\x02\x00\x00\x00\x05",
            b"\x03" + client.text("text/plain"),
            b"\x03" + client.text("application/cbor"),
            b"\x08" + client.text("re/ply"),
            b"\x08" + client.text("re/#"),
            b"\x09" + client.text(b"\0\xff"),
            b"\x0b\x01",
            b"\x23\x00\x01",
            b"\x11\x00\x00\x00\x01",
            b"\x26\x00",
            b"\x26\x00\x01a\x00\x05b",
        ]
    ),
)


def decoded(encoded: bytes) -> Properties | None:
    try:
        length = client.remaining_length(len(encoded))
        properties = decode_properties(Reader(length + encoded), "PUBLISH")
        check_message(properties, b"")
    except Violation:
        return None
    return properties


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=4).map(b"".join), st.integers(0, 3))
def test_a_block_passes_if_the_decoder_takes_it_and_changes_nothing(
    encoded: bytes, cut: int
) -> None:
    """What it refuses, leaves out or converts never passes; blocks that are cut off neither."""
    encoded = encoded[: len(encoded) - cut]
    properties = decoded(encoded)
    for _ in range(2):  # known the second time, if it is kept
        blocks = PassingBlocks(JSON)
        block = blocks.known.get(encoded) or blocks.learn(encoded)
        may_pass = (
            properties is not None
            and properties.forward == encoded
            and not properties.has(Property.PAYLOAD_FORMAT)
            and properties.text(Property.CONTENT_TYPE) != "application/cbor"
        )
        assert (block is not None) == may_pass
        if block is not None and properties is not None:
            assert block.encoded == encoded
            assert block.content_type == properties.text(Property.CONTENT_TYPE)


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=4).map(b"".join), st.binary(max_size=12))
def test_the_walk_over_user_properties_never_takes_what_the_decoder_refuses(
    encoded: bytes, rest: bytes
) -> None:
    for one in (encoded, encoded + rest, rest):
        if one and is_user_properties(one):
            properties = decoded(one)
            assert properties is not None
            assert not properties.values


def test_a_content_type_passes_to_clients_of_its_own_format() -> None:
    encoded = b"\x03" + client.text("application/cbor")
    assert PassingBlocks(JSON).learn(encoded) is None
    block = PassingBlocks(CBOR).learn(encoded)
    assert block is not None
    assert block.content_type == "application/cbor"


def test_the_walk_counts_user_properties() -> None:
    """A packet may have 1,000; see `MAX_USER_PROPERTIES`."""
    one = b"\x26" + client.text("k") + client.text("v")
    assert is_user_properties(one * 1_000)
    assert not is_user_properties(one * 1_001)


def test_blocks_that_never_come_again_fill_no_memory() -> None:
    blocks = PassingBlocks(JSON)
    for number in range(MAX_KEPT + 10):
        assert blocks.learn(b"\x26" + client.text("k") + client.text(str(number)))
    assert len(blocks.known) <= MAX_KEPT
    assert blocks.learn(b"\x26" + client.text("k") + client.text("v" * 300))
    assert all(len(encoded) < 300 for encoded in blocks.known)
