"""``/health``: whether this server answers and can write, for load balancers and people.

Without space for writes the answer is still 200: reads and streams are served as ever, so
a load balancer shall go on sending them here, and writes are refused one by one with 503.
"""

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
        lack: Returns what keeps writes from being taken while reads are, ``""`` for nothing.
        worker: The number to tell, 0 for none.
    """

    def __init__(self, problem: Callable[[], str], lack: Callable[[], str], worker: int) -> None:
        self._problem = problem
        self._lack = lack
        self._worker = {"worker": worker} if worker else {}

    def wants(self, request: Request) -> bool:
        """Tell whether the request is for this."""
        return request.scope["raw_path"] == b"/health" and not request.is_websocket

    async def answer(self, request: Request) -> None:
        """Answer 200 when all is well, or reads are; else 503."""
        if request.method not in ("GET", "HEAD"):
            raise UnsupportedOperation("the health can only be read", allowed=("GET", "HEAD"))
        problem = self._problem()
        if not problem:
            lack = self._lack()
            state = {"status": "degraded", "reason": lack} if lack else {"status": "ok"}
            request.respond(200, _HEAD, JSON.encode(state | self._worker))
            return
        body = JSON.encode({"status": "unavailable", "detail": problem} | self._worker)
        request.respond(503, _HEAD + b"retry-after: 1\r\n", body)
