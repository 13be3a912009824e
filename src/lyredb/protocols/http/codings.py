"""Content codings of answers: which one a client gets, and which bodies gain by one.

An entity tag belongs to one representation (RFC 9110 §8.8.3.3), so a compressed one has a
suffix in its tag: ``"abc"`` is ``"abc.br"`` then. It stays strong, and both names mean the same
state of the resource: `plain_tag` takes the suffix away before tags are compared, so that a
client may send back what it got in ``If-None-Match`` and ``If-Match`` alike. A weak tag would
never match the latter (§13.1.1).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

CODINGS: Final = ("br", "zstd", "gzip")
"""By the server's preference, where a client has none: by size, then by what it costs."""

_ALIASES: Final = {"x-gzip": "gzip"}  # RFC 9110 §8.4.1.3
_TAG_ENDS: Final = tuple(f'.{name}"' for name in CODINGS)
"""A dot is in no tag of ours: RFC 1924's alphabet has none, nor have numbers of files."""

_TYPES: Final = frozenset(
    (
        "application/json",
        "application/cbor",
        "application/x-msgpack",
        "application/msgpack",
        "application/vnd.msgpack",
        "application/ndjson",
        "application/x-ndjson",
        "application/x-www-form-urlencoded",
        "application/javascript",
        "application/xml",
        "application/yaml",
        "application/wasm",
        "application/sql",
        "application/rtf",
        "image/svg+xml",
        "image/bmp",
        "font/ttf",
        "font/otf",
    )
)
_ENDINGS: Final = ("+json", "+xml", "+cbor", "+yaml", "+msgpack")
_CONTENT_TYPE: Final = b"content-type: "


class Wish(NamedTuple):
    """What an ``Accept-Encoding`` asks for.

    Attributes:
        coding: The best of `CODINGS`, ``""`` for none.
        refuses_identity: A body as it is would not be accepted.
    """

    coding: str
    refuses_identity: bool


NO_WISH: Final = Wish("", False)


@lru_cache(maxsize=256)  # clients send few different ones, of at most `http.maxHeaderSize`
def wish_of(accept_encoding: bytes) -> Wish:
    """Read ``Accept-Encoding`` (RFC 9110 §12.5.3): the best weight, then our preference.

    A malformed weight counts as none.
    """
    weights = _weights(accept_encoding.decode("latin-1").lower())
    others = weights.get("*", 0.0)
    identity = weights.get("identity", weights.get("*"))
    best = max(CODINGS, key=lambda name: weights.get(name, others))
    weight = weights.get(best, others)
    refuses = identity == 0
    if weight == 0 or ("identity" in weights and weights["identity"] > weight):
        return Wish("", refuses)
    return Wish(best, refuses)


def _weights(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for element in text.split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        if name:
            found[_ALIASES.get(name, name)] = _weight(parameters)
    return found


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 1.0
    return 1.0


@lru_cache(maxsize=256)
def gains(content_type: bytes) -> bool:
    """Tell whether bodies of a type become smaller by compression.

    Only what is known to: images, videos and archives are compressed already, and events of
    a stream have to leave one by one.
    """
    name = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    if name.startswith("text/"):
        return name != "text/event-stream"
    return name in _TYPES or name.endswith(_ENDINGS)


def content_type_in(head: bytes) -> bytes:
    """Return the type that header lines of ours name, ``b""`` for none."""
    at = head.find(_CONTENT_TYPE)
    if at < 0:
        return b""
    at += len(_CONTENT_TYPE)
    return head[at : head.index(b"\r\n", at)]


def coded_head(head: bytes, coding: str) -> bytes:
    """Return header lines as they are with a compressed body: tag, coding."""
    name = coding.encode()
    _, end = _tag_in(head)
    if end and head[end - 1 : end] == b'"':
        head = head[: end - 1] + b"." + name + head[end - 1 :]
    return head + b"content-encoding: " + name + b"\r\n"


def unmodified_head(head: bytes, if_none_match: bytes) -> bytes:
    """Return the lines of a 304 with the tag that the client has (RFC 9110 §15.4.5).

    A cache finds what it may keep by it, which may be the compressed representation.
    """
    start, end = _tag_in(head)
    if not end or b"." not in if_none_match or head[start:end] in if_none_match:
        return head
    for ending in _TAG_ENDS:
        coded = head[start : end - 1] + ending.encode()
        if coded in if_none_match:
            return head[:start] + coded + head[end:]
    return head


def plain_tag(tag: str) -> str:
    """Return a tag without the suffix of a coding."""
    if tag.endswith(_TAG_ENDS):
        return tag[: tag.rindex(".")] + '"'
    return tag


def _tag_in(head: bytes) -> tuple[int, int]:
    """Where the tag begins and ends, quotes included; twice 0 for none."""
    at = head.find(b"etag: ")
    if at < 0 or (at > 0 and head[at - 1 : at] != b"\n"):
        return 0, 0
    return at + 6, head.index(b"\r\n", at)
