"""Logins that a service decides: it is asked over HTTP with name, password and client.

Fails closed: whoever the service does not answer for is not let in. It is asked in a few
threads, each for one login, with a bound on those that wait.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from lyredb.errors import LoginFailed, Overloaded

THREADS: Final = 8
"""Questions at once; a service that answers in 10 ms decides 800 logins a second."""
MAX_WAITING: Final = 1_000
"""Beyond it clients are told to come again: at 5 s each the last would wait ten minutes."""
TIMEOUT_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 65_536

_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """What the service is told.

    Attributes:
        username: As sent.
        password: As sent; bytes that are no UTF-8 are refused without asking.
        clientid: ``""`` where the protocol has none.
        address: Of the peer.
    """

    username: str
    password: str
    clientid: str
    address: str

    def __repr__(self) -> str:
        return f"Question({self.username!r})"


class LoginService:
    """Asks one URL.

    Args:
        url: Where a JSON object is posted to: ``username``, ``password``, ``clientid`` and
            ``address``. 204, and 200 with a JSON object whose ``result`` is ``allow``, let
            in; the object may have a ``role``. Redirects are not followed, as they would
            take the password elsewhere.
        role: Of whom the answer gives none.
        timeout_s: Of one question.
        threads: Questions at once.
        max_waiting: Questions that run and wait.
    """

    def __init__(
        self,
        url: str,
        *,
        role: str = "",
        timeout_s: float = TIMEOUT_S,
        threads: int = THREADS,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._url = url
        self._role = role
        self._timeout_s = timeout_s
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="lyredb-login")
        self._turns = asyncio.Semaphore(threads)
        self._max_waiting = max_waiting
        self._queued = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn to ask.

        Raises:
            Overloaded: Too many have or want one.
        """
        if self._queued >= self._max_waiting:
            raise Overloaded("too many logins wait for their service; try again", retry_after_s=2)
        self._queued += 1
        try:
            async with self._turns:
                yield
        finally:
            self._queued -= 1

    async def ask(self, question: Question) -> str:
        """Return the role of who is let in.

        Raises:
            LoginFailed: The service says no, or nothing that is understood.
            Overloaded: It does not answer, or is in trouble; nobody is let in meanwhile.
        """
        loop = asyncio.get_running_loop()
        status, body = await loop.run_in_executor(self._executor, self._post, question)
        if status >= 500 or status == 429:
            _logger.error("the login service answered %d", status)
            raise _unavailable()
        if status == 204:
            return self._role
        answer = _object_in(body) if status == 200 else {}
        if answer.get("result") != "allow":
            raise LoginFailed("Login failed")
        role = answer.get("role")
        return role if isinstance(role, str) and role else self._role

    def close(self) -> None:
        """Drop what waits; the threads end with the question they are at."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _post(self, question: Question) -> tuple[int, bytes]:
        request = urllib.request.Request(
            self._url,
            json.dumps({name: getattr(question, name) for name in Question.__slots__}).encode(),
            {"content-type": "application/json", "accept": "application/json"},
        )
        return fetch(request, self._timeout_s, on_failure=_unavailable)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: 3xx is an answer like another."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


# No proxy of the environment: it would see passwords and keys.
_opener: Final = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


def fetch(
    request: urllib.request.Request, timeout_s: float, on_failure: Callable[[], Exception]
) -> tuple[int, bytes]:
    """Return status and body of an answer, in the thread that asks for it.

    Args:
        request: To http or https.
        timeout_s: Of connecting and of each read.
        on_failure: Makes what is raised when there is no answer.
    """
    try:
        with _opener.open(request, timeout=timeout_s) as answer:
            return answer.status, answer.read(MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""
    except (OSError, http.client.HTTPException) as error:
        _logger.error("%s does not answer: %s", request.host, error)
        raise on_failure() from error


def _unavailable() -> Overloaded:
    return Overloaded("logins cannot be decided now; try again", retry_after_s=5)


def _object_in(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
