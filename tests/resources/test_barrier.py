"""Waiting until every worker has told the log up to a position."""

from __future__ import annotations

from collections.abc import Callable

from lyredb.resources.barrier import Barrier


class Workers:
    """A tail of our own, and others that are as far as a test says."""

    def __init__(self, *, alone: bool = False) -> None:
        self.told = 0
        self.advanced: list[int] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.called: list[str] = []
        passed = None if alone else lambda position: self.told >= position
        self.barrier = Barrier(self, self.call_later, passed)  # type: ignore[arg-type]  # a tail

    def advance_to(self, position: int) -> None:
        self.advanced.append(position)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Never:
        self.timers.append((delay_s, callback))
        return Never()

    def wait_for(self, position: int, name: str) -> None:
        self.barrier.when_told(position, lambda: self.called.append(name))

    def fire(self) -> None:
        self.timers.pop(0)[1]()


class Never:
    def cancel(self) -> None:
        """Nobody cancels the timer of a barrier."""


def test_one_process_has_told_when_its_tail_has() -> None:
    """There is nobody to wait for."""
    workers = Workers(alone=True)
    workers.wait_for(5, "a")
    assert (workers.advanced, workers.called, workers.timers) == ([5], ["a"], [])


def test_what_all_have_told_already_needs_no_timer() -> None:
    workers = Workers()
    workers.told = 5
    workers.wait_for(5, "a")
    assert (workers.called, workers.timers) == (["a"], [])


def test_callbacks_come_when_the_slowest_worker_is_there() -> None:
    """In the order of positions, and of the calls for one position."""
    workers = Workers()
    for position, name in ((7, "late"), (5, "first"), (5, "second")):
        workers.wait_for(position, name)
    workers.told = 6
    workers.fire()
    assert workers.called == ["first", "second"]
    workers.told = 7
    workers.fire()
    assert (workers.called, workers.timers) == (["first", "second", "late"], [])


def test_many_that_wait_share_one_timer_that_slows_down() -> None:
    """A worker that hangs costs a hundred looks a second, however many wait for it."""
    workers = Workers()
    for number in range(100):
        workers.wait_for(1 + number, str(number))
    delays = []
    for _ in range(8):
        assert len(workers.timers) == 1
        delays.append(workers.timers[0][0])
        workers.fire()
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (0.0005, 0.01)
    workers.told = 1
    workers.fire()
    assert workers.timers[0][0] == 0.0005


def test_a_callback_may_wait_again() -> None:
    """The next subscription of a client, say; there is still one timer."""
    workers = Workers()
    workers.barrier.when_told(1, lambda: workers.wait_for(2, "again"))
    workers.wait_for(3, "third")
    workers.told = 1
    workers.fire()
    assert len(workers.timers) == 1
    workers.told = 3
    workers.fire()
    assert workers.called == ["again", "third"]
