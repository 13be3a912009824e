"""What the answers of REST share: the database, limits, and which format a client gets."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from lyredb.formats import StructuredFormat, negotiate
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.searches import OpenSearches
from lyredb.resources.database import Database

PROTOCOL: Final = "rest"
_MAX_REMEMBERED: Final = 256
_KEPT_IN_PATHS: Final = "/:@!$&'()*+,;=~-._"


class Service:
    """See the module.

    Attributes:
        database: Where everything is.
        max_body_bytes: Largest body.
        searches: The long answers that are under way.
    """

    def __init__(self, database: Database, max_body_bytes: int, searches: OpenSearches) -> None:
        self.database = database
        self.max_body_bytes = max_body_bytes
        self.searches = searches
        self._formats: dict[bytes, StructuredFormat] = {}

    def format_of(self, request: Request) -> StructuredFormat:
        """Return the format of the answer.

        Raises:
            NotAcceptable: The client accepts none; names what is supported.
        """
        accept = request.headers.get(b"accept", b"")
        found = self._formats.get(accept)
        if found is None:
            found = negotiate(accept.decode("latin-1"))
            if len(self._formats) < _MAX_REMEMBERED:  # clients send few different ones
                self._formats[accept] = found
        return found


def head_of(chosen: StructuredFormat) -> bytes:
    """The header lines of a body in a format that was negotiated."""
    return b"content-type: " + chosen.media_type.encode() + b"\r\nvary: accept\r\n"


def path_text(text: str) -> str:
    """A key or topic as it may stand in a header or URL."""
    return quote(text, safe=_KEPT_IN_PATHS)
