"""The board: what one process writes, all others read, and the barrier waits for the living."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from lyredb.server.board import LACKS, Board
from lyredb.storage.engine import Engine


def test_nobody_waits_for_a_worker_that_does_not_live() -> None:
    """Not yet, or not any more: what it will deliver begins after that."""
    board = Board.create(3)
    assert board.passed(100)
    board.publish(1, 100)
    board.publish(2, 99)
    assert not board.passed(100)
    board.mark_dead(2)
    assert board.passed(100)
    board.publish(2, 100)
    assert board.is_live(2)
    assert board.passed(100)
    assert not board.passed(101)
    board.close()


def test_the_writer_delivers_nothing_and_is_not_waited_for() -> None:
    board = Board.create(1)
    board.publish(0, 1)
    board.publish(1, 7)
    assert board.passed(7)
    board.close()


def test_a_barrier_opens_when_the_last_worker_has_passed() -> None:
    async def body() -> None:
        board = Board.create(2)
        board.publish(1, 5)
        board.publish(2, 4)
        assert not await board.wait_passed(5, 0.01)
        waiting = asyncio.create_task(board.wait_passed(5, 10.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        board.publish(2, 5)
        assert await waiting
        board.close()

    asyncio.run(body())


def test_another_process_writes_on_the_same_board() -> None:
    board = Board.create(2)
    code = (
        "import sys; from lyredb.server.board import Board\n"
        "board = Board.open(int(sys.argv[1])); assert board.position(1) == 2**63\n"
        "board.publish(2, 9); board.beat(2); board.tell_lack('disk full')"
    )
    board.publish(1, 2**63)
    subprocess.run(
        [sys.executable, "-c", code, str(board.descriptor)],
        pass_fds=[board.descriptor],
        check=True,
        env={**os.environ},
    )
    assert (board.position(2), board.beats(2), board.lack()) == (9, 1, "disk full")
    assert (board.beats(0), board.beats(1)) == (0, 0)
    board.close()


def test_whatever_the_engine_has_no_space_for_can_be_said() -> None:
    board = Board.create(1)
    for lack in LACKS:
        board.tell_lack(lack)
        assert board.lack() == lack
    assert isinstance(Engine.full, property)
    board.close()
