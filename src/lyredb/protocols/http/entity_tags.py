"""Lists of entity tags in ``If-Match`` and ``If-None-Match`` (RFC 9110 §8.8.3, §13.1)."""

from __future__ import annotations

from collections.abc import Iterator

from lyredb.errors import InvalidHeader
from lyredb.protocols.http.codings import plain_tag


def parse_tags(header: str) -> Iterator[str]:
    """Yield the tags of a list, quotes and ``W/`` included.

    Those of compressed answers come as the tag of the same state that is not compressed
    (see `lyredb.protocols.http.codings`). A tag may hold commas. ``*`` is not a tag: look
    for it first.

    Raises:
        InvalidHeader: What stands there is no list of entity tags.
    """
    at, end = 0, len(header)
    while at < end:
        if header[at] in " \t,":
            at += 1
            continue
        start = at
        if header.startswith("W/", at):
            at += 2
        close = header.find('"', at + 1) if header.startswith('"', at) else -1
        if close < 0:
            raise InvalidHeader("a list of entity tags has each one in quotes")
        at = close + 1
        yield plain_tag(header[start:at])


def matches_weakly(header: str, tag: str) -> bool:
    """Tell whether a list or ``*`` has a tag, by the weak comparison (RFC 9110 §8.8.3.2).

    Args:
        header: ``If-None-Match``.
        tag: A strong tag.

    Raises:
        InvalidHeader: The list cannot be read.
    """
    if header.strip() == "*":
        return True
    if header == tag:
        return True
    return any(one.removeprefix("W/") == tag for one in parse_tags(header))
