"""Standard error, for lines: who reads it no more must not stop the server.

A terminal that was halted, a pipe to a program that hangs, a journal that is overloaded:
each takes nothing, and a process that waits for it serves nobody and does not stop. So a
line that finds no room within `PATIENCE_S` is left out and counted.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 0.05
"""How long the first line without room waits for it; those after it do not wait at all."""
_PIECE_BYTES: Final = select.PIPE_BUF
"""As much as a pipe takes whole, so that lines of several processes do not mix."""


class LogStream:
    """Writes text to a descriptor that may take nothing for any time.

    Args:
        descriptor: Stays as it is, and open: others may have it too.

    Attributes:
        close: Gives back what this object has of the descriptor.
    """

    def __init__(self, descriptor: int) -> None:
        self._is_terminal = os.isatty(descriptor)
        self._put, self.close = _way_to(descriptor)
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        self._rest = b""
        self._lost = 0
        self._is_stuck = False

    def isatty(self) -> bool:
        """Tell whether people read it."""
        return self._is_terminal

    def write(self, text: str) -> int:
        """Write whole lines, or count them as lost. Never waits for long, never fails."""
        if not self._push(self._rest):  # a line is finished before the next begins
            self._lost += 1
            return len(text)
        line = text.encode("utf-8", "backslashreplace")
        if not self._push(line) and len(self._rest) == len(line):
            self._rest = b""
            self._lost += 1
        return len(text)

    def take_lost(self) -> int:
        """Return how many were lost since the last call, 0 while there is no room to say so."""
        if not self._lost or not self._push(self._rest) or not self._has_room():
            return 0
        lost, self._lost = self._lost, 0
        return lost

    def _push(self, data: bytes) -> bool:
        """Write; what finds no room is the rest."""
        self._rest = data
        while self._rest:
            if not self._has_room():
                return False
            try:
                done = self._put(self._rest[:_PIECE_BYTES])
            except OSError:  # another process was faster, the reader is gone, the disk is full
                self._is_stuck = True
                return False
            self._rest = self._rest[done:]
            self._is_stuck = False
        return True

    def _has_room(self) -> bool:
        patience_ms = 0 if self._is_stuck else PATIENCE_S * 1000
        self._is_stuck = not self._room.poll(patience_ms)
        return not self._is_stuck


def _way_to(descriptor: int) -> tuple[Callable[[bytes], int], Callable[[], None]]:
    """Return what writes without waiting, where the system has a way, and what closes that.

    Not by a flag of the descriptor: that would be one of the shell's too.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):  # systemd's journal
        journal = socket.socket(fileno=os.dup(descriptor))
        return lambda data: journal.send(data, socket.MSG_DONTWAIT), journal.close
    own = os.dup(descriptor)
    if stat.S_ISFIFO(mode) or os.isatty(descriptor):  # a file would begin at its start again
        own = _opened_again(descriptor, own)
    return lambda data: os.write(own, data), lambda: os.close(own)


def _opened_again(descriptor: int, instead: int) -> int:
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        own = os.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:  # another user's, as in containers, or no Linux: `poll` has to do
        return instead
    os.close(instead)
    return own
