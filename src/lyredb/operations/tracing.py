"""Traces: the packets of a client as they come and go, from all workers, for an operator.

`Traces` is where the writer is: it has the workers note a client's packets and keeps the
lines until they are read. Lines without room are counted. A trace that nobody reads ends.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from lyredb.errors import InvalidInput, Overloaded, RecordNotFound
from lyredb.operations.broker_requests import TraceLine, TraceLines, TraceStarted
from lyredb.storage.sequencer import CallService, Reply

WANTED: Final = "trace/wanted"
"""A notice to workers, and the answer to a worker's call of this name: all `Wanted`."""
NOTED: Final = "trace/noted"
"""A notice to the writer: `Noted`."""
ABANDONED_S: Final = 10.0
"""A reader asks again at once; one that has not for so long is gone."""
READ_S: Final = 1.0
"""How long a reader waits for the next line, before it is told that there is none."""
MAX_LINES: Final = 10_000
"""That wait for a reader: a few MB."""
MAX_TRACES: Final = 16


class Wanted(msgspec.Struct, frozen=True, array_like=True):
    """A client whose packets are to be noted."""

    trace: int
    client_id: str


class Noted(msgspec.Struct, frozen=True, array_like=True):
    """Lines of a trace, and how many were left out since they were too many."""

    trace: int
    lines: list[TraceLine]
    dropped: int = 0


wanted_lists: Final = msgspec.msgpack.Decoder(list[Wanted])
_noted: Final = msgspec.msgpack.Decoder(Noted)


@dataclass(slots=True)
class _Trace:
    client_id: str
    read_s: float
    lines: deque[TraceLine] = field(default_factory=deque)
    dropped: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class Traces:
    """All traces of a server.

    Args:
        service: The workers.
        clock: Monotonic seconds.
        call_later: As ``loop.call_later``.
    """

    def __init__(
        self,
        service: CallService,
        *,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._service = service
        self._clock = clock
        self._call_later = call_later
        self._numbers = itertools.count(1)
        self._traces: dict[int, _Trace] = {}
        service.serve(NOTED, self._hear)
        service.serve(WANTED, self._tell_one)

    def start(self, client_id: str) -> TraceStarted:
        """Begin a trace.

        Raises:
            InvalidInput: The client identifier is empty.
            Overloaded: There are too many.
        """
        if not client_id:
            raise InvalidInput("name the client to trace")
        if len(self._traces) >= MAX_TRACES:
            raise Overloaded(f"there are {MAX_TRACES} traces already; end one")
        number = next(self._numbers)
        self._traces[number] = _Trace(client_id, self._clock())
        self._tell()
        self._call_later(ABANDONED_S, self._end_abandoned)
        return TraceStarted(number)

    async def read(self, number: int) -> TraceLines:
        """Return what was noted since the last time; waits a moment for the first line.

        Raises:
            RecordNotFound: There is no such trace, or nobody has read it for too long.
        """
        trace = self._find(number)
        trace.read_s = self._clock()
        if not trace.lines and not trace.dropped:
            try:
                async with asyncio.timeout(READ_S):
                    await trace.arrived.wait()
            except TimeoutError:
                pass  # none is an answer
        trace.read_s = self._clock()
        trace.arrived.clear()
        lines, dropped = list(trace.lines), trace.dropped
        trace.lines.clear()
        trace.dropped = 0
        return TraceLines(lines, dropped)

    def stop(self, number: int) -> None:
        """End a trace.

        Raises:
            RecordNotFound: There is none of this number.
        """
        self._find(number)
        del self._traces[number]
        self._tell()

    def _find(self, number: int) -> _Trace:
        trace = self._traces.get(number)
        if trace is None:
            raise RecordNotFound(f"there is no trace {number}; it ends when nobody reads it")
        return trace

    def _hear(self, _: int, body: bytes, __: Reply) -> None:
        noted = _noted.decode(body)
        trace = self._traces.get(noted.trace)
        if trace is None:
            return  # it has ended
        room = MAX_LINES - len(trace.lines)
        trace.lines.extend(noted.lines[:room])
        trace.dropped += noted.dropped + max(0, len(noted.lines) - room)
        trace.arrived.set()

    def _wanted(self) -> bytes:
        wanted = [Wanted(number, trace.client_id) for number, trace in self._traces.items()]
        return msgspec.msgpack.encode(wanted)

    def _tell(self) -> None:
        for worker in self._service.workers:
            self._service.notify(worker, WANTED, self._wanted())

    def _tell_one(self, _: int, __: bytes, reply: Reply) -> None:
        reply(self._wanted())

    def _end_abandoned(self) -> None:
        """End traces that nobody reads; looks again while there are any."""
        oldest = self._clock() - ABANDONED_S
        left = {number: one for number, one in self._traces.items() if one.read_s > oldest}
        if len(left) < len(self._traces):
            self._traces = left
            self._tell()
        if left:
            self._call_later(ABANDONED_S, self._end_abandoned)
