"""Which format a body is in, and which one a client gets (RFC 9110 §12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol, TypeVar, overload

from lyredb.errors import NotAcceptable
from lyredb.formats.cbor import CBOR
from lyredb.formats.csv_text import CSV
from lyredb.formats.form_text import FORM
from lyredb.formats.json_text import JSON
from lyredb.formats.media_type import essence_of
from lyredb.formats.messagepack import MSGPACK
from lyredb.formats.ndjson import NDJSON
from lyredb.formats.plain_text import PLAIN_TEXT
from lyredb.formats.yaml_answer import YAML


class AnswerFormat(Protocol):
    """A format that an answer may be in."""

    @property
    def name(self) -> str:
        """The short name: ``json``, ``csv``; as it ends a path, where it does."""

    @property
    def media_type(self) -> str:
        """The media type, without parameters."""

    @property
    def head(self) -> bytes:
        """The header lines that describe a body: ``content-type``, and what else there is."""

    @property
    def quality(self) -> float:
        """The server's preference, above 0 and at most 1."""

    def encode(self, value: object) -> bytes:
        """Encode one value."""

    def encode_sequence(
        self, values: Iterable[object], *, columns: Sequence[str] | None = None
    ) -> Iterator[bytes]:
        """Yield the parts of a collection's body, lazily; `PAUSE` is an empty part.

        Args:
            values: Iterated as the parts are asked for.
            columns: Names of the attributes, for formats that say them once.
        """


class BodyFormat(AnswerFormat, Protocol):
    """A format that a request's body may be in too."""

    def decode(self, data: bytes) -> object:
        """Decode one value. Raises `lyredb.errors.InvalidBody`."""


class StructuredFormat(BodyFormat, Protocol):
    """A format that holds records and messages of every protocol."""


FORMATS: Final[tuple[StructuredFormat, ...]] = (JSON, CBOR, MSGPACK)
"""What messages may be in; the first is for clients that do not care."""

ANSWERS: Final[tuple[AnswerFormat, ...]] = (*FORMATS, YAML, NDJSON, PLAIN_TEXT, CSV, FORM)
"""What an answer over HTTP may be in; the first is for clients that do not care."""

_One = TypeVar("_One", bound=AnswerFormat)

_ACCEPTED_TYPES: Final[dict[str, StructuredFormat]] = {
    "application/json": JSON,
    "application/cbor": CBOR,
    "application/x-msgpack": MSGPACK,
    "application/msgpack": MSGPACK,
    "application/vnd.msgpack": MSGPACK,
}
_SUFFIXES: Final[dict[str, StructuredFormat]] = {"json": JSON, "cbor": CBOR}  # RFC 6839, RFC 8949
_NDJSON_TYPES: Final = frozenset(
    ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
)
_OTHER_NAMES: Final = {"ndjson": "application/ndjson", "yaml": "application/yaml"}  # RFC 9512
"""What else an ``Accept`` may call a format."""
_ENDINGS: Final[dict[str, AnswerFormat]] = {
    one.name: one for one in (JSON, CBOR, MSGPACK, YAML, NDJSON, CSV)
}
_QUALITY: Final = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


def format_for_content_type(content_type: str) -> StructuredFormat | None:
    """Return the format of a record or message, ``None`` when its type is none of ours.

    Parameters such as ``charset`` are ignored: all three formats define their own.
    """
    media_type = essence_of(content_type)
    found = _ACCEPTED_TYPES.get(media_type)
    if found is None and "+" in media_type:
        found = _SUFFIXES.get(media_type.rpartition("+")[2])
    return found


def body_format(content_type: str) -> BodyFormat | None:
    """Return the format of a request's body, ``None`` when its type is none of ours.

    As `format_for_content_type`, and NDJSON, which is a list of its lines.
    """
    found = format_for_content_type(content_type)
    if found is None and essence_of(content_type) in _NDJSON_TYPES:
        return NDJSON
    return found


def force_format(suffix: str) -> AnswerFormat | None:
    """Return the format that the end of a path asks for, ``None`` when it names none.

    Args:
        suffix: Without its dot: ``json``, ``cbor``, ``msgpack``, ``yaml``, ``ndjson``, ``csv``.
    """
    return _ENDINGS.get(suffix)


@overload
def negotiate(accept: str) -> AnswerFormat: ...


@overload
def negotiate(accept: str, offered: Sequence[_One]) -> _One: ...


def negotiate(accept: str, offered: Sequence[AnswerFormat] = ANSWERS) -> AnswerFormat:
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


def _wish(one: AnswerFormat, ranges: dict[str, float], *, is_default: bool) -> float:
    quality = _named(one, ranges)
    if quality is None:
        quality = ranges.get("*/*", 0.0) if is_default else 0.0
    return quality * one.quality


def _named(one: AnswerFormat, ranges: dict[str, float]) -> float | None:
    """The quality of the most specific range with a name in it, ``None`` for none."""
    family = one.media_type.partition("/")[0] + "/*"
    found = ranges.get(one.media_type)
    if found is None and one.name in _OTHER_NAMES:
        found = ranges.get(_OTHER_NAMES[one.name])
    return ranges.get(family) if found is None else found


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
