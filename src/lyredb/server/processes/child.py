"""A child as its supervisor sees it: one place in the server, and the processes that fill it.

A process that ends is followed by another: at once the first time, then after 0.1 s,
doubled each time up to 5 s, until one has been ready for 30 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import Process
from enum import StrEnum
from typing import Final

from lyredb.server.processes.channel import Channel
from lyredb.server.processes.messages import Message, ProcessStand
from lyredb.server.processes.notify import VARIABLE
from lyredb.server.processes.order import Order, title_of

PROGRAM: Final = ["-m", "lyredb.server.processes"]
"""What the interpreter runs; tests put a broken one in its place."""
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
PROVEN_S: Final = 30.0
"""Ready for so long, it counts as healthy: its next death begins a new series."""
_LAST_WORDS_S: Final = 1.0
"""Between the end of its channel and of the process; then it is killed."""


class State(StrEnum):
    """The life of a process in its place."""

    WAITING = "waiting"
    STARTING = "starting"
    OPENED = "opened"
    READY = "ready"
    ENDED = "ended"


class Child:
    """One place: the writer's, or a worker's.

    Attributes:
        number: As in `messages.WRITER`.
        state: Of the present process.
        restarts: How many processes there were before it.
        problem: What it said when it could not start, ``""`` for nothing.
        beats: Seen last on the board.
        silent_s: For how long there were no new ones, or how long its start takes.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.name: Final = title_of(number)
        self.state = State.WAITING
        self.restarts = 0
        self.problem = ""
        self.beats = 0
        self.silent_s = 0.0
        self._process: Process | None = None
        self._channel: Channel | None = None
        self._deaths = 0
        self._ready_s: float | None = None

    @property
    def stand(self) -> ProcessStand:
        """What an operator is told."""
        state = State.STARTING if self.state is State.OPENED else self.state
        return ProcessStand(self.name, self.number, self.pid, state.value, self.restarts)

    @property
    def pid(self) -> int:
        """Of the present process, 0 for none."""
        return 0 if self._process is None else self._process.pid

    @property
    def is_there(self) -> bool:
        """There is a process."""
        return self._process is not None

    async def start(self, order: Order) -> None:
        """Start a process that carries out an order.

        Raises:
            OSError: The system has no room for it.
        """
        ours, theirs = Channel.pair()
        paper = order.write()
        inherited = [paper, theirs.fileno(), *order.descriptors]
        arguments = [order.title.replace(" ", "-"), str(paper), str(theirs.fileno())]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, *PROGRAM, *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,  # ours has one line, for whoever started us
                env={name: value for name, value in os.environ.items() if name != VARIABLE},
                pass_fds=inherited,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(paper)
            theirs.close()
        self._channel = Channel(ours)
        self.state = State.STARTING
        self.problem = ""
        self.silent_s = 0.0

    def become_ready(self) -> None:
        """It does its work from now on."""
        self.state = State.READY
        self.silent_s = 0.0
        self._ready_s = asyncio.get_running_loop().time()

    def send(self, message: Message, *sockets: object) -> None:
        """Tell it something; one that cannot be told anything is killed."""
        if self._channel is not None and not self._channel.send(message, sockets):  # type: ignore[arg-type]
            self.kill()

    async def receive(self) -> Message | None:
        """Return what it says next, ``None`` at its end."""
        assert self._channel is not None, "started"
        received = await self._channel.receive()
        return None if received is None else received[0]

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def ended(self) -> int:
        """Wait until it is gone and return its exit code, negative for a signal."""
        assert self._process is not None, "started"
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                code = await self._process.wait()
        except TimeoutError:
            self.kill()
            code = await self._process.wait()
        assert self._channel is not None, "started"
        self._channel.close()
        self._process = self._channel = None
        self._note_death()
        return code

    def _note_death(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._ready_s is not None and now - self._ready_s >= PROVEN_S:
            self._deaths = 0
        self._ready_s = None
        self._deaths += 1
        self.restarts += 1
        self.state = State.WAITING

    @property
    def deaths(self) -> int:
        """How many processes in a row have ended before they were proven."""
        return self._deaths

    @property
    def pause_s(self) -> float:
        """How long to wait before the next one."""
        return pause_after(self._deaths)


def pause_after(deaths: int) -> float:
    """Return the seconds to wait after so many deaths in a row."""
    if deaths <= 1:
        return 0.0
    doublings = min(deaths - 2, 10)  # far beyond the longest pause
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**doublings)
