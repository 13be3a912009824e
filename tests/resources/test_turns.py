"""Catching up takes turns: a bounded part of each tick, in order of asking."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lyredb.resources.turns import BUDGET_S, Turns


class Loop:
    """Ticks by hand; each turn takes some time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: list[Callable[[], None]] = []
        self.turns = Turns(self.soon.append, clock=lambda: self.now)

    def tick(self) -> None:
        soon, self.soon[:] = list(self.soon), []
        for callback in soon:
            callback()


class Reader:
    def __init__(self, loop: Loop, steps: int, *, seconds: float = BUDGET_S / 2) -> None:
        self.loop = loop
        self.left = steps
        self.seconds = seconds
        self.failure: Exception | None = None
        self.ended: Exception | None = None

    def take_turn(self) -> None:
        self.loop.now += self.seconds
        if self.failure is not None:
            raise self.failure
        self.left -= 1
        if self.left:
            self.loop.turns.ask(self)

    def end(self, reason: Exception) -> None:
        self.ended = reason


def test_a_tick_has_as_many_turns_as_fit_and_everybody_comes_in_turn() -> None:
    loop = Loop()
    readers = [Reader(loop, 2) for _ in range(5)]
    for reader in readers:
        loop.turns.ask(reader)
    left = []
    while loop.soon:
        loop.tick()
        left.append([reader.left for reader in readers])
    assert left == [
        [1, 1, 2, 2, 2],
        [1, 1, 1, 1, 2],
        [0, 1, 1, 1, 1],
        [0, 0, 0, 1, 1],
        [0, 0, 0, 0, 0],
    ]


def test_one_alone_makes_one_step_a_tick() -> None:
    """The loop has connections to serve."""
    loop = Loop()
    reader = Reader(loop, 3, seconds=0.0)
    loop.turns.ask(reader)
    loop.tick()
    assert reader.left == 2


def test_asking_twice_is_one_turn_and_who_leaves_gets_none() -> None:
    loop = Loop()
    twice, gone = Reader(loop, 5), Reader(loop, 5)
    loop.turns.ask(twice)
    loop.turns.ask(gone)
    loop.turns.ask(twice)
    loop.turns.forget(gone)
    assert loop.turns.waiting == 1
    loop.tick()
    assert (twice.left, gone.left) == (4, 5)


def test_one_that_fails_ends_and_costs_the_others_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = Loop()
    broken, good = Reader(loop, 1), Reader(loop, 1)
    broken.failure = ValueError("broken")
    loop.turns.ask(broken)
    loop.turns.ask(good)
    loop.tick()
    assert broken.ended is broken.failure
    assert good.left == 0
    assert "ends" in caplog.text
