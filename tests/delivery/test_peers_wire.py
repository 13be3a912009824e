"""The bytes between workers: whatever pieces they come in, and what is none of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.delivery.peers import wire
from lyredb.delivery.peers.wire import BATCH, LANE, MESSAGE, RAW, BatchWriter, Damaged, FrameReader

ITEMS = st.lists(
    st.tuples(
        st.sampled_from([RAW, RAW, RAW, MESSAGE, LANE]),
        st.integers(0, 2),
        st.binary(min_size=1, max_size=40),
    ),
    max_size=20,
)


@settings(max_examples=150)
@given(ITEMS, st.integers(1, 200), st.sampled_from([30, 100, 1 << 17]))
def test_items_come_out_as_they_went_in(
    items: list[tuple[int, int, bytes]], step: int, batch_bytes: int
) -> None:
    """Runs of one lane are joined, everything keeps its order, at every way to cut the stream."""
    before, wire.BATCH_BYTES = wire.BATCH_BYTES, batch_bytes  # type: ignore[misc]  # to have many
    try:
        writer = BatchWriter()
        for kind, lane, data in items:
            if kind == RAW:
                writer.add_run(lane, data, 1)
            else:
                writer.add(kind, lane, data)
        stream = b"".join(writer.take(77))
    finally:
        wire.BATCH_BYTES = before  # type: ignore[misc]
    assert writer.take(78) == []
    got: list[tuple[int, int, int, bytes]] = []
    reader = FrameReader()
    for at in range(0, len(stream), step):
        for kind, body in reader.feed(stream[at : at + step]):
            assert kind == BATCH
            after, found = wire.items_of(body)
            assert after == 77
            got += found
    assert _joined(got) == _joined([(kind, lane, 1, data) for kind, lane, data in items])
    assert sum(count for *_, count, _ in got) == len(items)


def _joined(items: list[tuple[int, int, int, bytes]]) -> list[tuple[int, int, int, bytes]]:
    """Adjacent runs of a lane as one, as it makes no difference where they are cut."""
    joined: list[tuple[int, int, int, bytes]] = []
    for kind, lane, count, data in items:
        if joined and kind == RAW and joined[-1][:2] == (RAW, lane):
            count, data = joined[-1][2] + count, joined[-1][3] + data
            joined.pop()
        joined.append((kind, lane, count, data))
    return joined


@pytest.mark.parametrize(
    "stream",
    [
        b"\0\0\0\x09\x07" + bytes(8),
        b"\0\0\0\0\x01" + bytes(8),
        b"\xff\xff\xff\xff\x01" + bytes(8),
    ],
    ids=["type", "empty", "huge"],
)
def test_what_is_no_frame_is_refused_before_it_is_kept(stream: bytes) -> None:
    with pytest.raises(Damaged):
        list(FrameReader().feed(stream))


@pytest.mark.parametrize(
    "body", [b"", bytes(7), bytes(8) + b"\1", bytes(8) + b"\1\0\0\0\0\0\1\0\0\0\5ab"]
)
def test_a_batch_that_ends_too_soon_is_damaged(body: bytes) -> None:
    with pytest.raises(Damaged):
        list(wire.items_of(body)[1])


@pytest.mark.parametrize(
    "read", [wire.unpack_message, wire.unpack_lane, wire.unpack_interest, wire.unpack_known]
)
def test_bodies_of_another_shape_are_damaged(read: object) -> None:
    assert callable(read)
    for body in (b"", b"\xc1", b"\x91\x01"):
        with pytest.raises(Damaged):
            read(body)


@pytest.mark.parametrize(("wanted", "unwanted"), [(0, 0), (1, 0), (5, 2), (2, 5), (6, 0)])
def test_only_the_last_frame_of_a_change_has_its_number(wanted: int, unwanted: int) -> None:
    """The number is acknowledged, and then everything has to be known."""
    names = [f"f{number}" for number in range(10)]
    frames = wire.interest_frames(9, names[:wanted], names[5 : 5 + unwanted], per_frame=2)
    found = [
        wire.unpack_interest(body) for frame in frames for _, body in FrameReader().feed(frame)
    ]
    assert [one.number for one in found] == [0] * (len(found) - 1) + [9]
    assert [name for one in found for name in one.wanted] == names[:wanted]
    assert [name for one in found for name in one.unwanted] == names[5 : 5 + unwanted]
    assert all(len(one.wanted) <= 2 and len(one.unwanted) <= 2 for one in found)
