"""Which pages of other origins may read answers (CORS, the Fetch standard §3.2).

This decides what a browser shows to a page, and weakens nothing else: whose cookie counts for
changes, streams and WebSockets is decided by `lyredb.protocols.http.origins` alone. Credentials
that a browser keeps are allowed only to pages that are named there (``http.allowedOrigins``)
too; every other page brings a token of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from lyredb.errors import SettingError
from lyredb.plugins.scope import Settings
from lyredb.protocols.http.origins import Origins, read_origins
from lyredb.protocols.http.request import Request

SETTING: Final = "http.corsAccessList"
HEADERS_SETTING: Final = "http.corsAccessControlAllowHeaders"
ANY: Final = "*"

_METHODS: Final = b"POST, GET, PUT, DELETE, PATCH, OPTIONS, QUERY"
_MAX_AGE_S: Final = 600
"""How long a browser may remember a preflight: ten minutes after a setting has changed."""
_EXPOSED: Final = (
    b"ETag, Location, Content-Location, Content-Disposition, Content-Range, Accept-Ranges, "
    b"Allow, Retry-After, WWW-Authenticate, X-Request-Id, X-LyreDB-Read, X-LyreDB-Position, "
    b"X-LyreDB-Worker"
)
"""What pages may read besides the few that they always may."""
_VARY: Final = b"vary: origin\r\n"
_NAMES: Final = re.compile(r"[\w!#$%&'*+.^`|~-]+(?:\s*,\s*[\w!#$%&'*+.^`|~-]+)*", re.ASCII)


class Cors:
    """The rules of one port.

    Args:
        origins: In lower case, such as ``https://app.example.com``; ``*`` for all.
        allow_headers: Names of request headers, separated by commas.
        with_credentials: Origins that may use what a browser keeps; others among
            ``origins`` may not.
    """

    def __init__(
        self,
        origins: Iterable[str],
        *,
        allow_headers: str = "Accept, Content-Type, Authorization",
        with_credentials: Iterable[str] = (),
    ) -> None:
        self._origins = frozenset(origins)
        self._with_credentials = frozenset(with_credentials)
        self._lines: dict[bytes, bytes] = {}
        self._preflight = (
            b"access-control-allow-methods: %b\r\naccess-control-allow-headers: %b\r\n"
            b"access-control-max-age: %d\r\n" % (_METHODS, allow_headers.encode(), _MAX_AGE_S)
        )

    @classmethod
    def of(cls, settings: Settings) -> Cors | None:
        """Read the settings; ``None``: no page of another origin may read anything.

        Raises:
            SettingError: An origin or a header's name is none.
        """
        listed = settings.text(SETTING)
        names = [name for name in listed.split(",") if name.strip() != ANY]
        origins = read_origins(",".join(names), SETTING)
        if len(names) < len(listed.split(",")):
            origins.append(ANY)
        allow_headers = settings.text(HEADERS_SETTING)
        if not _NAMES.fullmatch(allow_headers.strip()):
            raise SettingError(
                HEADERS_SETTING, f"got {allow_headers!r}", allowed="names, separated by commas"
            )
        if not settings.flag("http.cors") or not origins:
            return None
        has_sessions = settings.flag("authentication.enableSessions")
        kept = Origins.of(settings.text("http.allowedOrigins")).allowed if has_sessions else ()
        return cls(origins, allow_headers=allow_headers.strip(), with_credentials=kept)

    def lines(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Return the header lines of an answer.

        Args:
            headers: Of the request, names in lower case.
        """
        for name, value in headers:
            if name == b"origin":
                origin = value.lower()
                return self._lines_for(origin) if self._allows(origin) else _VARY
        return _VARY  # a cache must not give this answer to a page

    def _allows(self, origin: bytes) -> bool:
        return ANY in self._origins or origin.decode("latin-1") in self._origins

    def _lines_for(self, origin: bytes) -> bytes:
        found = self._lines.get(origin)
        if found is None:
            found = (
                b"access-control-allow-origin: %b\r\naccess-control-expose-headers: %b\r\n%b"
                % (
                    origin,
                    _EXPOSED,
                    _VARY,
                )
            )
            if origin.decode("latin-1") in self._with_credentials:
                found += b"access-control-allow-credentials: true\r\n"
            if ANY not in self._origins:  # then there are few
                self._lines[origin] = found
        return found

    def wants(self, request: Request) -> bool:
        """Tell whether a request is a preflight of a page that is allowed."""
        if request.method != "OPTIONS" or request.is_websocket:
            return False
        headers: dict[bytes, Any] = request.headers
        origin = headers.get(b"origin")
        asked = b"access-control-request-method" in headers
        return asked and origin is not None and self._allows(origin.lower())

    async def answer(self, request: Request) -> None:
        """Answer a preflight, which has no credentials; who asks is decided with the request."""
        request.respond(200, self._preflight)
