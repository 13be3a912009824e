"""Which handler gets a request, and what becomes of its errors.

A protocol mounts a predicate and a handler: ``predicate(request) -> bool`` must not
wait and may raise what the handler would (then the request is answered with it);
``async handler(request)`` answers. Predicates are asked in descending priority, then in
order of mounting; nobody answers: 404.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from lyredb.errors import BodyTooLarge, LyreError, NotAuthorised, UnknownTopic
from lyredb.protocols.http.accept import quality_of
from lyredb.protocols.http.authentication import refusal
from lyredb.protocols.http.errors import body_of, headers_of, status_of
from lyredb.protocols.http.request import Receive, Request, Send

Predicate = Callable[[Request], bool]
Handler = Callable[[Request], Awaitable[None]]

PROBLEM: Final = "application/problem+json"

logger: Final = logging.getLogger("lyredb.http")


@dataclass(frozen=True, slots=True)
class Mount:
    """A handler and when it is asked."""

    name: str
    predicate: Predicate
    handler: Handler
    priority: int


class Router:
    """The ASGI application of the port.

    Args:
        problem_details: Answer all errors as RFC 9457 problem details.
    """

    def __init__(self, *, problem_details: bool = False) -> None:
        self._mounts: list[Mount] = []
        self._problem_details = problem_details

    def mount(
        self, name: str, predicate: Predicate, handler: Handler, *, priority: int = 0
    ) -> None:
        """Ask ``handler`` for requests for which ``predicate`` holds."""
        self._mounts.append(Mount(name, predicate, handler, priority))
        self._mounts.sort(key=lambda mount: -mount.priority)  # stable: then as mounted

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        request = Request(scope, receive, send)
        try:
            for mount in self._mounts:
                if mount.predicate(request):
                    await mount.handler(request)
                    break
            else:
                raise UnknownTopic("nothing is served at this path")
        except NotAuthorised as error:
            await self.fail(request, refusal(request, error))
        except LyreError as error:
            await self.fail(request, error)
        except Exception as error:
            logger.exception("%s %s failed", request.method, scope["path"])
            await self.fail(request, error)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s %s %s", request.peer, request.method, scope["path"])

    async def fail(self, request: Request, error: Exception) -> None:
        """Answer with an error; in the middle of a response only the connection can end."""
        if not request.is_websocket:
            exchange = request.exchange
            if exchange.response_started:
                if not exchange.response_complete:
                    exchange.transport.abort()
                return
            if isinstance(error, BodyTooLarge):
                exchange.keep_alive = False
        problem = self._problem_details or quality_of(request.header(b"accept"), PROBLEM) > 0
        body, media_type = body_of(error, problem=problem)
        head = b"content-type: %b\r\n%bvary: accept\r\n" % (media_type, headers_of(error))
        await request.deny(status_of(error), head, body)
