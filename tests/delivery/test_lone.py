"""Frames that come one at a time are written at once, and nothing else changes."""

from __future__ import annotations

from lyredb.delivery.group import Group
from lyredb.delivery.outbox import LONE_TICKS, LOOK_EVERY
from lyredb.plugins.delivery import Batch
from tests.delivery.world import ROOT, LineEncoding, Publisher, Reader, World

RAW = LineEncoding("raw", raw="m4")


def group_of(world: World, topic: str = "Sensor/1") -> Group:
    solo = world.hub.ingress(ROOT, "mqtt", "m4").path(topic.encode()).solo0
    assert solo is not None, "somebody listens, by frames of this kind"
    return solo


def push(
    world: World, frame: str, topic: str = "Sensor/1", publisher: Publisher | None = None
) -> None:
    """Push a frame that was all of a read."""
    data = frame.encode() + b"\n"
    world.hub.ingress(ROOT, "mqtt", "m4").push_lone(group_of(world, topic), data, publisher)


def lonely(*readers: Reader) -> World:
    """A world in which frames have come one at a time for long enough."""
    world = World()
    for reader in readers or (Reader(),):
        world.join("Sensor/+", reader, encoding=RAW)
    for _ in range(LONE_TICKS):
        push(world, "before")
        world.tick()
    for reader in readers:
        reader.lines.clear()
    return world


def test_a_frame_waits_for_the_tick_until_enough_of_them_came_alone() -> None:
    """A single look proves nothing: the next one of this tick may be on its way."""
    world, reader = World(), Reader()
    world.join("Sensor/+", reader, encoding=RAW)
    for count in range(LONE_TICKS):
        push(world, "x")
        assert len(reader.lines) == count
        world.tick()
    push(world, "now")
    assert reader.lines[-1] == b"now"


def test_frames_that_come_alone_are_written_in_the_call_that_brings_them() -> None:
    """For as long as each has its own tick, and with a look at the tick now and then."""
    reader = Reader()
    world = lonely(reader)
    ticks = 0
    for number in range(5 * LOOK_EVERY):
        push(world, str(number))
        assert reader.lines == [b"%d" % at for at in range(number + 1)]
        ticks += len(world.ticks)
        world.tick()
    assert ticks == 5


def test_frames_in_company_wait_for_the_tick_again() -> None:
    """Before more were written one by one than may be, and then all of them in one write."""
    reader = Reader()
    world = lonely(reader)
    for number in range(100):
        push(world, str(number))
    at_once = len(reader.lines)
    assert at_once <= LOOK_EVERY
    reader.batches.clear()
    world.tick()
    assert reader.lines == [b"%d" % number for number in range(100)]
    assert len(reader.batches) == 1
    push(world, "next")
    assert reader.lines[-1] == b"99"


def test_a_run_of_several_frames_ends_writing_at_once() -> None:
    """Bursts gain by one write for all that a tick brings."""
    reader = Reader()
    world = lonely(reader)
    world.hub.ingress(ROOT, "mqtt", "m4").push_run(group_of(world), b"a\nb\n", 0, 4, 2, None)
    world.tick()
    push(world, "c")
    assert reader.lines == [b"a", b"b"]


def test_a_frame_never_overtakes_what_waits() -> None:
    """The order of arrival holds over runs, messages and frames that come alone."""
    reader = Reader()
    world = lonely(reader)
    world.hub.ingress(ROOT, "mqtt", "m4").push_run(group_of(world), b"a\n", 0, 2, 1, None)
    push(world, "b")
    assert reader.lines == []
    world.tick()
    assert reader.lines == [b"a", b"b"]


def test_several_readers_and_several_groups_get_it_at_once() -> None:
    """A dashboard beside the topic's own reader is a bundle; each gets one copy."""
    first, second = Reader(), Reader()
    world = lonely(first, second)
    own = Reader()
    world.join("Sensor/1", own, encoding=RAW)
    assert group_of(world).is_bundle
    push(world, "x")
    assert first.lines == second.lines == own.lines == [b"x"]


def test_an_edit_in_the_midst_changes_nothing_for_who_was_there() -> None:
    """A write may close others, which leave, and flush: they had joined when it was pushed."""
    first, second, own = Reader(), Reader(), Reader()
    world = lonely(first, second)
    world.join("Sensor/1", own, encoding=RAW)

    def close_others() -> None:
        world.hub.leave("Sensor/+", second)
        world.hub.leave("Sensor/1", own)

    first.on_write = close_others
    push(world, "x")
    push(world, "y")
    assert second.lines == own.lines == [b"x"]


def test_a_congested_reader_stops_who_publishes_to_it() -> None:
    """Back-pressure is that of the tick."""
    reader, publisher = Reader(), Publisher()
    world = lonely(reader)
    reader.congested = True
    push(world, "x", publisher=publisher)
    assert publisher.reasons == [reader]
    world.hub.drained(reader)
    assert publisher.reasons == []


def test_a_reader_that_says_it_is_clear_is_not_asked() -> None:
    """The question costs a call for each reader; `Subscriber.write` may answer it."""

    class Clear(Reader):
        def write(self, batch: Batch) -> bool:  # type: ignore[override]  # wider in the protocol
            super().write(batch)
            return False

        @property
        def is_congested(self) -> bool:
            raise AssertionError("it has said so")

    reader, other = Clear(), Clear()
    push(lonely(reader), "x", publisher=Publisher())
    push(lonely(reader, other), "y", publisher=Publisher())
    assert reader.lines == [b"y"]
    assert not reader.closed
    assert not other.closed


def test_a_reader_that_fails_is_closed_and_costs_the_others_nothing() -> None:
    """The edge of a connection, as at the end of a tick."""

    def fail() -> None:
        raise RuntimeError("broken")

    first, second = Reader(), Reader()
    world = lonely(first, second)
    first.on_write = fail
    push(world, "x")
    assert len(first.closed) == 1
    assert second.lines == [b"x"]
    world.hub.leave("Sensor/+", second)
    push(world, "y")
    assert len(first.closed) == 2


def test_what_is_written_at_once_is_counted_as_ever() -> None:
    """Frames once per group, writes once per reader."""
    first, second = Reader(), Reader()
    world = lonely(first, second)
    before = world.hub.statistics()
    push(world, "x")
    after = world.hub.statistics()
    assert (after.frames - before.frames, after.writes - before.writes) == (1, 2)
