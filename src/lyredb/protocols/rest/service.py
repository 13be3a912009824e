"""What the answers of REST share: the database, limits, and which format a client gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from lyredb.formats import AnswerFormat, negotiate
from lyredb.plugins.scope import Settings
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.searches import OpenSearches
from lyredb.resources.database import Database

PROTOCOL: Final = "rest"
_MAX_REMEMBERED: Final = 256
_KEPT_IN_PATHS: Final = "/:@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class RestOptions:
    """The settings of REST in force.

    Attributes:
        max_body_bytes: Largest body.
        max_open_searches: Long results that are sent at a time.
        last_modified: Tell when a record was written, and heed conditions on it.
        counts: Descriptions of tables tell how many records there are.
        cors: Pages of some other origins may read answers.
    """

    max_body_bytes: int = 4_000_000
    max_open_searches: int = 200
    last_modified: bool = False
    counts: bool = False
    cors: bool = False

    @classmethod
    def of(cls, settings: Settings) -> RestOptions:
        """Read them from the settings in force."""
        return cls(
            max_body_bytes=settings.integer("http.maxBodySize"),
            max_open_searches=settings.integer("rest.maxOpenSearches"),
            last_modified=settings.flag("rest.lastModified"),
            counts=settings.flag("rest.includeExpensiveRecordCountEstimates"),
            cors=settings.flag("http.cors") and bool(settings.text("http.corsAccessList")),
        )


class Service:
    """See the module.

    Attributes:
        database: Where everything is.
        options: The settings.
        searches: The long answers that are under way.
    """

    def __init__(self, database: Database, options: RestOptions) -> None:
        self.database = database
        self.options = options
        self.searches = OpenSearches(options.max_open_searches)
        self._formats: dict[bytes, AnswerFormat] = {}

    def format_of(self, request: Request) -> AnswerFormat:
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


def head_of(chosen: AnswerFormat) -> bytes:
    """The header lines of a body in a format that was negotiated."""
    return chosen.head + b"vary: accept\r\n"


def path_text(text: str) -> str:
    """A key or topic as it may stand in a header or URL."""
    return quote(text, safe=_KEPT_IN_PATHS)
