"""Identifiers of many frames at once are those that a loop would give and take."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.plugins.delivery import Batch
from lyredb.protocols.mqtt.numbering import begins_with_pubacks, write_ids
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.test_outbox import make

FRAME = client.publish("open/a", b"0123", qos=1, packet_id=1)
ID_AT = 10


def one_by_one(out: bytearray, offsets: list[int], start: int, number: int) -> None:
    for offset in offsets:
        out[offset - start : offset - start + 2] = number.to_bytes(2, "big")
        number += 1


@given(
    first=st.integers(1, 20),
    step=st.integers(2, 40),
    count=st.integers(8, 200),
    start=st.integers(0, 5),
    number=st.integers(1, 65_000),
)
def test_identifiers_are_written_as_one_by_one(
    first: int, step: int, count: int, start: int, number: int
) -> None:
    """At any distance, from any identifier on, and nothing else is touched."""
    offsets = [start + first + step * n for n in range(count)]
    size = first + step * count + 2
    wanted, found = bytearray(b"\xff" * size), bytearray(b"\xff" * size)
    one_by_one(wanted, offsets, start, number)
    assert write_ids(found, offsets, start, number)
    assert found == wanted


def test_nothing_is_written_where_frames_differ() -> None:
    """Few frames, other distances, a frame without an identifier, the end of the numbers."""
    even = list(range(10, 210, 20))
    out = bytearray(300)
    assert not write_ids(out, even[:7], 0, 1)
    assert not write_ids(out, [*even[:-1], even[-1] + 1], 0, 1)
    assert not write_ids(out, [*even[:4], even[4] + 1, *even[5:]], 0, 1)
    assert not write_ids(out, list(range(0, 200, 20)), 0, 1)
    assert not write_ids(out, [0] * 10, 0, 1)
    assert not write_ids(out, even, 0, 65_527)
    assert out == bytearray(300)
    assert write_ids(out, even, 0, 65_526)
    assert out[even[-1] : even[-1] + 2] == b"\xff\xff"


def test_pubacks_are_known_beforehand() -> None:
    data = b"x" + b"".join(map(client.puback, range(254, 264)))
    assert begins_with_pubacks(data, 1, 254, 10)
    assert not begins_with_pubacks(data, 1, 254, 11)
    assert not begins_with_pubacks(data, 1, 255, 9)
    assert not begins_with_pubacks(b"", 0, 65_530, 7)


def replies(order: list[int]) -> bytes:
    return b"".join(map(client.puback, order))


@settings(max_examples=60)
@given(st.data())
def test_a_client_frees_what_it_acknowledges_in_any_order(data: st.DataObject) -> None:
    """Against a model: what is in flight, in what order, and every number once at a time.

    Numbers begin near the end of their range, so that they begin again.
    """
    fixture = make(window=100)
    wire, outbox = fixture.wire, fixture.outbox
    outbox._next_id = data.draw(st.sampled_from([1, 200, 65_480]))
    flying: list[int] = []
    for _ in range(6):
        count = data.draw(st.integers(1, 40))
        ends = [len(FRAME) * (n + 1) for n in range(count)]
        ids = [len(FRAME) * n + ID_AT for n in range(count)]
        wire.data.clear()
        outbox.write(Batch(FRAME * count, count, ends, ids))
        outbox.pump()
        sent = [packet.packet_id for packet in client.split(bytes(wire.data))]
        assert len(set(flying + sent)) == len(flying) + len(sent)
        flying += sent
        acked = data.draw(st.integers(0, len(flying)))
        order = flying[:acked] if data.draw(st.booleans()) else flying[len(flying) - acked :]
        if data.draw(st.booleans()):
            order = data.draw(st.permutations(order))
        stream = replies(order)
        cut = data.draw(st.integers(0, len(order))) * 4
        for part in (stream[:cut], stream[cut:]):
            if part:
                assert outbox.take_replies(part, 0) == len(part)
        flying = [number for number in flying if number not in order]
        assert outbox.in_flight == len(flying)
