"""What all connections of one HTTP port share."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn.server import ServerState

from lyredb.protocols.http.backlog import Backlog
from lyredb.protocols.http.cors import Cors
from lyredb.protocols.http.limits import HttpLimits
from lyredb.protocols.http.statistics import HttpStatistics
from lyredb.protocols.net.flow import Turn

if TYPE_CHECKING:
    from lyredb.protocols.http.authentication import Authentication
    from lyredb.protocols.http.exchange import Exchange
    from lyredb.protocols.http.upgrade import UpgradeFactory


def _soon(callback: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(callback)


def _never(exchange: Exchange) -> bool:
    return False


def _as_usual(scope: Any) -> int:
    return 0


class Port(ServerState):
    """uvicorn's shared state and ours.

    Attributes:
        limits: Every bound.
        authentication: Who logs upgrades in; ``None`` on a port without users.
        upgrades: Factories by sub-protocol.
        answer_now: Answers a request without a body at once, or returns False.
        body_limit: How large the body of a request may be, 0 for `HttpLimits.max_body_bytes`.
        head: Header lines that every response begins with, remade each second.
        turn: How long a WebSocket may work on what it has read.
        backlog: What waits for readers of streams and WebSockets.
        answers: How many responses there were, by the first digit of their status.
        cors: Which pages of other origins may read them; ``None``: none.
        compress_from: Answers of so many bytes are compressed.
        uncompressed_bytes: Of answers that were, before that.
        compressed_bytes: Of the same, afterwards.
        decompressed_bytes: Of request bodies.
    """

    def __init__(
        self,
        limits: HttpLimits,
        authentication: Authentication | None,
        cors: Cors | None = None,
    ) -> None:
        super().__init__()
        self.limits = limits
        self.authentication = authentication
        self.upgrades: dict[str, UpgradeFactory] = {}
        self.head = b""
        self.turn = Turn(time.perf_counter, _soon)
        self.backlog = Backlog(limits.max_buffered_bytes)
        self.answers = [0] * 6
        self.cors = cors
        self.compress_from = limits.compress_from_bytes or sys.maxsize
        self.uncompressed_bytes = self.compressed_bytes = self.decompressed_bytes = 0
        self.answer_now: Callable[[Exchange], bool] = _never
        self.body_limit: Callable[[Any], int] = _as_usual

    def remake_head(self) -> None:
        """Take the default headers over (the date changes each second)."""
        self.head = b"".join(b"%b: %b\r\n" % header for header in self.default_headers)

    def statistics(self) -> HttpStatistics:
        """The numbers of this moment."""
        _, _, succeeded, redirected, refused, failed = self.answers
        return HttpStatistics(
            connections=len(self.connections),
            requests=self.total_requests,
            succeeded=succeeded,
            redirected=redirected,
            refused=refused,
            failed=failed,
            buffered_bytes=self.backlog.total,
            cut_off=self.backlog.cut_off,
            uncompressed_bytes=self.uncompressed_bytes,
            compressed_bytes=self.compressed_bytes,
            decompressed_bytes=self.decompressed_bytes,
        )

    @property
    def compresses(self) -> bool:
        """False when no answer is compressed, whatever its size."""
        return self.compress_from < sys.maxsize

    @property
    def is_full(self) -> bool:
        """True when a further connection is one too many."""
        return len(self.connections) > self.limits.max_connections

    def sweep(self, now: float) -> None:
        """Look at the deadlines of all connections; once a second for all of them.

        A timer per request would cost each one more than its parsing.
        """
        for connection in list(self.connections):
            tick = getattr(connection, "tick", None)
            if tick is not None:
                tick(now)
