"""What a peer sends: in order, in turns, and not after the end."""

from __future__ import annotations

from collections.abc import Callable

from lyredb.protocols.mqtt.intake import Intake
from lyredb.protocols.net.flow import Turn
from tests.protocols.mqtt.harness import FakeTransport


class Reader:
    """Takes whole pairs of bytes.

    Attributes:
        taken: What was processed.
        act: Called after each read.
    """

    def __init__(self, *, look_s: float = 0.0) -> None:
        self.taken: list[bytes] = []
        self.transport = FakeTransport()
        self.due: list[Callable[[], None]] = []
        self.act: Callable[[], None] = lambda: None
        self._now_s = 0.0
        self._look_s = look_s
        self.intake = Intake(
            self.transport, self, Turn(self._clock, lambda callback: self.due.append(callback))
        )

    def _clock(self) -> float:
        self._now_s += self._look_s
        return self._now_s

    def process(self, data: bytes) -> tuple[int, int]:
        whole = len(data) // 2 * 2
        if whole:
            self.taken.append(data[:whole])
        self.act()
        return whole, 2

    def fail_by_fault(self) -> None:
        raise AssertionError("nothing here publishes")

    def tick(self) -> None:
        due, self.due = self.due[:], []
        for callback in due:
            callback()


def test_what_is_incomplete_waits_for_the_rest() -> None:
    reader = Reader()
    for byte in (b"a", b"b", b"cde"):
        reader.intake.feed(byte)
    assert reader.taken == [b"ab", b"cd"]


def test_what_comes_during_a_pause_is_processed_after_it_in_order() -> None:
    reader = Reader()
    reader.intake.pause("why")
    reader.intake.feed(b"ab")
    reader.intake.feed(b"cd")
    assert (reader.taken, reader.transport.is_reading) == ([], False)
    reader.intake.resume("why")
    assert reader.taken == [], "in the next tick"
    reader.tick()
    assert (reader.taken, reader.transport.is_reading) == ([b"abcd"], True)


def test_after_its_end_nothing_is_processed_and_the_transport_is_left_alone() -> None:
    """Also when the end came while a read was processed that took longer than a turn."""
    reader = Reader(look_s=1.0)
    reader.act = reader.intake.close
    reader.intake.feed(b"abc")
    reader.intake.feed(b"de")
    reader.tick()
    assert reader.taken == [b"ab"]
    assert reader.transport.is_reading
    assert not reader.due
