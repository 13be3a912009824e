"""``/health``: whether this server answers and can write, for load balancers and people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lyredb.errors import UnsupportedOperation
from lyredb.formats import JSON
from lyredb.protocols.http.request import Request

_HEAD: Final = b"content-type: application/json\r\ncache-control: no-store\r\n"
PATH: Final = "health"


class Health:
    """Answers ``/health``; needs no login and tells nothing but the state.

    Args:
        problem: Returns a sentence that says what is wrong, ``""`` for nothing.
    """

    def __init__(self, problem: Callable[[], str]) -> None:
        self._problem = problem

    def wants(self, request: Request) -> bool:
        """Tell whether the request is for this."""
        return request.scope["raw_path"] == b"/health" and not request.is_websocket

    async def answer(self, request: Request) -> None:
        """Answer 200 when all is well, else 503."""
        if request.method not in ("GET", "HEAD"):
            raise UnsupportedOperation("the health can only be read", allowed=("GET", "HEAD"))
        problem = self._problem()
        if not problem:
            request.respond(200, _HEAD, b'{"status":"ok"}')
            return
        body = JSON.encode({"status": "unavailable", "detail": problem})
        request.respond(503, _HEAD + b"retry-after: 1\r\n", body)
