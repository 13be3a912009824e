"""Which handler gets a request, and what becomes of its errors.

A protocol mounts a predicate and a handler: ``predicate(request) -> bool`` must not
wait and may raise what the handler would (then the request is answered with it);
``async handler(request)`` answers. Predicates are asked in descending priority, then in
order of mounting; nobody answers: 404.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from lyredb.errors import AuthenticationError, BodyTooLarge, LyreError, NotAuthorised, UnknownTopic
from lyredb.protocols.http.authentication import refusal
from lyredb.protocols.http.errors import body_of, headers_of, status_of, wants_problem
from lyredb.protocols.http.exchange import Exchange
from lyredb.protocols.http.request import CONNECTION, Receive, Request, Send

Predicate = Callable[[Request], bool]
Handler = Callable[[Request], Awaitable[None]]
Fail = Callable[[Request, Exception], None]
Now = Callable[[Request, Fail], bool]
BodyLimit = Callable[[Request], int]

_REQUEST_ID: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
"""What a proxy may name a request: visible, and short enough for a log line."""

logger: Final = logging.getLogger("lyredb.http")


@dataclass(frozen=True, slots=True)
class Mount:
    """A handler and when it is asked.

    Attributes:
        name: For people.
        predicate: Whether the request is for it.
        handler: Answers.
        priority: Higher is asked first.
        now: Gets a request whose body is here as a whole (``exchange.body``) and a way to
            tell an error later. Answers it, or sees to it that it will be; or returns
            False and has done nothing.
        body_limit: Returns how many bytes the body of a request may have, when that is more
            than `http.maxBodySize`; the handler reads it in parts. 0 for most.
        roots: The first segments of the paths that it is asked for; ``None``: all paths.
    """

    name: str
    predicate: Predicate
    handler: Handler
    priority: int
    now: Now | None = None
    body_limit: BodyLimit | None = None
    roots: tuple[str, ...] | None = None


class Router:
    """The ASGI application of the port.

    Args:
        problem_details: Answer all errors as RFC 9457 problem details.
        challenge: Returns the header line that a 401 to a request needs, ``b""`` for the
            usual one.
    """

    def __init__(
        self,
        *,
        problem_details: bool = False,
        challenge: Callable[[Request], bytes] | None = None,
    ) -> None:
        self._mounts: list[Mount] = []
        self._others: list[Mount] = []  # those that are asked for each path
        self._by_root: dict[str, list[Mount]] = {}  # those, and the ones of a first segment
        self._problem_details = problem_details
        self._challenge = challenge

    def mount(
        self,
        name: str,
        predicate: Predicate,
        handler: Handler,
        *,
        priority: int = 0,
        now: Now | None = None,
        body_limit: BodyLimit | None = None,
        roots: tuple[str, ...] | None = None,
    ) -> None:
        """Ask ``handler`` for requests for which ``predicate`` holds.

        Args:
            name: For people.
            predicate: Must not wait.
            handler: Answers.
            priority: Higher is asked first.
            now: See `Mount`.
            body_limit: See `Mount`.
            roots: See `Mount`.
        """
        self._mounts.append(Mount(name, predicate, handler, priority, now, body_limit, roots))
        self._mounts.sort(key=lambda mount: -mount.priority)  # stable: then as mounted
        self._others = [one for one in self._mounts if one.roots is None]
        self._by_root = {
            root: [one for one in self._mounts if one.roots is None or root in one.roots]
            for mount in self._mounts
            for root in mount.roots or ()
        }

    def answer_now(self, exchange: Exchange) -> bool:
        """Answer a request that is here as a whole without a task, where that is possible.

        A task costs more than a look-up. Returns False when the request needs one; what
        was found out about it is kept in ``exchange.chosen``.
        """
        request = Request(exchange.scope, exchange.receive, exchange.send, exchange)
        try:
            mount = self._choose(request)
            if mount.now is None or not mount.now(request, self._fail_now):
                exchange.chosen = request, mount
                return False
        except Exception as error:
            self._fail_now(request, error)
        return True

    def body_limit(self, scope: Any) -> int:
        """Return how large the body of a request may be by what is mounted for it, 0 for as usual.

        Asked before there is an exchange; who raises is asked again, and told, later.
        """
        request = Request(scope, _nothing, _nothing)
        try:
            mount = self._choose(request)
            return 0 if mount.body_limit is None else mount.body_limit(request)
        except LyreError:
            return 0

    def _fail_now(self, request: Request, error: Exception) -> None:
        told = self._told(request, error)
        if request.exchange.response_started:
            request.exchange.transport.abort()
        else:
            request.respond(*told)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        connection = scope["extensions"].get(CONNECTION)
        chosen = getattr(connection, "chosen", None)
        request = Request(scope, receive, send, connection) if chosen is None else chosen[0]
        if not request.is_websocket:
            await request.exchange.drain()
        try:
            mount = self._choose(request) if chosen is None else chosen[1]
            await mount.handler(request)
            if not request.is_websocket:
                await request.exchange.compressed()
        except Exception as error:
            await self._fail(request, error)

    def _choose(self, request: Request) -> Mount:
        mounts = self._mounts
        if not request.is_websocket:
            mounts = self._by_root.get(request.path.partition("/")[0], self._others)
        for mount in mounts:
            if mount.predicate(request):
                return mount
        raise UnknownTopic("nothing is served at this path")

    async def _fail(self, request: Request, error: Exception) -> None:
        """Answer with an error; in the middle of a response only the connection can end."""
        if not request.is_websocket and request.exchange.response_started:
            self._told(request, error)
            if not request.exchange.response_complete:
                request.exchange.transport.abort()
            return
        if isinstance(error, BodyTooLarge) and not request.is_websocket:
            request.exchange.keep_alive = False
        await request.deny(*self._told(request, error))

    def _told(self, request: Request, error: Exception) -> tuple[int, bytes, bytes]:
        """Status, header lines and body that tell of an error; logs what is not ours.

        The line and the answer have the same id, so that who reports the one finds the other.
        """
        named = b""
        if isinstance(error, NotAuthorised):
            error = refusal(request, error)
        elif not isinstance(error, LyreError):
            identity = request_id(request)
            named = b"x-request-id: %b\r\n" % identity.encode()
            what = (request.method, request.scope["path"])
            logger.error("%s %s failed", *what, exc_info=error, extra={"request": identity})
        problem = self._problem_details or wants_problem(request.headers)
        body, media_type = body_of(error, problem=problem)
        demanded = self._demanded(request, error)
        head = b"content-type: %b\r\n%bvary: accept\r\n" % (media_type, demanded)
        return status_of(error), named + head, body

    def _demanded(self, request: Request, error: Exception) -> bytes:
        """The header lines that the status demands; how to log in depends on who asks."""
        challenge = b""
        if self._challenge is not None and isinstance(error, AuthenticationError):
            challenge = self._challenge(request)
        return challenge or headers_of(error)


async def _nothing(*message: object) -> None:
    raise AssertionError("the request has not begun")


def request_id(request: Request) -> str:
    """Return what a proxy calls the request (``x-request-id``), or a new random id."""
    given = request.header(b"x-request-id")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
