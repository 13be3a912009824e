"""Conditional requests (RFC 9110 §13): what is decided here, and what the writer checks.

A condition on a write of a record is decided at its commit. Conditions on a read, and on
a collection, which has neither entity tag nor date, are decided from what is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from typing import Final

from lyredb.errors import PreconditionFailed
from lyredb.protocols.http.entity_tags import matches_weakly, parse_tags
from lyredb.protocols.http.request import Request
from lyredb.storage.clock import parse_etag, version_ms
from lyredb.storage.mutation import Precondition

_SUB_SECOND_MS: Final = 999
"""HTTP dates have whole seconds: what was written within one counts as not later."""
_CONDITIONS: Final = frozenset((b"if-match", b"if-none-match", b"if-unmodified-since"))


def precondition_of(request: Request) -> Precondition | None:
    """Return what has to hold for the record at commit, ``None`` for nothing.

    ``If-Match`` compares strongly, so weak tags and tags of others never match. It takes
    precedence over ``If-Unmodified-Since`` (§13.2.2), whose value is ignored when it is
    no date (§13.1.4).

    Raises:
        InvalidHeader: A list of entity tags cannot be read.
    """
    headers = request.headers
    if not headers.keys() & _CONDITIONS:
        return None
    any_of, must_exist = _if_match(request)
    none_of, must_be_absent = _if_none_match(request)
    since = None
    if b"if-match" not in headers:
        since = _time_ms(request.header(b"if-unmodified-since"))
    return Precondition(any_of, none_of, must_exist, must_be_absent, since)


def check_collection(request: Request) -> None:
    """Decide the conditions of a write to a collection, which is always there.

    It has no entity tag, so no list of them matches, and no date (§13.1.4).

    Raises:
        PreconditionFailed: ``If-Match`` with tags, or ``If-None-Match: *``.
        InvalidHeader: A list of entity tags cannot be read.
    """
    if not request.headers.keys() & _CONDITIONS:
        return
    any_of, _ = _if_match(request)
    if any_of is not None:
        raise PreconditionFailed("a collection has no entity tag that could match")
    _, must_be_absent = _if_none_match(request)
    if must_be_absent:
        raise PreconditionFailed("the collection is there, and the request asked for none")


def is_known(request: Request, tag: str, version: int, *, by_date: bool) -> bool:
    """Tell whether a reader has what it asks for: then the answer is 304.

    Args:
        request: A read.
        tag: Of what it asks for, strong.
        version: When that was written.
        by_date: Heed ``If-Modified-Since``, which counts without ``If-None-Match`` only.

    Raises:
        InvalidHeader: A list of entity tags cannot be read.
    """
    known = request.headers.get(b"if-none-match")
    if known is not None:
        return matches_weakly(known.decode("latin-1"), tag)
    if not by_date or b"if-modified-since" not in request.headers:
        return False
    since = _time_ms(request.header(b"if-modified-since"))
    return since is not None and version_ms(version) <= since


def last_modified(version: int) -> bytes:
    """Return the header line that tells when something was written."""
    return f"last-modified: {formatdate(version_ms(version) // 1000, usegmt=True)}\r\n".encode()


def _if_match(request: Request) -> tuple[frozenset[int] | None, bool]:
    """The versions that match, and whether any does; an empty list matches none (§13.1.1)."""
    if b"if-match" not in request.headers:
        return None, False
    header = request.header(b"if-match").strip()
    if header == "*":
        return None, True
    strong = (tag for tag in parse_tags(header) if not tag.startswith("W/"))
    return _versions(strong), False


def _if_none_match(request: Request) -> tuple[frozenset[int] | None, bool]:
    header = request.header(b"if-none-match").strip()
    if header in ("", "*"):
        return None, header == "*"
    return _versions(parse_tags(header)), False


def _versions(tags: Iterable[str]) -> frozenset[int]:
    found = (parse_etag(tag) for tag in tags)
    return frozenset(version for version in found if version is not None)


def _time_ms(text: str) -> int | None:
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter for numbers that no date has
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000) + _SUB_SECOND_MS
