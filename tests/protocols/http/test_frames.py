"""WebSocket frames without I/O: every split, every malformed field."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode

from lyredb.protocols.http.frames import FrameError, FrameReader, Opcode, close_frame, frame

PARTS = st.lists(st.binary(max_size=300), max_size=5)


def client_frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(TheirOpcode(opcode), payload, fin).serialize(mask=True)


@settings(max_examples=50)
@given(PARTS, st.integers(65_530, 65_540))
def test_payloads_come_out_whatever_the_split(parts: list[bytes], size: int) -> None:
    payloads = [*parts, bytes(size)]
    data = b"".join(client_frame(2, payload) for payload in payloads)
    for at in (1, 2, 7, len(data) // 2, len(data) - 1):
        reader = FrameReader(100_000)
        found = [*reader.feed(data[:at]), *reader.feed(data[at:])]
        assert found == [(Opcode.BINARY, payload) for payload in payloads]


def test_bytes_one_by_one() -> None:
    data = client_frame(2, b"hello") + client_frame(9, b"p") + client_frame(2, b"y" * 200)
    reader = FrameReader(1_000)
    found = [one for at in range(len(data)) for one in reader.feed(data[at : at + 1])]
    assert found == [(Opcode.BINARY, b"hello"), (Opcode.PING, b"p"), (Opcode.BINARY, b"y" * 200)]


def test_fragments_are_passed_on_with_control_frames_between() -> None:
    data = (
        client_frame(2, b"a", fin=False)
        + client_frame(9, b"")
        + client_frame(0, b"b", fin=False)
        + client_frame(0, b"c")
        + client_frame(2, b"d")
    )
    found = list(FrameReader(10).feed(data))
    assert [payload for opcode, payload in found if opcode is Opcode.BINARY] == [
        b"a",
        b"b",
        b"c",
        b"d",
    ]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x82\x01a", 1002),  # not masked
        (b"\xc2\x81\0\0\0\0a", 1002),  # a reserved bit
        (b"\x83\x81\0\0\0\0a", 1002),  # a reserved opcode
        (b"\x09\x80\0\0\0\0", 1002),  # a ping in fragments
        (b"\x89\xfe\x00\x7e\0\0\0\0", 1002),  # a long ping
        (b"\x80\x80\0\0\0\0", 1002),  # a continuation of nothing
        (b"\x02\x80\0\0\0\0\x82\x80\0\0\0\0", 1002),  # a message inside of another
        (b"\x82\xff\x00\x00\x00\x00\x00\x00\x04\x00\0\0\0\0", 1009),  # too large
        (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009),
    ],
)
def test_what_breaks_the_protocol_has_its_code(data: bytes, code: int) -> None:
    """A limit is checked from the header: no byte of the payload is there."""
    with pytest.raises(FrameError) as broken:
        list(FrameReader(1_000).feed(data))
    assert broken.value.code == code


def test_server_frames_are_what_websockets_makes() -> None:
    for size in (0, 1, 125, 126, 65_535, 65_536):
        theirs = Frame(TheirOpcode.BINARY, b"x" * size).serialize(mask=False)
        assert frame(Opcode.BINARY, b"x" * size) == theirs


def test_close_reason_is_cut_between_characters() -> None:
    made = close_frame(1011, "ä" * 100)
    assert made[1] <= 125
    made[4:].decode()
