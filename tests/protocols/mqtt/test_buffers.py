"""What waits for all slow readers together is bounded, and the largest pay for it."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.protocols.mqtt.buffers import Buffers
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, Peer, run
from tests.protocols.mqtt.test_life import watch


class Holder:
    def __init__(self) -> None:
        self.is_cut_off = False

    def cut_off(self) -> None:
        self.is_cut_off = True


class Ticks:
    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.due.append(callback)

    def tick(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()


def test_nobody_is_cut_off_below_the_limit() -> None:
    ticks, holders = Ticks(), [Holder(), Holder()]
    buffers = Buffers(100, ticks.call_soon)
    for holder in holders:
        buffers.note(holder, 50)
    assert not ticks.due


def test_the_largest_go_first_and_in_the_next_tick() -> None:
    """Not at once: the note comes in the middle of a flush."""
    ticks, small, large = Ticks(), Holder(), Holder()
    buffers = Buffers(100, ticks.call_soon)
    buffers.note(small, 30)
    buffers.note(large, 80)
    assert not large.is_cut_off
    ticks.tick()
    assert (large.is_cut_off, small.is_cut_off) == (True, False)
    assert (buffers.total, buffers.cut_off) == (30, 1)


def test_what_was_sent_meanwhile_saves_the_largest() -> None:
    ticks, holder = Ticks(), Holder()
    buffers = Buffers(100, ticks.call_soon)
    buffers.note(holder, 101)
    buffers.note(holder, 100)
    ticks.tick()
    assert not holder.is_cut_off


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=60))
def test_the_sum_is_right_and_below_the_limit_after_each_tick(
    notes: list[tuple[int, int]],
) -> None:
    ticks, holders = Ticks(), [Holder() for _ in range(6)]
    buffers = Buffers(100, ticks.call_soon)
    sizes = dict.fromkeys(range(6), 0)
    for which, size in notes:
        holders[which].is_cut_off = False
        buffers.note(holders[which], size)
        sizes[which] = size
        if sum(sizes.values()) > 100:
            ticks.tick()
            smallest_gone = min(
                (sizes[n] for n, holder in enumerate(holders) if holder.is_cut_off), default=0
            )
            sizes = {n: 0 if holders[n].is_cut_off else left for n, left in sizes.items()}
            assert all(left <= smallest_gone for left in sizes.values())
        assert buffers.total == sum(sizes.values()) <= 100
        for holder in holders:
            holder.is_cut_off = False


def queued(harness: Harness, reader: Peer, bytes_each: int, count: int) -> None:
    writer = harness.connected(4, f"writer of {id(reader)}")
    for number in range(count):
        frame = client.publish("open/a", b"x" * bytes_each, qos=1, packet_id=number + 1)
        writer.send(frame)


def test_the_reader_with_the_longest_queue_is_cut_off_when_all_have_too_much() -> None:
    """Its will goes out: it is gone as by a broken network."""

    async def body() -> None:
        harness = Harness(max_buffered_bytes=20_000, max_inflight=1)
        watcher = watch(harness)
        stuck = harness.connected(4, "stuck", will=("open/w", b"gone"))
        stuck.send(client.subscribe(("open/a", 1)))
        queued(harness, stuck, 1_000, 30)
        await harness.tick()
        assert stuck.transport.is_aborted
        assert not watcher.is_closed
        assert b"gone" in [packet.payload for packet in watcher.take() if packet.kind == 3]
        statistics = harness.service.statistics()
        assert (statistics.cut_off, statistics.buffered_bytes) == (1, 0)

    run(body)


def test_what_waits_in_a_full_transport_counts_and_what_has_left_does_not() -> None:
    async def body() -> None:
        harness = Harness()
        reader, writer = watch(harness), harness.connected(4, "writer")
        reader.transport.waiting = 70_000
        reader.connection.pause_writing()
        writer.send(client.publish("open/a", b"x"))
        await harness.tick()
        assert harness.service.statistics().buffered_bytes == 70_000
        reader.transport.waiting = 0
        reader.connection.resume_writing()
        assert harness.service.statistics().buffered_bytes == 0

    run(body)


def test_the_end_of_a_connection_frees_what_waited_for_it() -> None:
    async def body() -> None:
        harness = Harness(max_inflight=1)
        reader = harness.connected(4, "reader")
        reader.send(client.subscribe(("open/a", 1)))
        queued(harness, reader, 1_000, 3)
        await harness.tick()
        assert harness.service.statistics().buffered_bytes > 2_000
        reader.lose()
        assert harness.service.statistics().buffered_bytes == 0

    run(body)
