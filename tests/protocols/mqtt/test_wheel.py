"""One timer for all: late by at most a tick, never early, and off when nobody waits."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from lyredb.protocols.mqtt.wheel import TICK_S, Cancellable, Wheel


class Timer:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def cancel(self) -> None:
        self._clock.armed = None


class Clock:
    """`call_later` of a loop whose time moves by hand."""

    def __init__(self) -> None:
        self.armed: Callable[[], None] | None = None

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Cancellable:
        assert self.armed is None, "one timer for all"
        assert delay_s == TICK_S
        self.armed = callback
        return Timer(self)

    def tick(self) -> None:
        callback, self.armed = self.armed, None
        if callback is not None:
            callback()


class Item:
    def __init__(self) -> None:
        self.due = -1
        self.fired_at: list[int] = []
        self.wheel: Wheel | None = None
        self.again = 0

    def on_time(self) -> None:
        assert self.wheel is not None
        self.fired_at.append(self.wheel.tick)
        if self.again:
            self.wheel.put(self, self.again)
            self.again = 0


@given(st.lists(st.integers(1, 20), min_size=1, max_size=20))
def test_each_fires_at_its_tick_and_then_the_timer_stops(delays: list[int]) -> None:
    clock = Clock()
    wheel = Wheel(clock.call_later)
    items = [Item() for _ in delays]
    for item, delay in zip(items, delays, strict=True):
        item.wheel = wheel
        wheel.put(item, delay)
    for _ in range(21):
        clock.tick()
    assert [item.fired_at for item in items] == [[delay] for delay in delays]
    assert clock.armed is None


def test_a_timeout_is_never_early() -> None:
    """Ticks are counted from inside of one: 1.5 s are at least 1.5 s."""
    assert (Wheel.ticks(1.5) - 1) * TICK_S >= 1.5
    assert (Wheel.ticks(1.6) - 1) * TICK_S >= 1.6


def test_put_moves_and_remove_forgets() -> None:
    clock = Clock()
    wheel = Wheel(clock.call_later)
    moved, removed = Item(), Item()
    moved.wheel = removed.wheel = wheel
    wheel.put(moved, 1)
    wheel.put(removed, 1)
    wheel.put(moved, 3)
    wheel.remove(removed)
    wheel.remove(removed)
    for _ in range(5):
        clock.tick()
    assert (moved.fired_at, removed.fired_at) == ([3], [])


def test_one_that_fires_may_come_again_and_may_end_another() -> None:
    clock = Clock()
    wheel = Wheel(clock.call_later)

    class Ender(Item):
        def on_time(self) -> None:
            super().on_time()
            for other in others:
                wheel.remove(other)

    ender, others = Ender(), [Item() for _ in range(5)]
    ender.wheel = wheel
    ender.again = 2
    wheel.put(ender, 1)
    for other in others:
        other.wheel = wheel
        wheel.put(other, 2)
    for _ in range(5):
        clock.tick()
    assert ender.fired_at == [1, 3]
    assert [other.fired_at for other in others] == [[]] * 5


def test_close_stops_the_timer() -> None:
    clock = Clock()
    wheel = Wheel(clock.call_later)
    wheel.put(Item(), 1)
    wheel.close()
    assert clock.armed is None
