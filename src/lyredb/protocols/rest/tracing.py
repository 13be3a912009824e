"""TRACE: what arrived here, for whoever looks for a proxy that changes requests.

RFC 9110 §9.3.8 asks for the request as it came, without what could be a secret: only
headers of a list are told, of which none can carry credentials.
"""

from __future__ import annotations

from typing import Final

from lyredb.protocols.http.request import Request

_TOLD: Final = frozenset(
    (
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"content-length",
        b"content-type",
        b"date",
        b"forwarded",
        b"host",
        b"max-forwards",
        b"origin",
        b"user-agent",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-request-id",
    )
)


def answer_trace(request: Request) -> None:
    """Answer with the request line and the headers that may be told, as ``message/http``."""
    scope = request.scope
    line = b"TRACE %b HTTP/%b\r\n" % (scope["raw_path"], scope["http_version"].encode())
    told = (b"%b: %b\r\n" % header for header in scope["headers"] if header[0] in _TOLD)
    head = b"content-type: message/http\r\ncache-control: no-store\r\n"
    request.respond(200, head, b"".join((line, *told, b"\r\n")))
