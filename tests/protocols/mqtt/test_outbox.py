"""The outbox: order, window, identifiers, bounds and drops, on a wire that may stall."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.plugins.delivery import Batch
from lyredb.protocols.mqtt.encoding import MqttEncoding
from lyredb.protocols.mqtt.outbox import Outbox
from lyredb.protocols.mqtt.waiting import frame_ends
from tests.protocols.mqtt import client_frames as client


@dataclass
class FakeWire:
    data: bytearray = field(default_factory=bytearray)
    waiting: int = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data

    def get_write_buffer_size(self) -> int:
        return self.waiting


@dataclass
class Owner:
    """Notes that the queue was full."""

    full: list[int]

    def on_queue_full(self) -> None:
        self.full.append(1)


@dataclass
class Fixture:
    outbox: Outbox
    wire: FakeWire
    full: list[int]

    def received(self) -> list[client.Received]:
        return client.split(bytes(self.wire.data))


def make(
    *,
    window: int = 10,
    largest: int = 0,
    max_queued: int = 1_000,
    max_queued_bytes: int = 1_000_000,
) -> Fixture:
    wire = FakeWire()
    full: list[int] = []
    outbox = Outbox(
        wire,
        encoding=MqttEncoding(4),
        version=4,
        window=window,
        largest=largest,
        buffer_bytes=1_000,
        max_queued=max_queued,
        max_queued_bytes=max_queued_bytes,
        owner=Owner(full),
    )
    return Fixture(outbox, wire, full)


def batch(*messages: tuple[str, int]) -> Batch:
    """Frames as an encoding makes them: packet identifiers zero."""
    data, ends, ids = b"", [], []
    for topic, qos in messages:
        frame = client.publish(topic, b"x" * 5, qos=qos, packet_id=0)
        ids.append(len(data) + len(frame) - 7 if qos else 0)
        data += frame
        ends.append(len(data))
    if not any(ids):
        return Batch(data, len(ends))
    return Batch(data, len(ends), ends, ids)


def test_qos_0_goes_out_as_the_very_bytes() -> None:
    fixture = make()
    sent = batch(("a", 0), ("b", 0))
    fixture.outbox.write(sent)
    assert bytes(fixture.wire.data) == sent.data
    assert fixture.outbox.sent == 2


def test_qos_0_for_a_slow_reader_is_dropped_and_counted() -> None:
    fixture = make()
    fixture.wire.waiting = 1_001
    fixture.outbox.write(batch(("a", 0), ("b", 0)))
    assert not fixture.wire.data
    assert fixture.outbox.dropped == 2


def test_identifiers_are_patched_into_a_copy() -> None:
    """The joined bytes belong to all readers: none may see another one's identifiers."""
    shared = batch(("a", 1), ("b", 0), ("c", 1))
    before = bytes(shared.data)
    for _ in range(2):
        fixture = make()
        fixture.outbox.write(shared)
        assert [frame.packet_id for frame in fixture.received() if frame.qos] == [1, 2]
    assert shared.data == before


def test_no_more_than_the_window_is_in_flight_and_an_ack_makes_room() -> None:
    """[MQTT-3.3.4-9]: never more than the client's Receive Maximum."""
    fixture = make(window=2)
    fixture.outbox.write(batch(*[(str(n), 1) for n in range(5)]))
    assert [frame.topic for frame in fixture.received()] == ["0", "1"]
    assert fixture.outbox.acknowledge(1)
    fixture.outbox.pump()
    assert [frame.topic for frame in fixture.received()] == ["0", "1", "2"]
    assert fixture.outbox.in_flight == 2
    assert not fixture.outbox.acknowledge(1), "an identifier is acknowledged once"


def test_a_stalled_wire_keeps_qos_1_until_it_is_free() -> None:
    fixture = make(window=100)
    fixture.wire.waiting = 1_001
    fixture.outbox.write(batch(("a", 1)))
    assert not fixture.wire.data
    fixture.wire.waiting = 0
    fixture.outbox.pump()
    assert [frame.topic for frame in fixture.received()] == ["a"]


def test_a_full_queue_drops_the_newest_and_says_so_once_per_batch() -> None:
    fixture = make(window=1, max_queued=2)
    fixture.outbox.write(batch(*[(str(n), 1) for n in range(6)]))
    assert fixture.full == [1]
    assert fixture.outbox.dropped == 3
    for packet_id in (1, 2, 3):
        fixture.outbox.acknowledge(packet_id)
        fixture.outbox.pump()
    assert [frame.topic for frame in fixture.received()] == ["0", "1", "2"]


def test_qos_0_behind_a_full_queue_is_dropped_without_a_complaint() -> None:
    fixture = make(window=1, max_queued=1)
    fixture.outbox.write(batch(("a", 1), ("b", 1)))
    fixture.outbox.write(batch(("c", 0)))
    assert fixture.outbox.dropped == 1
    assert not fixture.full


def test_bytes_bound_the_queue_too() -> None:
    fixture = make(window=1, max_queued_bytes=30)
    fixture.outbox.write(batch(*[(str(n), 1) for n in range(9)]))
    assert fixture.outbox.queued == 2
    assert fixture.outbox.dropped == 6


def test_frames_above_the_readers_maximum_packet_size_are_left_out() -> None:
    """[MQTT-3.1.2-24] not sent, [MQTT-3.1.2-25] as if they had been."""
    fixture = make(largest=20)
    fixture.outbox.write(batch(("a", 0), ("long" * 9, 0), ("b", 0)))
    fixture.outbox.write(batch(("c", 1), ("long" * 9, 1), ("d", 1)))
    assert [frame.topic for frame in fixture.received()] == ["a", "b", "c", "d"]
    assert fixture.outbox.dropped == 2


def test_run_with_one_border_is_not_taken_for_one_large_frame() -> None:
    """Delivery gives a run of raw QoS 0 frames in a mixed batch a single border."""
    each = batch(("a", 0), ("b", 0), ("c", 1))
    run = Batch(each.data, 3, each.ends[1:], each.ids[1:])
    largest = max(each.ends[0], each.ends[2] - each.ends[1])
    fixture = make(largest=largest)
    fixture.outbox.write(run)
    assert [message.topic for message in fixture.received()] == ["a", "b", "c"]
    assert (fixture.outbox.sent, fixture.outbox.dropped) == (3, 0)


def test_an_identifier_that_is_never_acknowledged_is_never_used_again() -> None:
    """[MQTT-2.2.1-3] to -5: the client keeps 1 for ever; the others go round."""
    fixture = make(window=1_000)
    fixture.outbox.write(batch(("kept", 1)))
    sent = 1
    hundred = batch(*[("t", 1)] * 100)
    for _ in range(400):
        fixture.wire.data.clear()
        fixture.outbox.write(hundred)
        for frame in fixture.received():
            assert frame.packet_id != 1
            assert frame.packet_id
            fixture.outbox.acknowledge(frame.packet_id)
            sent += 1
        fixture.outbox.pump()
    assert sent == 32_767, "waits for the oldest one when half of the identifiers are used"
    fixture.outbox.acknowledge(1)
    fixture.outbox.pump()
    assert fixture.outbox.sent > sent


def test_identifiers_go_round_without_zero() -> None:
    """[MQTT-2.2.1-3]."""
    fixture = make(window=1_000)
    hundred = batch(*[("t", 1)] * 100)
    seen: list[int] = []
    for _ in range(660):
        fixture.wire.data.clear()
        fixture.outbox.write(hundred)
        for frame in fixture.received():
            seen.append(frame.packet_id)
            fixture.outbox.acknowledge(frame.packet_id)
    assert seen == [*range(1, 65_536), *range(1, 466)]


MESSAGES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1)), min_size=1, max_size=6)
STEPS = st.lists(
    st.one_of(
        MESSAGES,
        st.tuples(st.just("ack"), st.integers(0, 20)),
        st.tuples(st.just("stall"), st.booleans()),
    ),
    max_size=30,
)


@settings(max_examples=150)
@given(STEPS, st.integers(1, 4))
def test_frames_leave_in_order_without_loss_or_double(
    steps: list[list[tuple[str, int]] | tuple[str, int | bool]], window: int
) -> None:
    """Against a list, with acks in any order and a wire that stalls now and then.

    QoS 1 messages arrive all and in order; QoS 0 may be missing, never misplaced.
    """
    fixture = make(window=window)
    expected: list[tuple[str, int]] = []
    number = 0
    in_flight: list[int] = []
    seen = 0

    def look() -> None:
        nonlocal seen
        frames = fixture.received()
        in_flight.extend(frame.packet_id for frame in frames[seen:] if frame.qos)
        seen = len(frames)
        assert len(in_flight) == len(set(in_flight)) == fixture.outbox.in_flight <= window

    for step in steps:
        if isinstance(step, list):
            named = [(f"{number + index}{topic}", qos) for index, (topic, qos) in enumerate(step)]
            number += len(step)
            expected += named
            fixture.outbox.write(batch(*named))
        elif step[0] == "ack":
            if in_flight:
                fixture.outbox.acknowledge(in_flight.pop(int(step[1]) % len(in_flight)))
                fixture.outbox.pump()
        else:
            fixture.wire.waiting = 2_000 if step[1] else 0
            fixture.outbox.pump()
        look()
    fixture.wire.waiting = 0
    fixture.outbox.pump()
    look()
    while in_flight:
        fixture.outbox.acknowledge(in_flight.pop(0))
        fixture.outbox.pump()
        look()
    got = [(frame.topic, frame.qos) for frame in fixture.received()]
    assert [item for item in got if item[1]] == [item for item in expected if item[1]]
    remaining = iter(expected)
    assert all(item in remaining for item in got), "a subsequence of what was written"
    assert len(got) + fixture.outbox.dropped == len(expected)
    assert fixture.outbox.queued == 0


@pytest.mark.parametrize("size", [0, 100, 127, 128, 20_000])
def test_the_ends_of_joined_frames_are_found(size: int) -> None:
    frame = client.publish("t", b"x" * size)
    assert frame_ends(frame * 3) == [len(frame), 2 * len(frame), 3 * len(frame)]
