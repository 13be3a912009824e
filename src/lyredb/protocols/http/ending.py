"""How a connection of the HTTP port ends: a refusal in its turn, and a peer that reads it.

A refusal waits for the response that is under way, so that nothing is answered out of order.
Afterwards what still comes is thrown away for a moment: closing while the peer's bytes are
unread would make its kernel throw our answer away.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from lyredb.protocols.http.errors import plain_response, wants_problem
from lyredb.protocols.http.port import Port

FOREVER: Final = float("inf")
_MAX_LINGERING_BYTES: Final = 8_000_000


class Phase(IntEnum):
    """What is being read."""

    IDLE = 0
    HEADERS = 1
    BODY = 2
    DONE = 3
    LINGERING = 4


# To name a member of an enumeration takes 60 ns in Python 3.11, a constant 7.
IDLE: Final = Phase.IDLE
HEADERS: Final = Phase.HEADERS
BODY: Final = Phase.BODY
DONE: Final = Phase.DONE
LINGERING: Final = Phase.LINGERING
OF_HEADERS: Final = (HEADERS, BODY)
"""Where bytes may come that are neither body nor counted yet: headers, trailers."""


class EndingProtocol(HttpToolsProtocol):
    """See the module; `lyredb.protocols.http.guard.Guard` says when.

    Attributes:
        port: What all connections share.
        limits: Every bound.
    """

    def __init__(
        self,
        config: Config,
        server_state: Port,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.port = server_state
        self.limits = server_state.limits
        self._phase = HEADERS
        self._deadline = FOREVER
        self._body_bytes = 0
        self._refusal: bytes | None = None
        self._current: RequestResponseCycle | None = None
        self.headers: list[tuple[bytes, bytes]] = []  # the parser sets it for each request

    @property
    def is_ending(self) -> bool:
        """True once only the peer can hold up the end."""
        return self._phase is LINGERING or self.transport.is_closing()

    def _refuse(self, error: Exception, status: int = 0, head: bytes = b"") -> None:
        """Answer in plain HTTP and close, after the response that is under way, if any.

        A handler that waits for the rest of a body that is refused sees the peer
        disconnected, and its response is not sent any more.
        """
        if self._refusal is not None or self._phase is LINGERING:
            return
        cors = self.port.cors
        if cors is not None:
            head = head + cors.lines(self.headers)
        problem = self.limits.problem_details or wants_problem(dict(self.headers))
        self._refusal = plain_response(error, self.port.head + head, status, problem=problem)
        current = self._current
        if current is not None and not current.response_complete:
            is_of_current = current is self.cycle and self._phase is BODY
            if not is_of_current or current.response_started:
                return  # `on_response_complete` sends it
            current.disconnected = True
            current.message_event.set()
        self._send_refusal()

    def refuse_upgrade(self, error: Exception, status: int = 0, head: bytes = b"") -> None:
        """Answer an upgrade with an error, its status and more header lines, and close."""
        self._refuse(error, status, head)

    def _send_refusal(self) -> None:
        assert self._refusal is not None
        self.transport.write(self._refusal)
        self._finish()

    def _finish(self) -> None:
        """Send what is buffered, and read on for a moment without looking."""
        self._linger(self.limits.linger_s)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _linger(self, seconds: float) -> None:
        self._phase = LINGERING
        self._deadline = self.loop.time() + seconds
        self._body_bytes = 0

    def _discard(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > _MAX_LINGERING_BYTES:
            self.transport.abort()
