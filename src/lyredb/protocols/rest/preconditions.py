"""Conditional writes: headers to what the writer checks at commit (RFC 9110 §13)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime

from lyredb.protocols.http.entity_tags import parse_tags
from lyredb.protocols.http.request import Request
from lyredb.storage.clock import parse_etag
from lyredb.storage.mutation import Precondition

_SUB_SECOND_MS = 999
"""HTTP dates have whole seconds: what was written within one counts as not later."""


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


_CONDITIONS = frozenset((b"if-match", b"if-none-match", b"if-unmodified-since"))


def _if_match(request: Request) -> tuple[frozenset[int] | None, bool]:
    header = request.header(b"if-match").strip()
    if header in ("", "*"):
        return None, header == "*"
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
