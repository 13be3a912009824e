"""Which format a body is in, and which one a client gets (RFC 9110 §12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from lyredb.errors import NotAcceptable
from lyredb.formats.cbor import CBOR
from lyredb.formats.json_text import JSON
from lyredb.formats.messagepack import MSGPACK


class StructuredFormat(Protocol):
    """A format that holds records; `lyredb.plugins.delivery.Format` and two things more."""

    @property
    def name(self) -> str:
        """The short name: ``json``, ``cbor``, ``msgpack``."""

    @property
    def media_type(self) -> str:
        """The media type as it is sent."""

    @property
    def quality(self) -> float:
        """The server's preference, above 0 and at most 1."""

    def encode(self, value: object) -> bytes:
        """Encode one value."""

    def encode_sequence(self, values: Iterable[object]) -> Iterator[bytes]:
        """Yield the parts of a collection's body, lazily; `PAUSE` is an empty part."""

    def decode(self, data: bytes) -> object:
        """Decode one value. Raises `lyredb.errors.InvalidBody`."""


FORMATS: Final[tuple[StructuredFormat, ...]] = (JSON, CBOR, MSGPACK)
"""All structured formats; the first is for clients that do not care."""

_ACCEPTED_TYPES: Final[dict[str, StructuredFormat]] = {
    "application/json": JSON,
    "application/cbor": CBOR,
    "application/x-msgpack": MSGPACK,
    "application/msgpack": MSGPACK,
    "application/vnd.msgpack": MSGPACK,
}
_SUFFIXES: Final[dict[str, StructuredFormat]] = {"json": JSON, "cbor": CBOR}  # RFC 6839, RFC 8949
_QUALITY: Final = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


def format_for_content_type(content_type: str) -> StructuredFormat | None:
    """Return the format of a body, ``None`` when its type is none of ours.

    Parameters such as ``charset`` are ignored: all three formats define their own.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    found = _ACCEPTED_TYPES.get(media_type)
    if found is None and "+" in media_type:
        found = _SUFFIXES.get(media_type.rpartition("+")[2])
    return found


def negotiate(accept: str, offered: Sequence[StructuredFormat] = FORMATS) -> StructuredFormat:
    """Return the format for a client: the best of its quality times the server's.

    ``*/*`` alone asks for the first of ``offered``; it brings the others in only when
    nothing else is acceptable, because clients add it to what they really want.

    Args:
        accept: The ``Accept`` header; empty means that anything goes.
        offered: What can be made, the default first; not empty.

    Raises:
        NotAcceptable: None of them is accepted; names what is supported.
    """
    if not accept.strip():
        return offered[0]
    ranges = dict(_ranges(accept))
    best = max(offered, key=lambda one: _wish(one, ranges, is_default=one is offered[0]))
    if _wish(best, ranges, is_default=best is offered[0]) > 0:
        return best
    if ranges.get("*/*", 0) > 0:
        for one in offered:
            if _named(one, ranges) is None:
                return one
    supported = ", ".join(one.media_type for one in offered)
    raise NotAcceptable(f"none of the accepted types can be made; supported: {supported}")


def _wish(one: StructuredFormat, ranges: dict[str, float], *, is_default: bool) -> float:
    quality = _named(one, ranges)
    if quality is None:
        quality = ranges.get("*/*", 0.0) if is_default else 0.0
    return quality * one.quality


def _named(one: StructuredFormat, ranges: dict[str, float]) -> float | None:
    """The quality of the most specific range with a name in it, ``None`` for none."""
    family = one.media_type.partition("/")[0] + "/*"
    return ranges.get(one.media_type, ranges.get(family))


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for element in accept.split(","):
        media_range, *parameters = (part.strip().lower() for part in element.split(";"))
        if media_range:
            yield media_range, _quality(parameters)


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            # A malformed weight is no reason to refuse a request that says what it wants.
            return float(value) if _QUALITY.fullmatch(value.strip()) else 1.0
    return 1.0
