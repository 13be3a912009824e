"""The process that reads, as the one that writes sees it: batches that come through a pipe."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

import msgspec

from lyredb.operations.transfer.reader import read_into
from lyredb.operations.transfer.spec import STDIN, Batch, Ended, ImportSpec, Place

AHEAD_BYTES: Final = 16_000_000
"""Batches that wait here have no more, or are one: so that reading goes on during a commit."""
LINGER_S: Final = 1.0
"""How long a transaction waits for more rows: a commit costs as much as thousands of them, and
who types into a pipe sees them soon."""
_LOOK_S: Final = 0.2
_END_S: Final = 10.0

_batches: Final = msgspec.msgpack.Decoder(Batch)
_ends: Final = msgspec.msgpack.Decoder(Ended)


class Pipe:
    """What the process that reads sends, taken in ahead by a thread.

    Args:
        connection: Our end.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._is_closed = False
        self._thread = threading.Thread(target=self._take_in, name="lyredb import", daemon=True)
        self._thread.start()

    def receive(self, is_stopped: Callable[[], bool]) -> Batch | Ended | None:
        """Return what comes next, ``None`` when one shall not wait any longer.

        Args:
            is_stopped: Asked several times a second while nothing comes.
        """
        with self._changed:
            while not self._waiting:
                if is_stopped():
                    return None
                self._changed.wait(_LOOK_S)
            message = self._waiting.popleft()
            self._bytes -= len(message)
            self._changed.notify_all()
        body = memoryview(message)[1:]
        if message[:1] == b"B":
            return _batches.decode(body)
        return _ends.decode(body) if message else Ended("the process that reads it has ended")

    def has_more(self) -> bool:
        """Tell whether something comes soon, so that a transaction may wait for it."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._waiting), LINGER_S)

    def close(self, process: BaseProcess) -> None:
        """End the process, whatever it is doing."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        process.terminate()
        process.join(_END_S)
        self._thread.join(_END_S)
        self._connection.close()

    def _take_in(self) -> None:
        message = b"B"
        while message[:1] == b"B" and not self._is_closed:
            try:
                message = self._connection.recv_bytes()
            except (EOFError, OSError):
                message = b""
            with self._changed:
                self._changed.wait_for(self._has_room)
                self._waiting.append(message)
                self._bytes += len(message)
                self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._bytes < AHEAD_BYTES or self._is_closed


@contextmanager
def reading(spec: ImportSpec, start: Place, max_record_bytes: int) -> Iterator[Pipe]:
    """Run the process that reads; gives what it sends, and ends it."""
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe(duplex=False)
    # A process of `multiprocessing` has no standard input; only its own type of connection
    # can be handed over while it starts, and any descriptor can be one.
    given = Connection(os.dup(0), writable=False) if spec.path == STDIN else None
    arguments = (msgspec.msgpack.encode(spec), msgspec.msgpack.encode(start))
    process = context.Process(
        target=read_into,
        args=(*arguments, max_record_bytes, its, given),
        name="lyredb import",
        daemon=True,
    )
    _start_deaf(process)
    its.close()
    if given is not None:
        given.close()
    pipe = Pipe(ours)
    try:
        yield pipe
    finally:
        pipe.close(process)


def _start_deaf(process: BaseProcess) -> None:
    """Start a process that ^C does not reach: a terminal sends it to both, and one decides."""
    resource_tracker.ensure_running()  # else `start` does it, which lets ^C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
