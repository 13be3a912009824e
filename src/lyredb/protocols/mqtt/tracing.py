"""The packets of some clients as they come and go, told to whoever traces them.

A client that nobody traces pays one comparison per read. One that is traced writes through
a `Tapped` transport, and what is processed of its reads passes its `Tap`. Lines are sent in
batches, a bounded number per batch: a trace shows a flood, and does not add to it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import msgspec

from lyredb.errors import LyreError
from lyredb.operations.broker_requests import ClientEntry, TraceLine
from lyredb.operations.tracing import NOTED, WANTED, Noted, wanted_lists
from lyredb.plugins.scope import Calls
from lyredb.protocols.mqtt.trace_text import describe, split, version_in
from lyredb.protocols.mqtt.transport import Transport

SEND_S: Final = 0.05
MAX_LINES: Final = 500
"""In one batch, so at most 10,000 a second; more are counted."""
_CONNECT: Final = 1

Sink = Callable[[TraceLine], None]


class Traceable(Protocol):
    """A connection, as tracing needs it."""

    def report(self) -> ClientEntry | None:
        """What operators are told of the client; None where there is none."""

    def tap(self, tap: Tap | None) -> None:
        """Have packets pass a tap from now on; None: no more."""


class Tap:
    """Notes the packets of one connection.

    Args:
        sink: Takes the lines.
        version: Of the protocol; a CONNECT says it itself.
        is_processing: Something is being processed now, and will be told by `processed`.
    """

    __slots__ = ("_is_processing", "_sink", "_version", "_waiting")

    def __init__(self, sink: Sink, version: int, *, is_processing: bool = False) -> None:
        self._sink = sink
        self._version = version
        self._is_processing = is_processing
        self._waiting: list[TraceLine] = []

    def processing(self) -> None:
        """Packets are about to be processed: answers to them are noted after them."""
        self._is_processing = True

    def processed(self, data: bytes) -> None:
        """These whole packets were processed."""
        for first, body in split(data):
            if first >> 4 == _CONNECT:
                self._version = version_in(body)
            self._sink(_line(">", describe(first, body, self._version)))
        self._is_processing = False
        waiting, self._waiting = self._waiting, []
        for line in waiting:
            self._sink(line)

    def sent(self, data: bytes) -> None:
        """These whole packets were written."""
        for first, body in split(data):
            self._note(_line("<", describe(first, body, self._version)))

    def ended(self) -> None:
        """The connection has ended."""
        self._note(_line("-", "the connection ended"))

    def _note(self, line: TraceLine) -> None:
        if self._is_processing:
            self._waiting.append(line)
        else:
            self._sink(line)


def tapped(transport: Transport, tap: Tap | None) -> Transport:
    """The transport with this tap and no other, ``None`` for none."""
    bare = transport.inner if isinstance(transport, Tapped) else transport
    return bare if tap is None else Tapped(bare, tap)


class Tapped:
    """A transport whose writes pass a tap.

    Args:
        transport: Where bytes go.
        tap: Notes them.
    """

    __slots__ = ("_tap", "inner")

    def __init__(self, transport: Transport, tap: Tap) -> None:
        self.inner = transport
        self._tap = tap

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Note, and write."""
        self._tap.sent(bytes(data))
        self.inner.write(data)

    def get_write_buffer_size(self) -> int:
        """Bytes that wait."""
        return self.inner.get_write_buffer_size()

    def close(self) -> None:
        """Close when what waits is sent."""
        self.inner.close()

    def abort(self) -> None:
        """Close at once."""
        self.inner.abort()

    def pause_reading(self) -> None:
        """Read no more."""
        self.inner.pause_reading()

    def resume_reading(self) -> None:
        """Undo ``pause_reading``."""
        self.inner.resume_reading()


class Tracing:
    """Which clients of this worker are traced, and where their lines go.

    Args:
        calls: To the process that has the traces.
        connections: Those of this worker.
        loop: The worker's.
    """

    def __init__(
        self,
        calls: Calls,
        connections: Callable[[], Iterable[Traceable]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._calls = calls
        self._connections = connections
        self._loop = loop
        self._traces: dict[str, list[int]] = {}
        self._waiting: dict[str, list[TraceLine]] = {}
        self._dropped: dict[str, int] = {}
        self._is_scheduled = False
        calls.on_notice(WANTED, self._want)
        calls.on_attach(lambda: calls.call(WANTED, b"", self._answered))

    def tap_for(self, client_id: str) -> Tap | None:
        """Return a tap for a client whose CONNECT is being processed, None for most."""
        if client_id not in self._traces:
            return None
        return Tap(self._sink(client_id), 0, is_processing=True)

    def _answered(self, answer: bytes | LyreError) -> None:
        if not isinstance(answer, LyreError):  # else the writer went away, and comes back
            self._want(answer)

    def _want(self, body: bytes) -> None:
        traces: dict[str, list[int]] = {}
        for wanted in wanted_lists.decode(body):
            traces.setdefault(wanted.client_id, []).append(wanted.trace)
        before, self._traces = self._traces, traces
        begun, ended = traces.keys() - before.keys(), before.keys() - traces.keys()
        if not begun and not ended:
            return
        for connection in list(self._connections()):
            entry = connection.report()
            if entry is None:
                continue
            if entry.client_id in begun:
                connection.tap(Tap(self._sink(entry.client_id), _VERSIONS[entry.protocol]))
            elif entry.client_id in ended:
                connection.tap(None)

    def _sink(self, client_id: str) -> Sink:
        def take(line: TraceLine) -> None:
            if client_id not in self._traces:
                return
            waiting = self._waiting.setdefault(client_id, [])
            if len(waiting) < MAX_LINES:
                waiting.append(line)
            else:
                self._dropped[client_id] = self._dropped.get(client_id, 0) + 1
            if not self._is_scheduled:
                self._is_scheduled = True
                self._loop.call_later(SEND_S, self._send)

        return take

    def _send(self) -> None:
        self._is_scheduled = False
        waiting, self._waiting = self._waiting, {}
        dropped, self._dropped = self._dropped, {}
        for client_id, lines in waiting.items():
            for trace in self._traces.get(client_id, ()):
                noted = Noted(trace, lines, dropped.get(client_id, 0))
                self._calls.notify(NOTED, msgspec.msgpack.encode(noted))


_VERSIONS: Final = {"MQTT 3.1": 3, "MQTT 3.1.1": 4, "MQTT 5": 5}


def _line(direction: str, text: str) -> TraceLine:
    return TraceLine(time.time_ns() // 1_000_000, direction, text)
