"""``/metrics`` on the operations port, for Prometheus and whoever reads its formats."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from lyredb.errors import NotAuthorised, UnsupportedOperation
from lyredb.protocols.http.authentication import Authentication, foreign_because, is_loopback
from lyredb.protocols.http.request import Request
from lyredb.server.metrics.exposition import exposition
from lyredb.server.metrics.snapshot import Snapshot

PATH: Final = b"/metrics"
PRIORITY: Final = 100


class MetricsEndpoint:
    """Answers ``/metrics``.

    Args:
        collected: Returns the numbers of all processes.
        authentication: Who logs in, where a login is needed.
        anonymous: ``loopback``, ``everybody`` or ``nobody`` may read without one.
    """

    def __init__(
        self,
        collected: Callable[[], Awaitable[Sequence[Snapshot]]],
        authentication: Authentication,
        *,
        anonymous: str,
    ) -> None:
        self._collected = collected
        self._authentication = authentication
        self._anonymous = anonymous

    def wants(self, request: Request) -> bool:
        """Tell whether the request is for this."""
        return request.scope["raw_path"] == PATH and not request.is_websocket

    async def answer(self, request: Request) -> None:
        """Answer with all numbers.

        Raises:
            UnsupportedOperation: Another method than GET or HEAD.
            NotAuthorised: Who asks may not.
            LyreError: The login failed.
        """
        if request.method not in ("GET", "HEAD"):
            raise UnsupportedOperation("metrics can only be read", allowed=("GET", "HEAD"))
        if not self._is_open_to(request):
            account = await self._authentication.authenticate(request)
            if not account.principal.super_user:
                raise NotAuthorised("metrics are for super users")
        snapshots = await self._collected()
        media_type, body = exposition(snapshots, accept=request.header(b"accept"))
        head = b"content-type: %b\r\ncache-control: no-store\r\n" % media_type.encode()
        request.respond(200, head, body)

    def _is_open_to(self, request: Request) -> bool:
        if self._anonymous == "everybody":
            return True
        # A web page or a proxy on this machine also comes over loopback, and is not meant.
        is_meant = is_loopback(request.peer) and not foreign_because(request)
        return self._anonymous == "loopback" and is_meant
