"""The board: how far each process is, in memory that all of them share.

A line of 64 bytes per process, which it alone writes: its state, how often its loop has
come round, the last log position that it has delivered (W). The supervisor reads the beats;
``passed(P)`` is the barrier: what was committed at P has reached every live worker's
subscribers, so the answer to a changed right or schema may go out.

Line 0 is the writer's, which delivers nothing; it says there what keeps it from writing,
which workers tell whoever asks for their health. Each field is eight aligned bytes, written
by one store: a reader sees the old or the new value.
"""

from __future__ import annotations

import asyncio
import mmap
import os
from typing import Final

_LINE_BYTES: Final = 64
_WORDS: Final = _LINE_BYTES // 8
_STATE, _BEAT, _POSITION, _LACK = range(4)
_LIVE: Final = 1
LACKS: Final = ("", "disk full", "data file full")
"""What `Engine.full` says, as the numbers that stand on the board."""
_FIRST_WAIT_S: Final = 0.0005
_LONGEST_WAIT_S: Final = 0.01
"""A barrier is passed when the slowest worker has had its turn: mostly within 1 ms."""


class Board:
    """One mapping of the board; made by `create` or `open`.

    Attributes:
        workers: How many workers have a line, numbered from 1.
        descriptor: The file, to be inherited by children.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        self._words = memoryview(self._memory).cast("Q")
        self.workers = len(self._words) // _WORDS - 1

    @classmethod
    def create(cls, workers: int) -> Board:
        """Make a board on which nobody lives yet.

        Raises:
            OSError: The system has no memory for it.
        """
        descriptor = os.memfd_create("lyredb-board", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _LINE_BYTES * (workers + 1))
        return cls(descriptor)

    @classmethod
    def open(cls, descriptor: int) -> Board:
        """Map a board that was inherited; the descriptor is the board's from now on."""
        return cls(descriptor)

    def publish(self, number: int, position: int) -> None:
        """Say that this process has delivered everything up to a position, and lives."""
        line = number * _WORDS
        self._words[line + _POSITION] = position
        self._words[line + _STATE] = _LIVE

    def beat(self, number: int) -> None:
        """Say that the loop of this process has come round."""
        self._words[number * _WORDS + _BEAT] += 1

    def tell_lack(self, lack: str) -> None:
        """Say, as the writer, what has no space: one of `LACKS`."""
        self._words[_LACK] = LACKS.index(lack)

    def lack(self) -> str:
        """What the writer said last that has no space."""
        return LACKS[self._words[_LACK]]

    def beats(self, number: int) -> int:
        """How often a process has said so."""
        return self._words[number * _WORDS + _BEAT]

    def position(self, number: int) -> int:
        """The position that a process published last."""
        return self._words[number * _WORDS + _POSITION]

    def is_live(self, number: int) -> bool:
        """Tell whether a process has published since it was marked dead, or ever."""
        return self._words[number * _WORDS + _STATE] == _LIVE

    def mark_dead(self, number: int) -> None:
        """Take a process off; nobody waits for it any more."""
        self._words[number * _WORDS + _STATE] = 0

    def passed(self, position: int) -> bool:
        """Tell whether all live workers have delivered everything up to a position."""
        words = self._words
        return all(
            words[line + _POSITION] >= position
            for line in range(_WORDS, len(words), _WORDS)
            if words[line + _STATE] == _LIVE
        )

    async def wait_passed(self, position: int, timeout_s: float) -> bool:
        """Return True as soon as `passed`, False when it takes longer than the time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        wait_s = _FIRST_WAIT_S
        while not self.passed(position):
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        return True

    def close(self) -> None:
        """Unmap it."""
        self._words.release()
        self._memory.close()
        os.close(self.descriptor)
