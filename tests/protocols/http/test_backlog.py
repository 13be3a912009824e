"""What waits for slow readers: for each, and together."""

from __future__ import annotations

import asyncio
from typing import cast

from lyredb.protocols.http.backlog import COUNTED_FROM, Backlog, Outflow


class Socket:
    """A transport whose peer takes what the test says."""

    def __init__(self) -> None:
        self.waiting = 0
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def write(self, data: bytes) -> None:
        self.waiting += len(data)

    def abort(self) -> None:
        self.is_aborted = True
        self.waiting = 0


def outflow(backlog: Backlog, limit: int = 100) -> tuple[Socket, Outflow]:
    socket = Socket()
    transport = cast(asyncio.Transport, socket)
    return socket, Outflow(transport, backlog, limit_bytes=limit, stall_s=2.0)


def test_the_write_that_comes_above_the_limit_is_the_last() -> None:
    """One that meets less is not, whatever its size: a burst gets through to a good reader."""
    socket, out = outflow(Backlog(1_000))
    assert out.write(b"x" * 1_000)
    socket.waiting = 100
    assert out.write(b"x")
    assert not out.write(b"x")
    assert socket.waiting == 102


def test_a_reader_that_takes_something_is_not_stalled_although_more_waits() -> None:
    socket, out = outflow(Backlog(1_000), limit=10_000)
    for now in range(10):
        out.write(b"x" * 100)
        socket.waiting -= 1
        assert not out.is_stalled(float(now))
    assert socket.waiting == 990


def test_a_reader_that_takes_nothing_is_stalled_although_more_waits() -> None:
    _, out = outflow(Backlog(1_000), limit=10_000)
    stalled = []
    for now in range(5):
        out.write(b"x" * 100)
        stalled.append(out.is_stalled(float(now)))
    assert stalled == [False, False, False, True, True]


def test_beyond_the_sum_those_with_the_most_are_cut_off_until_a_quarter_is_free() -> None:
    async def body() -> None:
        backlog = Backlog(1_000_000)
        pairs = [outflow(backlog, limit=1_000_000) for _ in range(4)]
        for (_, out), size in zip(pairs, (100_000, 400_000, 350_000, 200_000), strict=True):
            out.write(b"x" * size)
        assert not any(socket.is_aborted for socket, _ in pairs), "not in the middle of a flush"
        await asyncio.sleep(0)
        assert [socket.is_aborted for socket, _ in pairs] == [False, True, False, False]
        assert (backlog.total, backlog.cut_off) == (650_000, 1)

    asyncio.run(body())


def test_what_the_loop_has_sent_meanwhile_does_not_count() -> None:
    """uvloop sends at the end of the tick: before that everything waits."""

    async def body() -> None:
        backlog = Backlog(1_000_000)
        socket, out = outflow(backlog, limit=10_000_000)
        out.write(b"x" * 2_000_000)
        socket.waiting = COUNTED_FROM
        await asyncio.sleep(0)
        assert not socket.is_aborted
        out.drained()
        assert backlog.total == 0

    asyncio.run(body())
